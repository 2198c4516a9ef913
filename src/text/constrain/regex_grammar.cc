// A recursive-descent reader for patterns. ^ and $ are read only where they can be dropped: at the
// two ends of a top-level alternative, where they switch off the free text before or after it.
#include "text/constrain/regex_grammar.h"

#include "core/error.h"
#include "core/strings.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace tessera::constrain {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxPattern = size_t{1} << 20;
constexpr uint32_t kMaxCount = 1'000'000'000;

CharSet digits() {
  return {'0', '9'};
}

CharSet word_chars() {
  CharSet set('a', 'z');
  set.add('A', 'Z');
  set.add('0', '9');
  set.add('_', '_');
  return set;
}

CharSet spaces() {
  CharSet set('\t', '\r');
  set.add(' ', ' ');
  return set;
}

class RegexParser {
 public:
  using Expr = GrammarBuilder::Expr;

  RegexParser(GrammarBuilder& builder, std::string_view pattern, const RegexOptions& options)
      : builder_(builder), text_(pattern), options_(options) {}

  Expr parse() {
    TESSERA_CHECK(text_.size() <= kMaxPattern, Unsupported,
                  "the pattern has {} bytes; at most {} are read", text_.size(), kMaxPattern);
    std::vector<Expr> alternatives;
    do {
      alternatives.push_back(parse_top());
    } while (eat('|'));
    if (at_ < text_.size()) {
      fail("a ')' without '('");
    }
    return builder_.choice(std::move(alternatives));
  }

 private:
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw InvalidArgument("pattern '{}', position {}: {}", shown(), at_,
                          fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void refuse(std::string_view what) const {
    throw Unsupported("pattern '{}', position {}: {} is not supported in constrained decoding",
                      shown(), at_, what);
  }
  std::string shown() const {
    constexpr size_t kShown = 80;
    return utf8_lossy(text_.substr(0, kShown)) + (text_.size() > kShown ? "…" : "");
  }
  char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool eat(char c) {
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }
  bool eat(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) {
      return false;
    }
    at_ += word.size();
    return true;
  }

  Expr write(const CharSet& set) {
    const CharSet inside = set.intersect(options_.alphabet);
    return options_.write ? options_.write(inside) : builder_.chars(inside);
  }
  Expr free_text() { return builder_.repeat(write(options_.alphabet), 0); }

  Expr parse_top();
  Expr parse_alternatives(int depth);
  Expr parse_sequence(int depth);
  Expr parse_group(int depth);
  Expr parse_atom(int depth);
  Expr parse_repeats(Expr part);
  bool parse_counts(uint32_t& min, uint32_t& max);
  CharSet parse_class();
  /// One member of a class: a set, or a single character that may begin a range.
  std::pair<CharSet, std::optional<char32_t>> parse_member();
  std::pair<CharSet, std::optional<char32_t>> parse_escape(bool in_class);
  CharSet parse_category();
  char32_t parse_hex(int digits);
  char32_t parse_unicode_escape();
  char32_t parse_plain_char();

  GrammarBuilder& builder_;
  std::string_view text_;
  const RegexOptions& options_;
  size_t at_ = 0;
};

RegexParser::Expr RegexParser::parse_top() {
  bool from_start = false;
  while (eat('^') || eat("\\A")) {
    from_start = true;
  }
  const Expr body = parse_sequence(0);
  bool to_end = false;
  while (eat('$') || eat("\\Z") || eat("\\z")) {
    to_end = true;
  }
  if (at_ < text_.size() && peek() != '|' && peek() != ')') {
    refuse("$ before the end of the pattern");
  }
  std::vector<Expr> parts;
  if (options_.search && !from_start) {
    parts.push_back(free_text());
  }
  parts.push_back(body);
  if (options_.search && !to_end) {
    parts.push_back(free_text());
  }
  return builder_.sequence(std::move(parts));
}

RegexParser::Expr RegexParser::parse_alternatives(int depth) {
  std::vector<Expr> alternatives;
  do {
    alternatives.push_back(parse_sequence(depth));
  } while (eat('|'));
  return builder_.choice(std::move(alternatives));
}

RegexParser::Expr RegexParser::parse_sequence(int depth) {
  if (depth > kMaxDepth) {
    fail("groups are nested deeper than {}", kMaxDepth);
  }
  std::vector<Expr> parts;
  while (at_ < text_.size() && peek() != '|' && peek() != ')') {
    const bool is_end = peek() == '$' || (peek() == '\\' && (peek(1) == 'Z' || peek(1) == 'z'));
    if (is_end && depth == 0) {
      break;
    }
    if (is_end || peek() == '^' || (peek() == '\\' && peek(1) == 'A')) {
      refuse("an anchor inside the pattern");
    }
    parts.push_back(parse_repeats(parse_atom(depth)));
  }
  return parts.empty() ? builder_.empty() : builder_.sequence(std::move(parts));
}

RegexParser::Expr RegexParser::parse_group(int depth) {
  if (eat("?=") || eat("?!") || eat("?<=") || eat("?<!")) {
    refuse("look-around");
  }
  if (eat("?P<") || eat("?<")) {
    const size_t end = text_.find('>', at_);
    if (end == text_.npos) {
      fail("the group's name has no '>'");
    }
    at_ = end + 1;
  } else if (!eat("?:") && peek() == '?') {
    refuse(peek(1) == 'P'   ? "a back reference"
           : peek(1) == '>' ? "an atomic group"
                            : "an inline flag");
  }
  const Expr group = parse_alternatives(depth + 1);
  if (!eat(')')) {
    fail("a '(' without ')'");
  }
  return group;
}

RegexParser::Expr RegexParser::parse_atom(int depth) {
  switch (peek()) {
    case '(':
      ++at_;
      return parse_group(depth);
    case '[':
      ++at_;
      return write(parse_class());
    case '.':
      ++at_;
      return write(options_.line_ends.complement());
    case '\\':
      ++at_;
      return write(parse_escape(false).first);
    case '*':
    case '+':
    case '?':
      fail("nothing to repeat before '{}'", peek());
    default:
      return write(CharSet(parse_plain_char()));
  }
}

/// `{m,n}` at the place; what only looks like it is a plain brace, as in Python.
bool RegexParser::parse_counts(uint32_t& min, uint32_t& max) {
  const size_t begin = at_;
  const auto number = [&](uint32_t& value) {
    const char* const end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    if (error == std::errc::result_out_of_range || (error == std::errc() && value > kMaxCount)) {
      fail("a count above {}", kMaxCount);
    }
    const bool found = error == std::errc();
    at_ = static_cast<size_t>(stop - text_.data());
    return found;
  };
  ++at_;
  min = 0;
  const bool has_min = number(min);
  max = min;
  bool has_max = true;
  if (eat(',')) {
    has_max = number(max);
    if (!has_max) {
      max = GrammarBuilder::kUnbounded;
    }
  }
  if ((!has_min && (!has_max || max == min)) || !eat('}')) {
    at_ = begin;
    return false;
  }
  if (min > max) {
    fail("the repetition {{{},{}}} has its minimum above its maximum", min, max);
  }
  return true;
}

RegexParser::Expr RegexParser::parse_repeats(Expr part) {
  uint32_t min = 0;
  uint32_t max = GrammarBuilder::kUnbounded;
  if (eat('+')) {
    min = 1;
  } else if (eat('?')) {
    max = 1;
  } else if (!eat('*') && (peek() != '{' || !parse_counts(min, max))) {
    return part;
  }
  if (peek() == '?' || peek() == '+') {
    ++at_;  // lazy or possessive: the same texts, but for possessive ones that never match
    if (text_[at_ - 1] == '+') {
      refuse("a possessive repetition");
    }
  }
  if (peek() == '*' || peek() == '+' || peek() == '?') {
    fail("a repetition of a repetition");
  }
  return builder_.repeat(part, min, max);
}

char32_t RegexParser::parse_plain_char() {
  if (utf8_length(text_.substr(at_)) == 0) {
    fail("the pattern is not valid UTF-8");
  }
  int length = 0;
  const char32_t c = utf8_decode(text_.substr(at_), &length);
  at_ += static_cast<size_t>(length);
  return c;
}

char32_t RegexParser::parse_hex(int digits) {
  uint32_t value = 0;
  const size_t end = at_ + static_cast<size_t>(digits);
  const auto [stop, error] =
      std::from_chars(text_.data() + at_, text_.data() + std::min(end, text_.size()), value, 16);
  if (error != std::errc() || stop != text_.data() + end) {
    fail("expected {} hexadecimal digits", digits);
  }
  at_ = end;
  return value;
}

/// After \u: four digits, maybe a pair of surrogates, or {…}.
char32_t RegexParser::parse_unicode_escape() {
  uint32_t value = 0;
  if (eat('{')) {
    const auto [stop, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value, 16);
    at_ = static_cast<size_t>(stop - text_.data());
    if (error != std::errc() || value > kLastChar || !eat('}')) {
      fail("expected hexadecimal digits and '}}' after \\u{{");
    }
    return value;
  }
  value = parse_hex(4);
  if (value >= 0xD800 && value < 0xDC00 && eat("\\u")) {
    const uint32_t low = parse_hex(4);
    if (low < 0xDC00 || low > 0xDFFF) {
      fail("half of a surrogate pair");
    }
    value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
  }
  return value;
}

CharSet RegexParser::parse_category() {
  std::string_view name = text_.substr(at_, 1);
  if (eat('{')) {
    const size_t end = text_.find('}', at_);
    if (end == text_.npos) {
      fail("\\p{{ has no '}}'");
    }
    name = text_.substr(at_, end - at_);
    at_ = end + 1;
    for (const std::string_view prefix : {"General_Category=", "gc="}) {
      if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
      }
    }
  } else {
    at_ += name.size();
  }
  const CharSet set = unicode_category(name);
  if (set.empty()) {
    refuse(fmt::format("\\p{{{}}} (only general categories such as L or Lu are)", name));
  }
  return set;
}

std::pair<CharSet, std::optional<char32_t>> RegexParser::parse_escape(bool in_class) {
  const auto single = [](char32_t c) { return std::pair(CharSet(c), std::optional<char32_t>(c)); };
  const auto set = [](CharSet s) { return std::pair(std::move(s), std::optional<char32_t>()); };
  if (at_ >= text_.size()) {
    fail("a backslash at the end");
  }
  const char c = peek();
  if (static_cast<unsigned char>(c) >= 0x80) {
    return single(parse_plain_char());
  }
  ++at_;
  switch (c) {
    case 'd':
      return set(digits());
    case 'D':
      return set(digits().complement());
    case 'w':
      return set(word_chars());
    case 'W':
      return set(word_chars().complement());
    case 's':
      return set(spaces());
    case 'S':
      return set(spaces().complement());
    case 'p':
      return set(parse_category());
    case 'P':
      return set(parse_category().complement());
    case 'n':
      return single('\n');
    case 'r':
      return single('\r');
    case 't':
      return single('\t');
    case 'f':
      return single('\f');
    case 'v':
      return single('\v');
    case 'a':
      return single('\a');
    case 'x':
      return single(parse_hex(2));
    case 'u':
      return single(parse_unicode_escape());
    case 'U':
      return single(parse_hex(8));
    case 'c': {
      const auto letter = static_cast<char32_t>(peek());
      ++at_;
      return single(letter % 32);
    }
    case 'b':
      if (in_class) {
        return single('\b');
      }
      refuse("\\b");
    case 'B':
      refuse("\\B");
    default:
      break;
  }
  if (c == '0' && !(peek() >= '0' && peek() <= '9')) {
    return single(0);
  }
  if ((c >= '0' && c <= '9') || c == 'k') {
    refuse("a back reference");
  }
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
    fail("unknown escape \\{}", c);
  }
  return single(static_cast<char32_t>(c));
}

std::pair<CharSet, std::optional<char32_t>> RegexParser::parse_member() {
  if (eat('\\')) {
    return parse_escape(true);
  }
  if (peek() == '[' && peek(1) == ':') {
    refuse("a POSIX class");
  }
  const char32_t c = parse_plain_char();
  return {CharSet(c), c};
}

CharSet RegexParser::parse_class() {
  const bool negated = eat('^');
  CharSet all;
  std::vector<CharSet::Range> ranges;
  bool first = true;
  while (first || peek() != ']') {
    if (at_ >= text_.size()) {
      fail("a '[' without ']'");
    }
    first = false;
    auto [set, low] = parse_member();
    if (!low || peek() != '-' || peek(1) == ']') {
      if (low) {
        ranges.push_back({*low, *low});
      } else {
        all.add(set);
      }
      continue;
    }
    ++at_;
    if (at_ >= text_.size()) {
      fail("a '[' without ']'");
    }
    const auto high = parse_member().second;
    if (!high || *high < *low) {
      fail("a bad range in a class");
    }
    ranges.push_back({*low, *high});
  }
  ++at_;
  all.add(CharSet(std::span<const CharSet::Range>(ranges)));
  return negated ? all.complement() : all;
}

/// All code points by category, once.
const std::array<std::vector<CharSet::Range>, 30>& category_table() {
  static const auto kTable = [] {
    std::array<std::vector<CharSet::Range>, 30> table;
    for (char32_t c = 0; c <= kLastChar; ++c) {
      const auto category =
          static_cast<size_t>(utf8proc_category(static_cast<utf8proc_int32_t>(c)));
      auto& ranges = table[category];
      if (!ranges.empty() && ranges.back().last + 1 == c) {
        ranges.back().last = c;
      } else {
        ranges.push_back({c, c});
      }
    }
    return table;
  }();
  return kTable;
}

}  // namespace

CharSet unicode_category(std::string_view name) {
  // In the order of utf8proc_category_t.
  constexpr std::array<std::string_view, 30> kNames = {
      "Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
      "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
  CharSet set;
  if (name.empty() || name.size() > 2) {
    return set;
  }
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i].starts_with(name)) {
      set.add(CharSet(std::span<const CharSet::Range>(category_table()[i])));
    }
  }
  return set;
}

GrammarBuilder::Expr add_regex(GrammarBuilder& builder,
                               std::string_view pattern,
                               const RegexOptions& options) {
  return RegexParser(builder, pattern, options).parse();
}

Grammar parse_regex(std::string_view pattern) {
  GrammarBuilder builder;
  const GrammarBuilder::Expr expr = add_regex(builder, pattern, {});
  return builder.build(expr);
}

}  // namespace tessera::constrain
