// Which way of drawing the environment selects, and the form of each.
#include "io/terminal_image.h"

#include "core/error.h"
#include "io/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

namespace tessera::io {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kNames[] = {
    "TERM",      "TERM_PROGRAM", "TMUX",        "KITTY_WINDOW_ID", "KONSOLE_VERSION",
    "COLORTERM", "NO_COLOR",     "LC_TERMINAL",
};

// Each test sees only the variables it sets.
class TerminalImage : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      saved_[name] = value != nullptr ? std::optional<std::string>(value) : std::nullopt;
      ::unsetenv(name);
    }
  }
  void TearDown() override {
    for (const auto& [name, value] : saved_) {
      value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
    }
  }
  static void set(const char* name, const char* value) { ::setenv(name, value, 1); }

 private:
  std::map<std::string, std::optional<std::string>> saved_;
};

Image plain(int width, int height, int channels = 3, uint8_t value = 10) {
  return {width, height, channels,
          std::vector<uint8_t>(static_cast<size_t>(width * height * channels), value)};
}

TEST_F(TerminalImage, NothingWithoutCapabilities) {
  EXPECT_EQ(terminal_image(plain(2, 2), 80), "");
  set("TERM", "xterm-256color");
  EXPECT_EQ(terminal_image(plain(2, 2), 80), "");
  set("COLORTERM", "truecolor");
  EXPECT_NE(terminal_image(plain(2, 2), 80), "");
  EXPECT_EQ(terminal_image({}, 80), "");
  set("NO_COLOR", "1");
  EXPECT_EQ(terminal_image(plain(2, 2), 80), "");
  set("TERM", "dumb");
  EXPECT_FALSE(terminal_can_show_images());
  EXPECT_THROW(terminal_image(plain(2, 2), 0), InvalidArgument);
}

TEST_F(TerminalImage, HalfBlocksHoldTwoRows) {
  set("COLORTERM", "24bit");
  const Image image{1, 3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  EXPECT_EQ(terminal_image(image, 80),
            "\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[0m\n"
            "\x1b[38;2;7;8;9;48;2;0;0;0m▀\x1b[0m\n");
  const std::string drawn = terminal_image(plain(100, 40), 10);
  EXPECT_EQ(std::count(drawn.begin(), drawn.end(), '\n'), 2);  // 10 x 4 pixels
  const Image clear{1, 1, 4, {255, 255, 255, 51}};
  EXPECT_THAT(terminal_image(clear, 5), HasSubstr("38;2;51;51;51;"));
}

TEST_F(TerminalImage, KittyInChunks) {
  set("TERM", "xterm-kitty");
  EXPECT_THAT(terminal_image(plain(20, 2), 80), StartsWith("\x1b_Ga=T,f=100,q=2,c=3,m=0;iVBOR"));
  Image noise{90, 90, 3, {}};
  uint32_t state = 1;
  for (int i = 0; i < 90 * 90 * 3; ++i) {
    state = state * 1664525 + 1013904223;
    noise.pixels.push_back(static_cast<uint8_t>(state >> 24));
  }
  const std::string drawn = terminal_image(noise, 80);
  EXPECT_THAT(drawn, HasSubstr("m=1;"));
  EXPECT_THAT(drawn, HasSubstr("\x1b\\\x1b_Gm=0;"));
  EXPECT_THAT(drawn, EndsWith("\x1b\\\n"));
  for (size_t at = 0, end = 0; (end = drawn.find("\x1b\\", at)) != std::string::npos;
       at = end + 2) {
    EXPECT_LE(end - drawn.find(';', at) - 1, 4096U);
  }
}

TEST_F(TerminalImage, Iterm2CarriesAPng) {
  set("TERM_PROGRAM", "iTerm.app");
  const std::string drawn = terminal_image(plain(800, 8), 10);
  EXPECT_THAT(drawn, StartsWith("\x1b]1337;File=inline=1;size="));
  EXPECT_THAT(drawn, HasSubstr("width=10;"));
  EXPECT_THAT(drawn, HasSubstr(":iVBORw0KGgo"));  // a PNG's first bytes in base64
  // And its last ones, IEND and a checksum, by the length modulo three.
  EXPECT_THAT(drawn, testing::AnyOf(EndsWith("ElFTkSuQmCC\a\n"), EndsWith("SUVORK5CYII=\a\n"),
                                    EndsWith("BJRU5ErkJggg==\a\n")));
}

TEST_F(TerminalImage, SixelRepeatsAndCombinesRows) {
  set("TERM", "foot");
  // Four columns in cube colour 0 (black), seven rows: one full band, then one row.
  const std::string drawn = terminal_image(plain(4, 7), 80);
  EXPECT_THAT(drawn, StartsWith("\x1bP0;1q\"1;1;4;7#0;2;0;0;0#1;2;0;0;20"));
  EXPECT_THAT(drawn, EndsWith("#215;2;100;100;100#0!4~$-#0!4@$-\x1b\\\n"));
}

TEST_F(TerminalImage, MultiplexersGetHalfBlocks) {
  set("TERM", "tmux-256color");
  set("TMUX", "/run/tmux");
  set("KITTY_WINDOW_ID", "1");
  EXPECT_EQ(terminal_image(plain(2, 2), 80), "");
  set("COLORTERM", "truecolor");
  EXPECT_THAT(terminal_image(plain(2, 2), 80), HasSubstr("▀"));
}

}  // namespace
}  // namespace tessera::io
