// Values as Python prints them.
#include "core/strings.h"
#include "text/jinja/python_unicode.h"
#include "text/jinja/value.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace tessera::text::jinja {

std::string type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
      return "missing";
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.is_markup() ? "Markup" : "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      break;
  }
  return value.as_object().type_name();
}

std::string repr_number(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value < 0 ? "-inf" : "inf";
  }
  char buffer[32];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);  // d.ddde+XX, the shortest digits that read back
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  std::string digits = text.substr(0, e);
  std::string sign;
  if (digits[0] == '-') {
    sign = "-";
    digits.erase(0, 1);
  }
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}e{}{:02}", sign, digits, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (digits.size() > 1) {
    digits.erase(1, 1);
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  }
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string repr_text(std::string_view text) {
  const bool use_double =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = use_double ? '"' : '\'';
  std::string out(1, quote);
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(text.substr(i), &n);
    if (c == '\\' || c == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if ((character_flags(c) & kPrintable) != 0) {
      out.append(text.substr(i, static_cast<size_t>(n)));
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out + quote;
}

namespace {

void append_repr(std::string& out, const Value& value, Budget& budget) {
  const size_t before = out.size();
  budget.charge(1);
  budget.check_stack();
  const auto join = [&](const List& items, char open, char close) {
    out += open;
    for (size_t i = 0; i < items.size(); ++i) {
      out += i == 0 ? "" : ", ";
      append_repr(out, items[i], budget);
    }
    out += value.is(Kind::kTuple) && items.size() == 1 ? "," : "";
    out += close;
  };
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
      out += "Undefined";
      break;
    case Kind::kNone:
      out += "None";
      break;
    case Kind::kBool:
      out += value.as_bool() ? "True" : "False";
      break;
    case Kind::kInt:
      out += std::to_string(value.as_int());
      break;
    case Kind::kFloat:
      out += repr_number(value.as_double());
      break;
    case Kind::kString:
      out += value.is_markup() ? "Markup(" + repr_text(value.as_string()) + ")"
                               : repr_text(value.as_string());
      break;
    case Kind::kList:
      join(value.items(), '[', ']');
      return;
    case Kind::kTuple:
      join(value.items(), '(', ')');
      return;
    case Kind::kDict: {
      out += '{';
      const char* separator = "";
      for (const auto& [key, item] : value.as_dict().entries()) {
        out += separator;
        append_repr(out, key, budget);
        out += ": ";
        append_repr(out, item, budget);
        separator = ", ";
      }
      out += '}';
      return;
    }
    case Kind::kObject:
      out += value.as_object().repr(budget);
      break;
  }
  budget.charge((out.size() - before) / 16);
  if (out.size() > budget.text) {
    budget.charge_text(out.size());
  }
}

}  // namespace

std::string repr(const Value& value, Budget& budget) {
  std::string out;
  append_repr(out, value, budget);
  return out;
}

std::string to_text(const Value& value, Budget& budget) {
  if (value.is(Kind::kString)) {
    return value.as_string();
  }
  return value.is(Kind::kUndefined) ? "" : repr(value, budget);
}

}  // namespace tessera::text::jinja
