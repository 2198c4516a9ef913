#include "text/recognition.h"

#include <gtest/gtest.h>

namespace tessera::text {
namespace {

TEST(Recognition, Normalizes) {
  EXPECT_EQ(normalize_spoken("  It\u2019s 2 BIG\tcats! "), "it's big cats");
  EXPECT_EQ(normalize_spoken(""), "");
  EXPECT_EQ(normalize_spoken("?!7"), "");
}

TEST(Recognition, SymbolsRoundTrip) {
  const std::vector<int64_t> symbols = spoken_symbols("Az'z b");
  EXPECT_EQ(symbols, (std::vector<int64_t>{3, 28, 2, 28, 1, 4}));
  std::vector<int64_t> path;  // each symbol twice, blanks between
  for (const int64_t symbol : symbols) {
    path.insert(path.end(), {symbol, symbol, 0});
  }
  EXPECT_EQ(spoken_text(path), "az'z b");
  // Without a blank between, equal neighbours are one; odd symbols are blanks.
  EXPECT_EQ(spoken_text(std::vector<int64_t>{3, 3, 3}), "a");
  EXPECT_EQ(spoken_text(std::vector<int64_t>{3, 0, 3, -5, 99, 3}), "aaa");
  EXPECT_EQ(spoken_text({}), "");
}

TEST(Recognition, CountsErrors) {
  const auto rate = [](const char* a, const char* b) { return word_errors(a, b).rate(); };
  EXPECT_EQ(rate("two red cats", "two red cats"), 0.0);
  EXPECT_DOUBLE_EQ(rate("two red cats", "two bed cats"), 1.0 / 3);      // substitution
  EXPECT_DOUBLE_EQ(rate("two red cats", "two cats"), 1.0 / 3);          // deletion
  EXPECT_DOUBLE_EQ(rate("two red cats", "two red red cats"), 1.0 / 3);  // insertion
  EXPECT_DOUBLE_EQ(rate("cats", ""), 1.0);
  EXPECT_EQ(word_errors("", "one two").errors, 2);
  EXPECT_EQ(character_errors("kitten", "sitting").errors, 3);
  ErrorCount sum = word_errors("a b", "a c");
  sum += word_errors("d e", "d e");
  EXPECT_DOUBLE_EQ(sum.rate(), 0.25);
}

}  // namespace
}  // namespace tessera::text
