// A part of the world, for models that are too small for all of it.
#pragma once

#include "train/world/speech.h"
#include "train/world/vocabulary.h"

namespace tessera::world {

struct WorldLimits {
  int emoji = first_shape();  // kinds of emoji that occur: the first of object_kinds(); at least 1
  int groups = 4;             // most groups of a scene, 1-4
  int voices =
      static_cast<int>(world::voices().size());  // voices that speak: the first of voices()

  bool operator==(const WorldLimits&) const = default;
};

}  // namespace tessera::world
