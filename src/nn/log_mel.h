// Log-mel frames of sound: the input of the audio codec and the judges. No parameters.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::nn {

using at::Tensor;

struct LogMelOptions {
  int64_t sample_rate = 16000;
  int64_t n_fft = 640;
  int64_t hop = 160;
  int64_t bands = 80;
};

class LogMel {
 public:
  LogMel(const LogMelOptions& options, at::Device device);
  /// [B, N] -> [B, ceil(N / hop), bands], about in [-2, 3]. Frame t sees the samples from (t − 1) ·
  /// hop on, n_fft of them; what lies outside is silence.
  Tensor forward(const Tensor& wav) const;
  const LogMelOptions& options() const { return options_; }

 private:
  LogMelOptions options_;
  Tensor window_;   // [n_fft]
  Tensor filters_;  // [n_fft / 2 + 1, bands]
};

}  // namespace tessera::nn
