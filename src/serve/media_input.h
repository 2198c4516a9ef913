// Pictures and sound that come with requests: base64, data URLs and, where allowed, files.
#pragma once

#include "core/media.h"
#include "io/file.h"

#include <optional>
#include <string>
#include <string_view>

namespace tessera::serve {

struct MediaLimits {
  int64_t pixels = int64_t{1} << 25;  // of a picture
  double seconds = 600;               // of sound
  size_t items = 32;                  // of a request
  io::fs::path folder;                // file:// URLs below it are read; empty: none are
};

/// Bytes of base64 text: the usual or the URL alphabet, with or without padding, white space
/// ignored. Nothing when it is broken.
std::optional<std::string> decode_base64(std::string_view text);

/// Bytes of a "data:…;base64,…" URL, or of a "file://…" below limits.folder. `param` names the
/// field in errors. Throws ApiError, also for http(s) URLs: nothing is fetched from elsewhere.
std::string read_url(std::string_view url, const MediaLimits& limits, const std::string& param);

/// A picture file's content. Throws ApiError naming `param`.
Image read_picture(std::string_view bytes, const MediaLimits& limits, const std::string& param);

/// A sound file's content, mixed to mono at its own rate. Throws ApiError naming `param`.
Audio read_sound(std::string_view bytes, const MediaLimits& limits, const std::string& param);

}  // namespace tessera::serve
