// Changing the size of pictures: Pillow's resampling, crops and padding.
#pragma once

#include "core/media.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tessera::io {

/// Resampling filters by their Pillow names. All but nearest average over the whole area that a
/// pixel of the result covers, so shrinking is antialiased.
enum class Filter { kNearest, kBox, kBilinear, kHamming, kBicubic, kLanczos };

/// The filter of a lower-case name ("bicubic"), or of the number that Pillow gives it and that
/// published preprocessor configurations hold (0 nearest, 1 lanczos, 2 bilinear, 3 bicubic, 4 box,
/// 5 hamming). Throws InvalidArgument.
Filter parse_filter(std::string_view name);
Filter filter_by_number(int64_t number);

/// A rectangle of a picture in pixels; fractions are allowed.
struct Box {
  float left = 0;
  float top = 0;
  float right = 0;
  float bottom = 0;
};

/// The picture (or its part in `box`) at a new size, equal to Pillow's
/// `image.resize((width, height), filter, box)` in every bit for 8-bit grey, RGB and RGBA; RGBA is
/// weighted by alpha. Throws InvalidArgument for an empty size, more than 2^28 pixels, or a box
/// that leaves the picture.
Image resize(const Image& image,
             int width,
             int height,
             Filter filter,
             const std::optional<Box>& box = std::nullopt);

/// torchvision's `Resize(side)`: the shorter side becomes `side`, the longer one
/// int(side * longer / shorter).
Image resize_shorter_side(const Image& image, int side, Filter filter);

/// The part of `width` x `height` pixels whose corner is at (left, top), which lies inside the
/// picture. Throws InvalidArgument.
Image crop(const Image& image, int left, int top, int width, int height);

/// torchvision's `CenterCrop`: the middle part; a smaller picture is padded with zeros first.
Image center_crop(const Image& image, int width, int height);

/// The picture with borders of the given widths (>= 0) in the colour `fill`, of which the first
/// `channels` values are taken.
Image pad(const Image& image,
          int left,
          int top,
          int right,
          int bottom,
          const std::array<uint8_t, 4>& fill = {0, 0, 0, 0});

}  // namespace tessera::io
