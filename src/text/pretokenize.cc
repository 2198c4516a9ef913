// Pre-tokenizers as in huggingface/tokenizers 0.23. A splitter marks stretches of a piece as match
// or not; the behaviour decides which stretches are kept, dropped or joined. All pieces of a run
// share one buffer; a step that changes characters writes a new one.
#include "text/pretokenize.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/json_fields.h"
#include "text/unicode.h"

#include <algorithm>
#include <optional>

namespace tessera::text {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr int kMaxDepth = 16;

struct Stretch {
  size_t begin;
  size_t end;
  bool match;
};

enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior parse_behavior(const io::Json& json, std::string_view what) {
  const std::string name = string_field(json, "behavior", what, "Isolated");
  if (name == "Isolated") {
    return Behavior::kIsolated;
  }
  if (name == "Removed") {
    return Behavior::kRemoved;
  }
  if (name == "MergedWithPrevious") {
    return Behavior::kMergedWithPrevious;
  }
  if (name == "MergedWithNext") {
    return Behavior::kMergedWithNext;
  }
  if (name == "Contiguous") {
    return Behavior::kContiguous;
  }
  throw CorruptFile(
      "{}: behavior '{}'; expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
      "Contiguous",
      what, name);
}

/// Joins stretches in place. Two neighbours join when `joins(stretch, previous is a match)` holds.
template <class Joins>
void join_stretches(std::vector<Stretch>& stretches, Joins joins) {
  size_t kept = 0;
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    const bool match = stretch.match;
    if (kept > 0 && joins(match, previous_match)) {
      stretches[kept - 1].end = stretch.end;
    } else {
      stretches[kept++] = {stretch.begin, stretch.end, false};
    }
    previous_match = match;
  }
  stretches.resize(kept);
}

void merge_with_next(std::vector<Stretch>& stretches) {
  std::reverse(stretches.begin(), stretches.end());
  for (Stretch& s : stretches) {
    std::swap(s.begin, s.end);
  }
  join_stretches(stretches, [](bool match, bool previous) { return match && !previous; });
  for (Stretch& s : stretches) {
    std::swap(s.begin, s.end);
  }
  std::reverse(stretches.begin(), stretches.end());
}

void apply_behavior(std::vector<Stretch>& stretches, Behavior behavior) {
  switch (behavior) {
    case Behavior::kIsolated:
      for (Stretch& s : stretches) {
        s.match = false;
      }
      break;
    case Behavior::kRemoved:
      break;
    case Behavior::kContiguous:
      join_stretches(stretches, [](bool match, bool previous) { return match == previous; });
      break;
    case Behavior::kMergedWithPrevious:
      join_stretches(stretches, [](bool match, bool previous) { return match && !previous; });
      break;
    case Behavior::kMergedWithNext:
      merge_with_next(stretches);
      break;
  }
}

/// Cuts every piece: `find(text, stretches)` appends stretches that cover `text`.
template <class Find>
void split_pieces(Words& words, Behavior behavior, bool invert, Find find) {
  std::vector<Words::Piece> pieces;
  pieces.reserve(words.pieces.size() * 2);
  std::vector<Stretch> stretches;
  for (size_t i = 0; i < words.pieces.size(); ++i) {
    const Words::Piece& piece = words.pieces[i];
    stretches.clear();
    find(words[i], stretches);
    if (invert) {
      for (Stretch& s : stretches) {
        s.match = !s.match;
      }
    }
    apply_behavior(stretches, behavior);
    for (const Stretch& s : stretches) {
      if (!s.match && s.begin < s.end) {
        pieces.push_back(
            {piece.begin + s.begin, piece.begin + s.end, piece.at_start && s.begin == 0});
      }
    }
  }
  words.pieces = std::move(pieces);
}

void find_regex(const Regex& regex, std::string_view text, std::vector<Stretch>& out) {
  size_t done = 0;
  regex.find_all(text, [&](size_t begin, size_t end) {
    if (done != begin) {
      out.push_back({done, begin, false});
    }
    out.push_back({begin, end, true});
    done = end;
  });
  if (done != text.size()) {
    out.push_back({done, text.size(), false});
  }
}

template <class Matches>
void find_characters(Matches matches, std::string_view text, std::vector<Stretch>& out) {
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = utf8_decode(text.substr(i), &length);
    const size_t end = i + static_cast<size_t>(length);
    if (matches(c)) {
      if (done < i) {
        out.push_back({done, i, false});
      }
      out.push_back({i, end, true});
      done = end;
    }
    i = end;
  }
  if (done < text.size()) {
    out.push_back({done, text.size(), false});
  }
}

/// Writes every piece anew: `rewrite(piece text, at_start, out)` appends.
template <class Rewrite>
void rewrite_pieces(Words& words, Rewrite rewrite) {
  std::string text;
  text.reserve(words.text.size() + words.text.size() / 4 + words.pieces.size());
  for (size_t i = 0; i < words.pieces.size(); ++i) {
    const size_t begin = text.size();
    rewrite(words[i], words.pieces[i].at_start, text);
    words.pieces[i].begin = begin;  // read above, so it may go
    words.pieces[i].end = text.size();
  }
  words.text = std::move(text);
}

class RegexSplit : public PreTokenizer {
 public:
  RegexSplit(Regex regex, Behavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}
  void apply(Words& words) const override {
    split_pieces(words, behavior_, invert_,
                 [this](std::string_view text, auto& out) { find_regex(regex_, text, out); });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

/// Splits at single characters of a class.
template <class Matches>
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(Matches matches, Behavior behavior) : matches_(matches), behavior_(behavior) {}
  void apply(Words& words) const override {
    split_pieces(words, behavior_, false, [this](std::string_view text, auto& out) {
      find_characters(matches_, text, out);
    });
  }

 private:
  Matches matches_;
  Behavior behavior_;
};

template <class Matches>
std::unique_ptr<PreTokenizer> character_split(Matches matches, Behavior behavior) {
  return std::make_unique<CharacterSplit<Matches>>(matches, behavior);
}

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex) : add_prefix_space_(add_prefix_space) {
    if (use_regex) {
      regex_.emplace(kGpt2Pattern);
    }
  }
  void apply(Words& words) const override {
    if (add_prefix_space_) {
      rewrite_pieces(words, [](std::string_view text, bool, std::string& out) {
        if (!text.starts_with(' ')) {
          out.push_back(' ');
        }
        out.append(text);
      });
    }
    if (regex_) {
      split_pieces(words, Behavior::kIsolated, false,
                   [this](std::string_view text, auto& out) { find_regex(*regex_, text, out); });
    }
    rewrite_pieces(
        words, [](std::string_view text, bool, std::string& out) { append_byte_level(out, text); });
  }

 private:
  bool add_prefix_space_;
  std::optional<Regex> regex_;
};

class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(char32_t replacement, Prepend prepend, bool split)
      : character_(replacement), prepend_(prepend), split_(split) {
    utf8_append(replacement_, replacement);
  }
  void apply(Words& words) const override {
    rewrite_pieces(words, [this](std::string_view text, bool at_start, std::string& out) {
      const bool wanted = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && at_start);
      if (wanted && !text.starts_with(' ') && !text.starts_with(replacement_)) {
        out += replacement_;
      }
      for (const char c : text) {
        if (c == ' ') {
          out += replacement_;
        } else {
          out += c;
        }
      }
    });
    if (split_) {
      split_pieces(words, Behavior::kMergedWithNext, false,
                   [this](std::string_view text, auto& out) {
                     find_characters([this](char32_t c) { return c == character_; }, text, out);
                   });
    }
  }

 private:
  char32_t character_;
  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

/// Pieces of a fixed number of characters.
class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}
  void apply(Words& words) const override {
    split_pieces(words, Behavior::kIsolated, false, [this](std::string_view text, auto& out) {
      size_t begin = 0;
      size_t count = 0;
      for (size_t i = 0; i < text.size();) {
        int bytes = 0;
        utf8_decode(text.substr(i), &bytes);
        i += static_cast<size_t>(bytes);
        if (++count == length_ || i == text.size()) {
          out.push_back({begin, i, false});
          begin = i;
          count = 0;
        }
      }
    });
  }

 private:
  size_t length_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(Words& words) const override {
    for (const auto& part : parts_) {
      part->apply(words);
    }
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

std::unique_ptr<PreTokenizer> make_metaspace(const io::Json& json) {
  constexpr std::string_view kWhat = "pre_tokenizer Metaspace";
  const std::string replacement = string_field(json, "replacement", kWhat);
  TESSERA_CHECK(
      !replacement.empty() && static_cast<size_t>(utf8_length(replacement)) == replacement.size(),
      CorruptFile, "{}: replacement '{}', expected one character", kWhat, replacement);
  const std::string scheme = string_field(json, "prepend_scheme", kWhat, "always");
  Metaspace::Prepend prepend = Metaspace::Prepend::kAlways;
  if (scheme == "first") {
    prepend = Metaspace::Prepend::kFirst;
  } else if (scheme == "never") {
    prepend = Metaspace::Prepend::kNever;
  } else {
    TESSERA_CHECK(scheme == "always", CorruptFile,
                  "{}: prepend_scheme '{}', expected always, first or never", kWhat, scheme);
  }
  if (!bool_field(json, "add_prefix_space", kWhat, true)) {
    prepend = Metaspace::Prepend::kNever;
  }
  int length = 0;
  return std::make_unique<Metaspace>(utf8_decode(replacement, &length), prepend,
                                     bool_field(json, "split", kWhat, true));
}

std::unique_ptr<PreTokenizer> make_one(const io::Json& json, int depth);

std::unique_ptr<PreTokenizer> sequence_of(std::unique_ptr<PreTokenizer> first,
                                          std::unique_ptr<PreTokenizer> second) {
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  parts.push_back(std::move(first));
  parts.push_back(std::move(second));
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<PreTokenizer> make_sequence(const io::Json& json, int depth) {
  TESSERA_CHECK(depth < kMaxDepth, Unsupported,
                "pre_tokenizer: sequences nested deeper than {} are not supported", kMaxDepth);
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (const io::Json& part : list_field(json, "pretokenizers", "pre_tokenizer Sequence")) {
    parts.push_back(make_one(part, depth + 1));
  }
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<PreTokenizer> make_delimiter_split(const io::Json& json) {
  constexpr std::string_view kWhat = "pre_tokenizer CharDelimiterSplit";
  const std::string delimiter = string_field(json, "delimiter", kWhat);
  TESSERA_CHECK(
      !delimiter.empty() && static_cast<size_t>(utf8_length(delimiter)) == delimiter.size(),
      CorruptFile, "{}: delimiter '{}', expected one character", kWhat, delimiter);
  int length = 0;
  const char32_t wanted = utf8_decode(delimiter, &length);
  return character_split([wanted](char32_t c) { return c == wanted; }, Behavior::kRemoved);
}

std::unique_ptr<PreTokenizer> make_one(const io::Json& json, int depth) {
  const std::string type = type_of(json, "pre_tokenizer");
  const std::string what = "pre_tokenizer " + type;
  if (type == "Sequence") {
    return make_sequence(json, depth);
  }
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(bool_field(json, "add_prefix_space", what, true),
                                       bool_field(json, "use_regex", what, true));
  }
  if (type == "Split") {
    return std::make_unique<RegexSplit>(make_pattern(member(json, "pattern"), what),
                                        parse_behavior(json, what),
                                        bool_field(json, "invert", what, false));
  }
  if (type == "Metaspace") {
    return make_metaspace(json);
  }
  if (type == "Whitespace") {  // \w+|[^\w\s]+
    const auto kind = [](char32_t c) { return is_word(c) ? 1 : is_whitespace(c) ? 0 : 2; };
    return sequence_of(
        character_split([kind](char32_t c) { return kind(c) == 0; }, Behavior::kRemoved),
        character_split([kind](char32_t c) { return kind(c) == 1; }, Behavior::kContiguous));
  }
  if (type == "WhitespaceSplit") {
    return character_split(is_whitespace, Behavior::kRemoved);
  }
  if (type == "Punctuation") {
    return character_split(is_punctuation, parse_behavior(json, what));
  }
  if (type == "Digits") {
    return character_split(is_numeric, bool_field(json, "individual_digits", what, false)
                                           ? Behavior::kIsolated
                                           : Behavior::kContiguous);
  }
  if (type == "BertPreTokenizer") {
    return sequence_of(character_split(is_whitespace, Behavior::kRemoved),
                       character_split(is_punctuation, Behavior::kIsolated));
  }
  if (type == "CharDelimiterSplit" || type == "Delimiter") {
    return make_delimiter_split(json);
  }
  if (type == "FixedLength") {
    const int64_t length = int_field(json, "length", what, 5);
    TESSERA_CHECK(length > 0, CorruptFile, "{}: length {}, expected at least 1", what, length);
    return std::make_unique<FixedLength>(static_cast<size_t>(length));
  }
  throw Unsupported(
      "pre_tokenizer '{}' is not supported; expected ByteLevel, Split, Metaspace, Whitespace, "
      "WhitespaceSplit, Punctuation, Digits, BertPreTokenizer, CharDelimiterSplit, FixedLength or "
      "Sequence",
      type);
}

std::array<char32_t, 256> make_byte_map() {
  std::array<char32_t, 256> map{};
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable =
        (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
    map[b] = printable ? b : next++;
  }
  return map;
}

}  // namespace

const std::array<char32_t, 256>& byte_to_char() {
  static const std::array<char32_t, 256> map = make_byte_map();
  return map;
}

int char_to_byte(char32_t c) {
  static const std::array<int16_t, 324> inverse = [] {
    std::array<int16_t, 324> table{};
    table.fill(-1);
    for (size_t b = 0; b < 256; ++b) {
      table[byte_to_char()[b]] = static_cast<int16_t>(b);
    }
    return table;
  }();
  return c < inverse.size() ? inverse[c] : -1;
}

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) {
    const char32_t c = byte_to_char()[static_cast<unsigned char>(byte)];
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else {  // all below U+0800
      out.push_back(static_cast<char>(0xC0 | (c >> 6)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
  }
}

Regex make_pattern(const io::Json& json, std::string_view what) {
  const io::Json& literal = member(json, "String");
  const io::Json& regex = member(json, "Regex");
  TESSERA_CHECK(literal.is_string() || regex.is_string(), CorruptFile,
                "{}: `pattern` needs a String or a Regex", what);
  return literal.is_string() ? Regex::literal(literal.get<std::string>())
                             : Regex(regex.get<std::string>());
}

std::unique_ptr<PreTokenizer> make_pretokenizer(const io::Json& json) {
  return json.is_null() ? nullptr : make_one(json, 0);
}

}  // namespace tessera::text
