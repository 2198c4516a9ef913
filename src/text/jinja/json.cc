// `json.dumps` of Python 3, which is what `tojson` of chat templates calls.
#include "core/strings.h"
#include "text/jinja/operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tessera::text::jinja {
namespace {

class Writer {
 public:
  Writer(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  std::string take() { return std::move(out_); }

  void write(const Value& value, int level) {
    budget_.charge(1);
    budget_.check_stack();
    if (out_.size() > budget_.text) {
      budget_.charge_text(out_.size());
    }
    switch (value.kind()) {
      case Kind::kNone:
        out_ += "null";
        break;
      case Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        break;
      case Kind::kInt:
        out_ += std::to_string(value.as_int());
        break;
      case Kind::kFloat:
        out_ += number(value.as_double());
        break;
      case Kind::kString:
        write_text(value.as_string());
        break;
      case Kind::kList:
      case Kind::kTuple:
        write_list(value.items(), level);
        break;
      case Kind::kDict:
        write_dict(value.as_dict(), level);
        break;
      default:
        type_error(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    }
  }

 private:
  static std::string number(double value) {
    if (std::isnan(value)) {
      return "NaN";
    }
    return std::isinf(value) ? (value < 0 ? "-Infinity" : "Infinity") : repr_number(value);
  }

  void new_line(int level) {
    if (style_.indent) {
      out_ += '\n';
      for (int i = 0; i < level; ++i) {
        out_ += *style_.indent;
      }
    }
  }

  void write_list(const List& items, int level) {
    out_ += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      out_ += i == 0 ? "" : style_.item_separator;
      new_line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) {
      new_line(level);
    }
    out_ += ']';
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<Dict::Entry> entries = dict.entries();
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [this](const auto& a, const auto& b) {
        return less(a.first, b.first, budget_);
      });
    }
    out_ += '{';
    bool first = true;
    for (const auto& [key, item] : entries) {
      out_ += first ? "" : style_.item_separator;
      first = false;
      new_line(level + 1);
      write_key(key);
      out_ += style_.key_separator;
      write(item, level + 1);
    }
    if (!first) {
      new_line(level);
    }
    out_ += '}';
  }

  void write_key(const Value& key) {
    switch (key.kind()) {
      case Kind::kString:
        write_text(key.as_string());
        break;
      case Kind::kNone:
        out_ += "\"null\"";
        break;
      case Kind::kBool:
        out_ += key.as_bool() ? "\"true\"" : "\"false\"";
        break;
      case Kind::kInt:
        out_ += '"' + std::to_string(key.as_int()) + '"';
        break;
      case Kind::kFloat:
        out_ += '"' + number(key.as_double()) + '"';
        break;
      default:
        type_error(
            fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
    }
  }

  void write_text(std::string_view text) {
    budget_.charge(text.size() / 16);
    out_ += '"';
    int n = 0;
    for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
      const char32_t c = utf8_decode(text.substr(i), &n);
      constexpr std::string_view kFrom = "\"\\\n\r\t\f\b";
      constexpr std::string_view kTo = "\"\\nrtfb";
      const size_t at = c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
      if (at != std::string_view::npos) {
        out_ += '\\';
        out_ += kTo[at];
      } else if (c < 0x20 || (style_.ensure_ascii && c > 0x7E)) {
        write_escape(c);
      } else {
        out_.append(text.substr(i, static_cast<size_t>(n)));
      }
    }
    out_ += '"';
  }

  void write_escape(char32_t c) {
    if (c >= 0x10000) {
      const uint32_t rest = static_cast<uint32_t>(c) - 0x10000;
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      out_ += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    }
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  Writer writer(style, budget);
  writer.write(value, 0);
  std::string out = writer.take();
  budget.charge_text(out.size());
  return out;
}

}  // namespace tessera::text::jinja
