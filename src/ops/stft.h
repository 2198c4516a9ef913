// Short-time Fourier transform and its inverse, on ATen's FFT; differentiable, on any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::ops {

using at::Tensor;

/// How a signal is cut into frames.
struct StftOptions {
  enum class Pad { kNone, kZeros, kReflect };
  int64_t n_fft = 0;
  int64_t hop = 0;
  Pad pad = Pad::kReflect;  // with padding, frame t is centred on sample t · hop
};

/// Periodic Hann window of `length`, zero-padded in the middle of `n_fft` (torch.stft's placement).
Tensor hann_window(int64_t length, int64_t n_fft, at::Device device);

/// [..., N] -> windowed frames [..., T, n_fft]; T = 1 + (N + padding − n_fft) / hop. Throws
/// InvalidArgument when not a single frame fits, or when reflection needs N > n_fft / 2.
Tensor frame(const Tensor& signal, const Tensor& window, const StftOptions& options);

/// [..., N] -> complex [..., T, n_fft / 2 + 1], unnormalised, fp32. The last two axes are
/// torch.stft's, turned round.
Tensor stft(const Tensor& signal, const Tensor& window, const StftOptions& options);

/// |X|² of a complex spectrum; its gradient is finite everywhere.
Tensor power(const Tensor& spectrum);

/// Adds frames [B, T, n_fft] at distances of `hop` -> [B, (T − 1) · hop + n_fft].
Tensor overlap_add(const Tensor& frames, int64_t hop);

/// Sum of the squared window over `frames` frames -> [(frames − 1) · hop + n_fft]: what overlap-add
/// of windowed frames is divided by.
Tensor window_envelope(const Tensor& window, int64_t frames, int64_t hop);

/// Inverse of stft for [B, T, n_fft / 2 + 1] -> [B, N]: least squares over the overlapping frames,
/// as torch.istft; the padding is cut off. `length` ≥ 0 pads with zeros or cuts. Throws
/// InvalidArgument where the windows leave a sample uncovered.
Tensor istft(const Tensor& spectrum,
             const Tensor& window,
             const StftOptions& options,
             int64_t length = -1);

}  // namespace tessera::ops
