// Inline pictures: kitty's graphics protocol and iTerm2's (a PNG in base64), sixel (a 6 x 6 x 6
// colour cube) and half blocks (the upper pixel is the foreground of U+2580). Multiplexers pass
// none of the protocols on, so inside tmux and screen only half blocks are drawn. A cell counts as
// 8 x 16 pixels.
#include "io/terminal_image.h"

#include "core/base64.h"
#include "core/error.h"
#include "io/image.h"
#include "io/resize.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string_view>

namespace tessera::io {
namespace {

enum class Protocol { kNone, kKitty, kIterm2, kSixel, kHalfBlocks };

constexpr int kCellWidth = 8;  // pixels

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : std::string_view();
}

Protocol find_protocol() {
  const std::string_view term = variable("TERM");
  const std::string_view program = variable("TERM_PROGRAM");
  const auto term_has = [term](std::string_view part) {
    return term.find(part) != std::string_view::npos;
  };
  if (term == "dumb") {
    return Protocol::kNone;
  }
  if (variable("TMUX").empty() && !term.starts_with("screen") && !term.starts_with("tmux")) {
    if (term_has("kitty") || term_has("ghostty") || program == "ghostty" ||
        !variable("KITTY_WINDOW_ID").empty() || !variable("KONSOLE_VERSION").empty()) {
      return Protocol::kKitty;
    }
    if (program == "iTerm.app" || program == "WezTerm" || program == "mintty" ||
        variable("LC_TERMINAL") == "iTerm2") {
      return Protocol::kIterm2;
    }
    if (term_has("sixel") || term_has("mlterm") || term_has("contour") || term == "foot" ||
        term.starts_with("foot-")) {
      return Protocol::kSixel;
    }
  }
  const std::string_view colours = variable("COLORTERM");
  const bool truecolour = colours == "truecolor" || colours == "24bit";
  return truecolour && variable("NO_COLOR").empty() ? Protocol::kHalfBlocks : Protocol::kNone;
}

// The picture, made smaller if it is more than `width` pixels wide.
Image fit(const Image& image, int64_t width) {
  if (image.width <= width) {
    return image;
  }
  const int64_t height =
      std::max<int64_t>(1, (int64_t{image.height} * width + image.width / 2) / image.width);
  return resize(image, static_cast<int>(width), static_cast<int>(height), Filter::kBox);
}

// Colour of a pixel over black.
std::array<int, 3> colour_at(const Image& image, int x, int y) {
  const size_t at =
      (static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)) *
      static_cast<size_t>(image.channels);
  const uint8_t* p = image.pixels.data() + at;
  if (image.channels == 1) {
    return {p[0], p[0], p[0]};
  }
  const int alpha = image.channels == 4 ? p[3] : 255;
  return {p[0] * alpha / 255, p[1] * alpha / 255, p[2] * alpha / 255};
}

std::string kitty(const Image& image, int columns) {
  constexpr size_t kChunk = 4096;  // largest payload of one command
  const std::string payload = base64(encode_png(image));
  std::string out;
  for (size_t at = 0; at < payload.size(); at += kChunk) {
    const bool more = at + kChunk < payload.size();
    out += at == 0 ? fmt::format("\x1b_Ga=T,f=100,q=2,c={},m={:d};", columns, more)
                   : fmt::format("\x1b_Gm={:d};", more);
    out += payload.substr(at, kChunk) + "\x1b\\";
  }
  return out + "\n";
}

std::string iterm2(const Image& image, int columns) {
  const std::string png = encode_png(image);
  return fmt::format("\x1b]1337;File=inline=1;size={};width={};preserveAspectRatio=1:{}\a\n",
                     png.size(), columns, base64(png));
}

// One band of six rows in one colour: each character holds six pixels of a column.
void append_sixel_line(std::string& out, const std::string& line) {
  for (size_t i = 0; i < line.size();) {
    const size_t end = std::min(line.find_first_not_of(line[i], i), line.size());
    if (end - i > 3) {
      fmt::format_to(std::back_inserter(out), "!{}{}", end - i, line[i]);
    } else {
      out.append(end - i, line[i]);
    }
    i = end;
  }
}

std::string sixel(const Image& image) {
  constexpr int kColours = 216;
  std::string out = fmt::format("\x1bP0;1q\"1;1;{};{}", image.width, image.height);
  for (int i = 0; i < kColours; ++i) {  // components are percentages
    fmt::format_to(std::back_inserter(out), "#{};2;{};{};{}", i, i / 36 * 20, i / 6 % 6 * 20,
                   i % 6 * 20);
  }
  const auto width = static_cast<size_t>(image.width);
  for (int top = 0; top < image.height; top += 6) {
    std::vector<std::string> lines(kColours);
    for (size_t x = 0; x < width; ++x) {
      for (int row = 0; row < std::min(6, image.height - top); ++row) {
        const auto rgb = colour_at(image, static_cast<int>(x), top + row);
        const int index = (rgb[0] + 25) / 51 * 36 + (rgb[1] + 25) / 51 * 6 + (rgb[2] + 25) / 51;
        std::string& line = lines[static_cast<size_t>(index)];
        line.resize(width, '?');
        line[x] = static_cast<char>('?' + ((line[x] - '?') | 1 << row));
      }
    }
    for (size_t i = 0; i < lines.size(); ++i) {
      if (!lines[i].empty()) {
        fmt::format_to(std::back_inserter(out), "#{}", i);
        append_sixel_line(out, lines[i]);
        out += '$';
      }
    }
    out += '-';
  }
  return out + "\x1b\\\n";
}

std::string half_blocks(const Image& image) {
  std::string out;
  for (int y = 0; y < image.height; y += 2) {
    for (int x = 0; x < image.width; ++x) {
      const auto upper = colour_at(image, x, y);
      const auto lower =
          y + 1 < image.height ? colour_at(image, x, y + 1) : std::array<int, 3>{0, 0, 0};
      fmt::format_to(std::back_inserter(out), "\x1b[38;2;{};{};{};48;2;{};{};{}m\u2580", upper[0],
                     upper[1], upper[2], lower[0], lower[1], lower[2]);
    }
    out += "\x1b[0m\n";
  }
  return out;
}

}  // namespace

bool terminal_can_show_images() {
  return ::isatty(STDOUT_FILENO) == 1 && find_protocol() != Protocol::kNone;
}

std::string terminal_image(const Image& image, int max_columns) {
  TESSERA_CHECK(max_columns >= 1, InvalidArgument,
                "terminal_image: {} columns, expected at least 1", max_columns);
  const Protocol protocol = find_protocol();
  if (image.empty() || protocol == Protocol::kNone) {
    return "";
  }
  if (protocol == Protocol::kHalfBlocks) {
    return half_blocks(fit(image, max_columns));
  }
  const Image fitted = fit(image, int64_t{max_columns} * kCellWidth);
  const int columns = (fitted.width + kCellWidth - 1) / kCellWidth;
  if (protocol == Protocol::kKitty) {
    return kitty(fitted, columns);
  }
  return protocol == Protocol::kIterm2 ? iterm2(fitted, columns) : sixel(fitted);
}

}  // namespace tessera::io
