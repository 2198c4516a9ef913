// Mel filter banks equal to torchaudio.functional.melscale_fbanks (htk and slaney scale) and
// librosa.filters.mel (slaney scale with area norm): triangles are linear in Hz.
#include "ops/mel.h"

#include "core/error.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cmath>

namespace tessera::ops {
namespace {

constexpr double kSlaneyBreak = 1000.0;        // Hz
constexpr double kSlaneyLinear = 200.0 / 3;    // Hz a mel below
const double kSlaneyLog = std::log(6.4) / 27;  // log of the ratio a mel above
constexpr double kSlaneyBreakMel = kSlaneyBreak / kSlaneyLinear;

double to_mel(double hz, MelOptions::Scale scale) {
  if (scale == MelOptions::Scale::kHtk) {
    return 2595.0 * std::log10(1.0 + hz / 700.0);
  }
  return hz < kSlaneyBreak ? hz / kSlaneyLinear
                           : kSlaneyBreakMel + std::log(hz / kSlaneyBreak) / kSlaneyLog;
}

double to_hz(double mel, MelOptions::Scale scale) {
  if (scale == MelOptions::Scale::kHtk) {
    return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  }
  return mel < kSlaneyBreakMel ? mel * kSlaneyLinear
                               : kSlaneyBreak * std::exp(kSlaneyLog * (mel - kSlaneyBreakMel));
}

// Weight of `hz` under the triangle low – centre – high.
double triangle(double hz, double low, double centre, double high) {
  return std::max(0.0, std::min((hz - low) / (centre - low), (high - hz) / (high - centre)));
}

void check_size(int64_t sample_rate, int64_t n_fft, int64_t bands) {
  TESSERA_CHECK(sample_rate > 0 && n_fft > 1 && n_fft <= (1 << 24) && bands > 0 && bands <= 4096,
                InvalidArgument,
                "filter bank: sample rate {}, n_fft {} and bands {} must be positive and sensible",
                sample_rate, n_fft, bands);
}

}  // namespace

Tensor mel_filters(const MelOptions& options, at::Device device) {
  check_size(options.sample_rate, options.n_fft, options.bands);
  const double nyquist = static_cast<double>(options.sample_rate) / 2;
  const double high = options.high > 0 ? options.high : nyquist;
  TESSERA_CHECK(options.low >= 0 && options.low < high && high <= nyquist, InvalidArgument,
                "mel: the range {} … {} Hz must be rising and end by {}", options.low, high,
                nyquist);
  std::vector<double> edges;
  const double first = to_mel(options.low, options.scale);
  const double last = to_mel(high, options.scale);
  for (int64_t i = 0; i < options.bands + 2; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(options.bands + 1);
    edges.push_back(to_hz(first + (last - first) * share, options.scale));
  }
  const int64_t bins = options.n_fft / 2 + 1;
  Tensor filters = at::empty({bins, options.bands}, at::kFloat);
  float* out = filters.data_ptr<float>();
  for (int64_t bin = 0; bin < bins; ++bin) {
    const double hz = nyquist * static_cast<double>(bin) / static_cast<double>(bins - 1);
    for (int64_t band = 0; band < options.bands; ++band) {
      const double* edge = &edges[static_cast<size_t>(band)];
      const double norm = options.area_norm ? 2.0 / (edge[2] - edge[0]) : 1.0;
      *out++ = static_cast<float>(norm * triangle(hz, edge[0], edge[1], edge[2]));
    }
  }
  return filters.to(device);
}

Tensor pitch_filters(int64_t sample_rate,
                     int64_t n_fft,
                     double lowest,
                     int64_t steps,
                     int64_t count,
                     at::Device device) {
  check_size(sample_rate, n_fft, count);
  TESSERA_CHECK(steps > 0, InvalidArgument, "pitch filters: steps must be positive, got {}", steps);
  const int64_t bins = n_fft / 2 + 1;
  const double bin_hz = static_cast<double>(sample_rate) / static_cast<double>(n_fft);
  Tensor filters = at::empty({bins, count}, at::kFloat);
  float* out = filters.data_ptr<float>();
  const auto hz_of = [&](double pitch) { return 440.0 * std::exp2((pitch - 69.0) / 12.0); };
  for (int64_t bin = 0; bin < bins; ++bin) {
    const double hz = bin_hz * static_cast<double>(bin);
    for (int64_t i = 0; i < count; ++i) {
      const double step = 1.0 / static_cast<double>(steps);
      const double pitch = lowest + static_cast<double>(i) * step;
      const double centre = hz_of(pitch);
      const double low = std::min(hz_of(pitch - step), centre - bin_hz);
      const double high = std::max(hz_of(pitch + step), centre + bin_hz);
      *out++ = static_cast<float>(triangle(hz, low, centre, high));
    }
  }
  return filters.to(device);
}

Tensor apply_filters(const Tensor& power, const Tensor& filters) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return at::matmul(power.to(at::kFloat), filters);
}

Tensor log_floor(const Tensor& x, double floor) {
  return x.clamp_min(floor).log();
}

}  // namespace tessera::ops
