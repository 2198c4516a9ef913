// Normalizers as in huggingface/tokenizers 0.23. They follow that package's tables, not the latest
// Unicode (text/unicode.h).
#include "text/normalize.h"

#include "core/base64.h"
#include "core/error.h"
#include "core/strings.h"
#include "text/charsmap.h"
#include "text/grapheme.h"
#include "text/json_fields.h"
#include "text/pretokenize.h"
#include "text/unicode.h"

#include <vector>

namespace tessera::text {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxText = size_t{1} << 31;  // a Replace can blow a text up

/// Writes `text` anew: `step(c, out)` appends what stands for `c`.
template <class Step>
void map_characters(std::string& text, bool& at_start, Step step) {
  std::string out;
  out.reserve(text.size() + 8);
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = utf8_decode(std::string_view(text).substr(i), &length);
    step(c, out);
    if (i == 0 && out.empty()) {
      at_start = false;
    }
    i += static_cast<size_t>(length);
  }
  text = std::move(out);
}

/// A normalizer from a function `void(std::string&, bool&)`.
template <class Function>
class Simple : public Normalizer {
 public:
  explicit Simple(Function function) : function_(std::move(function)) {}
  void apply(std::string& text, bool& at_start) const override { function_(text, at_start); }

 private:
  Function function_;
};

template <class Function>
std::unique_ptr<Normalizer> simple(Function function) {
  return std::make_unique<Simple<Function>>(std::move(function));
}

std::unique_ptr<Normalizer> normal_form(NormalForm form) {
  return simple([form](std::string& text, bool&) { text = normalize(text, form); });
}

void lowercase(std::string& text, bool& at_start) {
  map_characters(text, at_start, [](char32_t c, std::string& out) { append_lowercase(out, c); });
}

/// Byte length of the white space at the front (`left`) or the end of `text`.
size_t white_length(std::string_view text, bool left) {
  size_t size = 0;
  while (size < text.size()) {
    size_t begin = size;
    int length = 0;
    if (!left) {
      begin = text.size() - size - 1;
      while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
        --begin;
      }
    }
    if (!is_whitespace(utf8_decode(text.substr(begin), &length))) {
      break;
    }
    size += static_cast<size_t>(length);
  }
  return size;
}

void strip(std::string& text, bool& at_start, bool left, bool right) {
  if (right) {
    text.resize(text.size() - white_length(text, false));
  }
  if (left) {
    const size_t size = white_length(text, true);
    at_start = at_start && size == 0;
    text.erase(0, size);
  }
}

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

struct BertOptions {
  bool clean_text;
  bool handle_chinese_chars;
  bool strip_accents;
  bool lowercase;
};

void bert(std::string& text, bool& at_start, const BertOptions& options) {
  if (options.clean_text) {
    map_characters(text, at_start, [](char32_t c, std::string& out) {
      if (!is_bert_control(c)) {
        utf8_append(out, is_whitespace(c) ? U' ' : c);
      }
    });
  }
  if (options.handle_chinese_chars) {
    map_characters(text, at_start, [](char32_t c, std::string& out) {
      const bool spaced = is_chinese(c);
      out += spaced ? " " : "";
      utf8_append(out, c);
      out += spaced ? " " : "";
    });
  }
  if (options.strip_accents) {
    text = normalize(text, NormalForm::kNfd);
    map_characters(text, at_start, [](char32_t c, std::string& out) {
      if (!is_nonspacing_mark(c)) {
        utf8_append(out, c);
      }
    });
  }
  if (options.lowercase) {
    lowercase(text, at_start);
  }
}

std::unique_ptr<Normalizer> make_bert(const io::Json& json) {
  constexpr std::string_view kWhat = "normalizer BertNormalizer";
  BertOptions options{};
  options.clean_text = bool_field(json, "clean_text", kWhat, true);
  options.handle_chinese_chars = bool_field(json, "handle_chinese_chars", kWhat, true);
  options.lowercase = bool_field(json, "lowercase", kWhat, true);
  options.strip_accents = bool_field(json, "strip_accents", kWhat, options.lowercase);
  return simple([options](std::string& text, bool& at_start) { bert(text, at_start, options); });
}

class Replace : public Normalizer {
 public:
  Replace(Regex regex, std::string content)
      : regex_(std::move(regex)), content_(std::move(content)) {}
  void apply(std::string& text, bool& at_start) const override {
    std::string out;
    size_t done = 0;
    regex_.find_all(text, [&](size_t begin, size_t end) {
      out.append(text, done, begin - done);
      out += content_;
      at_start = at_start && (begin > 0 || end == 0 || !content_.empty());
      TESSERA_CHECK(out.size() < kMaxText, InvalidArgument,
                    "normalizer Replace: the text grows beyond {} bytes", kMaxText);
      done = end;
    });
    out.append(text, done);
    text = std::move(out);
  }

 private:
  Regex regex_;
  std::string content_;
};

/// Control characters dropped, odd white space made a space (SentencePiece's nmt rules).
void nmt(std::string& text, bool& at_start) {
  map_characters(text, at_start, [](char32_t c, std::string& out) {
    const bool dropped = (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
                         c == 0x8F || c == 0x9F;
    const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (!dropped) {
      utf8_append(out, space ? U' ' : c);
    }
  });
}

/// SentencePiece's character map as `tokenizers` applies it: a cluster below 6 bytes that begins
/// with a rule's key is replaced whole; in longer ones, and where no rule fits, every character is
/// looked up by itself, and again one that begins with a key is replaced whole.
class Precompiled : public Normalizer {
 public:
  explicit Precompiled(Charsmap map) : map_(std::move(map)) {}
  void apply(std::string& text, bool&) const override {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
      const std::string_view cluster =
          std::string_view(text).substr(i, grapheme_length(std::string_view(text).substr(i)));
      i += cluster.size();
      if (cluster.size() < 6) {
        if (const auto match = map_.shortest_match(cluster)) {
          out += match->replacement;
          continue;
        }
      }
      for (size_t begin = 0; begin < cluster.size();) {
        int length = 0;
        utf8_decode(cluster.substr(begin), &length);
        const std::string_view character = cluster.substr(begin, static_cast<size_t>(length));
        const auto match = map_.shortest_match(character);
        out += match ? match->replacement : character;
        begin += character.size();
      }
      TESSERA_CHECK(out.size() < kMaxText, InvalidArgument,
                    "normalizer Precompiled: the text grows beyond {} bytes", kMaxText);
    }
    text = std::move(out);
  }

 private:
  Charsmap map_;
};

std::unique_ptr<Normalizer> make_precompiled(const io::Json& json) {
  constexpr std::string_view kWhat = "normalizer Precompiled";
  const auto map = base64_decode(string_field(json, "precompiled_charsmap", kWhat));
  TESSERA_CHECK(map, CorruptFile, "{}: `precompiled_charsmap` is not base64", kWhat);
  return std::make_unique<Precompiled>(Charsmap(*map, kWhat));
}

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(std::string& text, bool& at_start) const override {
    for (const auto& part : parts_) {
      part->apply(text, at_start);
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::unique_ptr<Normalizer> make_one(const io::Json& json, int depth);

std::unique_ptr<Normalizer> make_sequence(const io::Json& json, int depth) {
  TESSERA_CHECK(depth < kMaxDepth, Unsupported,
                "normalizer: sequences nested deeper than {} are not supported", kMaxDepth);
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const io::Json& part : list_field(json, "normalizers", "normalizer Sequence")) {
    parts.push_back(make_one(part, depth + 1));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<Normalizer> make_strip(const io::Json& json) {
  const bool left = bool_field(json, "strip_left", "normalizer Strip", true);
  const bool right = bool_field(json, "strip_right", "normalizer Strip", true);
  return simple(
      [left, right](std::string& text, bool& at_start) { strip(text, at_start, left, right); });
}

std::unique_ptr<Normalizer> make_one(const io::Json& json, int depth) {
  const std::string type = type_of(json, "normalizer");
  if (type == "Sequence") {
    return make_sequence(json, depth);
  }
  if (type == "NFC") {
    return normal_form(NormalForm::kNfc);
  }
  if (type == "NFD") {
    return normal_form(NormalForm::kNfd);
  }
  if (type == "NFKC") {
    return normal_form(NormalForm::kNfkc);
  }
  if (type == "NFKD") {
    return normal_form(NormalForm::kNfkd);
  }
  if (type == "Lowercase") {
    return simple(lowercase);
  }
  if (type == "StripAccents") {
    return simple([](std::string& text, bool& at_start) {
      map_characters(text, at_start, [](char32_t c, std::string& out) {
        if (!is_combining_mark(c)) {
          utf8_append(out, c);
        }
      });
    });
  }
  if (type == "Strip") {
    return make_strip(json);
  }
  if (type == "Prepend") {
    std::string prefix = string_field(json, "prepend", "normalizer Prepend");
    return simple([prefix = std::move(prefix)](std::string& text, bool&) {
      if (!text.empty()) {
        text.insert(0, prefix);
      }
    });
  }
  if (type == "Replace") {
    return std::make_unique<Replace>(make_pattern(member(json, "pattern"), "normalizer Replace"),
                                     string_field(json, "content", "normalizer Replace"));
  }
  if (type == "ByteLevel") {
    return simple([](std::string& text, bool&) {
      std::string out;
      append_byte_level(out, text);
      text = std::move(out);
    });
  }
  if (type == "BertNormalizer") {
    return make_bert(json);
  }
  if (type == "Nmt") {
    return simple(nmt);
  }
  if (type == "Precompiled") {
    return make_precompiled(json);
  }
  throw Unsupported(
      "normalizer '{}' is not supported; expected NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
      "Strip, Prepend, Replace, ByteLevel, BertNormalizer, Nmt, Precompiled or Sequence",
      type);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const io::Json& json) {
  return json.is_null() ? nullptr : make_one(json, 0);
}

}  // namespace tessera::text
