// Base64: RFC 4648. Data URLs: RFC 2397. The readers of io check the contents; here are the limits
// on what they may grow to.
#include "serve/media_input.h"

#include "io/audio.h"
#include "io/image.h"
#include "serve/api_error.h"
#include "serve/http.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tessera::serve {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> make_digits() {
  std::array<int8_t, 256> digits{};
  digits.fill(-1);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  digits['-'] = 62;
  digits['_'] = 63;
  return digits;
}

constexpr std::array<int8_t, 256> kDigits = make_digits();

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
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;  // digits in `bits`
  size_t padding = 0;
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      continue;
    }
    if (c == '=') {
      ++padding;
      continue;
    }
    const int digit = kDigits[static_cast<unsigned char>(c)];
    if (digit < 0 || padding > 0) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (++count == 4) {
      out += static_cast<char>(bits >> 16 & 0xFF);
      out += static_cast<char>(bits >> 8 & 0xFF);
      out += static_cast<char>(bits & 0xFF);
      bits = 0;
      count = 0;
    }
  }
  if (count == 1 || (padding > 0 && count + padding != 4)) {
    return std::nullopt;
  }
  if (count >= 2) {
    out += static_cast<char>(count == 2 ? bits >> 4 : bits >> 10);
  }
  if (count == 3) {
    out += static_cast<char>(bits >> 2 & 0xFF);
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = bits << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= count ? kAlphabet[bits >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
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
