#include "text/recognition.h"

#include "core/strings.h"

#include <algorithm>

namespace tessera::text {
namespace {

constexpr int64_t kSpace = 1;
constexpr int64_t kApostrophe = 2;
constexpr int64_t kFirstLetter = 3;

// Levenshtein distance with one row of memory.
template <class Sequence>
int64_t distance(const Sequence& a, const Sequence& b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = static_cast<int64_t>(j);
  }
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::vector<std::string> words_of(std::string_view normalized) {
  return normalized.empty() ? std::vector<std::string>() : split(normalized, ' ');
}

}  // namespace

std::string normalize_spoken(std::string_view text) {
  constexpr std::string_view kTypographic = "\u2019";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (text.substr(i, kTypographic.size()) == kTypographic) {
      c = '\'';
      i += kTypographic.size() - 1;
    } else if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
    if ((c >= 'a' && c <= 'z') || c == '\'') {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') {
    out.pop_back();
  }
  return out;
}

std::vector<int64_t> spoken_symbols(std::string_view text) {
  std::vector<int64_t> symbols;
  for (const char c : normalize_spoken(text)) {
    symbols.push_back(c == ' ' ? kSpace : c == '\'' ? kApostrophe : kFirstLetter + (c - 'a'));
  }
  return symbols;
}

std::string spoken_text(std::span<const int64_t> path) {
  std::string out;
  int64_t before = 0;
  for (const int64_t symbol : path) {
    if (symbol != before && symbol > 0 && symbol < kSpokenSymbols) {
      out += symbol == kSpace        ? ' '
             : symbol == kApostrophe ? '\''
                                     : static_cast<char>('a' + (symbol - kFirstLetter));
    }
    before = symbol;
  }
  return normalize_spoken(out);
}

ErrorCount& ErrorCount::operator+=(const ErrorCount& other) {
  errors += other.errors;
  total += other.total;
  return *this;
}

ErrorCount word_errors(std::string_view reference, std::string_view hypothesis) {
  const std::vector<std::string> expected = words_of(normalize_spoken(reference));
  const std::vector<std::string> found = words_of(normalize_spoken(hypothesis));
  return {distance(expected, found), static_cast<int64_t>(expected.size())};
}

ErrorCount character_errors(std::string_view reference, std::string_view hypothesis) {
  const std::string expected = normalize_spoken(reference);
  return {distance(expected, normalize_spoken(hypothesis)), static_cast<int64_t>(expected.size())};
}

}  // namespace tessera::text
