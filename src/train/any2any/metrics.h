// Averages of a bench with their uncertainty.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera::any2any {

/// What one item gives to a metric: 1 of 1 when it is right, errors of words, slots of slots.
struct Sample {
  double part = 0;
  double whole = 1;
  int group = -1;  // class of the truth, for macro averages
};

enum class Average {
  kMicro,  // Σ part / Σ whole
  kMacro   // mean over the groups that occur of each one's Σ part / Σ whole
};

/// NaN when there is nothing to divide by.
double average(std::span<const Sample> samples, Average kind);

struct Interval {
  double low = 0;
  double high = 0;
};

/// Wilson's 95 % interval of a rate (Wilson 1927); [0, 1] for no trials.
Interval wilson(double right, double trials);

/// 95 % interval of `average`: Wilson's for a rate, and for classes that are all right or all
/// wrong, else from 1000 bootstrap draws of items (Efron
/// 1979), which the seed decides. NaN without samples.
Interval interval(std::span<const Sample> samples, Average kind, uint64_t seed);

/// The value below which a share `p` of the sorted values lies, nearest rank; NaN for none.
double percentile(std::vector<double> values, double p);

}  // namespace tessera::any2any
