// Character maps: sizes and offsets from a file are never trusted. (What real maps do is tested
// with whole models in sentencepiece_test.cc.)
#include "text/charsmap.h"

#include "core/error.h"
#include "io/file.h"
#include "text/byte_trie.h"
#include "text/sentencepiece_model.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace tessera::text {
namespace {

std::string golden_map() {
  const io::fs::path path = io::fs::path(TESSERA_GOLDENS) / "sentencepiece/unigram/tokenizer.model";
  return parse_sentencepiece(io::read_file(path), path.string()).normalizer.charsmap;
}

TEST(Charsmap, EmptyOneMatchesNothing) {
  const Charsmap map;
  EXPECT_TRUE(map.empty());
  EXPECT_FALSE(map.longest_match("abc"));
}

TEST(Charsmap, FindsShortestAndLongestRule) {
  const Charsmap map(golden_map(), "test");
  // The rules of the golden model: A → a, AB → xy, ß → nothing.
  const auto longest = map.longest_match("ABC");
  ASSERT_TRUE(longest);
  EXPECT_EQ(longest->length, 2U);
  EXPECT_EQ(longest->replacement, "xy");
  const auto shortest = map.shortest_match("ABC");
  ASSERT_TRUE(shortest);
  EXPECT_EQ(shortest->length, 1U);
  EXPECT_EQ(shortest->replacement, "a");
  const auto removed = map.longest_match("\xC3\x9F");
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->replacement, "");
  EXPECT_FALSE(map.longest_match("b"));
  EXPECT_FALSE(map.longest_match(""));
  EXPECT_FALSE(map.longest_match(std::string_view("\0", 1)));
}

TEST(Charsmap, RefusesWrongSizes) {
  const std::string map = golden_map();
  for (size_t size = 0; size < map.size(); ++size) {
    const std::string_view cut = std::string_view(map).substr(0, size);
    const bool ends_well = size > 4 + 1024 && cut.back() == '\0';
    if (!ends_well) {
      EXPECT_THROW(Charsmap(cut, "test"), CorruptFile) << size;
    }
  }
  std::string huge = map;
  huge.replace(0, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_THROW(Charsmap(huge, "test"), CorruptFile);
  std::string odd = map;
  odd[0] = 3;
  EXPECT_THROW(Charsmap(odd, "test"), CorruptFile);
}

TEST(Charsmap, StaysInsideBrokenTries) {
  const std::string map = golden_map();
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string broken = map;
    for (int i = 0; i < 40; ++i) {
      broken[4 + random() % 1024] = static_cast<char>(random());
    }
    const Charsmap parsed(broken, "test");
    for (int first = 0; first < 256; ++first) {
      const std::string text = {static_cast<char>(first), 'A', 'B', static_cast<char>(random())};
      if (const auto match = parsed.longest_match(text)) {
        EXPECT_LE(match->length, text.size());
        EXPECT_LE(match->replacement.size(), map.size());
      }
    }
  }
}

TEST(ByteTrie, FindsLongestPrefix) {
  const ByteTrie trie({{"ab", 1}, {"a", 0}, {"abcd", 2}, {"\xFF", 3}});
  EXPECT_EQ(trie.longest_prefix("abcx"), 2U);
  EXPECT_EQ(trie.longest_prefix("abcd"), 4U);
  EXPECT_EQ(trie.longest_prefix("\xFF\xFF"), 1U);
  EXPECT_EQ(trie.longest_prefix("b"), 0U);
  EXPECT_EQ(trie.longest_prefix(""), 0U);
  EXPECT_EQ(ByteTrie().longest_prefix("a"), 0U);
  EXPECT_TRUE(ByteTrie().empty());
}

}  // namespace
}  // namespace tessera::text
