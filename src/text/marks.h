// Marks in text that comes in pieces: what must wait because a mark may have begun.
#pragma once

#include <algorithm>
#include <string_view>

namespace tessera::text {

inline constexpr std::string_view kSpace = " \t\r\n";

/// Bytes at the end of `text` that may be the beginning of `mark`, with the white space before
/// them. `blank`: so many bytes at its beginning are known to be white space and are not looked at
/// again.
inline size_t held_back(std::string_view text, std::string_view mark, size_t blank = 0) {
  size_t count = std::min(text.size(), mark.size() - 1);
  while (!text.ends_with(mark.substr(0, count))) {
    --count;
  }
  size_t end = text.size() - count;
  while (end > blank && kSpace.find(text[end - 1]) != std::string_view::npos) {
    --end;
  }
  return text.size() - (end <= blank ? 0 : end);
}

}  // namespace tessera::text
