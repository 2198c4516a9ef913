// TesseraMusicJudge: key (24) and metre (4) of a few seconds of music, own design. The key is heard
// from a half-semitone spectrum, the metre from onsets: their autocorrelation over up to four
// seconds shows the bar, dilated ConvNeXt blocks the accents in it. Judges score benches and are
// used by no pipeline.
#include "core/error.h"
#include "models/config.h"
#include "nn/conv.h"
#include "nn/log_mel.h"
#include "ops/mel.h"
#include "ops/stft.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::models {
namespace {

using at::Tensor;

struct MusicJudgeConfig {
  int64_t sample_rate = 16000;  // sample_rate
  int64_t keys = 24;            // keys
  int64_t metres = 4;           // metres
  int64_t width = 96;           // width of both branches
  int64_t pitch_fft = 4096;     // pitch_n_fft
  int64_t pitch_hop = 512;      // pitch_hop_length
  int64_t lowest = 36;          // lowest_pitch (MIDI)
  int64_t pitches = 60;         // pitches above it
  int64_t beat_hop = 320;       // beat_hop_length
  int64_t beat_bands = 40;      // beat_n_mels
  int64_t lags = 200;           // lags of the autocorrelation, in beat frames

  static MusicJudgeConfig from_json(const io::Json& json) {
    MusicJudgeConfig c;
    const ConfigReader read(json, "config.json");
    c.sample_rate = read.positive("sample_rate", c.sample_rate);
    c.keys = read.positive("keys", c.keys);
    c.metres = read.positive("metres", c.metres);
    c.width = read.positive("width", c.width);
    c.pitch_fft = read.positive("pitch_n_fft", c.pitch_fft);
    c.pitch_hop = read.positive("pitch_hop_length", c.pitch_hop);
    c.lowest = read.positive("lowest_pitch", c.lowest);
    c.pitches = read.positive("pitches", c.pitches);
    c.beat_hop = read.positive("beat_hop_length", c.beat_hop);
    c.beat_bands = read.positive("beat_n_mels", c.beat_bands);
    c.lags = read.positive("lags", c.lags);
    TESSERA_CHECK(c.beat_bands % kGroups == 0 && c.pitch_fft <= 65536 && c.beat_hop <= 16384,
                  CorruptFile,
                  "config.json: beat_n_mels {} must be a multiple of {}, pitch_n_fft at most 65536",
                  c.beat_bands, kGroups);
    return c;
  }

  static constexpr int64_t kGroups = 4;      // groups of bands whose onsets are followed apart
  static constexpr int64_t kPitchSteps = 2;  // filters a semitone
};

std::shared_ptr<nn::Linear> linear(const nn::Weights& w, int64_t in, int64_t out) {
  const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
  return std::make_shared<nn::Linear>(w, in, out,
                                      nn::LinearOptions{true, nn::Init::normal(deviation)});
}

Tensor pooled(const Tensor& h) {
  return at::cat({h.mean(1), h.amax(1)}, -1);
}

// Projection, norm, blocks over time with the given dilations, pooling -> [B, 2 · width].
class Branch : public nn::Module {
 public:
  Branch(const nn::Weights& w, int64_t in, int64_t width, const std::vector<int64_t>& dilations)
      : Module(w) {
    embed_ = register_module("embed", linear(w.child("embed"), in, width));
    const auto list = register_module("blocks", std::make_shared<torch::nn::Module>("blocks"));
    for (size_t i = 0; i < dilations.size(); ++i) {
      blocks_.push_back(list->register_module(
          std::to_string(i), std::make_shared<nn::ConvNext1d>(
                                 w.child("blocks").child(static_cast<int64_t>(i)), width,
                                 nn::ConvNextOptions{.dilation = dilations[i], .residual = 0.5})));
    }
    norm_ = register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), width));
  }

  Tensor forward(const Tensor& x) const {
    Tensor h = embed_->forward(x);
    for (const auto& block : blocks_) {
      h = block->forward(h);
    }
    return nn::tap(*this, pooled(norm_->forward(h)));
  }

 private:
  std::shared_ptr<nn::Linear> embed_;
  std::vector<std::shared_ptr<nn::ConvNext1d>> blocks_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

class MusicJudge : public nn::Model {
 public:
  MusicJudge(const nn::Weights& w, const MusicJudgeConfig& c)
      : Model(w),
        config_(c),
        beats_({c.sample_rate, 2 * c.beat_hop, c.beat_hop, c.beat_bands}, w.options().device) {
    const int64_t bins = c.pitches * MusicJudgeConfig::kPitchSteps;
    const at::Device device = w.options().device;
    window_ = ops::hann_window(c.pitch_fft, c.pitch_fft, device);
    filters_ = ops::pitch_filters(c.sample_rate, c.pitch_fft, static_cast<double>(c.lowest),
                                  MusicJudgeConfig::kPitchSteps, bins, device);
    pitch_ = register_module("pitch", std::make_shared<Branch>(w.child("pitch"), bins, c.width,
                                                               std::vector<int64_t>{1, 2}));
    beat_ =
        register_module("beat", std::make_shared<Branch>(w.child("beat"), 2 * c.beat_bands, c.width,
                                                         std::vector<int64_t>{1, 4, 16}));
    const int64_t periods = MusicJudgeConfig::kGroups * c.lags;
    period_ = register_module("period", linear(w.child("period"), periods, c.width));
    key_hidden_ =
        register_module("key_hidden", linear(w.child("key_hidden"), 2 * c.width + bins, c.width));
    key_ = register_module("key", linear(w.child("key"), c.width, c.keys));
    metre_hidden_ =
        register_module("metre_hidden", linear(w.child("metre_hidden"), 3 * c.width, c.width));
    metre_ = register_module("metre", linear(w.child("metre"), c.width, c.metres));
  }

  nn::NamedTensors run(std::string_view /*entry*/, const nn::NamedTensors& inputs) override {
    const Tensor& wav = inputs.at("wav");
    TESSERA_CHECK(wav.dim() == 3 && wav.size(1) == 1 && wav.size(2) > 0, InvalidArgument,
                  "wav must be [B, 1, N], N > 0, at {} Hz", config_.sample_rate);
    const Tensor x = wav.squeeze(1).to(at::kFloat);
    const Tensor notes = pitch_spectrum(x);
    const Tensor key =
        at::gelu(key_hidden_->forward(at::cat({pitch_->forward(notes), notes.mean(1)}, -1)));
    const Tensor loud = beats_.forward(x);  // [B, T, bands]
    const Tensor before = at::cat({loud.narrow(1, 0, 1), loud.narrow(1, 0, loud.size(1) - 1)}, 1);
    const Tensor onsets = (loud - before).clamp_min(0);
    const Tensor heard = beat_->forward(at::cat({loud, 5 * onsets}, -1));
    const Tensor period = at::gelu(period_->forward(autocorrelation(onsets)));
    const Tensor metre = at::gelu(metre_hidden_->forward(at::cat({heard, period}, -1)));
    return {{"key", key_->forward(key)}, {"metre", metre_->forward(metre)}};
  }

 private:
  // [B, N] -> log energies of pitches [B, T, bins], each clip's mean taken off.
  Tensor pitch_spectrum(const Tensor& x) const {
    const Tensor spectrum = ops::stft(x, window_,
                                      {.n_fft = config_.pitch_fft,
                                       .hop = config_.pitch_hop,
                                       .pad = ops::StftOptions::Pad::kZeros});
    const Tensor bands = ops::apply_filters(ops::power(spectrum), filters_);
    const Tensor logs = ops::log_floor(bands, 1e-2) / 4;
    return logs - logs.mean({1, 2}, true);
  }

  // Onsets [B, T, bands] -> normalised autocorrelation of each group of bands [B, groups · lags].
  Tensor autocorrelation(const Tensor& onsets) const {
    const int64_t group = config_.beat_bands / MusicJudgeConfig::kGroups;
    Tensor envelope =
        onsets.unflatten(2, {MusicJudgeConfig::kGroups, group}).mean(-1).transpose(1, 2);
    envelope = envelope - envelope.mean(-1, true);  // [B, groups, T]
    const int64_t frames = envelope.size(2);
    const Tensor spectrum = at::fft_rfft(envelope, 2 * std::max(frames, config_.lags));
    const Tensor r = at::fft_irfft(spectrum * spectrum.conj()).narrow(-1, 0, config_.lags);
    return (r / r.narrow(-1, 0, 1).clamp_min(1e-6)).flatten(1);
  }

  MusicJudgeConfig config_;
  nn::LogMel beats_;
  Tensor window_, filters_;
  std::shared_ptr<Branch> pitch_, beat_;
  std::shared_ptr<nn::Linear> period_, key_hidden_, key_, metre_hidden_, metre_;
};

}  // namespace

std::shared_ptr<nn::Model> load_music_judge(const ModelFolder& folder, const nn::Weights& weights) {
  return std::make_shared<MusicJudge>(weights, MusicJudgeConfig::from_json(folder.config));
}

}  // namespace tessera::models
