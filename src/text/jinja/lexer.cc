// The lexer of templates with jinja2's rules for trim_blocks = lstrip_blocks = True and
// keep_trailing_newline = False: a block tag takes the line break after it and the blanks before it
// on its line; "-" at either side of any tag takes all white space there, "+" none. Source:
// pallets/jinja 3.1, lexer.
#include "text/jinja/lexer.h"

#include "core/strings.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"
#include "text/unicode.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::text::jinja {
namespace {

[[noreturn]] void syntax_error(std::string message) {
  throw EvalError{ErrorKind::kOther, std::move(message)};
}

/// Line breaks as \n, without one at the very end.
std::string normalize_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      i += i + 1 < source.size() && source[i + 1] == '\n' ? 1 : 0;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) {
    out.pop_back();
  }
  return out;
}

bool is_digit(char c, int base = 10) {
  if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) {
    return true;
  }
  return c >= '0' && c < '0' + std::min(base, 10);
}

class Lexer {
 public:
  Lexer(std::string source, int* line) : source_(std::move(source)), line_(*line) { line_ = 1; }

  std::vector<Token> run() {
    while (position_ < source_.size()) {
      lex_root();
    }
    push(TokenType::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  char at(size_t i) const { return i < source_.size() ? source_[i] : '\0'; }

  void push(TokenType type, std::string text) {
    tokens_.push_back({type, line_, std::move(text), 0, 0});
  }

  /// Moves on and counts lines.
  void advance(size_t count) {
    const auto begin = source_.begin() + static_cast<std::ptrdiff_t>(position_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<std::ptrdiff_t>(count), '\n'));
    position_ += count;
    line_starting_ = count > 0 && source_[position_ - 1] == '\n';
  }

  size_t skip_spaces(size_t i) const {
    int n = 0;
    while (i < source_.size() &&
           is_python_space(utf8_decode(std::string_view(source_).substr(i), &n))) {
      i += static_cast<size_t>(n);
    }
    return i;
  }

  bool word_at(size_t i, std::string_view word) const {
    return std::string_view(source_).substr(std::min(i, source_.size())).starts_with(word);
  }

  /// If `{% raw %}` (or endraw) begins at `i`, the end of the tag, else 0. `trims`: whether a line
  /// break after the tag goes with it.
  size_t raw_tag_end(size_t i, std::string_view name, bool trims, char* sign) const {
    if (!word_at(i, "{%")) {
      return 0;
    }
    i += 2;
    *sign = at(i) == '-' || at(i) == '+' ? at(i) : '\0';
    i = skip_spaces(i + (*sign != '\0' ? 1 : 0));
    if (!word_at(i, name)) {
      return 0;
    }
    i = skip_spaces(i + name.size());
    if (word_at(i, "-%}")) {
      return skip_spaces(i + 3);
    }
    if (trims && word_at(i, "+%}")) {
      return i + 3;
    }
    if (!word_at(i, "%}")) {
      return 0;
    }
    return i + 2 + (trims && at(i + 2) == '\n' ? 1 : 0);
  }

  /// The text before a tag as the tag's sign and the block rules leave it.
  std::string strip_before(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') {
      int n = 0;
      size_t end = text.size();
      while (end > 0) {
        size_t i = end - 1;
        while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) {
          --i;
        }
        if (!is_python_space(utf8_decode(text.substr(i), &n))) {
          break;
        }
        end = i;
      }
      return std::string(text.substr(0, end));
    }
    if (sign != '+' && !is_variable) {
      const size_t line_break = text.rfind('\n');
      const size_t line = line_break == std::string_view::npos ? 0 : line_break + 1;
      if (line > 0 || line_starting_) {
        int n = 0;
        size_t i = line;
        while (i < text.size() && is_python_space(utf8_decode(text.substr(i), &n))) {
          i += static_cast<size_t>(n);
        }
        if (i == text.size()) {
          return std::string(text.substr(0, line));
        }
      }
    }
    return std::string(text);
  }

  void push_data(std::string text) {
    if (!text.empty()) {
      push(TokenType::kData, std::move(text));
    }
  }

  /// Text up to the next tag, and the tag.
  void lex_root() {
    size_t tag = position_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || at(tag + 1) == '{' || at(tag + 1) == '%' ||
          at(tag + 1) == '#') {
        break;
      }
      ++tag;
    }
    if (tag == std::string::npos) {
      push_data(std::string(rest()));
      advance(rest().size());
      return;
    }
    const std::string_view text = rest().substr(0, tag - position_);
    char sign = '\0';
    if (const size_t end = raw_tag_end(tag, "raw", false, &sign); end > 0) {
      push_data(strip_before(text, sign, false));
      advance(end - position_);
      lex_raw();
      return;
    }
    const char kind = at(tag + 1);
    sign = at(tag + 2) == '-' || at(tag + 2) == '+' ? at(tag + 2) : '\0';
    push_data(strip_before(text, sign, kind == '{'));
    advance(tag - position_ + 2 + (sign != '\0' ? 1 : 0));
    if (kind == '#') {
      lex_comment();
    } else {
      push(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, "");
      lex_tag(kind == '{');
    }
  }

  void lex_comment() {
    const size_t end = source_.find("#}", position_);
    if (end == std::string::npos) {
      syntax_error("Missing end of comment tag");
    }
    const char sign = end > position_ ? at(end - 1) : '\0';
    size_t next = end + 2;
    if (sign == '-') {
      next = skip_spaces(next);
    } else if (sign != '+' && at(next) == '\n') {
      ++next;
    }
    advance(next - position_);
  }

  void lex_raw() {
    char sign = '\0';
    for (size_t i = source_.find("{%", position_); i != std::string::npos;
         i = source_.find("{%", i + 1)) {
      if (const size_t end = raw_tag_end(i, "endraw", true, &sign); end > 0) {
        push_data(strip_before(rest().substr(0, i - position_), sign, false));
        advance(end - position_);
        return;
      }
    }
    syntax_error("Missing end of raw directive");
  }

  /// The length of the tag's end at the position, 0 when it is not there.
  size_t tag_end(bool is_variable) const {
    const std::string_view end = is_variable ? "}}" : "%}";
    if (at(position_) == '-' && word_at(position_ + 1, end)) {
      return skip_spaces(position_ + 3) - position_;
    }
    if (!is_variable && at(position_) == '+' && word_at(position_ + 1, end)) {
      return 3;
    }
    if (!word_at(position_, end)) {
      return 0;
    }
    return !is_variable && at(position_ + 2) == '\n' ? 3 : 2;
  }

  void lex_tag(bool is_variable) {
    std::string open;  // brackets that wait for their end
    while (position_ < source_.size()) {
      if (open.empty()) {
        if (const size_t length = tag_end(is_variable); length > 0) {
          push(is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, "");
          advance(length);
          return;
        }
      }
      const size_t after = skip_spaces(position_);
      if (after > position_) {
        advance(after - position_);
      } else {
        lex_token(open);
      }
    }
  }

  void lex_token(std::string& open) {
    const char c = at(position_);
    if (is_digit(c)) {
      lex_number();
    } else if (c == '\'' || c == '"') {
      lex_string(c);
    } else if (!lex_name() && !lex_operator(open)) {
      int n = 0;
      utf8_decode(rest(), &n);
      syntax_error(
          fmt::format("unexpected char {}", repr_text(rest().substr(0, static_cast<size_t>(n)))));
    }
  }

  /// End of digits that single underscores may divide, from `i` on.
  size_t digits_end(size_t i, int base) const {
    while (is_digit(at(i), base) || (at(i) == '_' && is_digit(at(i + 1), base))) {
      ++i;
    }
    return i;
  }

  void lex_number() {
    const size_t begin = position_;
    const size_t whole = digits_end(begin, 10);
    size_t end = whole;
    if (begin == 0 || source_[begin - 1] != '.') {
      if (at(end) == '.' && is_digit(at(end + 1))) {
        end = digits_end(end + 1, 10);
      }
      if ((at(end) | 0x20) == 'e') {
        const size_t digits = end + (at(end + 1) == '+' || at(end + 1) == '-' ? 2 : 1);
        end = is_digit(at(digits)) ? digits_end(digits, 10) : end;
      }
    }
    const std::string_view source(source_);
    if (end > whole) {
      push(TokenType::kFloat, std::string(source.substr(begin, end - begin)));
      tokens_.back().number = parse_number(tokens_.back().text).value_or(0);
      advance(end - begin);
      return;
    }
    end = integer_end(begin, whole);
    push(TokenType::kInteger, std::string(source.substr(begin, end - begin)));
    tokens_.back().integer = parse_integer(tokens_.back().text, 0).value_or(0);
    advance(end - begin);
  }

  size_t integer_end(size_t begin, size_t whole) const {
    if (at(begin) != '0') {
      return whole;
    }
    const auto letter = static_cast<char>(at(begin + 1) | 0x20);
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (base > 0) {
      const size_t digits = begin + 2 + (at(begin + 2) == '_' ? 1 : 0);
      if (is_digit(at(digits), base)) {
        return digits_end(digits, base);
      }
    }
    size_t end = begin + 1;  // zeros only
    while (at(end) == '0' || (at(end) == '_' && at(end + 1) == '0')) {
      ++end;
    }
    return end;
  }

  bool lex_name() {
    size_t end = position_;
    int n = 0;
    while (end < source_.size()) {
      const char32_t c = utf8_decode(std::string_view(source_).substr(end), &n);
      if (!is_word(c)) {
        break;
      }
      end += static_cast<size_t>(n);
    }
    if (end == position_) {
      return false;
    }
    push(TokenType::kName, source_.substr(position_, end - position_));
    advance(end - position_);
    return true;
  }

  bool lex_operator(std::string& open) {
    constexpr std::string_view kDouble[] = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kSingle = "+-/*%~[](){}><=.:|,;";
    for (const std::string_view sign : kDouble) {
      if (rest().starts_with(sign)) {
        push(TokenType::kOperator, std::string(sign));
        advance(2);
        return true;
      }
    }
    const char c = at(position_);
    if (kSingle.find(c) == std::string_view::npos) {
      return false;
    }
    if (c == '(' || c == '[' || c == '{') {
      open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) {
        syntax_error(fmt::format("unexpected '{}'", c));
      }
      if (open.back() != c) {
        syntax_error(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      }
      open.pop_back();
    }
    push(TokenType::kOperator, std::string(1, c));
    advance(1);
    return true;
  }

  void lex_string(char quote) {
    size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != quote) {
      end += source_[end] == '\\' ? 2 : 1;
    }
    if (end >= source_.size()) {
      syntax_error(fmt::format("unexpected char {}", quote == '"' ? "'\"'" : "\"'\""));
    }
    const std::string_view raw =
        std::string_view(source_).substr(position_ + 1, end - position_ - 1);
    push(TokenType::kString, unescape(raw));
    advance(end + 1 - position_);
  }

  static std::string unescape(std::string_view raw);

  std::string source_;
  size_t position_ = 0;
  int& line_;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

/// Characters beyond ASCII become escapes before escapes are read, as in the reference, so that a
/// backslash before one of them stands for itself and the escape's letters stay.
std::string escape_non_ascii(std::string_view raw) {
  std::string out;
  int n = 0;
  for (size_t i = 0; i < raw.size(); i += static_cast<size_t>(n)) {
    const auto c = static_cast<uint32_t>(utf8_decode(raw.substr(i), &n));
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += fmt::format("\\U{:08x}", c);
    }
  }
  return out;
}

void append_code(std::string& out, uint32_t code) {
  if (code > 0x10FFFF) {
    syntax_error("illegal Unicode character");
  }
  if (code >= 0xD800 && code <= 0xDFFF) {
    syntax_error("an escape for half of a surrogate pair, which no text can hold");
  }
  utf8_append(out, code);
}

std::string Lexer::unescape(std::string_view raw) {
  if (raw.find('\\') == std::string_view::npos) {
    return std::string(raw);
  }
  const std::string text = escape_non_ascii(raw);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const char c = ++i < text.size() ? text[i] : '\0';
    constexpr std::string_view kFrom = "\\'\"abfnrtv";
    constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t at = kFrom.find(c); at != std::string_view::npos) {
      out += kTo[at];
    } else if (c >= '0' && c <= '7') {
      uint32_t code = 0;
      size_t digits = 0;
      for (; digits < 3 && i + digits < text.size() && is_digit(text[i + digits], 8); ++digits) {
        code = code * 8 + static_cast<uint32_t>(text[i + digits] - '0');
      }
      append_code(out, code);
      i += digits - 1;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t code = 0;
      for (size_t k = 1; k <= count; ++k) {
        if (i + k >= text.size() || !is_digit(text[i + k], 16)) {
          syntax_error(fmt::format("truncated \\{} escape", c));
        }
        const auto d = static_cast<uint32_t>(text[i + k]);
        code = code * 16 + (d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
      }
      append_code(out, code);
      i += count;
    } else if (c == 'N') {
      throw EvalError{ErrorKind::kUnsupported, "\\N{name} in a string"};
    } else if (c != '\n') {
      out += '\\';
      out += c;
    }
  }
  return out;
}

}  // namespace

std::vector<Token> tokenize(std::string_view source, int* line) {
  return Lexer(normalize_lines(source), line).run();
}

}  // namespace tessera::text::jinja
