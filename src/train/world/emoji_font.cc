// OpenType tables cmap (subtable format 12), CBLC (index subtable formats 1 and 3) and CBDT (image
// formats 17 and 18: metrics, length, PNG), as the OpenType specification describes them. All
// numbers are big-endian; every offset comes from the file and is checked before use.

#include "train/world/emoji_font.h"

#include "core/error.h"

namespace tessera::world {

namespace {

/// Bounds-checked big-endian reads from one table.
class Reader {
 public:
  Reader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  uint32_t number(uint64_t offset, int width) const {
    const std::string_view field = slice(offset, static_cast<uint64_t>(width));
    uint32_t value = 0;
    for (const char c : field) {
      value = (value << 8) | static_cast<unsigned char>(c);
    }
    return value;
  }
  uint32_t u16(uint64_t offset) const { return number(offset, 2); }
  uint32_t u32(uint64_t offset) const { return number(offset, 4); }

  std::string_view slice(uint64_t offset, uint64_t size) const {
    TESSERA_CHECK(offset <= bytes_.size() && size <= bytes_.size() - offset, CorruptFile,
                  "font table '{}' has {} bytes, expected {} more at {}", name_, bytes_.size(),
                  size, offset);
    return bytes_.substr(offset, size);
  }

 private:
  std::string_view bytes_;
  std::string_view name_;
};

std::string_view find_table(std::string_view file, std::string_view tag) {
  const Reader reader(file, "directory");
  const uint32_t count = reader.u16(4);
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t record = 12 + uint64_t{16} * i;
    if (reader.slice(record, 4) == tag) {
      return reader.slice(reader.u32(record + 8), reader.u32(record + 12));
    }
  }
  return {};
}

/// Position of a glyph's record in CBDT and its image format; size 0 = the glyph has no picture.
struct Location {
  uint32_t format = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

Location locate(const Reader& cblc, uint64_t strike, uint32_t glyph) {
  const uint64_t array = cblc.u32(strike);
  const uint32_t subtables = cblc.u32(strike + 8);
  for (uint64_t i = 0; i < subtables; ++i) {
    const uint64_t entry = array + 8 * i;
    const uint32_t first = cblc.u16(entry);
    if (glyph < first || glyph > cblc.u16(entry + 2)) {
      continue;
    }
    const uint64_t header = array + cblc.u32(entry + 4);
    const uint32_t index_format = cblc.u16(header);
    const int width = index_format == 1 ? 4 : 2;
    TESSERA_CHECK(index_format == 1 || index_format == 3, Unsupported,
                  "font table CBLC has index format {}; expected 1 or 3", index_format);
    const uint64_t field = header + 8 + uint64_t{glyph - first} * width;
    const uint32_t begin = cblc.number(field, width);
    const uint32_t end = cblc.number(field + width, width);
    TESSERA_CHECK(end >= begin, CorruptFile, "font table CBLC: glyph {} ends before it begins",
                  glyph);
    return {cblc.u16(header + 2), uint64_t{cblc.u32(header + 4)} + begin, uint64_t{end} - begin};
  }
  return {};
}

}  // namespace

EmojiFont::EmojiFont(const io::fs::path& path) : path_(path), file_(io::MappedFile::open(path)) {
  with_context(path.string(), [&] {
    const std::string_view file = file_->text();
    cblc_ = find_table(file, "CBLC");
    cbdt_ = find_table(file, "CBDT");
    TESSERA_CHECK(!cblc_.empty() && !cbdt_.empty(), Unsupported,
                  "no colour bitmap tables (CBLC, CBDT); expected Debian's NotoColorEmoji.ttf");
    const Reader cblc(cblc_, "CBLC");
    const uint32_t strikes = cblc.u32(4);
    TESSERA_CHECK(strikes > 0, CorruptFile, "font table CBLC has no strike");
    uint32_t largest = 0;
    for (uint64_t i = 0; i < strikes; ++i) {
      const uint64_t record = 8 + 48 * i;
      const uint32_t ppem = cblc.number(record + 45, 1);  // ppemY
      if (ppem > largest) {
        largest = ppem;
        strike_ = record;
      }
    }
    const std::string_view cmap = find_table(file, "cmap");
    const Reader reader(cmap, "cmap");
    const uint32_t count = reader.u16(2);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t offset = reader.u32(4 + 8 * i + 4);
      if (reader.u16(offset) == 12) {
        cmap_ = reader.slice(offset, reader.u32(offset + 4));
      }
    }
    TESSERA_CHECK(!cmap_.empty(), Unsupported, "no format-12 character map");
  });
}

uint32_t EmojiFont::glyph_of(char32_t code_point) const {
  const Reader reader(cmap_, "cmap");
  const uint32_t groups = reader.u32(12);
  for (uint64_t i = 0; i < groups; ++i) {
    const uint64_t group = 16 + 12 * i;
    const uint32_t first = reader.u32(group);
    if (code_point >= first && code_point <= reader.u32(group + 4)) {
      return reader.u32(group + 8) + (static_cast<uint32_t>(code_point) - first);
    }
  }
  return 0;
}

std::string_view EmojiFont::png(char32_t code_point) const {
  return with_context(path_.string(), [&] {
    const uint32_t glyph = glyph_of(code_point);
    const Location at = glyph == 0 ? Location{} : locate(Reader(cblc_, "CBLC"), strike_, glyph);
    TESSERA_CHECK(at.size > 0, NotFound, "the font has no picture of U+{:04X}",
                  static_cast<uint32_t>(code_point));
    TESSERA_CHECK(at.format == 17 || at.format == 18, Unsupported,
                  "glyph {} has image format {}; expected 17 or 18 (PNG)", glyph, at.format);
    const Reader cbdt(cbdt_, "CBDT");
    const uint64_t metrics = at.format == 17 ? 5 : 8;
    const uint32_t length = cbdt.u32(at.offset + metrics);
    return cbdt.slice(at.offset + metrics + 4, length);
  });
}

}  // namespace tessera::world
