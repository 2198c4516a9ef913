// Items of the synthetic world in the proportions of a recipe, without what a model has no codec
// for.
#pragma once

#include "train/options.h"
#include "train/world/recordings.h"
#include "train/world/world.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera::train {

class WorldItems {
 public:
  /// Reads "world", "split" (train | validation | test) and "mixture" of the data section: weights
  /// of the pairs ("text-image"), "chat", "outside", "small_talk", "foreign" and, from the folder
  /// "digits", "digits". `offered` are the modalities that the model has a codec for. Throws
  /// InvalidArgument for a pair that needs another one.
  WorldItems(const Options& data, const std::set<Modality>& offered, uint64_t seed);

  /// Item `index` of an endless list; the same arguments give the same item. Turns of chats that
  /// need a modality without a codec are left out, and such items drawn anew. Thread-safe.
  world::Item draw(uint64_t index) const;

  /// Modalities but text that items may hold.
  const std::set<Modality>& modalities() const { return modalities_; }
  const world::WorldLimits& limits() const { return limits_; }
  /// What the items depend on, for comparison.
  io::Json settings() const;

 private:
  world::Item make(const std::string& kind, uint64_t index) const;
  bool keep(world::Item& item) const;

  uint64_t seed_;
  world::Split split_;
  world::WorldLimits limits_;
  std::vector<std::pair<std::string, double>> mixture_;
  double total_ = 0;
  std::set<Modality> modalities_;
  std::vector<world::DigitRecording> digits_;  // of the split
};

/// What the user writes in a turn: the wording, then the text that it is about.
std::string user_text(const world::Turn& turn);

}  // namespace tessera::train
