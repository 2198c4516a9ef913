// What a user can ask of a model that knows this world: the lines of /help in a conversation.
#pragma once

#include "core/message.h"
#include "train/world/limits.h"

#include <set>
#include <string>
#include <vector>

namespace tessera::world {

/// Objects, colours, places, voices and tunes of the world within the limits, and examples; only
/// what the modalities (besides text) can show.
std::vector<std::string> help_lines(const WorldLimits& limits,
                                    const std::set<Modality>& modalities);

}  // namespace tessera::world
