// JSON syntax (RFC 8259) and the formats of strings. Dates are those of the Gregorian calendar with
// years 1000 to 9999; times have no leap seconds.
#include "text/constrain/json_text.h"

#include "core/strings.h"
#include "text/constrain/regex_grammar.h"

#include <fmt/core.h>

#include <array>
#include <utility>
#include <vector>

namespace tessera::constrain {
namespace {

CharSet unescaped_chars() {
  CharSet escaped(0, 0x1F);
  escaped.add('"', '"');
  escaped.add('\\', '\\');
  return escaped.complement();
}

std::string date_pattern() {
  return "(?:[1-9]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])"
         "|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))"
         "|(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29)";
}

std::string time_pattern() {
  return "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]"
         "\\d)";
}

std::string ipv4_pattern() {
  const std::string part = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  return part + "(?:\\." + part + "){3}";
}

std::string ipv6_pattern() {
  const std::string part = "[0-9a-fA-F]{1,4}";
  std::string all = "(?:" + part + ":){7}" + part;
  for (int before = 0; before <= 6; ++before) {  // parts before ::, and up to the rest after it
    const int after = 6 - before;
    const std::string head =
        before == 0 ? "" : fmt::format("(?:{}:){{{}}}{}", part, before - 1, part);
    const std::string tail =
        after == 0 ? part : fmt::format("(?:{}(?::{}){{0,{}}})", part, part, after);
    all += "|" + head + "::(?:" + tail + ")?";
  }
  all += "|(?:" + part + ":){6}" + part + "::";
  return all;
}

std::string hostname_pattern() {
  const std::string label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
  return label + "(?:\\." + label + "){0,3}";
}

std::string email_pattern() {
  const std::string atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
  return atom + "(?:\\." + atom + ")*@" + hostname_pattern();
}

std::string duration_pattern() {
  const std::string time = "T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S)";
  return "P(?:(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)(?:" + time + ")?|" + time +
         "|\\d+W)";
}

std::string uri_pattern(bool with_scheme) {
  const std::string chars = "(?:[a-zA-Z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-fA-F]{2})";
  const std::string fragment = "(?:#" + chars + "*)?";
  return with_scheme ? "[a-zA-Z][a-zA-Z0-9+.-]*:" + chars + "+" + fragment : chars + "*" + fragment;
}

std::string format_pattern(std::string_view name) {
  const std::array<std::pair<std::string_view, std::string>, 13> table = {{
      {"date", date_pattern()},
      {"time", time_pattern()},
      {"date-time", date_pattern() + "T" + time_pattern()},
      {"duration", duration_pattern()},
      {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
      {"email", email_pattern()},
      {"hostname", hostname_pattern()},
      {"ipv4", ipv4_pattern()},
      {"ipv6", ipv6_pattern()},
      {"uri", uri_pattern(true)},
      {"uri-reference", "(?:" + uri_pattern(true) + "|/" + uri_pattern(false) + ")"},
      {"json-pointer", "(?:/(?:[^~/]|~[01])*)*"},
      {"relative-json-pointer", "(?:0|[1-9]\\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)"},
  }};
  for (const auto& [known, pattern] : table) {
    if (known == name) {
      return pattern;
    }
  }
  return {};
}

}  // namespace

JsonText::JsonText(GrammarBuilder& builder, const JsonLayout& layout)
    : builder_(builder), layout_(layout) {}

JsonText::Expr JsonText::space() {
  if (!layout_.white_space) {
    return builder_.empty();
  }
  CharSet blanks(' ');
  blanks.add('\t', '\t');
  return builder_.choice(
      {builder_.empty(), builder_.bytes(" "),
       builder_.sequence({builder_.bytes("\n"),
                          builder_.repeat(builder_.chars(blanks), 0, layout_.max_indent)})});
}

JsonText::Expr JsonText::colon() {
  return layout_.white_space
             ? builder_.sequence({builder_.bytes(":"), builder_.optional(builder_.bytes(" "))})
             : builder_.bytes(":");
}

JsonText::Expr JsonText::value() {
  if (!value_) {
    value_ = builder_.declare("value");
    builder_.define(*value_, builder_.choice({object(), array(), string(), number({}, {}),
                                              builder_.bytes("true"), builder_.bytes("false"),
                                              builder_.bytes("null")}));
  }
  return builder_.call(*value_);
}

JsonText::Expr JsonText::object() {
  const Expr member = builder_.sequence({string(), colon(), value()});
  const Expr more = builder_.repeat(builder_.sequence({comma(), member}), 0);
  return builder_.sequence({builder_.bytes("{"), space(),
                            builder_.optional(builder_.sequence({member, more, space()})),
                            builder_.bytes("}")});
}

JsonText::Expr JsonText::array() {
  const Expr more = builder_.repeat(builder_.sequence({comma(), value()}), 0);
  return builder_.sequence({builder_.bytes("["), space(),
                            builder_.optional(builder_.sequence({value(), more, space()})),
                            builder_.bytes("]")});
}

/// One character of a string in any spelling. Escapes of surrogates come in pairs.
JsonText::Expr JsonText::string(uint32_t min, uint32_t max) {
  const auto one_of = [&](std::string_view members) {
    CharSet set;
    for (const char c : members) {
      set.add(static_cast<unsigned char>(c), static_cast<unsigned char>(c));
    }
    return builder_.chars(set);
  };
  const Expr hex = one_of("0123456789abcdefABCDEF");
  const Expr d = one_of("dD");
  const Expr plain =
      builder_.choice({builder_.sequence({one_of("0123456789abcefABCEF"), hex, hex, hex}),
                       builder_.sequence({d, one_of("01234567"), hex, hex}),
                       builder_.sequence({d, one_of("89abAB"), hex, hex, builder_.bytes("\\u"), d,
                                          one_of("cdefCDEF"), hex, hex})});
  const Expr escape = builder_.sequence(
      {builder_.bytes("\\"),
       builder_.choice({one_of("\"\\/bfnrt"), builder_.sequence({builder_.bytes("u"), plain})})});
  const Expr one = builder_.choice({builder_.chars(unescaped_chars()), escape});
  return quoted(builder_.repeat(one, min, max));
}

JsonText::Expr JsonText::string() {
  if (!string_) {
    string_ = builder_.declare("string");
    builder_.define(*string_, string(0, GrammarBuilder::kUnbounded));
  }
  return builder_.call(*string_);
}

JsonText::Expr JsonText::quoted(Expr content) {
  return builder_.sequence({builder_.bytes("\""), content, builder_.bytes("\"")});
}

JsonText::Expr JsonText::canonical_chars(const CharSet& set) {
  std::vector<Expr> spellings = {builder_.chars(set.intersect(unescaped_chars()))};
  const CharSet escaped = set.minus(unescaped_chars());
  for (const CharSet::Range& range : escaped.ranges()) {
    for (char32_t c = range.first; c <= range.last; ++c) {
      const std::string text = io::Json(std::string(1, static_cast<char>(c))).dump();
      spellings.push_back(builder_.bytes(std::string_view(text).substr(1, text.size() - 2)));
    }
  }
  return builder_.choice(std::move(spellings));
}

JsonText::Expr JsonText::canonical_char() {
  if (!canonical_char_) {
    const Expr chars = canonical_chars(CharSet::all());
    canonical_char_ = builder_.subtract(chars, builder_.never());
  }
  return *canonical_char_;
}

JsonText::Expr JsonText::pattern(std::string_view pattern) {
  RegexOptions options;
  options.search = true;
  options.line_ends.add('\r', '\r');
  options.line_ends.add(0x2028, 0x2029);
  options.write = [this](const CharSet& set) { return canonical_chars(set); };
  return add_regex(builder_, pattern, options);
}

std::optional<JsonText::Expr> JsonText::format(std::string_view name) {
  const std::string text = format_pattern(name);
  if (text.empty()) {
    return std::nullopt;
  }
  return pattern("^(?:" + text + ")$");
}

JsonText::Expr JsonText::literal(const io::OrderedJson& json) {
  if (!json.is_structured()) {
    return builder_.bytes(json.dump());
  }
  const bool is_object = json.is_object();
  std::vector<Expr> parts = {builder_.bytes(is_object ? "{" : "["), space()};
  bool first = true;
  for (const auto& [key, item] : json.items()) {
    if (!std::exchange(first, false)) {
      parts.push_back(comma());
    }
    if (is_object) {
      parts.push_back(builder_.bytes(io::Json(key).dump()));
      parts.push_back(colon());
    }
    parts.push_back(literal(item));
  }
  if (!first) {
    parts.push_back(space());
  }
  parts.push_back(builder_.bytes(is_object ? "}" : "]"));
  return builder_.sequence(std::move(parts));
}

}  // namespace tessera::constrain
