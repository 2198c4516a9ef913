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

extern const std::array<CodeRange, 156> kPunctuation;
extern const std::array<CodeRange, 146> kNumeric;
extern const std::array<CodeRange, 796> kWord;
extern const std::array<CodeRange, 250> kCombiningMark;
extern const std::array<CodeRange, 266> kNonspacingMark;
extern const std::array<CodeRange, 25> kControl;
extern const std::array<CodeRange, 46> kNormalizationInert;
extern const std::array<CodeMap, 10> kLowercase;
extern const std::array<CodeMap, 128> kRegexSubstitute;

}  // namespace tessera::text
