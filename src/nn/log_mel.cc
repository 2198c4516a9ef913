#include "nn/log_mel.h"

#include "core/error.h"
#include "ops/mel.h"
#include "ops/stft.h"

#include <ATen/ATen.h>

namespace tessera::nn {

LogMel::LogMel(const LogMelOptions& options, at::Device device) : options_(options) {
  TESSERA_CHECK(options.hop > 0 && options.n_fft >= 2 * options.hop, InvalidArgument,
                "log-mel: n_fft {} must be at least twice the hop {}", options.n_fft, options.hop);
  window_ = ops::hann_window(options.n_fft, options.n_fft, device);
  filters_ = ops::mel_filters(
      {.sample_rate = options.sample_rate, .n_fft = options.n_fft, .bands = options.bands}, device);
}

Tensor LogMel::forward(const Tensor& wav) const {
  constexpr double kFloor = 1e-5;
  const int64_t frames = (wav.size(-1) + options_.hop - 1) / options_.hop;
  const int64_t needed = (frames - 1) * options_.hop + options_.n_fft;
  const Tensor padded =
      at::constant_pad_nd(wav, {options_.hop, needed - options_.hop - wav.size(-1)});
  const Tensor spectrum = ops::stft(
      padded, window_,
      {.n_fft = options_.n_fft, .hop = options_.hop, .pad = ops::StftOptions::Pad::kNone});
  // From log(1e-5) … log(loudest) to a few units around zero.
  return (ops::log_floor(ops::apply_filters(ops::power(spectrum), filters_), kFloor) + 1.0) / 5.0;
}

}  // namespace tessera::nn
