// Which way up a picture is: the orientation tag of EXIF and XMP, and turning by it.
#pragma once

#include "core/media.h"

#include <cstddef>
#include <span>
#include <string_view>

namespace tessera::io {

/// Orientation (tag 0x0112) in the first IFD of an EXIF block, with or without its "Exif\0\0"
/// prefix: 1–8, 1 for a value out of range, 0 when absent or when the block is broken.
int exif_orientation(std::span<const std::byte> exif);

/// `tiff:Orientation` of an XMP packet, values as exif_orientation.
int xmp_orientation(std::string_view xmp);

/// The picture turned and mirrored so that it is upright; `orientation` as in EXIF, 1–8.
Image make_upright(Image image, int orientation);

}  // namespace tessera::io
