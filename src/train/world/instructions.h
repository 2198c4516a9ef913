// Wordings of the tasks: at least twenty for each ordered pair of modalities.
#pragma once

#include "core/message.h"
#include "train/world/vocabulary.h"

#include <string>

namespace tessera::world {

/// What goes in and what is to come out; the two differ.
struct Pair {
  Modality from = Modality::kText;
  Modality to = Modality::kImage;
  bool operator==(const Pair&) const = default;
};

/// The twelve ordered pairs, text first.
const std::vector<Pair>& all_pairs();

/// "text-image".
std::string pair_name(Pair pair);

/// All wordings of a pair's task ("Draw this scene."). For text inputs the wording leaves the text
/// out; it follows.
const std::vector<std::string>& instructions(Pair pair);

}  // namespace tessera::world
