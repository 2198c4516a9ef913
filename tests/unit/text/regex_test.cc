#include "text/regex.h"

#include "core/error.h"
#include "core/strings.h"

#include <gtest/gtest.h>

#include <vector>

namespace tessera::text {
namespace {

std::string matches(const char* pattern, std::string_view text) {
  std::vector<std::string> found;
  Regex(pattern).find_all(
      text, [&](size_t begin, size_t end) { found.emplace_back(text.substr(begin, end - begin)); });
  return join(found, "|");
}

// Expected values: tokenizers 0.23.3, pre_tokenizers.Split(Regex(pattern), "removed", invert=True).
TEST(Regex, ReadsOnigurumaSyntax) {
  EXPECT_EQ(matches("\\h+", "12fg xyz"), "12f");
  EXPECT_EQ(matches("^a", "a\na"), "a|a");
  EXPECT_EQ(matches("(?m:a.b)", "a\nb"), "a\nb");
  EXPECT_EQ(matches("[\\p{L}&&[^a-z]]+", "abCDéf"), "CDé");
  EXPECT_EQ(matches("\\p{^L}+", "ab12c"), "12");
  EXPECT_EQ(matches("(?i)'s", "'\u017F"), "'\u017F");
}

TEST(Regex, FollowsOnigurumaOnCharactersThatPcre2DoesNotKnow) {
  EXPECT_EQ(matches("\\s+", " \u180E"), " ");
  EXPECT_EQ(matches("\\p{Lu}", "\u1C89"), "\u1C89");
  EXPECT_EQ(matches("\\p{Han}", "、\U00031350"), "\U00031350");
  EXPECT_EQ(matches("\\w+", "e\u0301x"), "e\u0301x");
}

TEST(Regex, LiteralsAreNotPatterns) {
  std::string found;
  Regex::literal("a.*[").find_all("xa.*[", [&](size_t begin, size_t end) {
    found += std::to_string(begin) + "-" + std::to_string(end);
  });
  EXPECT_EQ(found, "1-5");
}

TEST(Regex, ARunawayPatternIsAnError) {
  const Regex regex("(?:a+)+(?:a+)+$(?<!a)");
  EXPECT_THROW(regex.find_all(std::string(2000, 'a') + "b", [](size_t, size_t) {}),
               InvalidArgument);
}

TEST(Regex, MalformedPatternsAreErrors) {
  for (const char* pattern : {"(", "[a", "\\", "\\p{", "\\p{NoSuchThing}", "a{2,1}", "[[:alpha",
                              "[[[[", "\\u12", "(?<n"}) {
    EXPECT_THROW(Regex{pattern}, Error) << pattern;
  }
  EXPECT_THROW(Regex(std::string(1 << 20, 'a')), CorruptFile);
}

}  // namespace
}  // namespace tessera::text
