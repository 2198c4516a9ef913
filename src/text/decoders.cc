// Decoders as in huggingface/tokenizers 0.23. Broken UTF-8: ByteLevel decodes all bytes at once
// with one U+FFFD for each maximal broken prefix; ByteFallback gives one U+FFFD for every byte of a
// run of <0xHH> tokens that is not valid as a whole.
#include "text/decoders.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/json_fields.h"
#include "text/pretokenize.h"

#include <array>
#include <optional>
#include <utility>

namespace tessera::text {
namespace {

using Tokens = std::vector<std::string>;

constexpr int kMaxDepth = 16;
constexpr size_t kMaxText = size_t{1} << 31;

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  out.append(text, done);
  return out;
}

/// A decoder from a function of all tokens, and one of a single token inside a text.
template <class Function, class TokenFunction>
class Simple : public Decoder {
 public:
  Simple(Function function, TokenFunction token_function)
      : function_(std::move(function)), token_function_(std::move(token_function)) {}
  Tokens apply(Tokens tokens) const override { return function_(std::move(tokens)); }
  std::string token_bytes(std::string token) const override {
    return token_function_(std::move(token));
  }

 private:
  Function function_;
  TokenFunction token_function_;
};

template <class Function, class TokenFunction>
std::unique_ptr<Decoder> simple(Function function, TokenFunction token_function) {
  return std::make_unique<Simple<Function, TokenFunction>>(std::move(function),
                                                           std::move(token_function));
}

/// A decoder that treats every token alike.
template <class Function>
std::unique_ptr<Decoder> for_each_token(Function function) {
  return simple(
      [function](Tokens tokens) {
        for (std::string& token : tokens) {
          token = function(std::move(token));
        }
        return tokens;
      },
      function);
}

std::string unchanged(std::string token) {
  return token;
}

/// Bytes of a token in GPT-2's map; the token's own bytes when a character is outside the map.
void append_token_bytes(std::string& out, std::string_view token) {
  const size_t before = out.size();
  for (size_t i = 0; i < token.size();) {
    int length = 0;
    const int byte = char_to_byte(utf8_decode(token.substr(i), &length));
    if (byte < 0) {
      out.resize(before);
      out += token;
      return;
    }
    out.push_back(static_cast<char>(byte));
    i += static_cast<size_t>(length);
  }
}

Tokens byte_level(Tokens tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    append_token_bytes(bytes, token);
  }
  return {utf8_lossy(bytes)};
}

std::string byte_level_token(std::string token) {
  std::string bytes;
  append_token_bytes(bytes, token);
  return bytes;
}

/// Value of "<0xHH>" (Rust's from_str_radix, which takes a leading +), or nothing.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') {
    return std::nullopt;
  }
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') {
      return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  const int high = token[3] == '+' ? 0 : digit(token[3]);
  const int low = digit(token[4]);
  return high < 0 || low < 0 ? std::nullopt
                             : std::optional<char>(static_cast<char>(high * 16 + low));
}

bool is_valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const int length = utf8_length(text.substr(i));
    if (length == 0) {
      return false;
    }
    i += static_cast<size_t>(length);
  }
  return true;
}

Tokens byte_fallback(Tokens tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) {
      return;
    }
    if (is_valid_utf8(bytes)) {
      out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      bytes.push_back(*byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  return out;
}

std::string byte_fallback_token(std::string token) {
  const auto byte = fallback_byte(token);
  return byte ? std::string(1, *byte) : token;
}

Tokens fuse(Tokens tokens) {
  std::string out;
  for (const std::string& token : tokens) {
    out += token;
  }
  return {std::move(out)};
}

/// Cuts up to `start` leading and `stop` trailing repeats of `content` off one token.
std::string strip(std::string_view token, std::string_view content, int64_t start, int64_t stop) {
  for (int64_t i = 0; i < start && token.starts_with(content); ++i) {
    token.remove_prefix(content.size());
  }
  for (int64_t i = 0; i < stop && token.ends_with(content); ++i) {
    token.remove_suffix(content.size());
  }
  return std::string(token);
}

std::string one_character(const io::Json& json, std::string_view key, std::string_view what) {
  std::string text = string_field(json, key, what);
  TESSERA_CHECK(!text.empty() && static_cast<size_t>(utf8_length(text)) == text.size(), CorruptFile,
                "{}: `{}` is '{}', expected one character", what, key, text);
  return text;
}

std::unique_ptr<Decoder> make_strip(const io::Json& json) {
  const std::string content = one_character(json, "content", "decoder Strip");
  const int64_t start = int_field(json, "start", "decoder Strip", 0);
  const int64_t stop = int_field(json, "stop", "decoder Strip", 0);
  return for_each_token([=](std::string token) { return strip(token, content, start, stop); });
}

std::unique_ptr<Decoder> make_replace(const io::Json& json) {
  const auto regex =
      std::make_shared<Regex>(make_pattern(member(json, "pattern"), "decoder Replace"));
  const std::string content = string_field(json, "content", "decoder Replace");
  return for_each_token([regex, content](std::string token) {
    std::string out;
    size_t done = 0;
    regex->find_all(token, [&](size_t begin, size_t end) {
      out.append(token, done, begin - done);
      out += content;
      TESSERA_CHECK(out.size() < kMaxText, InvalidArgument,
                    "decoder Replace: the text grows beyond {} bytes", kMaxText);
      done = end;
    });
    out.append(token, done);
    return out;
  });
}

std::unique_ptr<Decoder> make_metaspace(const io::Json& json) {
  const std::string replacement = one_character(json, "replacement", "decoder Metaspace");
  const bool prefixed =
      string_field(json, "prepend_scheme", "decoder Metaspace", "always") != "never" &&
      bool_field(json, "add_prefix_space", "decoder Metaspace", true);
  return simple(
      [=](Tokens tokens) {
        for (size_t i = 0; i < tokens.size(); ++i) {
          tokens[i] = replace_all(tokens[i], replacement, i == 0 && prefixed ? "" : " ");
        }
        return tokens;
      },
      [=](std::string token) { return replace_all(token, replacement, " "); });
}

std::unique_ptr<Decoder> make_wordpiece_decoder(const io::Json& json) {
  const std::string prefix = string_field(json, "prefix", "decoder WordPiece", "##");
  const bool cleanup = bool_field(json, "cleanup", "decoder WordPiece", true);
  const auto inner = [=](std::string token) {
    token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    return cleanup ? clean_up_spaces(std::move(token), true) : token;
  };
  return simple(
      [=](Tokens tokens) {
        for (size_t i = 0; i < tokens.size(); ++i) {
          if (i > 0) {
            tokens[i] = inner(std::move(tokens[i]));
          } else if (cleanup) {
            tokens[i] = clean_up_spaces(std::move(tokens[i]), true);
          }
        }
        return tokens;
      },
      inner);
}

std::unique_ptr<Decoder> make_bpe_decoder(const io::Json& json) {
  const std::string suffix = string_field(json, "suffix", "decoder BPEDecoder", "</w>");
  TESSERA_CHECK(!suffix.empty(), Unsupported,
                "decoder BPEDecoder: an empty suffix is not supported");
  return simple(
      [suffix](Tokens tokens) {
        for (size_t i = 0; i < tokens.size(); ++i) {
          tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
        }
        return tokens;
      },
      [suffix](std::string token) { return replace_all(token, suffix, " "); });
}

std::unique_ptr<Decoder> make_ctc(const io::Json& json) {
  const std::string pad = string_field(json, "pad_token", "decoder CTC", "<pad>");
  const std::string delimiter = string_field(json, "word_delimiter_token", "decoder CTC", "|");
  const bool cleanup = bool_field(json, "cleanup", "decoder CTC", true);
  TESSERA_CHECK(!pad.empty() && !delimiter.empty(), Unsupported,
                "decoder CTC: an empty pad_token or word_delimiter_token is not supported");
  const auto ctc = [=](Tokens tokens) {
    Tokens out;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0 && tokens[i] == tokens[i - 1]) {
        continue;
      }
      std::string token = replace_all(tokens[i], pad, "");
      if (cleanup) {
        token = replace_all(clean_up_spaces(std::move(token), true), delimiter, " ");
      }
      if (!token.empty()) {
        out.push_back(std::move(token));
      }
    }
    return out;
  };
  return simple(ctc, [ctc](std::string token) { return fuse(ctc({std::move(token)})).front(); });
}

class Sequence : public Decoder {
 public:
  /// `inner`: for each part, whether it concerns tokens inside the text.
  Sequence(std::vector<std::unique_ptr<Decoder>> parts, std::vector<bool> inner)
      : parts_(std::move(parts)), inner_(std::move(inner)) {}
  Tokens apply(Tokens tokens) const override {
    for (const auto& part : parts_) {
      tokens = part->apply(std::move(tokens));
    }
    return tokens;
  }
  std::string token_bytes(std::string token) const override {
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (inner_[i]) {
        token = parts_[i]->token_bytes(std::move(token));
      }
    }
    return token;
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
  std::vector<bool> inner_;
};

std::unique_ptr<Decoder> make_one(const io::Json& json, int depth) {
  const std::string type = type_of(json, "decoder");
  if (type == "Sequence") {
    TESSERA_CHECK(depth < kMaxDepth, Unsupported,
                  "decoder: sequences nested deeper than {} are not supported", kMaxDepth);
    std::vector<std::unique_ptr<Decoder>> parts;
    std::vector<bool> inner;
    bool joined = false;
    for (const io::Json& part : list_field(json, "decoders", "decoder Sequence")) {
      parts.push_back(make_one(part, depth + 1));
      const std::string part_type = type_of(part, "decoder");
      inner.push_back(!joined || part_type != "Strip");  // of the whole text, it strips the ends
      joined = joined || part_type == "Fuse" || part_type == "ByteLevel";
    }
    return std::make_unique<Sequence>(std::move(parts), std::move(inner));
  }
  if (type == "ByteLevel") {
    return simple(byte_level, byte_level_token);
  }
  if (type == "ByteFallback") {
    return simple(byte_fallback, byte_fallback_token);
  }
  if (type == "Fuse") {
    return simple(fuse, unchanged);
  }
  if (type == "Strip") {
    return make_strip(json);
  }
  if (type == "Replace") {
    return make_replace(json);
  }
  if (type == "Metaspace") {
    return make_metaspace(json);
  }
  if (type == "WordPiece") {
    return make_wordpiece_decoder(json);
  }
  if (type == "BPEDecoder") {
    return make_bpe_decoder(json);
  }
  if (type == "CTC") {
    return make_ctc(json);
  }
  throw Unsupported(
      "decoder '{}' is not supported; expected ByteLevel, ByteFallback, Fuse, Strip, Replace, "
      "Metaspace, WordPiece, BPEDecoder, CTC or Sequence",
      type);
}

}  // namespace

std::string clean_up_spaces(std::string text, bool full) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kRules = {{
      {" .", "."},
      {" ?", "?"},
      {" !", "!"},
      {" ,", ","},
      {" ' ", "'"},
      {" n't", "n't"},
      {" 'm", "'m"},
      {" do not", " don't"},
      {" 's", "'s"},
      {" 've", "'ve"},
      {" 're", "'re"},
  }};
  for (const auto& [from, to] : kRules) {
    if (full || from != " do not") {
      text = replace_all(text, from, to);
    }
  }
  return text;
}

std::unique_ptr<Decoder> make_decoder(const io::Json& json) {
  return json.is_null() ? nullptr : make_one(json, 0);
}

}  // namespace tessera::text
