// Pictures from files and memory. The first bytes decide which decoder runs (image_png.cc,
// image_jpeg.cc, image_webp.cc); the result is turned upright here. Colours follow Pillow's
// convert("RGB"): alpha is dropped without compositing, no colour profile or gamma is applied.
#include "io/image.h"

#include "core/error.h"
#include "io/image_codecs.h"
#include "io/image_orientation.h"

#include <algorithm>
#include <cctype>

namespace tessera::io {
namespace {

struct Signature {
  size_t offset;
  std::string_view magic;
  std::string_view name;
  bool picture;
};

using namespace std::string_view_literals;

// What is often found under a picture's name, so that the message can name it.
constexpr Signature kSignatures[] = {
    {0, "GIF8"sv, "a GIF", true},
    {0, "BM"sv, "a BMP", true},
    {0, "II*\0"sv, "a TIFF", true},
    {0, "MM\0*"sv, "a TIFF", true},
    {4, "ftypavif"sv, "an AVIF", true},
    {4, "ftypavis"sv, "an AVIF", true},
    {4, "ftyphei"sv, "a HEIC", true},
    {4, "ftypmif1"sv, "a HEIF", true},
    {0, "\xff\x0a"sv, "a JPEG XL", true},
    {0, "\0\0\0\x0cJXL "sv, "a JPEG XL", true},
    {0, "\0\0\0\x0cjP  "sv, "a JPEG 2000", true},
    {0, "8BPS"sv, "a Photoshop file", true},
    {4, "ftyp"sv, "an MP4 or QuickTime video", false},
    {0, "%PDF"sv, "a PDF", false},
    {0, "PK\x03\x04"sv, "a ZIP archive", false},
    {0, "\x1f\x8b"sv, "gzip data", false},
    {0, "version https://git-lfs"sv, "a Git LFS pointer (the file itself was not fetched)", false},
};

std::string lower_start(std::string_view content) {
  std::string start(content.substr(0, 1024));
  std::transform(start.begin(), start.end(), start.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return start;
}

[[noreturn]] void throw_not_a_picture(std::string_view content, std::string_view source) {
  TESSERA_CHECK(!content.empty(), CorruptFile,
                "{}: the file is empty (0 bytes); expected PNG, JPEG or WebP", source);
  for (const Signature& signature : kSignatures) {
    if (content.substr(std::min(signature.offset, content.size())).starts_with(signature.magic)) {
      TESSERA_CHECK(!signature.picture, Unsupported,
                    "{}: expected PNG, JPEG or WebP; found {}: convert it to PNG first", source,
                    signature.name);
      throw CorruptFile("{}: expected PNG, JPEG or WebP; found {}", source, signature.name);
    }
  }
  const std::string start = lower_start(content);
  const size_t first = start.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first != std::string::npos && start[first] == '<') {
    TESSERA_CHECK(start.find("<svg") == std::string::npos, Unsupported,
                  "{}: expected PNG, JPEG or WebP; found an SVG drawing: convert it to PNG first",
                  source);
    const bool html = start.find("<html") != std::string::npos ||
                      start.find("<!doctype html") != std::string::npos;
    throw CorruptFile("{}: expected PNG, JPEG or WebP; found {}", source,
                      html ? "HTML (a web page saved in place of the picture: download it again)"
                           : "XML or HTML text");
  }
  std::string hex;
  for (const unsigned char c : content.substr(0, 8)) {
    hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", c);
  }
  throw CorruptFile("{}: expected PNG, JPEG or WebP; found bytes {} …", source, hex);
}

}  // namespace

Image new_image(uint64_t width,
                uint64_t height,
                std::string_view source,
                const ImageReadOptions& options) {
  TESSERA_CHECK(width > 0 && height > 0, CorruptFile, "{}: the picture is {} x {} pixels", source,
                width, height);
  const auto limit = static_cast<uint64_t>(std::max<int64_t>(options.max_pixels, 0));
  TESSERA_CHECK(width <= limit && height <= limit / width, CorruptFile,
                "{}: the picture is {} x {} pixels, expected at most {} pixels: scale it down "
                "first",
                source, width, height, limit);
  Image image{static_cast<int>(width), static_cast<int>(height), options.keep_alpha ? 4 : 3, {}};
  image.pixels.resize(width * height * static_cast<uint64_t>(image.channels));
  return image;
}

void check_image(const Image& image, std::string_view user) {
  TESSERA_CHECK(image.width > 0 && image.height > 0, InvalidArgument,
                "{}: the picture is {} x {} pixels, expected at least 1 x 1", user, image.width,
                image.height);
  TESSERA_CHECK(image.channels == 1 || image.channels == 3 || image.channels == 4, InvalidArgument,
                "{}: the picture has {} channels, expected 1, 3 or 4", user, image.channels);
  const uint64_t bytes = static_cast<uint64_t>(image.width) * static_cast<uint64_t>(image.height) *
                         static_cast<uint64_t>(image.channels);
  TESSERA_CHECK(image.pixels.size() == bytes, InvalidArgument,
                "{}: {} bytes of pixels, expected {} for {} x {} x {}", user, image.pixels.size(),
                bytes, image.width, image.height, image.channels);
}

Image decode_image(std::span<const std::byte> bytes,
                   std::string_view source,
                   const ImageReadOptions& options) {
  const std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  DecodedImage decoded;
  if (content.starts_with("\x89PNG\r\n\x1a\n")) {
    decoded = decode_png(bytes, source, options);
  } else if (content.starts_with("\xff\xd8\xff")) {
    decoded = decode_jpeg(bytes, source, options);
  } else if (content.starts_with("RIFF") && content.substr(0, 12).ends_with("WEBP")) {
    decoded = decode_webp(bytes, source, options);
  } else {
    throw_not_a_picture(content, source);
  }
  return options.upright ? make_upright(std::move(decoded.image), decoded.orientation)
                         : std::move(decoded.image);
}

Image read_image(const fs::path& path, const ImageReadOptions& options) {
  const std::string content = read_file(path, uint64_t{1} << 31);
  return decode_image(std::as_bytes(std::span(content)), path.string(), options);
}

void write_png(const fs::path& path, const Image& image) {
  write_file(path, encode_png(image));
}

void write_jpeg(const fs::path& path, const Image& image, int quality) {
  write_file(path, encode_jpeg(image, quality));
}

}  // namespace tessera::io
