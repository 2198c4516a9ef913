// EXIF is a TIFF header ("II" or "MM", 42, offset of IFD 0) followed by 12-byte entries: tag, type,
// count, value. Only SHORT and LONG values inside the entry are taken, the first of two. Source:
// EXIF 2.32, TIFF 6.0; the XMP pattern is the one of Pillow (Image.getexif). Known difference:
// Pillow raises on some broken blocks, here they count as absent.
#include "io/image_orientation.h"

#include <cstdint>
#include <cstring>
#include <utility>

namespace tessera::io {
namespace {

// Unsigned integers of a byte block in the block's own byte order; false when out of range.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, bool big_endian)
      : bytes_(bytes), big_endian_(big_endian) {}

  bool read(uint64_t offset, int width, uint32_t* value) const {
    if (offset > bytes_.size() || bytes_.size() - offset < static_cast<size_t>(width)) {
      return false;
    }
    *value = 0;
    for (int i = 0; i < width; ++i) {
      const auto byte = std::to_integer<uint32_t>(bytes_[offset + static_cast<uint64_t>(i)]);
      *value |= byte << (8 * (big_endian_ ? width - 1 - i : i));
    }
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

int valid_or_upright(uint32_t orientation) {
  return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
}

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kTypeShort = 3;
constexpr uint32_t kTypeLong = 4;

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  while (exif.size() >= 6 && std::memcmp(exif.data(), "Exif\0\0", 6) == 0) {
    exif = exif.subspan(6);
  }
  if (exif.size() < 8) {
    return 0;
  }
  const bool big_endian = std::memcmp(exif.data(), "MM", 2) == 0;
  if (!big_endian && std::memcmp(exif.data(), "II", 2) != 0) {
    return 0;
  }
  const Reader reader(exif, big_endian);
  uint32_t magic = 0;
  uint32_t directory = 0;
  uint32_t entries = 0;
  reader.read(2, 2, &magic);
  reader.read(4, 4, &directory);
  // Some writers give 42 in the wrong byte order; Pillow takes it.
  if ((magic != 42 && magic != 42 << 8) || !reader.read(directory, 2, &entries)) {
    return 0;
  }
  int found = 0;
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = uint64_t{directory} + 2 + 12 * uint64_t{i};
    uint32_t tag = 0;
    uint32_t type = 0;
    uint32_t count = 0;
    uint32_t value = 0;
    if (!reader.read(entry, 2, &tag) || !reader.read(entry + 2, 2, &type) ||
        !reader.read(entry + 4, 4, &count) ||
        !reader.read(entry + 8, type == kTypeLong ? 4 : 2, &value)) {
      break;
    }
    const bool short_inside = type == kTypeShort && (count == 1 || count == 2);
    if (tag == kOrientationTag && (short_inside || (type == kTypeLong && count == 1))) {
      found = valid_or_upright(value);
    }
  }
  return found;
}

int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    const size_t skip = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (skip > 0 && rest.size() > skip && rest[skip] >= '0' && rest[skip] <= '9') {
      return valid_or_upright(static_cast<uint32_t>(rest[skip] - '0'));
    }
  }
  return 0;
}

Image make_upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) {
    return image;
  }
  const int64_t width = image.width;
  const int64_t height = image.height;
  const int64_t last = width * height - 1;
  // Pixel (x, y) of the result is pixel origin + x * step_x + y * step_y of the source.
  struct Walk {
    int64_t origin, step_x, step_y;
  };
  const Walk walks[] = {
      {0, 1, width},                  // 1: upright
      {width - 1, -1, width},         // 2: mirrored left to right
      {last, -1, -width},             // 3: turned by 180 degrees
      {last - width + 1, 1, -width},  // 4: upside down
      {0, width, 1},                  // 5: transposed
      {last - width + 1, -width, 1},  // 6: to be turned clockwise
      {last, -width, -1},             // 7: transposed along the other diagonal
      {width - 1, width, -1},         // 8: to be turned counter-clockwise
  };
  const Walk walk = walks[orientation - 1];
  Image out{image.width, image.height, image.channels, {}};
  if (orientation >= 5) {
    std::swap(out.width, out.height);
  }
  out.pixels.resize(image.pixels.size());
  const auto channels = static_cast<size_t>(image.channels);
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < out.height; ++y) {
    int64_t from = walk.origin + y * walk.step_y;
    for (int64_t x = 0; x < out.width; ++x, from += walk.step_x, to += channels) {
      std::memcpy(to, image.pixels.data() + static_cast<size_t>(from) * channels, channels);
    }
  }
  return out;
}

}  // namespace tessera::io
