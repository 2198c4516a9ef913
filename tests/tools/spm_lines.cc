// Encodes or decodes line by line, for comparisons with the Python packages:
//   spm_lines MODEL [--decode] < lines > results
// MODEL: a SentencePiece file (the bare model), or a folder (with the rules of the slow Llama
// tokenizer). A line is a JSON string, or a list of byte values; with --decode, a list of ids.
// A failed line gives {"error": message}.
#include "core/error.h"
#include "io/json.h"
#include "text/sentencepiece.h"
#include "text/slow_llama.h"

#include <fmt/core.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <vector>

namespace {

using tessera::io::Json;

struct Codec {
  std::function<std::vector<int32_t>(std::string_view)> encode;
  std::function<std::string(std::span<const int32_t>)> decode;
};

Codec open_codec(const tessera::io::fs::path& path) {
  using namespace tessera::text;
  if (tessera::io::fs::is_directory(path)) {
    std::shared_ptr<Tokenizer> tokenizer = load_sentencepiece_tokenizer(path);
    return {[=](std::string_view text) { return tokenizer->encode(text); },
            [=](std::span<const int32_t> ids) { return tokenizer->decode(ids); }};
  }
  auto model = std::make_shared<const SentencePiece>(SentencePiece::load(path));
  return {[=](std::string_view text) { return model->encode(text); },
          [=](std::span<const int32_t> ids) { return model->decode(ids); }};
}

std::string text_of(const Json& line) {
  if (line.is_string()) {
    return line.get<std::string>();
  }
  const auto bytes = line.get<std::vector<uint8_t>>();
  return {bytes.begin(), bytes.end()};
}

Json convert(const Codec& codec, const std::string& line, bool decode) {
  try {
    const Json json = tessera::io::parse_json(line, "stdin");
    if (decode) {
      return codec.decode(json.get<std::vector<int32_t>>());
    }
    return codec.encode(text_of(json));
  } catch (const tessera::Error& error) {
    return {{"error", error.what()}};
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> args(argv + 1, argv + argc);
    if (args.empty()) {
      fmt::print(stderr, "usage: spm_lines MODEL [--decode]\n");
      return 2;
    }
    const Codec codec = open_codec(args[0]);
    const bool decode = args.size() > 1 && args[1] == "--decode";
    for (std::string line; std::getline(std::cin, line);) {
      fmt::print("{}\n", convert(codec, line, decode).dump());
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
