// What Python's str methods know of characters (Python 3.11, Unicode 14), for chat templates.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tessera::text::jinja {

/// Bits of `character_flags`.
enum CharacterFlag : uint32_t {
  kPrintable = 1,
  kAlpha = 2,
  kDecimal = 4,
  kDigit = 8,
  kNumeric = 16,
  kUpper = 32,
  kLower = 64,
  kTitle = 128,  // letters like U+01C5, neither upper nor lower
};

uint32_t character_flags(char32_t c);
/// `str.isspace` of one character, which is also `\s` of `re`.
bool is_python_space(char32_t c);

/// The str methods of these names; `text` is valid UTF-8.
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
std::string to_title(std::string_view text);
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
std::string case_fold(std::string_view text);

// Tables of python_unicode_data.cc, sorted by code.
struct CaseRange {  // codes first, first + step, ... last move by delta
  uint32_t first;
  uint32_t last;
  uint32_t step;
  int32_t delta;
};
struct CaseString {
  uint32_t code;
  const char* text;
};
extern const std::span<const uint32_t> kCharacterFlags;
extern const std::span<const CaseRange> kLowerRanges, kUpperRanges, kTitleRanges, kFoldRanges;
extern const std::span<const CaseString> kLowerStrings, kUpperStrings, kTitleStrings, kFoldStrings;

}  // namespace tessera::text::jinja
