// STFT with torch.stft's conventions (centred frames, window in the middle of n_fft, one-sided,
// unnormalised). Time comes before frequency, [..., T, F], because the layers above work frame by
// frame. Transforms are fp32 even under autocast.
#include "ops/stft.h"

#include "core/error.h"

#include <ATen/ATen.h>

namespace tessera::ops {

Tensor hann_window(int64_t length, int64_t n_fft, at::Device device) {
  TESSERA_CHECK(length > 0 && length <= n_fft, InvalidArgument,
                "stft: the window length must be in 1 … n_fft {}, got {}", n_fft, length);
  const Tensor window = at::hann_window(length, at::TensorOptions().dtype(at::kFloat));
  const int64_t left = (n_fft - length) / 2;
  return at::constant_pad_nd(window, {left, n_fft - length - left}).to(device);
}

Tensor frame(const Tensor& signal, const Tensor& window, const StftOptions& options) {
  TESSERA_CHECK(options.hop > 0 && options.n_fft > 0 && window.numel() == options.n_fft,
                InvalidArgument, "stft: hop {} and n_fft {} must be positive, window {} be n_fft",
                options.hop, options.n_fft, window.numel());
  const int64_t samples = signal.size(-1);
  Tensor padded = signal.to(at::kFloat);
  const int64_t half = options.n_fft / 2;
  if (options.pad == StftOptions::Pad::kReflect) {
    TESSERA_CHECK(samples > half, InvalidArgument,
                  "stft: {} samples are too few to be reflected, need more than {}", samples, half);
    padded = at::reflection_pad1d(padded.reshape({-1, samples}), {half, half});
    std::vector<int64_t> shape = signal.sizes().vec();
    shape.back() = samples + 2 * half;
    padded = padded.view(shape);
  } else if (options.pad == StftOptions::Pad::kZeros) {
    padded = at::constant_pad_nd(padded, {half, half});
  }
  TESSERA_CHECK(padded.size(-1) >= options.n_fft, InvalidArgument,
                "stft: {} samples are too few for a frame of {}", samples, options.n_fft);
  return padded.unfold(-1, options.n_fft, options.hop) * window;
}

Tensor stft(const Tensor& signal, const Tensor& window, const StftOptions& options) {
  return at::fft_rfft(frame(signal, window, options));
}

Tensor power(const Tensor& spectrum) {
  return at::view_as_real(spectrum).square().sum(-1);
}

Tensor overlap_add(const Tensor& frames, int64_t hop) {
  const int64_t length = (frames.size(1) - 1) * hop + frames.size(2);
  return at::col2im(frames.transpose(1, 2), {1, length}, {1, frames.size(2)}, {1, 1}, {0, 0},
                    {1, hop})
      .view({frames.size(0), length});
}

Tensor window_envelope(const Tensor& window, int64_t frames, int64_t hop) {
  return overlap_add(window.square().expand({1, frames, window.numel()}), hop).squeeze(0);
}

Tensor istft(const Tensor& spectrum,
             const Tensor& window,
             const StftOptions& options,
             int64_t length) {
  TESSERA_CHECK(spectrum.dim() == 3 && spectrum.size(1) > 0 &&
                    spectrum.size(2) == options.n_fft / 2 + 1 && options.hop > 0,
                InvalidArgument, "istft: expected a spectrum [B, T ≥ 1, {}]",
                options.n_fft / 2 + 1);
  const Tensor frames = at::fft_irfft(spectrum, options.n_fft) * window;
  Tensor signal = overlap_add(frames, options.hop);  // [B, L]
  const int64_t total = signal.size(1);
  const int64_t start = options.pad == StftOptions::Pad::kNone ? 0 : options.n_fft / 2;
  const int64_t covered = std::max<int64_t>(0, total - 2 * start);
  const int64_t wanted = length < 0 ? covered : std::min(length, total - start);
  const Tensor envelope =
      window_envelope(window, spectrum.size(1), options.hop).narrow(0, start, wanted);
  TESSERA_CHECK(wanted == 0 || envelope.min().item<float>() > 1e-11F, InvalidArgument,
                "istft: window and hop {} leave samples uncovered", options.hop);
  signal = signal.narrow(1, start, wanted) / envelope;
  return length > wanted ? at::constant_pad_nd(signal, {0, length - wanted}) : signal;
}

}  // namespace tessera::ops
