// Extended grapheme clusters (UAX #29) as the `tokenizers` package cuts them.
#pragma once

#include <cstddef>
#include <string_view>

namespace tessera::text {

/// Bytes of the first cluster of `text` (valid UTF-8 that begins at a cluster's boundary); 0 for
/// an empty one.
size_t grapheme_length(std::string_view text);

}  // namespace tessera::text
