// The methods of str, on UTF-8 text. Source: the Python 3 library reference, "String Methods".
// `encode`, `translate`, `maketrans` and `isidentifier` are left out: they make or need other
// types.
#include "core/strings.h"
#include "text/jinja/builtins.h"
#include "text/jinja/objects.h"
#include "text/jinja/operators.h"
#include "text/jinja/python_unicode.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace tessera::text::jinja {
namespace {

/// Start of the last character of `text`, which is not empty.
size_t last_character(std::string_view text) {
  size_t i = text.size() - 1;
  while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) {
    --i;
  }
  return i;
}

bool in_set(std::string_view character, const std::string* characters) {
  int n = 0;
  return characters == nullptr ? is_python_space(utf8_decode(character, &n))
                               : characters->find(character) != std::string::npos;
}

std::string_view strip_view(std::string_view text,
                            const std::string* characters,
                            bool left,
                            bool right) {
  while (left && !text.empty()) {
    const auto n = static_cast<size_t>(std::max(utf8_length(text), 1));
    if (!in_set(text.substr(0, n), characters)) {
      break;
    }
    text.remove_prefix(n);
  }
  while (right && !text.empty()) {
    const size_t at = last_character(text);
    if (!in_set(text.substr(at), characters)) {
      break;
    }
    text.remove_suffix(text.size() - at);
  }
  return text;
}

/// One call: the text, its arguments, what the result is charged to.
struct Call {
  std::string_view name;
  const Value& self;
  Args args;
  Interpreter& interpreter;

  const std::string& text() const { return self.as_string(); }
  Bound bind(std::vector<std::string_view> names, size_t required, bool keywords = false) {
    return Bound(name, std::move(args), std::move(names), required, !keywords);
  }
  Value result(std::string out) const {
    interpreter.budget().charge_text(out.size());
    return Value::string(std::move(out), self.is_markup());
  }
};

/// The part of the text that `start` and `end` leave, and its byte offset; nothing when start lies
/// behind the end.
struct Window {
  bool valid;
  size_t offset;
  std::string_view text;
};

Window window(const std::string& text, const Value& start, const Value& end) {
  const int64_t length = count_characters(text);
  const auto clamp = [&](const Value& value, int64_t fallback) {
    if (value.missing() || value.is(Kind::kNone)) {
      return fallback;
    }
    if (!value.is_whole()) {
      type_error("slice indices must be integers or None");
    }
    const int64_t i = value.as_int();
    return i < 0 ? std::max<int64_t>(i + length, 0) : i;
  };
  const int64_t first = clamp(start, 0);
  const int64_t last = std::min(clamp(end, length), length);
  if (first > last) {
    return {false, 0, {}};
  }
  const size_t begin = character_offset(text, first);
  return {true, begin, std::string_view(text).substr(begin, character_offset(text, last) - begin)};
}

Value find(Call& call) {
  const Bound args = call.bind({"sub", "start", "end"}, 1);
  const std::string& wanted = args.string(0);
  const Window part = window(call.text(), args[1], args[2]);
  const bool right = call.name[0] == 'r';
  const size_t at = !part.valid ? std::string_view::npos
                    : right     ? part.text.rfind(wanted)
                                : part.text.find(wanted);
  if (at != std::string_view::npos) {
    return Value::integer(
        count_characters(std::string_view(call.text()).substr(0, part.offset + at)));
  }
  if (call.name.ends_with("index")) {
    value_error("substring not found");
  }
  return Value::integer(-1);
}

Value count(Call& call) {
  const Bound args = call.bind({"sub", "start", "end"}, 1);
  const std::string& wanted = args.string(0);
  const Window part = window(call.text(), args[1], args[2]);
  if (!part.valid) {
    return Value::integer(0);
  }
  if (wanted.empty()) {
    return Value::integer(count_characters(part.text) + 1);
  }
  int64_t found = 0;
  for (size_t i = part.text.find(wanted); i != std::string_view::npos;
       i = part.text.find(wanted, i + wanted.size())) {
    ++found;
  }
  return Value::integer(found);
}

Value starts_or_ends(Call& call) {
  const Bound args = call.bind({"prefix", "start", "end"}, 1);
  const Window part = window(call.text(), args[1], args[2]);
  const auto matches = [&](const Value& value) {
    if (!value.is(Kind::kString)) {
      type_error(fmt::format("{} first arg must be str or a tuple of str, not {}", call.name,
                             type_name(value)));
    }
    return part.valid && (call.name[0] == 's' ? part.text.starts_with(value.as_string())
                                              : part.text.ends_with(value.as_string()));
  };
  if (args[0].is(Kind::kTuple)) {
    for (const Value& item : args[0].items()) {
      if (matches(item)) {
        return Value::boolean(true);
      }
    }
    return Value::boolean(false);
  }
  return Value::boolean(matches(args[0]));
}

Value strip_method(Call& call) {
  const Bound args = call.bind({"chars"}, 0);
  const bool all = !args.given(0) || args[0].is(Kind::kNone);
  const std::string* characters = all ? nullptr : &args.string(0);
  return call.result(strip(call.text(), characters, call.name != "rstrip", call.name != "lstrip"));
}

List split_spaces(std::string_view text, int64_t limit, bool right) {
  List out;
  while (true) {
    text = strip_view(text, nullptr, !right, right);
    if (text.empty()) {
      break;
    }
    if (limit == 0) {
      out.push_back(Value::string(std::string(text)));
      break;
    }
    // To the next white space.
    size_t i = right ? text.size() : 0;
    while (right ? i > 0 : i < text.size()) {
      const size_t at = right ? last_character(text.substr(0, i)) : i;
      int n = 0;
      if (is_python_space(utf8_decode(text.substr(at), &n))) {
        break;
      }
      i = right ? at : at + static_cast<size_t>(n);
    }
    out.push_back(Value::string(std::string(right ? text.substr(i) : text.substr(0, i))));
    text = right ? text.substr(0, i) : text.substr(i);
    --limit;
  }
  if (right) {
    std::reverse(out.begin(), out.end());
  }
  return out;
}

Value split_method(Call& call) {
  const Bound args = call.bind({"sep", "maxsplit"}, 0, true);
  const bool right = call.name[0] == 'r';
  int64_t limit = args.integer(1, -1);
  limit = limit < 0 ? INT64_MAX : limit;
  Budget& budget = call.interpreter.budget();
  std::string_view text = call.text();
  budget.charge_text(text.size());
  if (!args.given(0) || args[0].is(Kind::kNone)) {
    List out = split_spaces(text, limit, right);
    budget.charge(out.size());
    return Value::list(std::move(out));
  }
  const std::string& separator = args.string(0);
  if (separator.empty()) {
    value_error("empty separator");
  }
  List out;
  for (; limit > 0; --limit) {
    const size_t at = right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) {
      break;
    }
    const std::string_view part = right ? text.substr(at + separator.size()) : text.substr(0, at);
    out.push_back(Value::string(std::string(part)));
    text = right ? text.substr(0, at) : text.substr(at + separator.size());
    budget.charge(1);
  }
  out.push_back(Value::string(std::string(text)));
  if (right) {
    std::reverse(out.begin(), out.end());
  }
  return Value::list(std::move(out));
}

Value split_lines_method(Call& call) {
  const Bound args = call.bind({"keepends"}, 0, true);
  List out;
  for (std::string& line : split_lines(call.text(), args.flag(0, false))) {
    out.push_back(Value::string(std::move(line)));
  }
  call.interpreter.budget().charge_text(call.text().size());
  call.interpreter.budget().charge(out.size());
  return Value::list(std::move(out));
}

Value partition(Call& call) {
  const Bound args = call.bind({"sep"}, 1);
  const std::string& separator = args.string(0);
  if (separator.empty()) {
    value_error("empty separator");
  }
  const std::string& text = call.text();
  const bool right = call.name[0] == 'r';
  const size_t at = right ? text.rfind(separator) : text.find(separator);
  call.interpreter.budget().charge_text(text.size());
  const Value empty = Value::string("");
  if (at == std::string::npos) {
    return right ? Value::tuple({empty, empty, call.self})
                 : Value::tuple({call.self, empty, empty});
  }
  return Value::tuple({Value::string(text.substr(0, at)), args[0],
                       Value::string(text.substr(at + separator.size()))});
}

std::string replace_text(std::string_view text,
                         const std::string& from,
                         const std::string& to,
                         int64_t limit,
                         Budget& budget) {
  limit = limit < 0 ? INT64_MAX : limit;
  std::string out;
  if (from.empty()) {  // between all characters, and at both ends
    for (size_t i = 0; i <= text.size() && limit > 0; --limit) {
      out += to;
      if (out.size() > budget.text) {
        budget.charge_text(out.size());
      }
      const auto n = static_cast<size_t>(i < text.size() ? utf8_length(text.substr(i)) : 1);
      out += text.substr(i, i < text.size() ? n : 0);
      i += n;
      if (limit == 1 && i < text.size()) {
        out += text.substr(i);
      }
    }
    return limit == INT64_MAX ? out : (out.empty() ? std::string(text) : out);
  }
  for (; limit > 0; --limit) {
    const size_t at = text.find(from);
    if (at == std::string_view::npos) {
      break;
    }
    out += text.substr(0, at);
    out += to;
    if (out.size() > budget.text) {
      budget.charge_text(out.size());
    }
    text.remove_prefix(at + from.size());
  }
  return out.append(text);
}

Value replace(Call& call) {
  const Bound args = call.bind({"old", "new", "count"}, 2);
  return call.result(replace_text(call.text(), args.string(0), args.string(1), args.integer(2, -1),
                                  call.interpreter.budget()));
}

Value join(Call& call) {
  const Bound args = call.bind({"iterable"}, 1);
  std::string out;
  const auto iterator = try_iterate(args[0]);
  if (iterator == nullptr) {
    type_error("can only join an iterable");
  }
  bool first = true;
  for (Value item = iterator->next(); !item.missing(); item = iterator->next(), first = false) {
    if (!item.is(Kind::kString)) {
      type_error(fmt::format("sequence item: expected str instance, {} found", type_name(item)));
    }
    out += first ? "" : call.text();
    out += item.as_string();
    call.interpreter.budget().charge_text(item.as_string().size() + call.text().size());
    if (out.size() > call.interpreter.budget().text) {
      call.interpreter.budget().charge_text(out.size());
    }
  }
  return call.result(std::move(out));
}

Value justify(Call& call) {
  const Bound args = call.bind({"width", "fillchar"}, 1);
  const std::string fill = args.given(1) ? args.string(1) : " ";
  if (count_characters(fill) != 1) {
    type_error("The fill character must be exactly one character long");
  }
  const int64_t length = count_characters(call.text());
  const int64_t missing = std::max<int64_t>(args.integer(0, 0) - length, 0);
  call.interpreter.budget().charge_text(static_cast<uint64_t>(missing) + call.text().size());
  // center puts the odd one to the left when the width is odd
  const int64_t left = call.name == "ljust"   ? 0
                       : call.name == "rjust" ? missing
                                              : missing / 2 + (missing & args.integer(0, 0) & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) {
    out += fill;
  }
  out += call.text();
  for (int64_t i = left; i < missing; ++i) {
    out += fill;
  }
  return call.result(std::move(out));
}

Value zero_fill(Call& call) {
  const Bound args = call.bind({"width"}, 1);
  const std::string& text = call.text();
  const int64_t missing = std::max<int64_t>(args.integer(0, 0) - count_characters(text), 0);
  call.interpreter.budget().charge_text(static_cast<uint64_t>(missing) + text.size());
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  return call.result(text.substr(0, sign) + std::string(static_cast<size_t>(missing), '0') +
                     text.substr(sign));
}

Value expand_tabs(Call& call) {
  const Bound args = call.bind({"tabsize"}, 0, true);
  const int64_t size = args.integer(0, 8);
  if (size > 1 << 16) {
    throw EvalError{ErrorKind::kLimit, "a tab size of more than 65536"};
  }
  std::string out;
  int64_t column = 0;
  for (const char c : call.text()) {
    if (c == '\t') {
      const int64_t blanks = size > 0 ? size - column % size : 0;
      out.append(static_cast<size_t>(blanks), ' ');
      column += blanks;
      if (out.size() > call.interpreter.budget().text) {
        call.interpreter.budget().charge_text(out.size());
      }
      continue;
    }
    out += c;
    column = c == '\n' || c == '\r' ? 0 : column + ((static_cast<unsigned char>(c) & 0xC0) != 0x80);
  }
  return call.result(std::move(out));
}

Value remove_affix(Call& call) {
  const Bound args = call.bind({"affix"}, 1);
  const std::string& affix = args.string(0);
  const std::string& text = call.text();
  if (call.name == "removeprefix") {
    return call.result(text.starts_with(affix) ? text.substr(affix.size()) : text);
  }
  return call.result(text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text);
}

Value change_case(Call& call) {
  call.bind({}, 0);
  const std::string& text = call.text();
  return call.result(call.name == "lower"        ? to_lower(text)
                     : call.name == "upper"      ? to_upper(text)
                     : call.name == "title"      ? to_title(text)
                     : call.name == "capitalize" ? capitalize(text)
                     : call.name == "casefold"   ? case_fold(text)
                                                 : swap_case(text));
}

/// islower, isupper: some cased character, and none of the other case.
bool is_cased_as(std::string_view text, uint32_t wanted, uint32_t unwanted) {
  bool some = false;
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const uint32_t flags = character_flags(utf8_decode(text.substr(i), &n));
    if ((flags & unwanted) != 0) {
      return false;
    }
    some |= (flags & wanted) != 0;
  }
  return some;
}

bool is_title(std::string_view text) {
  bool some = false;
  bool in_word = false;
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const uint32_t flags = character_flags(utf8_decode(text.substr(i), &n));
    if ((flags & (kUpper | kTitle)) != 0 ? in_word : (flags & kLower) != 0 && !in_word) {
      return false;
    }
    in_word = (flags & (kUpper | kTitle | kLower)) != 0;
    some |= in_word;
  }
  return some;
}

Value is_kind(Call& call) {
  call.bind({}, 0);
  const std::string& text = call.text();
  const std::string_view what = call.name.substr(2);
  if (what == "lower" || what == "upper") {
    return Value::boolean(what == "lower" ? is_cased_as(text, kLower, kUpper | kTitle)
                                          : is_cased_as(text, kUpper, kLower | kTitle));
  }
  if (what == "title") {
    return Value::boolean(is_title(text));
  }
  const uint32_t flags = what == "alpha"     ? kAlpha
                         : what == "digit"   ? kDigit | kDecimal
                         : what == "decimal" ? kDecimal
                         : what == "numeric" ? kNumeric | kDigit | kDecimal
                         : what == "alnum"   ? kAlpha | kNumeric | kDigit | kDecimal
                                             : kPrintable;
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(std::string_view(text).substr(i), &n);
    const bool holds = what == "space"   ? is_python_space(c)
                       : what == "ascii" ? c < 0x80
                                         : (character_flags(c) & flags) != 0;
    if (!holds) {
      return Value::boolean(false);
    }
  }
  return Value::boolean(!text.empty() || what == "printable" || what == "ascii");
}

Value format(Call& call) {
  Dict named;
  if (call.name == "format_map") {
    const Bound args = call.bind({"mapping"}, 1);
    if (!args[0].is(Kind::kDict)) {
      type_error("format_map() argument must be a mapping");
    }
    return call.result(format_braces(call.text(), {}, args[0].as_dict(), call.interpreter));
  }
  for (const auto& [name, value] : call.args.named) {
    named.set(name, value);
  }
  return call.result(format_braces(call.text(), call.args.positional, named, call.interpreter));
}

using Method = Value (*)(Call&);

const std::unordered_map<std::string_view, Method>& methods() {
  static const std::unordered_map<std::string_view, Method> kMethods = {
      {"find", find},
      {"rfind", find},
      {"index", find},
      {"rindex", find},
      {"count", count},
      {"startswith", starts_or_ends},
      {"endswith", starts_or_ends},
      {"strip", strip_method},
      {"lstrip", strip_method},
      {"rstrip", strip_method},
      {"split", split_method},
      {"rsplit", split_method},
      {"splitlines", split_lines_method},
      {"partition", partition},
      {"rpartition", partition},
      {"replace", replace},
      {"join", join},
      {"center", justify},
      {"ljust", justify},
      {"rjust", justify},
      {"zfill", zero_fill},
      {"expandtabs", expand_tabs},
      {"removeprefix", remove_affix},
      {"removesuffix", remove_affix},
      {"lower", change_case},
      {"upper", change_case},
      {"title", change_case},
      {"capitalize", change_case},
      {"casefold", change_case},
      {"swapcase", change_case},
      {"islower", is_kind},
      {"isupper", is_kind},
      {"istitle", is_kind},
      {"isalpha", is_kind},
      {"isdigit", is_kind},
      {"isdecimal", is_kind},
      {"isnumeric", is_kind},
      {"isalnum", is_kind},
      {"isspace", is_kind},
      {"isascii", is_kind},
      {"isprintable", is_kind},
      {"format", format},
      {"format_map", format},
  };
  return kMethods;
}

}  // namespace

std::string strip(std::string_view text, const std::string* characters, bool left, bool right) {
  return std::string(strip_view(text, characters, left, right));
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> out;
  size_t begin = 0;
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(text.substr(i), &n);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                      c == 0x2028 || c == 0x2029;
    if (!ends) {
      continue;
    }
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
      n = 2;
    }
    const size_t end = keep_ends ? i + static_cast<size_t>(n) : i;
    out.emplace_back(text.substr(begin, end - begin));
    begin = i + static_cast<size_t>(n);
  }
  if (begin < text.size()) {
    out.emplace_back(text.substr(begin));
  }
  return out;
}

bool is_text_method(std::string_view name) {
  return methods().contains(name);
}

Value call_text_method(Interpreter& interpreter,
                       const Value& self,
                       std::string_view name,
                       Args args) {
  Call call{name, self, std::move(args), interpreter};
  interpreter.budget().charge(1 + self.as_string().size() / 16);
  return methods().at(name)(call);
}

}  // namespace tessera::text::jinja
