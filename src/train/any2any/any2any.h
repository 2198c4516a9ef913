// `bench any2any`: items with exact truth for every ordered pair of text, picture, speech and music
// are put to a model; judges and readers find what its replies hold.
#pragma once

#include "pipelines/converse.h"
#include "train/any2any/judges.h"
#include "train/any2any/results.h"

#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace tessera::any2any {

/// What is measured.
struct Subject {
  std::function<std::vector<pipelines::Reply>(std::span<const std::vector<Message>>)> reply;
  /// Media through the model's codec and back; empty: not measured.
  std::function<Part(const Part&)> copy;
  std::set<Modality> modalities;  // beside text
  MediaSizes sizes;
  world::WorldLimits limits;
};

/// A model as it answers when its words alone tell what it should make. "world" of its
/// any_to_any.json, {"emoji": n, "groups": n}, limits the scenes. `model` must outlive the result.
/// Throws CorruptFile for limits outside the world.
Subject subject_of(pipelines::AnyToAny& model, uint64_t seed);

struct Settings {
  size_t items = 200;   // a row
  size_t batch = 16;    // conversations at once
  size_t singles = 8;   // first items of a row that are timed one by one
  double seconds = 0;   // nothing but the first item begins later; 0: no limit
  size_t examples = 2;  // right ones and wrong ones of a row for the report
  uint64_t seed = 0;
};

/// Puts the suite's items to the subject, in turns of all rows, so that a stop leaves equal parts.
/// Says how long it will take once the first batch is done. Fills rows, timings, notes and seconds.
Result run_bench(const Subject& subject,
                 const Judges& judges,
                 const Suite& suite,
                 const Settings& settings);

}  // namespace tessera::any2any
