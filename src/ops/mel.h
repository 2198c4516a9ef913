// Filter banks over power spectra: mel bands and semitones.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tessera::ops {

using at::Tensor;

/// Triangles in Hz between edges that are equally spaced on a mel scale.
struct MelOptions {
  enum class Scale { kHtk, kSlaney };  // 2595·log10(1 + f/700); linear below 1 kHz, log above
  int64_t sample_rate = 16000;
  int64_t n_fft = 0;
  int64_t bands = 80;
  double low = 0;   // Hz
  double high = 0;  // Hz; 0: half the sample rate
  Scale scale = Scale::kHtk;
  bool area_norm = false;  // each triangle scaled to 2 / (its width in Hz), librosa's "slaney"
};

/// fp32 [n_fft / 2 + 1, bands]; a power spectrum times this gives band energies. Throws
/// InvalidArgument for a range that is empty or above half the rate.
Tensor mel_filters(const MelOptions& options, at::Device device = at::kCPU);

/// Triangles centred on `count` equally tempered pitches from MIDI number `lowest`, `steps` a
/// semitone, each as wide as its neighbours' distance or one FFT bin, whatever is more: fp32
/// [n_fft / 2 + 1, count].
Tensor pitch_filters(int64_t sample_rate,
                     int64_t n_fft,
                     double lowest,
                     int64_t steps,
                     int64_t count,
                     at::Device device = at::kCPU);

/// Band energies: power [..., T, F] × filters [F, bands], in fp32 even under autocast.
Tensor apply_filters(const Tensor& power, const Tensor& filters);

/// log(max(x, floor)), natural.
Tensor log_floor(const Tensor& x, double floor);

}  // namespace tessera::ops
