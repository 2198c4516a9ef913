// Filters on text and numbers, and the list of all filters. `pprint`, `striptags`, `urlize`,
// `wordwrap`, `xmlattr` and `random` are known but not supported: prompts have no use for them.
// Source: pallets/jinja 3.1, filters; `tojson`: huggingface/transformers 5.23, chat_template_utils.
#include "core/strings.h"
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

namespace tessera::text::jinja {
namespace {

/// What `soft_str` leaves: strings as they are.
Value text_value(Interpreter& interpreter, const Value& value) {
  return value.is(Kind::kString) ? value : Value::string(to_text(value, interpreter.budget()));
}

const Value& needs_text(std::string_view filter, const Value& value) {
  if (value.is(Kind::kUndefined)) {
    throw EvalError{ErrorKind::kUndefined, value.as_string()};
  }
  if (!value.is(Kind::kString)) {
    type_error(fmt::format("{}: expected a string, found '{}'", filter, type_name(value)));
  }
  return value;
}

Value result(Interpreter& interpreter, std::string text, bool markup = false) {
  interpreter.budget().charge_text(text.size());
  return Value::string(std::move(text), markup);
}

/// A filter that is a method of str, after conversion to text.
Value method_filter(Interpreter& interpreter,
                    std::string_view name,
                    const Value& value,
                    Args args) {
  return call_text_method(interpreter, text_value(interpreter, value), name, std::move(args));
}

Value filter_lower(Interpreter& interpreter, const Value& value, Args args) {
  Bound("lower", std::move(args), {}, 0);
  return method_filter(interpreter, "lower", value, {});
}

Value filter_upper(Interpreter& interpreter, const Value& value, Args args) {
  Bound("upper", std::move(args), {}, 0);
  return method_filter(interpreter, "upper", value, {});
}

Value filter_capitalize(Interpreter& interpreter, const Value& value, Args args) {
  Bound("capitalize", std::move(args), {}, 0);
  return method_filter(interpreter, "capitalize", value, {});
}

/// Words begin after white space and after - ( { [ <.
Value filter_title(Interpreter& interpreter, const Value& value, Args args) {
  Bound("title", std::move(args), {}, 0);
  const Value source = text_value(interpreter, value);
  const std::string& text = source.as_string();
  std::string out;
  bool word_begins = true;
  int n = 0;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = utf8_decode(std::string_view(text).substr(i), &n);
    const bool separator =
        is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    if (separator) {
      out.append(text, i, static_cast<size_t>(n));
      i += static_cast<size_t>(n);
      word_begins = true;
    } else if (word_begins) {
      out += to_upper(std::string_view(text).substr(i, static_cast<size_t>(n)));
      i += static_cast<size_t>(n);
      word_begins = false;
    } else {  // the rest of the word at once: lower-casing looks at neighbours
      size_t end = i;
      while (end < text.size()) {
        const char32_t next = utf8_decode(std::string_view(text).substr(end), &n);
        if (is_python_space(next) || next == '-' || next == '(' || next == '{' || next == '[' ||
            next == '<') {
          break;
        }
        end += static_cast<size_t>(n);
      }
      out += to_lower(std::string_view(text).substr(i, end - i));
      i = end;
    }
  }
  return result(interpreter, std::move(out), source.is_markup());
}

Value filter_trim(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("trim", std::move(args), {"chars"}, 0);
  Args inner;
  if (bound.given(0)) {
    inner.positional.push_back(bound[0]);
  }
  return method_filter(interpreter, "strip", value, std::move(inner));
}

Value filter_center(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("center", std::move(args), {"width"}, 0);
  return method_filter(interpreter, "center", value, {{Value::integer(bound.integer(0, 80))}, {}});
}

Value filter_replace(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("replace", std::move(args), {"old", "new", "count"}, 2);
  const int64_t count = bound.given(2) && !bound[2].is(Kind::kNone) ? bound.integer(2, -1) : -1;
  const Value text = Value::string(to_text(value, interpreter.budget()));
  return call_text_method(interpreter, text, "replace",
                          {{text_value(interpreter, bound[0]), text_value(interpreter, bound[1]),
                            Value::integer(count)},
                           {}});
}

Value filter_string(Interpreter& interpreter, const Value& value, Args args) {
  Bound("string", std::move(args), {}, 0);
  return text_value(interpreter, value);
}

Value filter_safe(Interpreter& interpreter, const Value& value, Args args) {
  Bound("safe", std::move(args), {}, 0);
  return result(interpreter, to_text(value, interpreter.budget()), true);
}

Value filter_escape(Interpreter& interpreter, const Value& value, Args args) {
  Bound("escape", std::move(args), {}, 0);
  return value.is_markup()
             ? value
             : result(interpreter, escape_html(to_text(value, interpreter.budget())), true);
}

Value filter_force_escape(Interpreter& interpreter, const Value& value, Args args) {
  Bound("forceescape", std::move(args), {}, 0);
  return result(interpreter, escape_html(to_text(value, interpreter.budget())), true);
}

Value filter_format(Interpreter& interpreter, const Value& value, Args args) {
  if (!args.positional.empty() && !args.named.empty()) {
    throw EvalError{ErrorKind::kOther,
                    "can't handle positional and keyword arguments at the same time"};
  }
  Dict named;
  for (auto& [name, item] : args.named) {
    named.set(name, std::move(item));
  }
  const Value values =
      named.size() > 0 ? Value::dict(std::move(named)) : Value::tuple(std::move(args.positional));
  return apply(Operator::kMod, text_value(interpreter, value), values, interpreter.budget());
}

Value filter_indent(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("indent", std::move(args), {"width", "first", "blank"}, 0);
  const std::string& text = needs_text("indent", value).as_string();
  std::string blanks;
  if (bound.given(0) && bound[0].is(Kind::kString)) {
    blanks = bound[0].as_string();
  } else {
    const int64_t width = std::max<int64_t>(bound.integer(0, 4), 0);
    interpreter.budget().charge_text(static_cast<uint64_t>(width));
    blanks.assign(static_cast<size_t>(width), ' ');
  }
  const std::vector<std::string> lines = split_lines(text + "\n", false);
  std::string out = bound.flag(1, false) ? blanks : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out += '\n';
      out += bound.flag(2, false) || !lines[i].empty() ? blanks : "";
    }
    out += lines[i];
    if (out.size() > interpreter.budget().text) {
      interpreter.budget().charge_text(out.size());
    }
  }
  return result(interpreter, std::move(out), value.is_markup());
}

Value filter_truncate(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("truncate", std::move(args), {"length", "killwords", "end", "leeway"}, 0);
  const int64_t length = bound.integer(0, 255);
  const std::string end = bound.given(2) ? bound.string(2) : "...";
  const int64_t leeway = bound.given(3) && !bound[3].is(Kind::kNone) ? bound.integer(3, 5) : 5;
  const int64_t kept = length - count_characters(end);
  if (kept < 0 || leeway < 0) {
    value_error("truncate: the length must hold the end, and the leeway must not be negative");
  }
  if (length_of(value) - length <= leeway) {
    return value;
  }
  const std::string& text = needs_text("truncate", value).as_string();
  std::string out = text.substr(0, character_offset(text, kept));
  if (!bound.flag(1, false)) {
    out.resize(std::min(out.rfind(' '), out.size()));
  }
  return result(interpreter, out + end);
}

Value filter_word_count(Interpreter& interpreter, const Value& value, Args args) {
  Bound("wordcount", std::move(args), {}, 0);
  const std::string text = to_text(value, interpreter.budget());
  int64_t words = 0;
  bool in_word = false;
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(std::string_view(text).substr(i), &n);
    const bool is_word =
        c == '_' || (character_flags(c) & (kAlpha | kDecimal | kDigit | kNumeric)) != 0;
    words += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  return Value::integer(words);
}

std::string url_quote(std::string_view text, bool query) {
  constexpr std::string_view kSafe = "_.-~";
  std::string out;
  for (const char c : text) {
    if (c > 0 && (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                  kSafe.find(c) != std::string_view::npos || (c == '/' && !query))) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Value filter_url_encode(Interpreter& interpreter, const Value& value, Args args) {
  Bound("urlencode", std::move(args), {}, 0);
  Budget& budget = interpreter.budget();
  if (value.is(Kind::kString) || try_iterate(value) == nullptr) {
    return result(interpreter, url_quote(to_text(value, budget), false));
  }
  List pairs;
  if (value.is(Kind::kDict)) {
    for (const auto& [key, item] : value.as_dict().entries()) {
      pairs.push_back(Value::tuple({key, item}));
    }
  } else {
    pairs = list_of(value, budget);
  }
  std::string out;
  for (const Value& item : pairs) {
    const List pair = list_of(item, budget);
    if (pair.size() != 2) {
      value_error("urlencode: expected pairs");
    }
    out += (out.empty() ? "" : "&") + url_quote(to_text(pair[0], budget), true) + "=" +
           url_quote(to_text(pair[1], budget), true);
  }
  return result(interpreter, std::move(out));
}

// ---- numbers ----------------------------------------------------------------------------------

[[noreturn]] void undefined_error(const Value& value) {
  throw EvalError{ErrorKind::kUndefined, value.as_string()};
}

/// `float(value)`, nothing where Python has a type or value error.
std::optional<double> as_number(const Value& value) {
  if (value.is(Kind::kUndefined)) {
    undefined_error(value);
  }
  if (value.is_number()) {
    return value.as_double();
  }
  return value.is(Kind::kString) ? parse_number(value.as_string()) : std::nullopt;
}

Value filter_int(Interpreter&, const Value& value, Args args) {
  const Bound bound("int", std::move(args), {"default", "base"}, 0);
  const Value fallback = bound.given(0) ? bound[0] : Value::integer(0);
  if (value.is_whole()) {
    return Value::integer(value.as_int());
  }
  if (value.is(Kind::kFloat) && !std::isnan(value.as_double())) {
    return Value::integer(truncate_number(value.as_double()));
  }
  if (value.is(Kind::kString)) {
    try {
      if (const auto parsed = parse_integer(value.as_string(), bound.integer(1, 10))) {
        return Value::integer(*parsed);
      }
    } catch (const EvalError& error) {
      if (error.kind != ErrorKind::kValue) {
        throw;
      }
    }
  }
  const auto number = as_number(value);
  if (!number || !std::isfinite(*number)) {
    return fallback;
  }
  return Value::integer(truncate_number(*number));
}

Value filter_float(Interpreter&, const Value& value, Args args) {
  const Bound bound("float", std::move(args), {"default"}, 0);
  const auto number = as_number(value);
  return number ? Value::number(*number) : bound.given(0) ? bound[0] : Value::number(0);
}

Value filter_abs(Interpreter&, const Value& value, Args args) {
  Bound("abs", std::move(args), {}, 0);
  if (!value.is_number()) {
    type_error(fmt::format("bad operand type for abs(): '{}'", type_name(value)));
  }
  if (value.is(Kind::kFloat)) {
    return Value::number(std::fabs(value.as_double()));
  }
  return value.as_int() < 0 ? negate(value) : positive(value);
}

Value filter_round(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("round", std::move(args), {"precision", "method"}, 0);
  const std::string method = bound.given(1) ? bound.string(1) : "common";
  const int64_t precision = bound.integer(0, 0);
  if (method != "common" && method != "ceil" && method != "floor") {
    throw EvalError{ErrorKind::kOther, "method must be common, ceil or floor"};
  }
  if (value.is(Kind::kUndefined)) {
    undefined_error(value);
  }
  if (!value.is_number()) {
    type_error(fmt::format("type {} doesn't define __round__ method", type_name(value)));
  }
  if (method == "common") {
    if (value.is(Kind::kFloat)) {
      return Value::number(round_number(value.as_double(), precision));
    }
    return precision >= 0 ? Value::integer(value.as_int())
                          : Value::integer(truncate_number(
                                round_number(static_cast<double>(value.as_int()), precision)));
  }
  Budget& budget = interpreter.budget();
  const Value scale = apply(Operator::kPow, Value::integer(10), Value::integer(precision), budget);
  const Value scaled = apply(Operator::kMul, value, scale, budget);
  const double whole =
      method == "ceil" ? std::ceil(scaled.as_double()) : std::floor(scaled.as_double());
  return apply(Operator::kDiv, scaled.is_whole() ? scaled : Value::integer(truncate_number(whole)),
               scale, budget);
}

Value filter_file_size(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("filesizeformat", std::move(args), {"binary"}, 0);
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  const bool binary = bound.flag(0, false);
  const double base = binary ? 1024 : 1000;
  const auto number = as_number(value);
  if (!number) {
    type_error("filesizeformat: expected a number");
  }
  if (*number == 1) {
    return Value::string("1 Byte");
  }
  if (*number < base) {
    return result(interpreter, fmt::format("{} Bytes", truncate_number(*number)));
  }
  double unit = base;
  for (size_t i = 0;; ++i) {
    unit *= base;
    if (*number < unit || i + 1 == kPrefixes.size()) {
      std::string prefix(1, kPrefixes[i]);
      prefix = binary ? (i == 0 ? "Ki" : prefix + "i") : prefix;
      return result(interpreter, fmt::format("{:.1f} {}B", base * *number / unit, prefix));
    }
  }
}

// ---- the rest ---------------------------------------------------------------------------------

Value filter_default(Interpreter&, const Value& value, Args args) {
  const Bound bound("default", std::move(args), {"default_value", "boolean"}, 0);
  if (value.is(Kind::kUndefined) || (bound.flag(1, false) && !truth(value))) {
    return bound.given(0) ? bound[0] : Value::string("");
  }
  return value;
}

Value filter_to_json(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("tojson", std::move(args),
                    {"ensure_ascii", "indent", "separators", "sort_keys"}, 0);
  JsonStyle style;
  style.ensure_ascii = bound.flag(0, false);
  style.sort_keys = bound.flag(3, false);
  if (bound.given(1) && !bound[1].is(Kind::kNone)) {
    if (bound[1].is(Kind::kString)) {
      style.indent = bound[1].as_string();
    } else {
      const int64_t width = std::max<int64_t>(bound.integer(1, 0), 0);
      interpreter.budget().charge_text(static_cast<uint64_t>(width));
      style.indent = std::string(static_cast<size_t>(width), ' ');
    }
    style.item_separator = ",";
  }
  if (bound.given(2) && !bound[2].is(Kind::kNone)) {
    const List separators = list_of(bound[2], interpreter.budget());
    if (separators.size() != 2 || !separators[0].is(Kind::kString) ||
        !separators[1].is(Kind::kString)) {
      value_error("tojson: separators must be two strings");
    }
    style.item_separator = separators[0].as_string();
    style.key_separator = separators[1].as_string();
  }
  return Value::string(to_json(value, style, interpreter.budget()));
}

Value filter_attribute(Interpreter& interpreter, const Value& value, Args args) {
  const Bound bound("attr", std::move(args), {"name"}, 1);
  const std::string& name = bound.string(0);
  const Value found = value.is(Kind::kUndefined) ? interpreter.get_attribute(value, name)
                      : value.is(Kind::kObject)  ? value.as_object().attribute(interpreter, name)
                                                 : find_method(value, name);
  return found.missing() ? Value::undefined(fmt::format("'{} object' has no attribute '{}'",
                                                        type_name(value), name))
                         : found;
}

constexpr std::array<std::string_view, 6> kUnsupported = {"pprint",   "striptags", "urlize",
                                                          "wordwrap", "xmlattr",   "random"};

const std::unordered_map<std::string_view, FilterFunction>& filters() {
  static const std::unordered_map<std::string_view, FilterFunction> kFilters = [] {
    std::unordered_map<std::string_view, FilterFunction> out;
    for (const auto* table : {&kTextFilters, &kSequenceFilters}) {
      for (const FilterEntry& entry : *table) {
        out.emplace(entry.name, entry.function);
      }
    }
    return out;
  }();
  return kFilters;
}

}  // namespace

const std::vector<FilterEntry> kTextFilters = {
    {"abs", filter_abs},
    {"attr", filter_attribute},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"d", filter_default},
    {"default", filter_default},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"filesizeformat", filter_file_size},
    {"float", filter_float},
    {"forceescape", filter_force_escape},
    {"format", filter_format},
    {"indent", filter_indent},
    {"int", filter_int},
    {"lower", filter_lower},
    {"replace", filter_replace},
    {"round", filter_round},
    {"safe", filter_safe},
    {"string", filter_string},
    {"title", filter_title},
    {"tojson", filter_to_json},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"upper", filter_upper},
    {"urlencode", filter_url_encode},
    {"wordcount", filter_word_count},
};

bool is_filter(std::string_view name) {
  return filters().contains(name) ||
         std::find(kUnsupported.begin(), kUnsupported.end(), name) != kUnsupported.end();
}

Value call_filter(std::string_view name, Interpreter& interpreter, const Value& value, Args args) {
  interpreter.budget().charge(1 + (value.is(Kind::kString) ? value.as_string().size() / 64 : 0));
  interpreter.budget().check_stack();
  const auto found = filters().find(name);
  if (found != filters().end()) {
    return found->second(interpreter, value, std::move(args));
  }
  if (is_filter(name)) {
    throw EvalError{ErrorKind::kUnsupported, fmt::format("the filter '{}'", name)};
  }
  throw EvalError{ErrorKind::kOther, fmt::format("No filter named '{}'", name)};
}

}  // namespace tessera::text::jinja
