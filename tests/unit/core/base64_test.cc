#include "core/base64.h"

#include "core/random.h"

#include <gtest/gtest.h>

#include <utility>

namespace tessera {
namespace {

TEST(Base64, ExamplesOfRfc4648BothWays) {
  for (const auto& [bytes, text] : {std::pair<std::string_view, std::string_view>{"", ""},
                                    {"f", "Zg=="},
                                    {"fo", "Zm8="},
                                    {"foo", "Zm9v"},
                                    {"foob", "Zm9vYg=="},
                                    {"fooba", "Zm9vYmE="},
                                    {"foobar", "Zm9vYmFy"},
                                    {"\xff\xfe\xfd", "//79"},
                                    {std::string_view("\0\0", 2), "AAA="}}) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
}

TEST(Base64, EveryByteComesBack) {
  Rng rng(5);
  for (size_t size = 0; size < 200; ++size) {
    std::string bytes;
    for (size_t i = 0; i < size; ++i) {
      bytes += static_cast<char>(rng.below(256));
    }
    EXPECT_EQ(base64_decode(base64(bytes)), bytes);
  }
}

TEST(Base64, RefusesWhatIsNoBase64) {
  for (const std::string_view text : {"Z", "Zg", "Zg=", "Zm9", "Z===", "====", "Zg==Zg==", "Z=g=",
                                      "Zm9*", "Zm 9", "Zm9v\n", "Zh==", "Zm9=", "Zm9_"}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace tessera
