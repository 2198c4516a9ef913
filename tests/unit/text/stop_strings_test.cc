#include "text/stop_strings.h"

#include "core/error.h"
#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tessera::text {
namespace {

TEST(StopStrings, HoldsBackWhatMayBecomeOne) {
  StopStrings stop({"END", "\n\n"});
  EXPECT_EQ(stop.push("one E"), "one ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("T\n"), "ENT");
  EXPECT_EQ(stop.push("\nmore"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, WhatWasHeldBackComesAtTheEnd) {
  StopStrings stop({"</s>"});
  EXPECT_EQ(stop.push("a </"), "a ");
  EXPECT_EQ(stop.finish(), "</");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopStrings, TheFirstToEndWinsAndTheLongestOfThose) {
  EXPECT_EQ(StopStrings({"bcd", "b"}).push("abcd"), "a");
  EXPECT_EQ(StopStrings({"c", "abc"}).push("xabc"), "x");
  EXPECT_EQ(StopStrings({}).push("all of it"), "all of it");
  EXPECT_THROW(StopStrings({""}), InvalidArgument);
}

// Every way to cut a text gives what the whole text gives by a plain search.
TEST(StopStrings, CutsMakeNoDifference) {
  Rng rng(3);
  for (int round = 0; round < 3000; ++round) {
    const auto word = [&](uint64_t most) {
      std::string text(1 + rng.below(most), 'a');
      for (char& c : text) {
        c = "ab"[rng.below(2)];
      }
      return text;
    };
    const std::string text = word(20);
    std::vector<std::string> strings(1 + rng.below(3));
    for (std::string& string : strings) {
      string = word(6);
    }
    std::string expected = text;
    for (size_t end = 1; end <= text.size() && expected == text; ++end) {
      for (size_t begin = 0; begin < end; ++begin) {
        if (std::find(strings.begin(), strings.end(), text.substr(begin, end - begin)) !=
            strings.end()) {
          expected = text.substr(0, begin);
          break;
        }
      }
    }
    StopStrings stop(strings);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min<size_t>(1 + rng.below(4), text.size() - at);
      shown += stop.push(text.substr(at, size));
      ASSERT_TRUE(expected.starts_with(shown)) << text;
      at += size;
    }
    ASSERT_EQ(shown + stop.finish(), expected) << text;
  }
}

}  // namespace
}  // namespace tessera::text
