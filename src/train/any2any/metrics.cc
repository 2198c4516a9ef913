#include "train/any2any/metrics.h"

#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace tessera::any2any {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kDraws = 1000;

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : kNone;
}

bool is_rate(std::span<const Sample> samples) {
  return std::all_of(samples.begin(), samples.end(),
                     [](const Sample& s) { return s.whole == 1 && (s.part == 0 || s.part == 1); });
}

}  // namespace

double average(std::span<const Sample> samples, Average kind) {
  std::map<int, std::pair<double, double>> sums;
  for (const Sample& sample : samples) {
    auto& [part, whole] = sums[kind == Average::kMacro ? sample.group : 0];
    part += sample.part;
    whole += sample.whole;
  }
  double total = 0;
  int groups = 0;
  for (const auto& [group, sum] : sums) {
    if (sum.second > 0) {
      total += sum.first / sum.second;
      ++groups;
    }
  }
  return ratio(total, groups);
}

Interval wilson(double right, double trials) {
  if (trials <= 0) {
    return {0, 1};
  }
  constexpr double kZ = 1.959964;  // 97.5 % of the normal distribution
  const double p = right / trials;
  const double scale = 1 / (1 + kZ * kZ / trials);
  const double middle = p + kZ * kZ / (2 * trials);
  const double half = kZ * std::sqrt(p * (1 - p) / trials + kZ * kZ / (4 * trials * trials));
  // The ends of none and all are exact; rounding would miss them.
  return {right <= 0 ? 0 : std::max(0.0, scale * (middle - half)),
          right >= trials ? 1 : std::min(1.0, scale * (middle + half))};
}

Interval interval(std::span<const Sample> samples, Average kind, uint64_t seed) {
  if (samples.empty()) {
    return {kNone, kNone};
  }
  if (is_rate(samples)) {
    double right = 0;
    for (const Sample& sample : samples) {
      right += sample.part;
    }
    const auto trials = static_cast<double>(samples.size());
    // All right or all wrong: every draw would be the same.
    if (kind == Average::kMicro || right == 0 || right == trials) {
      return wilson(right, trials);
    }
  }
  Rng rng(seed, hash_name("bootstrap"));
  std::vector<Sample> drawn(samples.size());
  std::vector<double> values;
  for (int i = 0; i < kDraws; ++i) {
    for (Sample& sample : drawn) {
      sample = samples[rng.below(samples.size())];
    }
    if (const double value = average(drawn, kind); std::isfinite(value)) {
      values.push_back(value);
    }
  }
  return {percentile(values, 0.025), percentile(values, 0.975)};
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) {
    return kNone;
  }
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(p * static_cast<double>(values.size())) - 1;
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(std::clamp(rank, 0.0, last))];
}

}  // namespace tessera::any2any
