// Decoder of G.722 speech (ITU-T, 64 kbit/s), the form of Debian's asterisk prompts.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace tessera::world {

/// Samples at 16 kHz in [-1, 1], two for each byte.
std::vector<float> decode_g722(std::string_view bytes);

}  // namespace tessera::world
