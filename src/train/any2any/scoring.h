// What a reply is worth: the facts that were found in it, by judges or by reading, against an
// item's truth. Every way to answer (the model, a true rendering, a codec's copy of it, chance, a
// constant) is scored by the same function.
#pragma once

#include "train/any2any/metrics.h"
#include "train/world/world.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tessera::any2any {

/// Facts of one reply; what could not be found is empty.
struct Findings {
  bool valid = true;                  // no malformed span
  std::string text;                   // all of its text
  std::optional<world::Scene> scene;  // by the scene judge; counts said, sizes not
  std::optional<std::string> words;   // by the recogniser
  std::optional<int> voice;           // index of world::voices()
  std::optional<world::Key> key;
  std::optional<world::Metre> metre;
};

/// Judges that are at hand; a metric whose judge is missing is left out.
struct Senses {
  bool scene = true;
  bool words = true;
  bool voice = true;
  bool music = true;
};

/// The pair of an item's task; throws InvalidArgument for "chat" and "outside".
world::Pair pair_of(const world::Item& item);
/// The modality that the reply to an item is to have; text for requests outside the world.
Modality wanted_of(const world::Item& item);

/// What a judge without fault finds in an item's own outputs.
Findings true_findings(const world::Item& item);

/// Metric -> what this reply adds to it. A rate: 1 of 1 when right. What is missing in the findings
/// counts as wrong.
///   picture: object (all kinds, no others), colour and count (of all groups, each found by its
///     kind), relation, background; made from music: row (of the mood table)
///   music:   key, metre (macro); made from a picture: row
///   text:    slot_f1 or answer (about pictures), wer (of speech), key, metre (about music, where
///     the true answer tells it)
///   speech:  wer and voice_default|named|prompted (of text), slot_f1, key, metre (about media)
///   outside: helpful
std::map<std::string, Sample> score(const world::Item& item,
                                    const Findings& found,
                                    const Senses& senses = {});

/// How a metric's samples are averaged.
Average average_of(std::string_view metric);

/// Replies that need no model, made from a pool of training items of the same task.
class Baselines {
 public:
  /// `pool` may be empty: then the replies are.
  explicit Baselines(std::vector<world::Item> pool);

  /// The reply of a training item drawn at random, among those that ask for the same kind of fact;
  /// its voice is any of the world's.
  Findings chance(const world::Item& item, Rng& rng) const;
  /// The most frequent facts of the pool, whatever is asked: for each kind of question its most
  /// frequent answer, else a scene of the most frequent kinds, colours, counts and background, the
  /// most frequent key and metre, the most frequent sentence and voice.
  Findings majority(const world::Item& item) const;

 private:
  std::vector<world::Item> pool_;
  std::map<int, std::vector<size_t>> kinds_;  // items by the kind of fact that is asked
  std::map<int, Findings> modes_;
};

}  // namespace tessera::any2any
