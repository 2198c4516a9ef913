// Sets of Unicode characters as sorted ranges, and their UTF-8 form.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::constrain {

inline constexpr char32_t kLastChar = 0x10FFFF;

/// A set of Unicode scalar values (surrogates are never members).
class CharSet {
 public:
  struct Range {
    char32_t first;
    char32_t last;  // inclusive
    bool operator==(const Range&) const = default;
  };

  CharSet() = default;
  /// One range; empty when `first` > `last`.
  CharSet(char32_t first, char32_t last) { add(first, last); }
  explicit CharSet(char32_t c) : CharSet(c, c) {}
  /// The union of any ranges, in one pass.
  explicit CharSet(std::span<const Range> ranges);
  static CharSet all() { return {0, kLastChar}; }

  void add(char32_t first, char32_t last);
  void add(const CharSet& other);
  CharSet complement() const;
  CharSet intersect(const CharSet& other) const;
  CharSet minus(const CharSet& other) const { return intersect(other.complement()); }

  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;
  /// Sorted, disjoint, not adjacent.
  std::span<const Range> ranges() const { return ranges_; }

 private:
  void append(char32_t first, char32_t last);
  void normalize();
  std::vector<Range> ranges_;
};

/// Strings of `size` bytes of which the i-th lies in [first[i], last[i]].
struct Utf8Range {
  int size = 0;
  std::array<uint8_t, 4> first{};
  std::array<uint8_t, 4> last{};
};

/// The UTF-8 forms of the set as products of byte ranges; disjoint.
std::vector<Utf8Range> utf8_ranges(const CharSet& set);

}  // namespace tessera::constrain
