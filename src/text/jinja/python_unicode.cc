// Case and character classes of Python's str. The title table holds only what differs from the
// upper-case one, the fold table what differs from the lower-case one. A capital sigma at the end
// of a word becomes the final form, as str.lower does it (Unicode 14, section 3.13).
#include "text/jinja/python_unicode.h"

#include "core/strings.h"

#include <algorithm>

namespace tessera::text::jinja {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3;

/// Appends what the tables say of `c`; false when they say nothing.
bool append_mapped(std::string& out,
                   char32_t c,
                   std::span<const CaseRange> ranges,
                   std::span<const CaseString> strings) {
  const auto text =
      std::lower_bound(strings.begin(), strings.end(), c,
                       [](const CaseString& row, char32_t code) { return row.code < code; });
  if (text != strings.end() && text->code == c) {
    out += text->text;
    return true;
  }
  const auto row =
      std::lower_bound(ranges.begin(), ranges.end(), c,
                       [](const CaseRange& range, char32_t code) { return range.last < code; });
  if (row == ranges.end() || c < row->first || (c - row->first) % row->step != 0) {
    return false;
  }
  utf8_append(out, static_cast<char32_t>(static_cast<int64_t>(c) + row->delta));
  return true;
}

void append_lower(std::string& out, char32_t c) {
  if (!append_mapped(out, c, kLowerRanges, kLowerStrings)) {
    utf8_append(out, c);
  }
}

void append_upper(std::string& out, char32_t c) {
  if (!append_mapped(out, c, kUpperRanges, kUpperStrings)) {
    utf8_append(out, c);
  }
}

void append_title(std::string& out, char32_t c) {
  if (!append_mapped(out, c, kTitleRanges, kTitleStrings)) {
    append_upper(out, c);
  }
}

bool is_cased(char32_t c) {
  return (character_flags(c) & (kUpper | kLower | kTitle)) != 0;
}

// Marks and format characters between letters do not end a word. Python has a table of its own;
// these are the ones that occur beside Greek.
bool is_case_ignorable(char32_t c) {
  return c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xAD || c == 0xB7 ||
         c == 0x2019 || c == 0x2018 || (c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F);
}

/// Whether the sigma at `text[at, at + length)` ends a word.
bool is_final_sigma(std::string_view text, size_t at, size_t length) {
  int n = 0;
  bool before = false;
  for (size_t i = at; i > 0;) {
    do {
      --i;
    } while (i > 0 && (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80);
    const char32_t c = utf8_decode(text.substr(i), &n);
    if (!is_case_ignorable(c)) {
      before = is_cased(c);
      break;
    }
  }
  if (!before) {
    return false;
  }
  for (size_t i = at + length; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(text.substr(i), &n);
    if (!is_case_ignorable(c)) {
      return !is_cased(c);
    }
  }
  return true;
}

/// Calls `body(c, position, length)` for every character.
template <class Body>
void for_characters(std::string_view text, Body&& body) {
  int n = 0;
  for (size_t i = 0; i < text.size(); i += static_cast<size_t>(n)) {
    const char32_t c = utf8_decode(text.substr(i), &n);
    body(c, i, static_cast<size_t>(n));
  }
}

void append_lower_in(std::string& out, std::string_view text, char32_t c, size_t at, size_t n) {
  if (c == kCapitalSigma) {
    utf8_append(out, is_final_sigma(text, at, n) ? 0x3C2 : 0x3C3);
  } else {
    append_lower(out, c);
  }
}

}  // namespace

uint32_t character_flags(char32_t c) {
  const auto next = std::upper_bound(kCharacterFlags.begin(), kCharacterFlags.end(), c,
                                     [](char32_t code, uint32_t row) { return code < (row >> 8); });
  return *(next - 1) & 0xFF;
}

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text,
                 [&](char32_t c, size_t at, size_t n) { append_lower_in(out, text, c, at, n); });
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text, [&](char32_t c, size_t, size_t) { append_upper(out, c); });
  return out;
}

std::string to_title(std::string_view text) {
  std::string out;
  bool in_word = false;
  for_characters(text, [&](char32_t c, size_t at, size_t n) {
    if (in_word) {
      append_lower_in(out, text, c, at, n);
    } else {
      append_title(out, c);
    }
    in_word = is_cased(c);
  });
  return out;
}

std::string capitalize(std::string_view text) {
  std::string out;
  for_characters(text, [&](char32_t c, size_t at, size_t n) {
    if (at == 0) {
      append_title(out, c);
    } else {
      append_lower_in(out, text, c, at, n);
    }
  });
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for_characters(text, [&](char32_t c, size_t at, size_t n) {
    const uint32_t flags = character_flags(c);
    if ((flags & kUpper) != 0) {
      append_lower_in(out, text, c, at, n);
    } else if ((flags & kLower) != 0) {
      append_upper(out, c);
    } else {
      utf8_append(out, c);
    }
  });
  return out;
}

std::string case_fold(std::string_view text) {
  std::string out;
  for_characters(text, [&](char32_t c, size_t, size_t) {
    if (!append_mapped(out, c, kFoldRanges, kFoldStrings)) {
      append_lower(out, c);
    }
  });
  return out;
}

}  // namespace tessera::text::jinja
