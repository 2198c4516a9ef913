// Clusters by the examples of UAX #29; random strings are compared with the package by
// tests/parity/tokenizers_json.py.
#include "text/grapheme.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera::text {
namespace {

// "e\u0301|a" is cut where the bars are.
void expect_cuts(const std::string& marked) {
  std::string text;
  std::vector<std::string> expected(1);
  for (const char c : marked) {
    if (c == '|') {
      expected.emplace_back();
    } else {
      text += c;
      expected.back() += c;
    }
  }
  std::vector<std::string> got;
  for (size_t i = 0; i < text.size();) {
    const size_t length = grapheme_length(std::string_view(text).substr(i));
    ASSERT_GT(length, 0U);
    got.push_back(text.substr(i, length));
    i += length;
  }
  EXPECT_EQ(got, expected) << marked;
}

TEST(Grapheme, RulesOfUax29) {
  for (const char* marked :
       {"a|b", "\r\n|\n|\r|a", "\t|\u0301", "e\u0301|a\u0300\u0323", "\u0915\u0903|\u0915",
        "\u0600a|b", "\u0600|\n", "\u1100\u1161\u11a8|\u1100", "\uac00\u11a8|\uac01\u11a8|\uac00",
        "\uac01|\u1161", "\u1100\uac01", "\u200b|a",
        // emoji: joiner between pictographs, tones, flags in pairs
        "👩‍👩‍👧|👩", "👍🏽|👍", "🇩🇪|🇫🇷|🇩", "a\u200d|👩", "👩\u200d|a",
        "👩\u200d\u0301|👩", "👩\u0301\u200d👩",
        // conjuncts: a virama between consonants, with other extenders around it
        "\u0915\u094d\u0937", "\u0915\u094d\u200d\u0937", "\u0915\u093c\u094d\u0937",
        "\u0915\u093c|\u0937", "\u0915\u094d|a", "a\u094d|\u0937", "\u0915\u094d\u200c|\u0937",
        "\u0915\u0903\u094d|\u0937"}) {
    expect_cuts(marked);
  }
  EXPECT_EQ(grapheme_length(""), 0U);
  EXPECT_EQ(grapheme_length(std::string_view("\0a", 2)), 1U);
}

}  // namespace
}  // namespace tessera::text
