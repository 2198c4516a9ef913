// Media from outside the world, for replies that say so: pictures with the statistics of
// photographs, and recordings of people made to sound like others.
#pragma once

#include "core/media.h"

#include <cstdint>

namespace tessera::world {

/// size × size RGB of overlapping shaded leaves whose sizes follow a power law (the dead leaves
/// model, which has the spectrum and edges of natural scenes: Lee, Mumford and Huang 2001).
Image render_foreign(int size, uint64_t seed);

/// The recording as another speaker in another place might have made it: up to 10 % faster or
/// slower (pitch moves along), louder or quieter, with some noise. Mono; the rate stays.
Audio perturb(const Audio& audio, uint64_t seed);

}  // namespace tessera::world
