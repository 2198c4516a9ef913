// What image.cc and the decoder of each format share; not for other rooms.
#pragma once

#include "core/media.h"
#include "io/image.h"

#include <cstddef>
#include <span>
#include <string_view>

namespace tessera::io {

/// Pixels as stored, with the EXIF orientation (1–8) that was found beside them.
struct DecodedImage {
  Image image;
  int orientation = 1;
};

using ImageBytes = std::span<const std::byte>;

DecodedImage decode_png(ImageBytes bytes, std::string_view source, const ImageReadOptions& options);
DecodedImage decode_jpeg(ImageBytes bytes,
                         std::string_view source,
                         const ImageReadOptions& options);
DecodedImage decode_webp(ImageBytes bytes,
                         std::string_view source,
                         const ImageReadOptions& options);

/// An Image with zeroed pixels. Throws CorruptFile, before allocating, for an empty size or one
/// beyond `options.max_pixels`.
Image new_image(uint64_t width,
                uint64_t height,
                std::string_view source,
                const ImageReadOptions& options);

/// Throws InvalidArgument unless sizes, channels (1, 3, 4) and the number of bytes agree.
void check_image(const Image& image, std::string_view user);

}  // namespace tessera::io
