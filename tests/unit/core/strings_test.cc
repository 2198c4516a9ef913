#include "core/strings.h"

#include <gtest/gtest.h>

namespace tessera {

// Oracle: Python 3.11, bytes.decode("utf-8", errors="replace").
TEST(Strings, LossyReplacesEachMaximalBrokenPrefixOnce) {
  EXPECT_EQ(utf8_lossy("ok"), "ok");
  EXPECT_EQ(utf8_lossy("\xF0\x9F\x98"), "\xEF\xBF\xBD");
  EXPECT_EQ(utf8_lossy("\xE2\x82z"), "\xEF\xBF\xBDz");
  EXPECT_EQ(utf8_lossy("\xC0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(utf8_lossy("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(utf8_lossy("\xF4\x90\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Strings, DecodeAndAppendAreInverse) {
  for (const char32_t c : {U'a', U'é', U'€', U'😀', U'\x10FFFF'}) {
    std::string bytes;
    utf8_append(bytes, c);
    int length = 0;
    EXPECT_EQ(utf8_decode(bytes, &length), c);
    EXPECT_EQ(length, static_cast<int>(bytes.size()));
  }
}

TEST(Strings, ClosestMatchFindsTyposOnly) {
  const std::vector<std::string> names = {"generate", "inspect", "tokenize"};
  EXPECT_EQ(closest_match("genrate", names), "generate");
  EXPECT_EQ(closest_match("tokenise", names), "tokenize");
  EXPECT_FALSE(closest_match("serve", names).has_value());
}

TEST(Strings, SplitAndTrim) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(trim("  x \n"), "x");
  EXPECT_EQ(trim(" \n"), "");
}

}  // namespace tessera
