// What `bench any2any` found, as JSON and as text.
#pragma once

#include "io/json.h"
#include "train/any2any/metrics.h"
#include "train/any2any/suite.h"
#include "train/any2any/targets.h"

#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace tessera::any2any {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// One figure with what it stands beside; kUnknown where that was not measured.
struct Metric {
  std::string name;
  size_t n = 0;  // items
  double value = kUnknown;
  Interval interval = {};      // 95 %
  double chance = kUnknown;    // a training item's reply drawn at random
  double majority = kUnknown;  // the most frequent reply
  double judge = kUnknown;     // the judge on the true media: what can be reached at most
  double codec = kUnknown;     // the judge on the true media's copy by the model's codec
  std::optional<Target> target = std::nullopt;

  /// Unset without a target or without items.
  std::optional<bool> met() const;
};

/// A part as a report shows it.
struct Shown {
  Modality modality = Modality::kText;
  std::string bytes;  // PNG, WAV or text
};

/// An item to look at and listen to.
struct Example {
  std::vector<Shown> inputs;  // media
  std::string asked;
  std::vector<Shown> reply;
  std::vector<Shown> truth;
  std::string verdict;
  bool right = false;
};

/// Seconds of something that was timed one conversation at a time.
struct Timing {
  std::string name;  // "picture_seconds"
  std::vector<double> values = {};

  double p50() const;
  double p95() const;
  std::optional<Target> target() const;
  /// By the median; unset without a target or without values.
  std::optional<bool> met() const;
};

struct RowResult {
  Row row;
  size_t n = 0;
  size_t malformed = 0;   // replies with a broken span
  size_t unanswered = 0;  // replies without a part of the modality that was asked for
  std::vector<Metric> metrics;
  Timing reply = {"reply_seconds"};  // one conversation at a time
  size_t batched = 0;                // replies made in batches
  double batch_seconds = 0;          // of all of these together
  std::vector<Example> examples;
};

struct Result {
  std::string model;
  uint64_t seed = 0;
  bool quick = false;
  std::string device = "cpu";
  int threads = 0;
  size_t items = 0;  // asked for in each row
  std::vector<RowResult> rows;
  std::vector<Timing> timings;
  std::vector<std::string> notes;  // what is missing
  double seconds = 0;

  /// Replies with a broken span among all, with its target.
  Metric malformed() const;
};

/// One object: model, seed, counts, pairs {row: {n, metrics {name: {…}}, reply_seconds …}},
/// latency, malformed, targets {met, missed, unknown}, seconds. What is unknown is null.
io::OrderedJson to_json(const Result& result);

/// Tables for people, 100 columns wide.
std::string to_text(const Result& result);

/// "0.912", "–" when it is not finite.
std::string figure(double value);
/// "≥ 0.9", "≤ 0.1", "< 1"; "" without a target.
std::string bound(const std::optional<Target>& target);

/// What a target is compared with; kUnknown when it was not measured.
struct Found {
  double value = kUnknown;
  std::optional<bool> met = std::nullopt;
};
Found found_for(const Result& result, const Target& target);

/// Figures that met their target, missed it, and were not measured.
struct TargetCount {
  int met = 0;
  int missed = 0;
  int unknown = 0;
};
TargetCount count_targets(const Result& result);

}  // namespace tessera::any2any
