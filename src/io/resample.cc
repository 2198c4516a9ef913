// Windowed-sinc polyphase resampling as in torchaudio 2.11 transforms.Resample: method
// sinc_interp_hann, lowpass_filter_width 6, rolloff 0.99, kernel in float64 rounded to fp32.
// With o:n the reduced rates, output k = q·n + i is the sum over j of kernel[i][j]·x[q·o + j]; only
// the 2·width + 1 taps around i·o/n differ from zero and are stored (torchaudio: 2·width + o).
// Difference: the output length is computed in integers; torchaudio rounds it to fp32 (over 2²⁴).
#include "io/resample.h"

#include "core/error.h"
#include "io/wav.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace tessera::io {
namespace {

constexpr double kFilterWidth = 6;
constexpr double kRolloff = 0.99;
constexpr int kMaxRatio = 1000;
// Above this many taps (16 MB) phases are computed when needed: coprime rates have many.
constexpr int64_t kMaxStoredTaps = int64_t{1} << 22;
constexpr size_t kLanes = 16;

// Sums in a fixed order with independent lanes, which the compiler turns into vector registers.
float dot(const float* a, const float* b, size_t count) {
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t k = 0; k < kLanes; ++k) {
      lanes[k] += a[i + k] * b[i + k];
    }
  }
  float sum = 0;
  for (; i < count; ++i) {
    sum += a[i] * b[i];
  }
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t k = 0; k < width; ++k) {
      lanes[k] += lanes[k + width];
    }
  }
  return sum + lanes[0];
}

int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b != 0 ? 1 : 0);
}

}  // namespace

// The filter for one pair of rates; shared by channels.
class ResampleKernel {
 public:
  ResampleKernel(int from, int to) : from_(from), to_(to) {
    const int divisor = std::gcd(from, to);
    o_ = from / divisor;
    n_ = to / divisor;
    base_ = static_cast<double>(std::min(o_, n_)) * kRolloff;
    width_ = static_cast<int64_t>(std::ceil(kFilterWidth * static_cast<double>(o_) / base_));
    if (n_ * taps() <= kMaxStoredTaps) {
      table_.resize(static_cast<size_t>(n_ * taps()));
      for (int64_t i = 0; i < n_; ++i) {
        compute(i, table_.data() + i * taps());
      }
    }
  }

  int64_t o() const { return o_; }
  int64_t n() const { return n_; }
  int64_t width() const { return width_; }
  int64_t taps() const { return 2 * width_ + 1; }
  int from() const { return from_; }
  int to() const { return to_; }

  // First input sample that output k depends on; it is used with taps() samples from there.
  int64_t first_input(int64_t k) const { return k / n_ * o_ + k % n_ * o_ / n_ - width_; }

  // Taps of output k; `scratch` holds them when they are not stored.
  const float* phase(int64_t k, std::vector<float>& scratch) const {
    const int64_t i = k % n_;
    if (!table_.empty()) {
      return table_.data() + i * taps();
    }
    scratch.resize(static_cast<size_t>(taps()));
    compute(i, scratch.data());
    return scratch.data();
  }

 private:
  void compute(int64_t i, float* out) const {
    // torchaudio divides −i by n in fp32 before the rest runs in float64.
    const double shift = static_cast<float>(-i) / static_cast<float>(n_);
    const int64_t first = i * o_ / n_ - width_;
    const double scale = base_ / static_cast<double>(o_);
    for (int64_t j = 0; j < taps(); ++j) {
      double t = (shift + static_cast<double>(first + j) / static_cast<double>(o_)) * base_;
      t = std::clamp(t, -kFilterWidth, kFilterWidth);
      const double edge = std::cos(t * std::numbers::pi / kFilterWidth / 2);
      t *= std::numbers::pi;
      out[j] = static_cast<float>((t == 0 ? 1 : std::sin(t) / t) * (edge * edge * scale));
    }
  }

  int from_;
  int to_;
  int64_t o_;
  int64_t n_;
  double base_;
  int64_t width_;
  std::vector<float> table_;  // [n, taps], empty when computed on the fly
};

Resampler::Resampler(int from, int to) {
  TESSERA_CHECK(from >= 1 && to >= 1 && from <= kMaxSampleRate && to <= kMaxSampleRate,
                InvalidArgument, "cannot resample {} Hz to {} Hz, expected rates from 1 to {}",
                from, to, kMaxSampleRate);
  TESSERA_CHECK(from / to <= kMaxRatio && to / from <= kMaxRatio, InvalidArgument,
                "cannot resample {} Hz to {} Hz, expected rates at most {} times apart", from, to,
                kMaxRatio);
  if (from == to) {
    return;
  }
  kernel_ = std::make_shared<const ResampleKernel>(from, to);
  history_start_ = -kernel_->width();
  history_.assign(static_cast<size_t>(kernel_->width()), 0.0F);
}

// Appends the outputs below `end` for which the history holds all inputs, then forgets what no
// later output needs.
void Resampler::produce(int64_t end, std::vector<float>& output) {
  const ResampleKernel& kernel = *kernel_;
  const auto count = static_cast<size_t>(kernel.taps());
  const int64_t have = history_start_ + static_cast<int64_t>(history_.size());
  int64_t first = kernel.first_input(output_length_);
  while (output_length_ < end && first + kernel.taps() <= have) {
    const float* taps = kernel.phase(output_length_, taps_);
    output.push_back(dot(taps, history_.data() + (first - history_start_), count));
    first = kernel.first_input(++output_length_);
  }
  const int64_t unused = std::clamp<int64_t>(first - history_start_, 0, have - history_start_);
  history_.erase(history_.begin(), history_.begin() + unused);
  history_start_ += unused;
}

std::vector<float> Resampler::push(std::span<const float> input) {
  if (kernel_ == nullptr) {
    return {input.begin(), input.end()};
  }
  // Blocks bound the history even when a whole recording is pushed at once.
  constexpr size_t kBlock = size_t{1} << 16;
  std::vector<float> output;
  output.reserve(
      static_cast<size_t>(static_cast<double>(input.size()) * static_cast<double>(kernel_->n()) /
                          static_cast<double>(kernel_->o())) +
      2);
  while (!input.empty()) {
    const auto part = input.first(std::min(input.size(), kBlock));
    history_.insert(history_.end(), part.begin(), part.end());
    input_length_ += static_cast<int64_t>(part.size());
    produce(std::numeric_limits<int64_t>::max(), output);
    input = input.subspan(part.size());
  }
  return output;
}

std::vector<float> Resampler::finish() {
  std::vector<float> output;
  if (kernel_ == nullptr) {
    return output;
  }
  // ⌈n·length/o⌉ without the product, which could overflow.
  const int64_t o = kernel_->o();
  const int64_t n = kernel_->n();
  const int64_t end = input_length_ / o * n + ceil_divide(input_length_ % o * n, o);
  history_.resize(history_.size() + static_cast<size_t>(kernel_->taps()), 0.0F);
  produce(end, output);
  history_.assign(static_cast<size_t>(kernel_->width()), 0.0F);
  history_start_ = -kernel_->width();
  input_length_ = 0;
  output_length_ = 0;
  return output;
}

std::vector<float> resample(std::span<const float> input, int from, int to) {
  Resampler resampler(from, to);
  std::vector<float> output = resampler.push(input);
  const std::vector<float> rest = resampler.finish();
  output.insert(output.end(), rest.begin(), rest.end());
  return output;
}

namespace {

// Runs `step` (push or finish) on every channel and weaves the results.
template <class Step>
std::vector<float> weave(std::vector<Resampler>& channels, Step step) {
  const size_t count = channels.size();
  std::vector<float> output;
  for (size_t c = 0; c < count; ++c) {
    const std::vector<float> one = step(channels[c], c);
    output.resize(one.size() * count);
    for (size_t i = 0; i < one.size(); ++i) {
      output[i * count + c] = one[i];
    }
  }
  return output;
}

}  // namespace

std::vector<float> InterleavedResampler::push(std::span<const float> input) {
  const size_t count = channels_.size();
  std::vector<float> one(input.size() / count);
  return weave(channels_, [&](Resampler& channel, size_t c) {
    for (size_t i = 0; i < one.size(); ++i) {
      one[i] = input[i * count + c];
    }
    return channel.push(one);
  });
}

std::vector<float> InterleavedResampler::finish() {
  return weave(channels_, [](Resampler& channel, size_t) { return channel.finish(); });
}

}  // namespace tessera::io
