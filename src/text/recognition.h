// Texts of speech recognition: the characters that a CTC recogniser knows, its greedy decoding, and
// the word error rate.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

/// Letters, apostrophe and space in lower case; everything else becomes a space, spaces are single
/// and none stands at either end. "It's 2!" -> "it's". Typographic apostrophes count.
std::string normalize_spoken(std::string_view text);

/// Symbols of the CTC recogniser: 0 is the blank, 1 the space, 2 the apostrophe, 3 … 28 are a … z.
inline constexpr int64_t kSpokenSymbols = 29;
/// Symbols of normalize_spoken(text).
std::vector<int64_t> spoken_symbols(std::string_view text);
/// The text of a path of symbols, one a frame: repetitions are merged, then blanks dropped. Symbols
/// out of range count as blanks.
std::string spoken_text(std::span<const int64_t> path);

/// Insertions, deletions and substitutions of words (or characters) that turn one text into the
/// other.
struct ErrorCount {
  int64_t errors = 0;
  int64_t total = 0;  // of the reference

  double rate() const {
    return static_cast<double>(errors) / static_cast<double>(total > 0 ? total : 1);
  }
  ErrorCount& operator+=(const ErrorCount& other);
};
/// Both texts are normalised first. Words are counted, so that rates of many texts can be summed.
ErrorCount word_errors(std::string_view reference, std::string_view hypothesis);
ErrorCount character_errors(std::string_view reference, std::string_view hypothesis);

}  // namespace tessera::text
