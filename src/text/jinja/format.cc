// Formatted text as Python makes it: `format % values`, the specifications of `format(value, spec)`
// and `str.format`. Source: the Python 3 library reference, "printf-style String Formatting" and
// "Format String Syntax".
#include "core/strings.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace tessera::text::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;

/// One directive, of either language.
struct Spec {
  std::string fill = " ";
  char align = 0;  // < > = ^
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  int64_t width = 0;
  int64_t precision = -1;
  char grouping = 0;
  char type = 0;
};

std::string pad(std::string text, const Spec& spec, char default_align, size_t sign_length) {
  const int64_t missing = spec.width - count_characters(text);
  if (missing <= 0) {
    return text;
  }
  const char align = spec.align != 0 ? spec.align : default_align;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const auto fill = [&](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) {
      out += spec.fill;
    }
    return out;
  };
  if (align == '=') {
    return text.substr(0, sign_length) + fill(missing) + text.substr(sign_length);
  }
  return fill(left) + text + fill(missing - left);
}

std::string group(std::string digits, char separator, size_t every) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % every == 0) {
      out += separator;
    }
    out += digits[i];
  }
  return out;
}

std::string digits_of(uint64_t magnitude, char type) {
  switch (type) {
    case 'x':
      return fmt::format("{:x}", magnitude);
    case 'X':
      return fmt::format("{:X}", magnitude);
    case 'o':
      return fmt::format("{:o}", magnitude);
    case 'b':
      return fmt::format("{:b}", magnitude);
    default:
      return std::to_string(magnitude);
  }
}

uint64_t magnitude_of(int64_t value) {
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

std::string sign_text(bool negative, char sign) {
  return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : "";
}

/// Digits of a float in printf's formats, without a sign.
std::string float_digits(double value, char type, int64_t precision, bool alternate) {
  if (std::isnan(value) || std::isinf(value)) {
    const bool upper = type == 'F' || type == 'E' || type == 'G';
    return std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
  }
  if (precision > 1000) {
    throw EvalError{ErrorKind::kLimit, "a precision of more than 1000 digits"};
  }
  char format[8] = {'%',
                    alternate ? '#' : '.',
                    alternate ? '.' : '*',
                    alternate ? '*' : type,
                    alternate ? type : '\0',
                    '\0'};
  char buffer[1500];
  const int length =
      std::snprintf(buffer, sizeof(buffer), format, static_cast<int>(precision), std::fabs(value));
  return std::string(buffer, static_cast<size_t>(length));
}

// ---- format(value, spec) ----------------------------------------------------------------------

int64_t take_number(std::string_view& text) {
  int64_t value = -1;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    value = std::max<int64_t>(value, 0) * 10 + (text[0] - '0');
    if (value > kMaxWidth) {
      throw EvalError{ErrorKind::kLimit, "a format width of more than a million"};
    }
    text.remove_prefix(1);
  }
  return value;
}

Spec parse_spec(std::string_view text) {
  constexpr std::string_view kAligns = "<>=^";
  const std::string whole(text);
  Spec spec;
  const auto first = text.empty() ? size_t{0} : static_cast<size_t>(utf8_length(text));
  if (text.size() > first && kAligns.find(text[first]) != std::string_view::npos) {
    spec.fill = std::string(text.substr(0, first));
    spec.align = text[first];
    text.remove_prefix(first + 1);
  } else if (!text.empty() && kAligns.find(text[0]) != std::string_view::npos) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  const auto take = [&](std::string_view of) {
    if (!text.empty() && of.find(text[0]) != std::string_view::npos) {
      const char c = text[0];
      text.remove_prefix(1);
      return c;
    }
    return '\0';
  };
  if (const char c = take("+- ")) {
    spec.sign = c;
  }
  spec.alternate = take("#") != 0;
  if (spec.align == 0 && take("0") != 0) {
    spec.zero = true;
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = std::max<int64_t>(take_number(text), 0);
  spec.grouping = take(",_");
  if (take(".") != 0) {
    spec.precision = take_number(text);
    if (spec.precision < 0) {
      value_error("Format specifier missing precision");
    }
  }
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) {
    value_error(fmt::format("Invalid format specifier '{}'", whole));
  }
  return spec;
}

[[noreturn]] void unknown_code(const Spec& spec, const Value& value) {
  value_error(
      fmt::format("Unknown format code '{}' for object of type '{}'", spec.type, type_name(value)));
}

/// With zero filling the separators go on through the zeros.
std::string finish_number(std::string sign,
                          std::string digits,
                          std::string rest,
                          const Spec& spec) {
  const size_t every =
      spec.type == 'x' || spec.type == 'X' || spec.type == 'o' || spec.type == 'b' ? 4 : 3;
  if (spec.grouping != 0) {
    if (spec.align == '=' && spec.fill == "0") {
      const auto needed = spec.width - static_cast<int64_t>(sign.size() + rest.size());
      size_t count = digits.size();
      while (static_cast<int64_t>(count + (count - 1) / every) < needed) {
        ++count;
      }
      digits.insert(0, count - digits.size(), '0');
      std::string grouped = group(digits, spec.grouping, every);
      return sign + grouped + rest;
    }
    digits = group(std::move(digits), spec.grouping, every);
  }
  return pad(sign + digits + rest, spec, '>', sign.size());
}

std::string format_whole(const Value& value, const Spec& spec) {
  constexpr std::string_view kTypes = "bdoxXn";
  if (spec.type == 'c') {
    std::string out;
    if (value.as_int() < 0 || value.as_int() > 0x10FFFF) {
      throw EvalError{ErrorKind::kOverflow, "%c arg not in range(0x110000)"};
    }
    utf8_append(out, static_cast<char32_t>(value.as_int()));
    return pad(out, spec, '<', 0);
  }
  if (spec.type != 0 && kTypes.find(spec.type) == std::string_view::npos) {
    unknown_code(spec, value);
  }
  if (spec.precision >= 0) {
    value_error("Precision not allowed in integer format specifier");
  }
  std::string sign = sign_text(value.as_int() < 0, spec.sign);
  if (spec.alternate && spec.type != 0 && spec.type != 'd' && spec.type != 'n') {
    sign += '0';
    sign += spec.type;
  }
  return finish_number(sign, digits_of(magnitude_of(value.as_int()), spec.type), "", spec);
}

std::string format_float(const Value& value, Spec spec) {
  constexpr std::string_view kTypes = "eEfFgGn%";
  const double number = value.as_double();
  if (spec.type != 0 && kTypes.find(spec.type) == std::string_view::npos) {
    unknown_code(spec, value);
  }
  std::string digits;
  if (spec.type == 0 && spec.precision < 0) {
    digits = repr_number(std::fabs(number));
  } else if (spec.type == 0) {  // like g, but with one digit after the point
    const int64_t precision = std::max<int64_t>(spec.precision, 1);
    digits = float_digits(number, 'g', precision, false);
    const bool exponent = digits.find('e') != std::string::npos;
    if (std::isfinite(number) && !exponent && digits.find('.') == std::string::npos) {
      if (static_cast<int64_t>(digits.size()) >= precision) {
        digits = float_digits(number, 'e', precision - 1, false);
        const size_t e = digits.find('e');
        size_t last = e;
        while (last > 0 && digits[last - 1] == '0' && digits.find('.') < last) {
          --last;
        }
        last -= last > 0 && digits[last - 1] == '.' ? 1 : 0;
        digits.erase(last, e - last);
      } else {
        digits += ".0";
      }
    }
  } else {
    const bool percent = spec.type == '%';
    const char type = percent ? 'f' : spec.type == 'n' ? 'g' : spec.type;
    int64_t precision = spec.precision < 0 ? 6 : spec.precision;
    if ((type == 'g' || type == 'G') && precision == 0) {
      precision = 1;
    }
    digits = float_digits(percent ? number * 100 : number, type, precision, spec.alternate);
    digits += percent ? "%" : "";
  }
  const std::string sign = sign_text(std::signbit(number) && !std::isnan(number), spec.sign);
  const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  if (spec.grouping != 0 && whole > 0) {
    return finish_number(sign, digits.substr(0, whole), digits.substr(whole), spec);
  }
  return pad(sign + digits, spec, '>', sign.size());
}

}  // namespace

std::string format_value(const Value& value, std::string_view text, Budget& budget) {
  if (text.empty()) {
    return to_text(value, budget);
  }
  Spec spec = parse_spec(text);
  budget.charge(1 + static_cast<uint64_t>(spec.width) / 16);
  constexpr std::string_view kFloatTypes = "eEfFgG%";
  if (value.is_whole() &&
      (spec.type == 0 || kFloatTypes.find(spec.type) == std::string_view::npos)) {
    return format_whole(value, spec);
  }
  if (value.is_number()) {
    return format_float(value, spec);
  }
  if (!value.is(Kind::kString)) {
    type_error(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
  }
  if ((spec.type != 0 && spec.type != 's') || spec.grouping != 0) {
    unknown_code(spec, value);
  }
  if (spec.align == '=' && !spec.zero) {
    value_error("'=' alignment not allowed in string format specifier");
  }
  if (spec.sign != '-') {
    value_error("Sign not allowed in string format specifier");
  }
  if (spec.alternate) {
    value_error("Alternate form (#) not allowed in string format specifier");
  }
  if (spec.zero) {
    spec.align = '<';
  }
  std::string out = value.as_string();
  if (spec.precision >= 0) {
    out.resize(character_offset(out, spec.precision));
  }
  return pad(std::move(out), spec, '<', 0);
}

// ---- format % values --------------------------------------------------------------------------

namespace {

class PercentFormatter {
 public:
  PercentFormatter(std::string_view format, const Value& arguments, Budget& budget)
      : text_(format), arguments_(arguments), budget_(budget) {}

  std::string run() {
    std::string out;
    while (!text_.empty()) {
      const size_t percent = text_.find('%');
      out.append(text_.substr(0, percent));
      if (percent == std::string_view::npos) {
        break;
      }
      text_.remove_prefix(percent + 1);
      out += directive();
      if (out.size() > budget_.text) {
        budget_.charge_text(out.size());
      }
    }
    const bool all_used = arguments_.is(Kind::kTuple) ? used_ == arguments_.items().size()
                                                      : used_ == 1 || is_mapping();
    if (!all_used) {
      type_error("not all arguments converted during string formatting");
    }
    return out;
  }

 private:
  // Whatever has __getitem__, but tuple and str.
  bool is_mapping() const {
    return arguments_.is(Kind::kDict) || arguments_.is(Kind::kList) ||
           arguments_.is(Kind::kUndefined);
  }

  Value next_argument() {
    if (arguments_.is(Kind::kTuple)) {
      if (used_ >= arguments_.items().size()) {
        type_error("not enough arguments for format string");
      }
      return arguments_.items()[used_++];
    }
    if (used_++ > 0) {
      type_error("not enough arguments for format string");
    }
    return arguments_;
  }

  char take() {
    if (text_.empty()) {
      value_error("incomplete format");
    }
    const char c = text_[0];
    text_.remove_prefix(1);
    return c;
  }

  int64_t number_or_star() {
    if (!text_.empty() && text_[0] == '*') {
      text_.remove_prefix(1);
      const Value value = next_argument();
      if (!value.is_whole()) {
        type_error("* wants int");
      }
      if (value.as_int() > kMaxWidth || value.as_int() < -kMaxWidth) {
        throw EvalError{ErrorKind::kLimit, "a format width of more than a million"};
      }
      return value.as_int();
    }
    return take_number(text_);
  }

  std::string directive() {
    std::optional<Value> named;
    if (!text_.empty() && text_[0] == '(') {
      named = named_argument();
    }
    Spec spec;
    bool left = false;
    while (!text_.empty() && std::string_view("#0- +").find(text_[0]) != std::string_view::npos) {
      const char c = take();
      spec.alternate |= c == '#';
      spec.zero |= c == '0';
      left |= c == '-';
      if (c == '+' || (c == ' ' && spec.sign != '+')) {
        spec.sign = c;
      }
    }
    const int64_t width = number_or_star();
    left |= width < -1;
    spec.width = std::max<int64_t>(width < -1 ? -width : width, 0);
    if (!text_.empty() && text_[0] == '.') {
      take();
      spec.precision = std::max<int64_t>(number_or_star(), 0);
    }
    while (!text_.empty() && std::string_view("hlL").find(text_[0]) != std::string_view::npos) {
      take();
    }
    spec.type = take();
    if (spec.type == '%') {
      return "%";
    }
    spec.align = left ? '<' : '>';
    return convert(named ? *named : next_argument(), spec, left);
  }

  Value named_argument() {
    if (!arguments_.is(Kind::kDict)) {
      type_error("format requires a mapping");
    }
    size_t depth = 0;
    size_t end = 0;
    for (; end < text_.size(); ++end) {
      depth += text_[end] == '(' ? 1 : 0;
      if (text_[end] == ')' && --depth == 0) {
        break;
      }
    }
    if (end == text_.size()) {
      value_error("incomplete format key");
    }
    const Value* found = arguments_.as_dict().find(text_.substr(1, end - 1));
    if (found == nullptr) {
      throw EvalError{ErrorKind::kLookup, repr_text(text_.substr(1, end - 1))};
    }
    text_.remove_prefix(end + 1);
    used_ = 1;
    return *found;
  }

  std::string convert(const Value& value, Spec& spec, bool left) {
    budget_.charge(1 + static_cast<uint64_t>(spec.width) / 16);
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a': {
        std::string text = spec.type == 's' ? to_text(value, budget_) : repr(value, budget_);
        if (spec.precision >= 0) {
          text.resize(character_offset(text, spec.precision));
        }
        return pad(std::move(text), spec, '>', 0);
      }
      case 'c':
        return pad(character(value), spec, '>', 0);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return whole(value, spec, left);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return floating(value, spec, left);
      default:
        value_error(fmt::format("unsupported format character '{}'", spec.type));
    }
  }

  static std::string character(const Value& value) {
    if (value.is(Kind::kString) && count_characters(value.as_string()) == 1) {
      return value.as_string();
    }
    if (!value.is_whole() || value.as_int() < 0 || value.as_int() > 0x10FFFF) {
      type_error("%c requires int or char");
    }
    std::string out;
    utf8_append(out, static_cast<char32_t>(value.as_int()));
    return out;
  }

  static void use_zeros(Spec& spec, bool left) {
    if (spec.zero && !left) {
      spec.fill = "0";
      spec.align = '=';
    }
  }

  static std::string whole(const Value& value, Spec& spec, bool left) {
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is(Kind::kUndefined)) {
      throw EvalError{ErrorKind::kUndefined, value.as_string()};
    }
    if (!value.is_whole() && !(decimal && value.is(Kind::kFloat))) {
      type_error(
          fmt::format("%{} format: a number is required, not {}", spec.type, type_name(value)));
    }
    const int64_t number = value.is_whole() ? value.as_int() : truncate_number(value.as_double());
    std::string digits = digits_of(magnitude_of(number), decimal ? 'd' : spec.type);
    if (static_cast<int64_t>(digits.size()) < spec.precision) {
      digits.insert(0, static_cast<size_t>(spec.precision) - digits.size(), '0');
    }
    std::string sign = sign_text(number < 0, spec.sign);
    if (spec.alternate && !decimal) {
      sign += '0';
      sign += spec.type;
    }
    use_zeros(spec, left);
    return pad(sign + digits, spec, '>', sign.size());
  }

  static std::string floating(const Value& value, Spec& spec, bool left) {
    if (value.is(Kind::kUndefined)) {
      throw EvalError{ErrorKind::kUndefined, value.as_string()};
    }
    if (!value.is_number()) {
      type_error(fmt::format("must be real number, not {}", type_name(value)));
    }
    int64_t precision = spec.precision < 0 ? 6 : spec.precision;
    if ((spec.type | 0x20) == 'g' && precision == 0) {
      precision = 1;
    }
    const double number = value.as_double();
    const std::string sign = sign_text(std::signbit(number) && !std::isnan(number), spec.sign);
    use_zeros(spec, left);
    return pad(sign + float_digits(number, spec.type, precision, spec.alternate), spec, '>',
               sign.size());
  }

  std::string_view text_;
  const Value& arguments_;
  Budget& budget_;
  size_t used_ = 0;
};

// ---- str.format -------------------------------------------------------------------------------

class BraceFormatter {
 public:
  BraceFormatter(const List& positional, const Dict& named, Interpreter& interpreter)
      : positional_(positional), named_(named), interpreter_(interpreter) {}

  std::string run(std::string_view format, int depth) {
    if (depth < 0) {
      value_error("Max string recursion exceeded");
    }
    std::string out;
    for (size_t i = 0; i < format.size(); ++i) {
      const char c = format[i];
      if (c != '{' && c != '}') {
        out += c;
        continue;
      }
      if (i + 1 < format.size() && format[i + 1] == c) {
        out += c;
        ++i;
        continue;
      }
      if (c == '}') {
        value_error("Single '}' encountered in format string");
      }
      const size_t end = field_end(format, i + 1);
      out += field(format.substr(i + 1, end - i - 1), depth);
      interpreter_.budget().charge_text(out.size());
      i = end;
    }
    return out;
  }

 private:
  static size_t field_end(std::string_view format, size_t at) {
    int depth = 1;
    for (; at < format.size(); ++at) {
      depth += format[at] == '{' ? 1 : format[at] == '}' ? -1 : 0;
      if (depth == 0) {
        return at;
      }
    }
    value_error("expected '}' before end of string");
  }

  std::string field(std::string_view text, int depth) {
    size_t brackets = 0;
    size_t end = 0;
    for (; end < text.size(); ++end) {
      brackets = text[end] == '[' ? 1 : text[end] == ']' ? 0 : brackets;
      if (brackets == 0 && (text[end] == '!' || text[end] == ':')) {
        break;
      }
    }
    Value value = look_up(text.substr(0, end));
    std::string_view rest = text.substr(end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':')) {
        value_error("expected ':' after conversion specifier");
      }
      const char conversion = rest[1];
      if (conversion != 's' && conversion != 'r' && conversion != 'a') {
        value_error(fmt::format("Unknown conversion specifier {}", conversion));
      }
      value = Value::string(conversion == 's' ? to_text(value, interpreter_.budget())
                                              : repr(value, interpreter_.budget()));
      rest.remove_prefix(2);
    }
    const std::string spec = rest.empty() ? "" : run(rest.substr(1), depth - 1);
    return format_value(value, spec, interpreter_.budget());
  }

  Value look_up(std::string_view name) {
    const size_t first = std::min(name.find_first_of(".["), name.size());
    Value value = argument(name.substr(0, first));
    for (std::string_view rest = name.substr(first); !rest.empty();) {
      if (rest[0] == '.') {
        const size_t end = std::min(rest.find_first_of(".[", 1), rest.size());
        if (end == 1) {
          value_error("Empty attribute in format string");
        }
        value = interpreter_.get_attribute(value, rest.substr(1, end - 1));
        rest.remove_prefix(end);
        continue;
      }
      const size_t end = rest.find(']');
      if (rest[0] != '[' || end == std::string_view::npos || end == 1) {
        value_error("Missing ']' in format string");
      }
      const std::string_view key = rest.substr(1, end - 1);
      const bool number = key.find_first_not_of("0123456789") == std::string_view::npos;
      value =
          interpreter_.get_item(value, number ? Value::integer(parse_integer(key, 10).value_or(0))
                                              : Value::string(std::string(key)));
      rest.remove_prefix(end + 1);
    }
    return value;
  }

  Value argument(std::string_view name) {
    const bool empty = name.empty();
    if (empty || name.find_first_not_of("0123456789") == std::string_view::npos) {
      if (automatic_.has_value() && *automatic_ != empty) {
        value_error("cannot switch between manual and automatic field numbering");
      }
      automatic_ = empty;
      const auto index = empty ? next_++ : static_cast<size_t>(parse_integer(name, 10).value_or(0));
      if (index >= positional_.size()) {
        throw EvalError{ErrorKind::kLookup, "Replacement index out of range for positional args"};
      }
      return positional_[index];
    }
    const Value* found = named_.find(name);
    if (found == nullptr) {
      throw EvalError{ErrorKind::kLookup, repr_text(name)};
    }
    return *found;
  }

  const List& positional_;
  const Dict& named_;
  Interpreter& interpreter_;
  size_t next_ = 0;
  std::optional<bool> automatic_;
};

}  // namespace

std::string format_percent(std::string_view format, const Value& arguments, Budget& budget) {
  return PercentFormatter(format, arguments, budget).run();
}

std::string format_braces(std::string_view format,
                          const List& positional,
                          const Dict& named,
                          Interpreter& interpreter) {
  return BraceFormatter(positional, named, interpreter).run(format, 2);
}

}  // namespace tessera::text::jinja
