// Python's arithmetic, slices and conversions. Integers have 64 bits: what leaves them is an error
// that says so. Source: the Python 3 language reference.
#include "text/jinja/operators.h"

#include "core/strings.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>

namespace tessera::text::jinja {
namespace {

const char* sign_of(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSub:
      return "-";
    case Operator::kMul:
      return "*";
    case Operator::kDiv:
      return "/";
    case Operator::kFloorDiv:
      return "//";
    case Operator::kMod:
      return "%";
    case Operator::kPow:
      return "** or pow()";
  }
  return "?";
}

[[noreturn]] void overflow() {
  throw EvalError{ErrorKind::kOverflow, "an integer leaves 64 bits"};
}

[[noreturn]] void zero_division(const char* message) {
  throw EvalError{ErrorKind::kOther, message};
}

Value power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) {
      zero_division("0.0 cannot be raised to a negative power");
    }
    return Value::number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
      overflow();
    }
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
      overflow();
    }
  }
  return Value::integer(result);
}

Value whole_operation(Operator op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &out)) {
        overflow();
      }
      return Value::integer(out);
    case Operator::kSub:
      if (__builtin_sub_overflow(a, b, &out)) {
        overflow();
      }
      return Value::integer(out);
    case Operator::kMul:
      if (__builtin_mul_overflow(a, b, &out)) {
        overflow();
      }
      return Value::integer(out);
    case Operator::kPow:
      return power(a, b);
    default:
      break;
  }
  if (b == 0) {
    zero_division(op == Operator::kDiv ? "division by zero" : "integer modulo by zero");
  }
  if (op == Operator::kDiv) {
    return Value::number(
        static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  }
  if (b == -1) {  // INT64_MIN / -1 traps
    return op == Operator::kMod ? Value::integer(0) : negate(Value::integer(a));
  }
  const int64_t remainder = a % b;
  const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
  return Value::integer(op == Operator::kMod ? (adjust ? remainder + b : remainder)
                                             : (adjust ? a / b - 1 : a / b));
}

double float_modulo(double a, double b) {
  double remainder = std::fmod(a, b);
  if (remainder == 0) {
    return std::copysign(0.0, b);
  }
  return (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

Value float_operation(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return Value::number(a + b);
    case Operator::kSub:
      return Value::number(a - b);
    case Operator::kMul:
      return Value::number(a * b);
    case Operator::kPow: {
      if (a == 0 && b < 0) {
        zero_division("0.0 cannot be raised to a negative power");
      }
      if (a < 0 && std::isfinite(b) && b != std::floor(b)) {
        throw EvalError{ErrorKind::kUnsupported, "complex numbers"};
      }
      const double result = std::pow(a, b);
      if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
        throw EvalError{ErrorKind::kOverflow, "a float is too large"};
      }
      return Value::number(result);
    }
    default:
      break;
  }
  if (b == 0) {
    zero_division(op == Operator::kDiv ? "float division by zero" : "float modulo");
  }
  if (op == Operator::kDiv) {
    return Value::number(a / b);
  }
  if (op == Operator::kMod) {
    return Value::number(float_modulo(a, b));
  }
  const double quotient = (a - float_modulo(a, b)) / b;
  const double floored = std::floor(quotient);
  const double result = quotient - floored > 0.5 ? floored + 1 : floored;
  return Value::number(quotient == 0 ? std::copysign(0.0, a / b) : result);
}

Value add_text(const Value& a, const Value& b, Budget& budget) {
  const bool markup = a.is_markup() || b.is_markup();
  const auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? escape_html(value.as_string()) : value.as_string();
  };
  budget.charge_text(a.as_string().size() + b.as_string().size());
  return Value::string(part(a) + part(b), markup);
}

Value repeat(const Value& value, int64_t count, Budget& budget) {
  count = std::max<int64_t>(count, 0);
  if (value.is(Kind::kString)) {
    const std::string& text = value.as_string();
    if (!text.empty() && static_cast<uint64_t>(count) > budget.text / text.size()) {
      budget.charge_text(budget.text + 1);
    }
    budget.charge_text(text.size() * static_cast<uint64_t>(count));
    std::string out;
    out.reserve(text.size() * static_cast<size_t>(count));
    for (int64_t i = 0; i < count && !text.empty(); ++i) {
      out += text;
    }
    return Value::string(std::move(out), value.is_markup());
  }
  const List& items = value.items();
  if (!items.empty()) {
    budget.charge(static_cast<uint64_t>(count));
    uint64_t total = 0;
    if (__builtin_mul_overflow(items.size(), static_cast<uint64_t>(count), &total)) {
      total = UINT64_MAX;
    }
    budget.charge(total);
  }
  List out;
  for (int64_t i = 0; i < count && !items.empty(); ++i) {
    out.insert(out.end(), items.begin(), items.end());
  }
  return value.is(Kind::kTuple) ? Value::tuple(std::move(out)) : Value::list(std::move(out));
}

}  // namespace

Value apply(Operator op, const Value& a, const Value& b, Budget& budget) {
  if (op == Operator::kMod && a.is(Kind::kString)) {
    std::string text = format_percent(a.as_string(), b, budget);
    budget.charge_text(text.size());
    return Value::string(std::move(text), a.is_markup());
  }
  for (const Value* value : {&a, &b}) {
    if (value->is(Kind::kUndefined)) {
      throw EvalError{ErrorKind::kUndefined, value->as_string()};
    }
  }
  if (a.is_whole() && b.is_whole()) {
    return whole_operation(op, a.as_int(), b.as_int());
  }
  if (a.is_number() && b.is_number()) {
    return float_operation(op, a.as_double(), b.as_double());
  }
  if (op == Operator::kAdd && a.is(Kind::kString) && b.is(Kind::kString)) {
    return add_text(a, b, budget);
  }
  if (op == Operator::kAdd && a.is_sequence() && a.kind() == b.kind()) {
    List items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    budget.charge(items.size());
    return a.is(Kind::kTuple) ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }
  if (op == Operator::kMul) {
    if ((a.is(Kind::kString) || a.is_sequence()) && b.is_whole()) {
      return repeat(a, b.as_int(), budget);
    }
    if ((b.is(Kind::kString) || b.is_sequence()) && a.is_whole()) {
      return repeat(b, a.as_int(), budget);
    }
  }
  type_error(fmt::format("unsupported operand types for {}: '{}' and '{}'", sign_of(op),
                         type_name(a), type_name(b)));
}

Value negate(const Value& value) {
  if (value.is_whole()) {
    int64_t out = 0;
    if (__builtin_sub_overflow(int64_t{0}, value.as_int(), &out)) {
      overflow();
    }
    return Value::integer(out);
  }
  if (value.is(Kind::kFloat)) {
    return Value::number(-value.as_double());
  }
  if (value.is(Kind::kUndefined)) {
    throw EvalError{ErrorKind::kUndefined, value.as_string()};
  }
  type_error(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Value positive(const Value& value) {
  if (value.is(Kind::kFloat)) {
    return value;
  }
  if (value.is_whole()) {
    return Value::integer(value.as_int());
  }
  return negate(value);
}

// ---- slices -----------------------------------------------------------------------------------

SliceRange slice_range(const Value& start, const Value& stop, const Value& step, int64_t length) {
  const auto index = [](const Value& value, int64_t fallback) {
    if (value.missing() || value.is(Kind::kNone)) {
      return fallback;
    }
    if (!value.is_whole()) {
      type_error("slice indices must be integers or None");
    }
    return value.as_int();
  };
  SliceRange range{0, 0, index(step, 1), 0};
  if (range.step == 0) {
    value_error("slice step cannot be zero");
  }
  range.step = std::max(range.step, -INT64_MAX);
  const bool down = range.step < 0;
  const auto clamp = [&](int64_t value) {
    if (value < 0) {
      value += length;
      return std::max<int64_t>(value, down ? -1 : 0);
    }
    return std::min<int64_t>(value, down ? length - 1 : length);
  };
  const auto given = [](const Value& value) { return !value.missing() && !value.is(Kind::kNone); };
  range.start = given(start) ? clamp(index(start, 0)) : (down ? length - 1 : 0);
  range.stop = given(stop) ? clamp(index(stop, 0)) : (down ? -1 : length);
  if (down && range.stop < range.start) {
    range.count = (range.start - range.stop - 1) / -range.step + 1;
  } else if (!down && range.start < range.stop) {
    range.count = (range.stop - range.start - 1) / range.step + 1;
  }
  return range;
}

Value slice(
    const Value& value, const Value& start, const Value& stop, const Value& step, Budget& budget) {
  if (value.is(Kind::kUndefined)) {
    throw EvalError{ErrorKind::kUndefined, value.as_string()};
  }
  if (value.is_sequence()) {
    const List& items = value.items();
    const SliceRange range = slice_range(start, stop, step, static_cast<int64_t>(items.size()));
    List out;
    budget.charge(1 + static_cast<uint64_t>(range.count));
    for (int64_t i = 0; i < range.count; ++i) {
      out.push_back(items[static_cast<size_t>(range.start + i * range.step)]);
    }
    return value.is(Kind::kTuple) ? Value::tuple(std::move(out)) : Value::list(std::move(out));
  }
  if (!value.is(Kind::kString)) {
    type_error(fmt::format("'{}' object cannot be sliced", type_name(value)));
  }
  const std::string_view text = value.as_string();
  budget.charge_text(text.size());
  const SliceRange range = slice_range(start, stop, step, count_characters(text));
  if (range.count == 0) {
    return Value::string("", value.is_markup());
  }
  if (range.step == 1) {
    const size_t begin = character_offset(text, range.start);
    const size_t bytes = character_offset(text.substr(begin), range.count);
    return Value::string(std::string(text.substr(begin, bytes)), value.is_markup());
  }
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(utf8_length(text.substr(i)))) {
    offsets.push_back(i);
  }
  offsets.push_back(text.size());
  std::string out;
  for (int64_t i = 0; i < range.count; ++i) {
    const auto at = static_cast<size_t>(range.start + i * range.step);
    out.append(text.substr(offsets[at], offsets[at + 1] - offsets[at]));
  }
  return Value::string(std::move(out), value.is_markup());
}

// ---- numbers and text -------------------------------------------------------------------------

namespace {

std::string_view strip_spaces(std::string_view text) {
  int n = 0;
  while (!text.empty() && is_python_space(utf8_decode(text, &n))) {
    text.remove_prefix(static_cast<size_t>(n));
  }
  while (!text.empty()) {
    size_t i = text.size() - 1;
    while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) {
      --i;
    }
    if (!is_python_space(utf8_decode(text.substr(i), &n))) {
      break;
    }
    text.remove_suffix(text.size() - i);
  }
  return text;
}

/// Takes out the underscores between digits; nothing when one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() ||
               std::isalnum(static_cast<unsigned char>(text[i - 1])) == 0 ||
               std::isalnum(static_cast<unsigned char>(text[i + 1])) == 0) {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) {
    value_error("int() base must be >= 2 and <= 36, or 0");
  }
  text = strip_spaces(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 1 && text[0] == '0') {
    const auto letter = static_cast<char>(text[1] | 0x20);
    const int64_t prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == 0 || base == prefix)) {
      base = prefix;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_') {
        text.remove_prefix(1);
      }
    }
  }
  if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos) {
      return std::nullopt;
    }
  }
  auto digits = without_underscores(text);
  if (!digits || digits->empty() || (*digits)[0] == '-' || (*digits)[0] == '+') {
    return std::nullopt;
  }
  if (negative) {
    digits->insert(0, 1, '-');
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value,
                                            static_cast<int>(base));
  if (end != digits->data() + digits->size()) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    overflow();
  }
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<double> parse_number(std::string_view text) {
  const auto clean = without_underscores(strip_spaces(text));
  if (!clean || clean->empty()) {
    return std::nullopt;
  }
  const size_t sign = (*clean)[0] == '-' || (*clean)[0] == '+' ? 1 : 0;
  const std::string word = to_lower(std::string_view(*clean).substr(sign));
  if (word == "inf" || word == "infinity" || word == "nan") {
    const double value = word == "nan" ? NAN : INFINITY;
    return (*clean)[0] == '-' ? -value : value;
  }
  if (word.find_first_not_of("0123456789.e+-") != std::string::npos ||
      word.find_first_of("0123456789") == std::string::npos || word[0] == '-' || word[0] == '+') {
    return std::nullopt;
  }
  char* end = nullptr;
  const double value = std::strtod(clean->c_str(), &end);
  return *end == '\0' ? std::optional(value) : std::nullopt;
}

int64_t truncate_number(double value) {
  if (std::isnan(value)) {
    value_error("cannot convert float NaN to integer");
  }
  if (!(std::fabs(value) < 9.2233720368547758e18)) {
    throw EvalError{ErrorKind::kOverflow, std::isinf(value)
                                              ? "cannot convert float infinity to integer"
                                              : "an integer leaves 64 bits"};
  }
  return static_cast<int64_t>(value);
}

double round_number(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 330) {
    return value;
  }
  if (digits < -330) {
    return std::copysign(0.0, value);
  }
  if (digits >= 0) {  // printf rounds the exact binary value half to even, as Python does
    return std::strtod(fmt::format("{:.{}f}", value, digits).c_str(), nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace tessera::text::jinja
