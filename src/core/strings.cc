#include "core/strings.h"

#include <algorithm>
#include <numeric>

namespace tessera {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// Allowed range of the second byte for a lead byte (Unicode 15, table 3-7); lead bytes that start
// nothing give 0 bytes.
struct Lead {
  int length;
  unsigned char low;
  unsigned char high;
};

Lead lead_of(unsigned char c) {
  if (c < 0x80) {
    return {1, 0, 0};
  }
  if (c >= 0xC2 && c <= 0xDF) {
    return {2, 0x80, 0xBF};
  }
  if (c == 0xE0) {
    return {3, 0xA0, 0xBF};
  }
  if (c == 0xED) {
    return {3, 0x80, 0x9F};
  }
  if (c >= 0xE1 && c <= 0xEF) {
    return {3, 0x80, 0xBF};
  }
  if (c == 0xF0) {
    return {4, 0x90, 0xBF};
  }
  if (c >= 0xF1 && c <= 0xF3) {
    return {4, 0x80, 0xBF};
  }
  if (c == 0xF4) {
    return {4, 0x80, 0x8F};
  }
  return {0, 0, 0};
}

// Bytes of the longest prefix of a character that is still well-formed; equals lead.length when
// whole.
int valid_prefix(std::string_view text, const Lead& lead) {
  int have = 1;
  while (have < lead.length && have < static_cast<int>(text.size())) {
    const auto c = static_cast<unsigned char>(text[static_cast<size_t>(have)]);
    const unsigned char low = have == 1 ? lead.low : 0x80;
    const unsigned char high = have == 1 ? lead.high : 0xBF;
    if (c < low || c > high) {
      break;
    }
    ++have;
  }
  return have;
}

}  // namespace

std::optional<std::string> closest_match(std::string_view word,
                                         std::span<const std::string> candidates) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (true) {
    const size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) {
      return parts;
    }
    start = end + 1;
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) {
      out += separator;
    }
    out += parts[i];
  }
  return out;
}

int utf8_length(std::string_view text) {
  if (text.empty()) {
    return 0;
  }
  const Lead lead = lead_of(static_cast<unsigned char>(text[0]));
  return lead.length > 0 && valid_prefix(text, lead) == lead.length ? lead.length : 0;
}

char32_t utf8_decode(std::string_view text, int* length) {
  const int n = utf8_length(text);
  if (n == 0) {
    *length = 1;
    return 0xFFFD;
  }
  *length = n;
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
  };
  switch (n) {
    case 1:
      return byte(0);
    case 2:
      return ((byte(0) & 0x1F) << 6) | (byte(1) & 0x3F);
    case 3:
      return ((byte(0) & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F);
    default:
      return ((byte(0) & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) |
             (byte(3) & 0x3F);
  }
}

void utf8_append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string utf8_lossy(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Lead lead = lead_of(static_cast<unsigned char>(bytes[0]));
    const int prefix = lead.length == 0 ? 1 : valid_prefix(bytes, lead);
    if (lead.length > 0 && prefix == lead.length) {
      out += bytes.substr(0, static_cast<size_t>(prefix));
    } else {
      out += "\xEF\xBF\xBD";
    }
    bytes.remove_prefix(static_cast<size_t>(prefix));
  }
  return out;
}

}  // namespace tessera
