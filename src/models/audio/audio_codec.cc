// TesseraAudioCodec: mono sound to residual codes and back, one causal architecture for speech and
// music, own design. Log-mel frames -> causal ConvNeXt blocks -> `stride` frames joined into one
// step of codes -> residual vector quantiser -> causal ConvNeXt blocks at both rates -> magnitude
// and phase of each spectral frame -> overlap-added inverse FFT (the head of Vocos, arXiv
// 2306.00814). Activations [B, T, C]; all layers work at the frame rate or below, never on samples.
// Output sample s is complete when the spectral frame that begins at s − hop … s is known: a stream
// is one hop behind its codes.
#include "core/error.h"
#include "models/codec.h"
#include "nn/conv.h"
#include "nn/log_mel.h"
#include "ops/stft.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::models {
namespace {

using at::Tensor;

struct AudioCodecConfig {
  int64_t sample_rate = 16000;     // sample_rate
  int64_t hop = 160;               // hop_length: samples a spectral frame
  int64_t n_fft = 640;             // n_fft: window and transform of frames
  int64_t bands = 80;              // n_mels: bands of the encoder's input
  int64_t stride = 4;              // stride: spectral frames a step of codes
  int64_t kernel = 7;              // kernel_size of the depthwise convolutions
  bool causal_encoder = true;      // causal_encoder: false lets codes look ahead when encoding
  int64_t encoder_width = 128;     // encoder_width at the frame rate
  int64_t encoder_blocks = 3;      // encoder_blocks at the frame rate
  int64_t code_width = 208;        // code_width at the rate of codes, both sides
  int64_t code_blocks = 1;         // code_blocks at the rate of codes, of the encoder
  int64_t code_blocks_out = 2;     // code_blocks_out: the same of the decoder
  int64_t decoder_width = 168;     // decoder_width at the frame rate
  int64_t decoder_blocks = 5;      // decoder_blocks at the frame rate
  nn::QuantizerOptions quantizer;  // quantizer

  int64_t frame_samples() const { return hop * stride; }
  // Steps of codes that the encoder looks ahead.
  int64_t encoder_reach() const {
    const int64_t side = causal_encoder ? 0 : (kernel - 1) / 2;
    return side * code_blocks + (side * encoder_blocks + stride - 1) / stride;
  }

  static AudioCodecConfig from_json(const io::Json& json) {
    AudioCodecConfig c;
    const ConfigReader read(json, "config.json");
    c.sample_rate = read.positive("sample_rate", c.sample_rate);
    c.hop = read.positive("hop_length", c.hop);
    c.n_fft = read.positive("n_fft", c.n_fft);
    c.bands = read.positive("n_mels", c.bands);
    c.stride = read.positive("stride", c.stride);
    c.kernel = read.positive("kernel_size", c.kernel);
    c.causal_encoder = read.boolean("causal_encoder", c.causal_encoder);
    c.encoder_width = read.positive("encoder_width", c.encoder_width);
    c.encoder_blocks = read.positive("encoder_blocks", c.encoder_blocks);
    c.code_width = read.positive("code_width", c.code_width);
    c.code_blocks = read.positive("code_blocks", c.code_blocks);
    c.code_blocks_out = read.positive("code_blocks_out", c.code_blocks_out);
    c.decoder_width = read.positive("decoder_width", c.decoder_width);
    c.decoder_blocks = read.positive("decoder_blocks", c.decoder_blocks);
    TESSERA_CHECK(c.n_fft % c.hop == 0 && c.n_fft / c.hop >= 3 && c.n_fft % 2 == 0, CorruptFile,
                  "config.json: n_fft {} must be even and 3 or more times hop_length {}", c.n_fft,
                  c.hop);
    TESSERA_CHECK(c.n_fft <= 65536 && c.stride <= 1024 && c.kernel <= 1024, CorruptFile,
                  "config.json: n_fft {}, stride {} or kernel_size {} is out of range", c.n_fft,
                  c.stride, c.kernel);
    c.quantizer = read_quantizer(json, c.code_width);
    return c;
  }
};

std::shared_ptr<nn::Linear> linear(const nn::Weights& w, int64_t in, int64_t out) {
  const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
  return std::make_shared<nn::Linear>(w, in, out,
                                      nn::LinearOptions{true, nn::Init::normal(deviation)});
}

class AudioEncoder : public nn::Module {
 public:
  AudioEncoder(const nn::Weights& w, const AudioCodecConfig& c)
      : Module(w),
        stride_(c.stride),
        features_({c.sample_rate, c.n_fft, c.hop, c.bands}, w.options().device) {
    const nn::ConvNextOptions block{.kernel = c.kernel, .causal = c.causal_encoder};
    embed_ = register_module("embed", linear(w.child("embed"), c.bands, c.encoder_width));
    blocks_ =
        register_module("blocks", std::make_shared<nn::ConvNext1dStack>(
                                      w.child("blocks"), c.encoder_blocks, c.encoder_width, block));
    join_ =
        register_module("join", linear(w.child("join"), c.encoder_width * c.stride, c.code_width));
    code_blocks_ = register_module(
        "code_blocks", std::make_shared<nn::ConvNext1dStack>(w.child("code_blocks"), c.code_blocks,
                                                             c.code_width, block));
    norm_ = register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), c.code_width));
  }

  // [B, N], N a multiple of hop · stride -> [B, T, code_width].
  Tensor forward(const Tensor& wav) const {
    Tensor h = blocks_->forward(embed_->forward(features_.forward(wav)));
    h = h.reshape({h.size(0), h.size(1) / stride_, h.size(2) * stride_});
    h = code_blocks_->forward(join_->forward(h));
    return nn::tap(*this, norm_->forward(h));
  }

 private:
  int64_t stride_;
  nn::LogMel features_;
  std::shared_ptr<nn::Linear> embed_, join_;
  std::shared_ptr<nn::ConvNext1dStack> blocks_, code_blocks_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

class AudioDecoder : public nn::Module {
 public:
  AudioDecoder(const nn::Weights& w, const AudioCodecConfig& c)
      : Module(w), stride_(c.stride), n_fft_(c.n_fft) {
    const nn::ConvNextOptions block{.kernel = c.kernel, .causal = true};
    code_blocks_ = register_module(
        "code_blocks", std::make_shared<nn::ConvNext1dStack>(
                           w.child("code_blocks"), c.code_blocks_out, c.code_width, block));
    split_ = register_module("split",
                             linear(w.child("split"), c.code_width, c.decoder_width * c.stride));
    blocks_ =
        register_module("blocks", std::make_shared<nn::ConvNext1dStack>(
                                      w.child("blocks"), c.decoder_blocks, c.decoder_width, block));
    norm_ =
        register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), c.decoder_width));
    head_ = register_module("head", linear(w.child("head"), c.decoder_width, c.n_fft + 2));
    window_ = ops::hann_window(c.n_fft, c.n_fft, w.options().device);
  }

  // [B, T, code_width] -> windowed frames of samples [B, T · stride, n_fft].
  Tensor forward(const Tensor& x, nn::StreamState* state) const {
    Tensor h = split_->forward(code_blocks_->forward(x, state));
    h = h.reshape({h.size(0), h.size(1) * stride_, h.size(2) / stride_});
    h = head_->forward(norm_->forward(blocks_->forward(h, state))).to(at::kFloat);
    const std::vector<Tensor> parts = h.chunk(2, -1);
    // A full-scale sine reaches n_fft / 4 under this window.
    const Tensor magnitude = parts[0].clamp_max(std::log(static_cast<double>(n_fft_) / 2)).exp();
    const Tensor spectrum = at::complex(magnitude * parts[1].cos(), magnitude * parts[1].sin());
    return nn::tap(*this, at::fft_irfft(spectrum, n_fft_) * window_);
  }

  const Tensor& window() const { return window_; }

 private:
  int64_t stride_;
  int64_t n_fft_;
  Tensor window_;  // [n_fft]
  std::shared_ptr<nn::ConvNext1dStack> code_blocks_, blocks_;
  std::shared_ptr<nn::Linear> split_, head_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

// Frames are added up at their places; block b of hop samples is complete after frame b, and then
// divided by the squared windows that cover it. The first block of all is dropped: there, at the
// rising edge of the first window, nothing can be told.
class AudioStream : public nn::CodecStream {
 public:
  AudioStream(const nn::Quantizer& quantizer, const AudioDecoder& decoder, int64_t hop)
      : quantizer_(quantizer), decoder_(decoder), hop_(hop) {
    const int64_t overlap = decoder.window().numel() / hop;
    rising_ = ops::window_envelope(decoder.window(), overlap, hop).narrow(0, 0, overlap * hop);
  }

  Tensor push(const Tensor& codes) override {
    TESSERA_CHECK(!finished_, InvalidArgument, "codec stream: nothing can follow finish");
    TESSERA_CHECK(codes.dim() == 3, InvalidArgument,
                  "codec stream: codes must be [B, levels, t], got {} axes", codes.dim());
    if (codes.size(2) == 0) {
      return at::zeros({codes.size(0), 1, 0}, decoder_.window().options());
    }
    state_.rewind();
    const Tensor frames = decoder_.forward(quantizer_.lookup(codes), &state_);
    const int64_t count = frames.size(1);
    Tensor sum = ops::overlap_add(frames, hop_);  // [B, (count − 1) · hop + n_fft]
    if (tail_.defined()) {
      sum = sum + at::constant_pad_nd(tail_, {0, sum.size(1) - tail_.size(1)});
    }
    Tensor done = sum.narrow(1, 0, count * hop_) / envelope(count);
    tail_ = sum.narrow(1, count * hop_, sum.size(1) - count * hop_);
    if (frames_ == 0) {
      done = done.narrow(1, hop_, done.size(1) - hop_);
    }
    frames_ += count;
    return done.clamp(-1, 1).unsqueeze(1);
  }

  Tensor finish() override {
    finished_ = true;
    if (frames_ == 0) {
      return at::zeros({1, 1, 0}, decoder_.window().options());
    }
    const int64_t overlap = decoder_.window().numel() / hop_;
    const int64_t last = std::min(frames_, overlap);
    const Tensor under =
        ops::window_envelope(decoder_.window(), last, hop_).narrow(0, last * hop_, hop_);
    return (tail_.narrow(1, 0, hop_) / under).clamp(-1, 1).unsqueeze(1);
  }

 private:
  // What the next `count` blocks are divided by.
  Tensor envelope(int64_t count) const {
    const int64_t overlap = rising_.numel() / hop_;
    const Tensor steady = rising_.narrow(0, (overlap - 1) * hop_, hop_);
    const int64_t early = std::clamp<int64_t>(overlap - frames_, 0, count);
    const int64_t first = std::min(frames_, overlap);
    return at::cat({rising_.narrow(0, first * hop_, early * hop_), steady.repeat({count - early})});
  }

  const nn::Quantizer& quantizer_;
  const AudioDecoder& decoder_;
  int64_t hop_;
  Tensor rising_;  // envelope of the first n_fft samples; from its last hop on it repeats
  nn::StreamState state_;
  Tensor tail_;  // [B, n_fft − hop]: sums that later frames still add to
  int64_t frames_ = 0;
  bool finished_ = false;
};

class AudioCodec : public nn::Codec {
 public:
  AudioCodec(const nn::Weights& w, const AudioCodecConfig& config) : Codec(w), config_(config) {
    encoder_ =
        register_module("encoder", std::make_shared<AudioEncoder>(w.child("encoder"), config));
    quantizer_ =
        register_module("quantizer", nn::make_quantizer(w.child("quantizer"), config.quantizer));
    decoder_ =
        register_module("decoder", std::make_shared<AudioDecoder>(w.child("decoder"), config));
  }

  nn::CodecInfo info() const override {
    return {.sample_rate = config_.sample_rate,
            .frames_per_second = static_cast<double>(config_.sample_rate) /
                                 static_cast<double>(config_.frame_samples()),
            .frame_samples = config_.frame_samples(),
            .look_ahead = config_.hop,
            .levels = quantizer_->levels(),
            .codebook_size = quantizer_->codebook_size()};
  }

  Tensor encode(const Tensor& media) const override {
    return quantizer_->quantize(features(media)).codes;
  }

  Tensor decode(const Tensor& codes) const override {
    return nn::tap(*this, synthesize(quantizer_->lookup(codes)).clamp(-1, 1));
  }

  std::unique_ptr<nn::CodecStream> stream() const override {
    return std::make_unique<AudioStream>(*quantizer_, *decoder_, config_.hop);
  }

  nn::CodecPass reconstruct(const Tensor& media) const override {
    nn::CodecPass pass;
    pass.code = quantizer_->quantize(features(media));
    pass.media = synthesize(pass.code.vectors).narrow(2, 0, media.size(2));
    return pass;
  }

  // Silence fills up the last step of codes, and as many steps more as the encoder looks ahead: a
  // sound's codes are then the same alone and padded in a batch.
  Tensor features(const Tensor& media) const override {
    TESSERA_CHECK(
        media.dim() == 3 && media.size(1) == 1 && media.size(2) > 0 && media.is_floating_point(),
        InvalidArgument, "sound must be floats [B, 1, N], N > 0, at {} Hz", config_.sample_rate);
    const int64_t step = config_.frame_samples();
    const int64_t samples = media.size(2);
    const int64_t steps = (samples + step - 1) / step;
    const int64_t padded = (steps + config_.encoder_reach()) * step;
    const Tensor wave = at::constant_pad_nd(media.squeeze(1), {0, padded - samples});
    return encoder_->forward(wave).narrow(1, 0, steps);
  }

  const std::shared_ptr<nn::Quantizer>& quantizer() const override { return quantizer_; }

  nn::NamedTensors run(std::string_view entry, const nn::NamedTensors& inputs) override {
    return run_codec_entry(*this, "wav", entry, inputs);
  }

 private:
  // [B, T, code_width] -> [B, 1, T · hop · stride].
  Tensor synthesize(const Tensor& vectors) const {
    const int64_t samples = vectors.size(1) * config_.frame_samples();
    if (samples == 0) {
      return at::zeros({vectors.size(0), 1, 0}, vectors.options());
    }
    const Tensor frames = decoder_->forward(vectors, nullptr);
    const Tensor envelope = ops::window_envelope(decoder_->window(), frames.size(1), config_.hop);
    const Tensor sum = ops::overlap_add(frames, config_.hop).narrow(1, config_.hop, samples);
    return (sum / envelope.narrow(0, config_.hop, samples)).unsqueeze(1);
  }

  AudioCodecConfig config_;
  std::shared_ptr<AudioEncoder> encoder_;
  std::shared_ptr<nn::Quantizer> quantizer_;
  std::shared_ptr<AudioDecoder> decoder_;
};

}  // namespace

std::shared_ptr<nn::Model> load_audio_codec(const ModelFolder& folder, const nn::Weights& weights) {
  return std::make_shared<AudioCodec>(weights, AudioCodecConfig::from_json(folder.config));
}

}  // namespace tessera::models
