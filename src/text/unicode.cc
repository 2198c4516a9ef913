// Lookups in the tables of unicode_data.cc and normal forms by utf8proc. utf8proc knows newer
// characters than the reference's normalization crate; those are cut out first (they are starters
// without decomposition there), and only what lies between is normalized.
#include "text/unicode.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/unicode_data.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace tessera::text {
namespace {

template <class Table>
auto find_range(const Table& table, char32_t c) {
  const auto it = std::lower_bound(table.begin(), table.end(), c,
                                   [](const auto& range, char32_t v) { return range.last < v; });
  return it != table.end() && it->first <= c ? it : table.end();
}

template <class Table>
bool contains(const Table& table, char32_t c) {
  return find_range(table, c) != table.end();
}

struct FreeDeleter {
  void operator()(utf8proc_uint8_t* p) const { std::free(p); }
};

void append_normalized(std::string& out, std::string_view text, utf8proc_option_t options) {
  if (text.empty()) {
    return;
  }
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &raw, options);
  const std::unique_ptr<utf8proc_uint8_t, FreeDeleter> owner(raw);
  if (size == UTF8PROC_ERROR_NOMEM) {
    throw OutOfMemory("normalizing {} bytes of text: out of memory", text.size());
  }
  TESSERA_CHECK(size >= 0, Internal, "normalizing {} bytes of text: {}", text.size(),
                utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(raw), static_cast<size_t>(size));
}

}  // namespace

bool is_whitespace(char32_t c) {
  if (c < 0x80) {
    return c == ' ' || (c >= 9 && c <= 13);
  }
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_punctuation(char32_t c) {
  return contains(kPunctuation, c);
}
bool is_numeric(char32_t c) {
  return contains(kNumeric, c);
}
bool is_word(char32_t c) {
  return contains(kWord, c);
}
bool is_combining_mark(char32_t c) {
  return contains(kCombiningMark, c);
}
bool is_nonspacing_mark(char32_t c) {
  return contains(kNonspacingMark, c);
}
bool is_bert_control(char32_t c) {
  return contains(kControl, c);
}

void append_lowercase(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c));
  } else if (c == 0x130) {
    out += "i\xCC\x87";
  } else if (const auto it = find_range(kLowercase, c); it != kLowercase.end()) {
    utf8_append(out, it->value + (c - it->first));
  } else {
    utf8_append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

std::string normalize(std::string_view text, NormalForm form) {
  const bool ascii = std::none_of(text.begin(), text.end(),
                                  [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
  if (ascii) {
    return std::string(text);
  }
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const auto options = static_cast<utf8proc_option_t>(
      UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
      (compat ? UTF8PROC_COMPAT : 0));
  std::string out;
  out.reserve(text.size());
  size_t start = 0;
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = utf8_decode(text.substr(i), &length);
    if (c >= 0x80 && contains(kNormalizationInert, c)) {
      append_normalized(out, text.substr(start, i - start), options);
      out.append(text.substr(i, static_cast<size_t>(length)));
      start = i + static_cast<size_t>(length);
    }
    i += static_cast<size_t>(length);
  }
  append_normalized(out, text.substr(start), options);
  return out;
}

std::optional<char32_t> regex_substitute(char32_t c) {
  const auto it = find_range(kRegexSubstitute, c);
  return it == kRegexSubstitute.end() ? std::nullopt
                                      : std::optional<char32_t>(static_cast<char32_t>(it->value));
}

}  // namespace tessera::text
