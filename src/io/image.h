// Picture files: PNG, JPEG and WebP read as upright 8-bit RGB; PNG and JPEG written.
#pragma once

#include "core/media.h"
#include "io/file.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tessera::io {

/// How a picture is read.
struct ImageReadOptions {
  bool keep_alpha = false;  ///< RGBA instead of RGB; opaque where the file has no alpha
  bool upright = true;      ///< turn by the EXIF (else XMP) orientation
  int64_t max_pixels = int64_t{1} << 28;  ///< width * height beyond this is refused
};

/// Reads a picture of any supported format; the content decides, not the name. The pixels equal
/// Pillow's `ImageOps.exif_transpose(Image.open(path)).convert("RGB")`. An animation gives its
/// first picture. Throws NotFound, Io, CorruptFile (broken, truncated, too large or no picture) or
/// Unsupported (a picture format that is not read).
Image read_image(const fs::path& path, const ImageReadOptions& options = {});

/// The same from memory; `source` names the picture in errors.
Image decode_image(std::span<const std::byte> bytes,
                   std::string_view source,
                   const ImageReadOptions& options = {});

/// A PNG file of a grey, RGB or RGBA picture. Throws InvalidArgument for an empty or inconsistent
/// Image.
std::string encode_png(const Image& image);

/// A baseline JPEG file (4:2:0) of a grey or RGB picture; alpha is dropped. `quality` is 1–100;
/// sides are at most 65500. Throws InvalidArgument.
std::string encode_jpeg(const Image& image, int quality);

/// Writes the encoded picture with io::AtomicFile.
void write_png(const fs::path& path, const Image& image);
void write_jpeg(const fs::path& path, const Image& image, int quality);

}  // namespace tessera::io
