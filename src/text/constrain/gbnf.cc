// A recursive-descent reader for GBNF as llama.cpp documents it (grammars/README.md). More lenient:
// names may have underscores, and a line may begin with `|`.
#include "text/constrain/gbnf.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tessera::constrain {
namespace {

constexpr size_t kMaxText = size_t{4} << 20;
constexpr int kMaxDepth = 200;
constexpr uint32_t kMaxCount = 1'000'000'000;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : text_(text) {}

  Grammar parse() {
    TESSERA_CHECK(text_.size() <= kMaxText, Unsupported,
                  "the grammar has {} bytes; at most {} are read", text_.size(), kMaxText);
    skip_space(true);
    while (at_ < text_.size()) {
      parse_rule();
      skip_space(true);
    }
    const auto root = rules_.find("root");
    TESSERA_CHECK(root != rules_.end(), InvalidArgument, "grammar: there is no rule 'root'");
    return builder_.build(builder_.call(root->second));
  }

 private:
  using Expr = GrammarBuilder::Expr;

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
    throw InvalidArgument("grammar, line {}, column {}: {}", line, at_ - line_start + 1,
                          fmt::format(format, std::forward<Args>(args)...));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool eat(char c) {
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }

  void skip_space(bool lines);
  bool continues_below() const;
  std::string_view parse_name();
  void parse_rule();
  Expr parse_alternatives(int depth);
  Expr parse_sequence(int depth);
  std::optional<Expr> parse_element(int depth);
  Expr parse_repeats(Expr part);
  uint32_t parse_count();
  Expr parse_literal();
  Expr parse_class();
  char32_t parse_char();
  char32_t parse_hex(int digits);
  GrammarBuilder::Rule rule(std::string_view name);

  std::string_view text_;
  size_t at_ = 0;
  GrammarBuilder builder_;
  std::map<std::string, GrammarBuilder::Rule, std::less<>> rules_;
};

/// Blanks and comments, and line ends if `lines`.
void GbnfParser::skip_space(bool lines) {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '#') {
      at_ = std::min(text_.find_first_of("\r\n", at_), text_.size());
    } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
      ++at_;
    } else {
      return;
    }
  }
}

std::string_view GbnfParser::parse_name() {
  const size_t begin = at_;
  while (is_name_char(peek())) {
    ++at_;
  }
  if (at_ == begin) {
    fail("expected a rule name, found '{}'", at_ < text_.size() ? text_.substr(at_, 1) : "the end");
  }
  return text_.substr(begin, at_ - begin);
}

GrammarBuilder::Rule GbnfParser::rule(std::string_view name) {
  const auto known = rules_.find(name);
  if (known != rules_.end()) {
    return known->second;
  }
  return rules_.emplace(name, builder_.declare(std::string(name))).first->second;
}

void GbnfParser::parse_rule() {
  const std::string name(parse_name());
  const GrammarBuilder::Rule number = rule(name);
  if (builder_.rules()[number].defined) {
    fail("rule '{}' is defined twice", name);
  }
  skip_space(false);
  if (text_.substr(at_, 3) != "::=") {
    fail("expected ::= after the rule name '{}'", name);
  }
  at_ += 3;
  skip_space(true);
  builder_.define(number, parse_alternatives(0));
  if (at_ < text_.size() && peek() != '\n' && peek() != '\r') {
    fail("expected the end of the line after rule '{}', found '{}'", name, text_.substr(at_, 1));
  }
}

/// Whether only blank lines and comments are before a `|`.
bool GbnfParser::continues_below() const {
  GbnfParser ahead(text_);
  ahead.at_ = at_;
  ahead.skip_space(true);
  return ahead.peek() == '|';
}

GbnfParser::Expr GbnfParser::parse_alternatives(int depth) {
  if (depth > kMaxDepth) {
    fail("groups are nested deeper than {}", kMaxDepth);
  }
  std::vector<Expr> alternatives = {parse_sequence(depth)};
  while (peek() == '|' || ((peek() == '\n' || peek() == '\r') && continues_below())) {
    skip_space(true);
    ++at_;
    skip_space(true);
    alternatives.push_back(parse_sequence(depth));
  }
  return builder_.choice(std::move(alternatives));
}

GbnfParser::Expr GbnfParser::parse_sequence(int depth) {
  std::vector<Expr> parts;
  while (const auto element = parse_element(depth)) {
    skip_space(depth > 0);
    parts.push_back(parse_repeats(*element));
    skip_space(depth > 0);
  }
  return parts.empty() ? builder_.empty() : builder_.sequence(std::move(parts));
}

std::optional<GbnfParser::Expr> GbnfParser::parse_element(int depth) {
  const char c = peek();
  if (c == '"') {
    return parse_literal();
  }
  if (c == '[') {
    return parse_class();
  }
  if (c == '(') {
    ++at_;
    skip_space(true);
    const Expr group = parse_alternatives(depth + 1);
    if (!eat(')')) {
      fail("expected ')'");
    }
    return group;
  }
  if (c == '.') {
    ++at_;
    return builder_.chars(CharSet::all());
  }
  TESSERA_CHECK(c != '<' && c != '!', Unsupported,
                "grammar: token elements such as <name> are not supported; write the text");
  if (!is_name_char(c)) {
    return std::nullopt;
  }
  return builder_.call(rule(parse_name()));
}

uint32_t GbnfParser::parse_count() {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
  if (error != std::errc() || value > kMaxCount) {
    fail("expected a count of at most {}", kMaxCount);
  }
  at_ = static_cast<size_t>(end - text_.data());
  return value;
}

GbnfParser::Expr GbnfParser::parse_repeats(Expr part) {
  constexpr uint32_t kAny = GrammarBuilder::kUnbounded;
  for (int count = 0;; ++count) {
    if (eat('*')) {
      part = builder_.repeat(part, 0);
    } else if (eat('+')) {
      part = builder_.repeat(part, 1);
    } else if (eat('?')) {
      part = builder_.optional(part);
    } else if (eat('{')) {
      skip_space(false);
      const uint32_t min = peek() == ',' ? 0 : parse_count();
      skip_space(false);
      uint32_t max = min;
      if (eat(',')) {
        skip_space(false);
        max = peek() == '}' ? kAny : parse_count();
        skip_space(false);
      }
      if (!eat('}')) {
        fail("expected '}}' after a count");
      }
      if (min > max) {
        fail("the repetition {{{},{}}} has its minimum above its maximum", min, max);
      }
      part = builder_.repeat(part, min, max);
    } else {
      return part;
    }
    if (count > kMaxDepth) {
      fail("more than {} repetitions of one element", kMaxDepth);
    }
  }
}

char32_t GbnfParser::parse_hex(int digits) {
  uint32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const char c = peek();
    const char lower = static_cast<char>(c | 0x20);
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<uint32_t>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value * 16 + static_cast<uint32_t>(lower - 'a' + 10);
    } else {
      fail("expected {} hexadecimal digits", digits);
    }
    ++at_;
  }
  if (value > kLastChar || (value >= 0xD800 && value <= 0xDFFF)) {
    fail("U+{:04X} is no character", value);
  }
  return value;
}

/// One character of a literal or class.
char32_t GbnfParser::parse_char() {
  if (peek() != '\\') {
    if (utf8_length(text_.substr(at_)) == 0) {
      fail("the grammar is not valid UTF-8");
    }
    int length = 0;
    const char32_t c = utf8_decode(text_.substr(at_), &length);
    at_ += static_cast<size_t>(length);
    return c;
  }
  ++at_;
  const char c = peek();
  ++at_;
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'x':
      return parse_hex(2);
    case 'u':
      return parse_hex(4);
    case 'U':
      return parse_hex(8);
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
      return static_cast<char32_t>(c);
    default:
      --at_;
      fail("unknown escape \\{}", at_ < text_.size() ? text_.substr(at_, 1) : "");
  }
}

GbnfParser::Expr GbnfParser::parse_literal() {
  ++at_;
  std::string out;
  while (!eat('"')) {
    if (at_ >= text_.size()) {
      fail("the literal has no closing quote");
    }
    utf8_append(out, parse_char());
  }
  return builder_.bytes(out);
}

GbnfParser::Expr GbnfParser::parse_class() {
  ++at_;
  const bool negated = eat('^');
  std::vector<CharSet::Range> ranges;
  while (!eat(']')) {
    if (at_ >= text_.size()) {
      fail("the class has no closing bracket");
    }
    const char32_t first = parse_char();
    char32_t last = first;
    if (peek() == '-' && text_.substr(at_ + 1, 1) != "]") {
      ++at_;
      if (at_ >= text_.size()) {
        fail("the class has no closing bracket");
      }
      last = parse_char();
      if (last < first) {
        fail("a range of the class has its ends exchanged");
      }
    }
    ranges.push_back({first, last});
  }
  const CharSet set{std::span<const CharSet::Range>(ranges)};
  return builder_.chars(negated ? set.complement() : set);
}

}  // namespace

Grammar parse_gbnf(std::string_view text) {
  return GbnfParser(text).parse();
}

}  // namespace tessera::constrain
