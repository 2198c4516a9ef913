// Python's operators on template values, and the conversions between numbers and text.
#pragma once

#include "text/jinja/value.h"

#include <optional>
#include <string>
#include <string_view>

namespace tessera::text::jinja {

enum class Operator { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };

/// `a op b`. Integers that leave 64 bits are an overflow error.
Value apply(Operator op, const Value& a, const Value& b, Budget& budget);
Value negate(const Value& value);
Value positive(const Value& value);

/// `value[start:stop:step]`; null stands for None.
Value slice(
    const Value& value, const Value& start, const Value& stop, const Value& step, Budget& budget);
/// Python's slice.indices: first index, end, step for a length.
struct SliceRange {
  int64_t start;
  int64_t stop;
  int64_t step;
  int64_t count;
};
SliceRange slice_range(const Value& start, const Value& stop, const Value& step, int64_t length);

/// `int(text, base)`, nothing when the text is no integer of that base.
std::optional<int64_t> parse_integer(std::string_view text, int64_t base);
/// `float(text)`.
std::optional<double> parse_number(std::string_view text);
/// `int(number)`.
int64_t truncate_number(double value);
/// `round(number, digits)`.
double round_number(double value, int64_t digits);

/// `format % arguments`.
std::string format_percent(std::string_view format, const Value& arguments, Budget& budget);
/// `format(value, spec)`.
std::string format_value(const Value& value, std::string_view spec, Budget& budget);
/// `format.format(*positional, **named)`; attributes and items are looked up as templates do.
std::string format_braces(std::string_view format,
                          const List& positional,
                          const Dict& named,
                          Interpreter& interpreter);

/// `json.dumps`.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

/// `&`, `<`, `>` and both quotes as HTML entities.
std::string escape_html(std::string_view text);

}  // namespace tessera::text::jinja
