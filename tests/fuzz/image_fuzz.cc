// Arbitrary bytes through decode_image: every outcome but a picture or an Error is a bug.
#include "core/error.h"
#include "io/image.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  try {
    // Small pictures only, so that time goes into parsing. The last byte draws the options.
    io::ImageReadOptions options;
    options.keep_alpha = size > 0 && (data[size - 1] & 1) != 0;
    options.upright = size > 0 && (data[size - 1] & 2) != 0;
    options.max_pixels = 1 << 16;
    const Image image =
        io::decode_image(std::as_bytes(std::span(data, size)), "fuzz input", options);
    const auto pixels = static_cast<uint64_t>(image.width) * static_cast<uint64_t>(image.height);
    if (pixels == 0 || pixels > 1 << 16 ||
        image.pixels.size() != pixels * static_cast<uint64_t>(image.channels)) {
      std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
