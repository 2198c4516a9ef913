// Reads the PNG pictures out of a colour bitmap font (tables cmap, CBLC, CBDT), such as Noto Color
// Emoji.
#pragma once

#include "io/file.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace tessera::world {

/// An opened font. The views it returns stay valid as long as the font.
class EmojiFont {
 public:
  /// Throws NotFound, CorruptFile (broken tables), or Unsupported (no bitmap tables or no format-12
  /// character map).
  explicit EmojiFont(const io::fs::path& path);

  /// PNG bytes of one code point's picture from the largest strike. Throws NotFound when the font
  /// has none.
  std::string_view png(char32_t code_point) const;

 private:
  uint32_t glyph_of(char32_t code_point) const;

  io::fs::path path_;
  std::shared_ptr<io::MappedFile> file_;
  std::string_view cmap_, cblc_, cbdt_;
  uint64_t strike_ = 0;  // offset of the chosen BitmapSize record in CBLC
};

}  // namespace tessera::world
