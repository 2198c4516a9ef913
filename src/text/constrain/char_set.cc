// Character sets and the split of code point ranges into products of UTF-8 byte ranges: cut a range
// where the encoded length changes, then where the leading bytes differ but the trailing ones do
// not run over all continuation bytes.
#include "text/constrain/char_set.h"

#include <algorithm>

namespace tessera::constrain {
namespace {

constexpr char32_t kFirstSurrogate = 0xD800;
constexpr char32_t kLastSurrogate = 0xDFFF;
constexpr std::array<char32_t, 4> kLastOfLength = {0x7F, 0x7FF, 0xFFFF, kLastChar};

int encode(char32_t c, std::array<uint8_t, 4>& out) {
  if (c < 0x80) {
    out[0] = static_cast<uint8_t>(c);
    return 1;
  }
  const int size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (int i = size - 1; i > 0; --i) {
    out[static_cast<size_t>(i)] = static_cast<uint8_t>(0x80 | (c & 0x3F));
    c >>= 6;
  }
  constexpr std::array<uint8_t, 5> kLead = {0, 0, 0xC0, 0xE0, 0xF0};
  out[0] = static_cast<uint8_t>(kLead[static_cast<size_t>(size)] | c);
  return size;
}

void split(char32_t first, char32_t last, std::vector<Utf8Range>& out) {
  for (const char32_t end : kLastOfLength) {
    if (first <= end && end < last) {
      split(first, end, out);
      split(end + 1, last, out);
      return;
    }
  }
  for (int bits = 6; last >= 0x80 && bits <= 18; bits += 6) {
    const char32_t low = (char32_t{1} << bits) - 1;
    if ((first & ~low) == (last & ~low)) {
      break;
    }
    if ((first & low) != 0) {
      split(first, first | low, out);
      split((first | low) + 1, last, out);
      return;
    }
    if ((last & low) != low) {
      split(first, (last & ~low) - 1, out);
      split(last & ~low, last, out);
      return;
    }
  }
  Utf8Range range;
  range.size = encode(first, range.first);
  encode(last, range.last);
  out.push_back(range);
}

}  // namespace

CharSet::CharSet(std::span<const Range> ranges) {
  for (const Range& range : ranges) {
    append(range.first, range.last);
  }
  normalize();
}

void CharSet::add(char32_t first, char32_t last) {
  append(first, last);
  normalize();
}

void CharSet::append(char32_t first, char32_t last) {
  last = std::min(last, kLastChar);
  const auto push = [&](char32_t a, char32_t b) {
    if (a <= b) {
      ranges_.push_back({a, b});
    }
  };
  if (last < kFirstSurrogate || first > kLastSurrogate) {
    push(first, last);
  } else {
    push(first, std::min<char32_t>(last, kFirstSurrogate - 1));
    push(std::max<char32_t>(first, kLastSurrogate + 1), last);
  }
}

void CharSet::add(const CharSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  normalize();
}

void CharSet::normalize() {
  const auto by_first = [](const Range& a, const Range& b) { return a.first < b.first; };
  if (!std::is_sorted(ranges_.begin(), ranges_.end(), by_first)) {
    std::sort(ranges_.begin(), ranges_.end(), by_first);
  }
  size_t kept = 0;
  for (const Range& range : ranges_) {
    if (kept > 0 && range.first <= ranges_[kept - 1].last + 1) {
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
}

CharSet CharSet::complement() const {
  CharSet out;
  char32_t next = 0;
  const auto gap = [&](char32_t end) {  // [next, end)
    if (next < end) {
      out.ranges_.push_back({next, end - 1});
    }
  };
  CharSet with_surrogates = *this;
  with_surrogates.ranges_.push_back({kFirstSurrogate, kLastSurrogate});
  with_surrogates.normalize();
  for (const Range& range : with_surrogates.ranges_) {
    gap(range.first);
    next = range.last + 1;
  }
  gap(kLastChar + 1);
  return out;
}

CharSet CharSet::intersect(const CharSet& other) const {
  CharSet out;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const char32_t first = std::max(a->first, b->first);
    const char32_t last = std::min(a->last, b->last);
    if (first <= last) {
      out.ranges_.push_back({first, last});
    }
    if (a->last < b->last) {
      ++a;
    } else {
      ++b;
    }
  }
  return out;
}

bool CharSet::contains(char32_t c) const {
  const auto it = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                   [](char32_t x, const Range& range) { return x < range.first; });
  return it != ranges_.begin() && c <= std::prev(it)->last;
}

std::vector<Utf8Range> utf8_ranges(const CharSet& set) {
  std::vector<Utf8Range> out;
  for (const CharSet::Range& range : set.ranges()) {
    split(range.first, range.last, out);
  }
  return out;
}

}  // namespace tessera::constrain
