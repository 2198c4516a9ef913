// Tables of text/unicode_data.cc; use them through text/unicode.h.
#pragma once

#include <array>
#include <cstdint>

namespace tessera::text {

struct CodeRange {
  uint32_t first;
  uint32_t last;
};

struct CodeMap {
  uint32_t first;
  uint32_t last;
  uint32_t value;
};

/// What decides where grapheme clusters end (text/grapheme.cc); the values are those of kGrapheme.
enum class GraphemeClass : uint32_t {
  kOther = 0,
  kControl = 1,
  kExtend = 2,
  kNonJoiner = 3,    // extends, but no conjunct (U+200C)
  kJoiner = 4,       // U+200D
  kSpacingMark = 5,  // joins what is before it, and ends conjuncts and pictographs
  kPrepend = 6,
  kLinker = 7,  // virama
  kConsonant = 8,
  kPictographic = 9,
  kHangulL = 10,
  kHangulV = 11,
  kHangulT = 12,
  kHangulLV = 13,           // by formula
  kHangulLVT = 14,          // by formula
  kRegionalIndicator = 15,  // by formula
};

extern const std::array<CodeRange, 156> kPunctuation;
extern const std::array<CodeRange, 146> kNumeric;
extern const std::array<CodeRange, 796> kWord;
extern const std::array<CodeRange, 250> kCombiningMark;
extern const std::array<CodeRange, 266> kNonspacingMark;
extern const std::array<CodeRange, 25> kControl;
extern const std::array<CodeRange, 46> kNormalizationInert;
extern const std::array<CodeMap, 10> kLowercase;
extern const std::array<CodeMap, 128> kRegexSubstitute;
extern const std::array<CodeMap, 828> kGrapheme;

}  // namespace tessera::text
