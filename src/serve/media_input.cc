// Base64: RFC 4648. Data URLs: RFC 2397. The readers of io check the contents; here are the limits
// on what they may grow to.
#include "serve/media_input.h"

#include "core/base64.h"
#include "io/audio.h"
#include "io/image.h"
#include "serve/api_error.h"
#include "serve/http.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::serve {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A file below the folder, links resolved: "..", links and other hosts do not lead out of it.
std::string read_media_file(std::string_view url,
                            const MediaLimits& limits,
                            const std::string& param) {
  if (limits.folder.empty()) {
    throw bad_request(param,
                      "file:// URLs are not read by this server (see --media-folder); send the "
                      "content as a data: URL",
                      "file_urls_disabled");
  }
  HttpRequest decoded;
  const bool whole = parse_target(url.substr(std::string_view("file://").size()), decoded);
  std::error_code failed;
  const io::fs::path root = io::fs::canonical(limits.folder, failed);
  const io::fs::path path =
      failed || !whole ? io::fs::path() : io::fs::canonical(decoded.path, failed);
  const bool inside =
      !failed && whole &&
      std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end() &&
      io::fs::is_regular_file(path, failed);
  if (!inside) {
    // The same message for all, so that nobody can look around.
    throw bad_request(param, "this file:// URL names no file in the server's media folder",
                      "invalid_url");
  }
  return io::read_file(path, uint64_t{1} << 28);
}

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  std::string plain;
  plain.reserve(text.size() + 3);
  for (const char c : text) {
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
      plain += c == '-' ? '+' : c == '_' ? '/' : c;
    }
  }
  if (!plain.ends_with('=')) {
    plain.append((4 - plain.size() % 4) % 4, '=');
  }
  return base64_decode(plain);
}

std::string read_url(std::string_view url, const MediaLimits& limits, const std::string& param) {
  if (url.starts_with("file://")) {
    return read_media_file(url, limits, param);
  }
  if (url.starts_with("http://") || url.starts_with("https://")) {
    throw bad_request(param,
                      "this server fetches nothing from other hosts; send the content as a data: "
                      "URL",
                      "remote_urls_disabled");
  }
  const size_t comma = url.find(',');
  if (!url.starts_with("data:") || comma == std::string_view::npos ||
      !url.substr(0, comma).ends_with(";base64")) {
    throw bad_request(param, fmt::format("'{}' must be a URL data:TYPE;base64,…", param),
                      "invalid_url");
  }
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes.has_value()) {
    throw bad_request(param, fmt::format("'{}' is no valid base64", param), "invalid_base64");
  }
  return std::move(*bytes);
}

Image read_picture(std::string_view bytes, const MediaLimits& limits, const std::string& param) {
  try {
    return io::decode_image(as_bytes(bytes), "the picture", {.max_pixels = limits.pixels});
  } catch (const Error& error) {
    throw bad_request(param, error.what(), "invalid_image");
  }
}

Audio read_sound(std::string_view bytes, const MediaLimits& limits, const std::string& param) {
  try {
    io::AudioReader reader(io::ByteSource::from_memory(as_bytes(bytes), "the sound"));
    io::AudioStream stream(std::move(reader), {.sample_rate = 0, .mono = true});
    Audio audio{.sample_rate = stream.sample_rate(), .channels = 1, .samples = {}};
    const double most = limits.seconds * stream.sample_rate();
    std::vector<float> block(16384);
    while (const size_t frames = stream.read(block)) {
      audio.samples.insert(audio.samples.end(), block.begin(),
                           block.begin() + static_cast<std::ptrdiff_t>(frames));
      TESSERA_CHECK(static_cast<double>(audio.samples.size()) <= most, InvalidArgument,
                    "the sound is longer than {} s", limits.seconds);
    }
    TESSERA_CHECK(!audio.samples.empty(), InvalidArgument, "the sound is empty");
    return audio;
  } catch (const Error& error) {
    throw bad_request(param, error.what(), "invalid_audio");
  }
}

}  // namespace tessera::serve
