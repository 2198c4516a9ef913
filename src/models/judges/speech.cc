// TesseraSpeechRecognizer and TesseraSpeakerJudge: characters by CTC (Graves et al. 2006), and the
// voice, from 16 kHz speech; own design. Log-mel frames, two joined into one (50 a second),
// ConvNeXt blocks that look both ways. Judges score benches and are used by no pipeline.
#include "core/error.h"
#include "models/config.h"
#include "nn/conv.h"
#include "nn/log_mel.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::models {
namespace {

using at::Tensor;

struct SpeechJudgeConfig {
  int64_t classes = 0;     // classes: symbols with the blank at 0, or voices
  int64_t width = 0;       // width
  int64_t blocks = 0;      // blocks
  int64_t kernel = 0;      // kernel_size
  int64_t embedding = 64;  // embedding: width of a voice's vector
  nn::LogMelOptions mel;   // sample_rate, n_fft, hop_length, n_mels

  static SpeechJudgeConfig from_json(const io::Json& json, SpeechJudgeConfig c) {
    const ConfigReader read(json, "config.json");
    c.classes = read.positive("classes", c.classes);
    c.width = read.positive("width", c.width);
    c.blocks = read.positive("blocks", c.blocks);
    c.kernel = read.positive("kernel_size", c.kernel);
    c.embedding = read.positive("embedding", c.embedding);
    c.mel.sample_rate = read.positive("sample_rate", c.mel.sample_rate);
    c.mel.n_fft = read.positive("n_fft", c.mel.n_fft);
    c.mel.hop = read.positive("hop_length", c.mel.hop);
    c.mel.bands = read.positive("n_mels", c.mel.bands);
    return c;
  }
};

std::shared_ptr<nn::Linear> linear(const nn::Weights& w, int64_t in, int64_t out) {
  const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
  return std::make_shared<nn::Linear>(w, in, out,
                                      nn::LinearOptions{true, nn::Init::normal(deviation)});
}

class SpeechEncoder : public nn::Module {
 public:
  SpeechEncoder(const nn::Weights& w, const SpeechJudgeConfig& c)
      : Module(w), features_(c.mel, w.options().device) {
    embed_ = register_module("embed", linear(w.child("embed"), kJoined * c.mel.bands, c.width));
    blocks_ = register_module(
        "blocks", std::make_shared<nn::ConvNext1dStack>(w.child("blocks"), c.blocks, c.width,
                                                        nn::ConvNextOptions{.kernel = c.kernel}));
    norm_ = register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), c.width));
  }

  // [B, 1, N] -> [B, ceil(N / (2 · hop)), width].
  Tensor forward(const Tensor& wav) const {
    TESSERA_CHECK(wav.dim() == 3 && wav.size(1) == 1 && wav.size(2) > 0, InvalidArgument,
                  "wav must be [B, 1, N], N > 0, at {} Hz", features_.options().sample_rate);
    const int64_t step = kJoined * features_.options().hop;
    const Tensor whole =
        at::constant_pad_nd(wav.squeeze(1), {0, (step - wav.size(2) % step) % step});
    const Tensor mel = features_.forward(whole);
    const Tensor joined = mel.reshape({mel.size(0), mel.size(1) / kJoined, mel.size(2) * kJoined});
    return nn::tap(*this, norm_->forward(blocks_->forward(embed_->forward(joined))));
  }

 private:
  static constexpr int64_t kJoined = 2;  // mel frames a frame
  nn::LogMel features_;
  std::shared_ptr<nn::Linear> embed_;
  std::shared_ptr<nn::ConvNext1dStack> blocks_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

class SpeechRecognizer : public nn::Model {
 public:
  SpeechRecognizer(const nn::Weights& w, const SpeechJudgeConfig& c) : Model(w) {
    encoder_ = register_module("encoder", std::make_shared<SpeechEncoder>(w.child("encoder"), c));
    head_ = register_module("head", linear(w.child("head"), c.width, c.classes));
  }

  nn::NamedTensors run(std::string_view /*entry*/, const nn::NamedTensors& inputs) override {
    const Tensor logits = head_->forward(encoder_->forward(inputs.at("wav")));
    return {{"log_probs", logits.to(at::kFloat).log_softmax(-1)}};
  }

 private:
  std::shared_ptr<SpeechEncoder> encoder_;
  std::shared_ptr<nn::Linear> head_;
};

class SpeakerJudge : public nn::Model {
 public:
  SpeakerJudge(const nn::Weights& w, const SpeechJudgeConfig& c) : Model(w) {
    encoder_ = register_module("encoder", std::make_shared<SpeechEncoder>(w.child("encoder"), c));
    embed_ = register_module("embed", linear(w.child("embed"), 2 * c.width, c.embedding));
    head_ = register_module("head", linear(w.child("head"), c.embedding, c.classes));
  }

  nn::NamedTensors run(std::string_view /*entry*/, const nn::NamedTensors& inputs) override {
    const Tensor h = encoder_->forward(inputs.at("wav"));
    const Tensor mean = h.mean(1);
    const Tensor spread = ((h - mean.unsqueeze(1)).square().mean(1) + 1e-5).sqrt();
    const Tensor embedding = embed_->forward(at::cat({mean, spread}, -1));
    return {{"embedding", embedding}, {"logits", head_->forward(at::gelu(embedding))}};
  }

 private:
  std::shared_ptr<SpeechEncoder> encoder_;
  std::shared_ptr<nn::Linear> embed_, head_;
};

template <class Judge>
std::shared_ptr<nn::Model> load(const ModelFolder& folder,
                                const nn::Weights& weights,
                                const SpeechJudgeConfig& defaults) {
  return std::make_shared<Judge>(weights, SpeechJudgeConfig::from_json(folder.config, defaults));
}

}  // namespace

std::shared_ptr<nn::Model> load_speech_recognizer(const ModelFolder& folder,
                                                  const nn::Weights& weights) {
  return load<SpeechRecognizer>(
      folder, weights, {.classes = 29, .width = 144, .blocks = 7, .kernel = 11, .mel = {}});
}

std::shared_ptr<nn::Model> load_speaker_judge(const ModelFolder& folder,
                                              const nn::Weights& weights) {
  return load<SpeakerJudge>(folder, weights,
                            {.classes = 8, .width = 96, .blocks = 3, .kernel = 7, .mel = {}});
}

}  // namespace tessera::models
