// JSON of strangers: members as text, and the limit on their number.
#include "io/json_text.h"

#include "core/error.h"

#include <gtest/gtest.h>

namespace tessera::io {
namespace {

TEST(JsonText, MembersAreFoundAsTheyStand) {
  const std::string text =
      R"( { "a" : 1.50 ,"b":{"a":2, "s":"},\"a\":3"} , "c":[1,{"a":4}] ,"d":"x\"," , "a\u0062":5, "e": true} )";
  EXPECT_EQ(member_text(text, "a"), "1.50");
  EXPECT_EQ(member_text(text, "b"), R"({"a":2, "s":"},\"a\":3"})");
  EXPECT_EQ(member_text(text, "c"), R"([1,{"a":4}])");
  EXPECT_EQ(member_text(text, "d"), R"("x\",")");
  EXPECT_EQ(member_text(text, "e"), "true");
  EXPECT_EQ(member_text(text, "s"), "");
  EXPECT_EQ(member_text(text, "ab"), "");  // its name has escapes
  EXPECT_EQ(member_text(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(member_text("{}", "a"), "");
  EXPECT_EQ(member_text(R"({"":7})", ""), "7");
}

TEST(JsonText, StringsEndBehindTheirQuote) {
  EXPECT_EQ(string_end(R"("")", 0), 2U);
  EXPECT_EQ(string_end(R"(x "a\"b\\" "c")", 2), 10U);
  for (const char* text : {"\"", "\"a", "\"\\", "\"\\\""}) {
    EXPECT_EQ(string_end(text, 0), std::string_view(text).size()) << text;
  }
}

TEST(JsonText, WhatIsNoObjectHarmsNothing) {
  for (const char* text : {"", "[", "\"", "\"\\", "{\"a", "{\"a\":", "{\"a\":1", "}}}",
                           ":,:", "{:,}", "{\"a\\", "[{\"a\":1}]", "{\"a\":}", "{,\"a\":\"}"}) {
    EXPECT_LE(member_text(text, "a").size(), std::string_view(text).size()) << text;
  }
}

TEST(JsonText, OrderStaysAndWideObjectsAreRefused) {
  EXPECT_EQ(parse_small_json(R"({"z":1,"a":{"y":":","b":2}})", "x").dump(),
            R"({"z":1,"a":{"y":":","b":2}})");
  const auto wide = [](int members) {
    std::string text = "{";
    for (int i = 0; i < members; ++i) {
      text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
    }
    return text + "}";
  };
  EXPECT_EQ(parse_small_json(wide(4096), "x").size(), 4096U);
  EXPECT_THROW(parse_small_json(wide(4097), "x"), CorruptFile);
  EXPECT_THROW(parse_small_json("[[" + wide(4097) + "]]", "x"), CorruptFile);
  EXPECT_THROW(parse_small_json("{", "x"), CorruptFile);
  EXPECT_THROW(parse_small_json("]]]}:", "x"), CorruptFile);
}

}  // namespace
}  // namespace tessera::io
