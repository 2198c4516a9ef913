// Lookup in a Darts-clone double array (github.com/s-yata/darts-clone). A unit holds a label (low
// byte; bit 31 set marks a value unit), a leaf bit (bit 8), and an offset (bits 10–31, scaled by
// 256 when bit 9 is set). A child's position is the parent's offset position XOR the byte. The
// array comes from a file, so every position is checked before it is read; a walk that leaves the
// array matches nothing.
#include "text/charsmap.h"

#include "core/error.h"

namespace tessera::text {
namespace {

constexpr uint32_t kLeafBit = 1U << 8;
constexpr uint32_t kValueMask = 0x7FFFFFFFU;
constexpr uint32_t kLabelMask = 0x800000FFU;

uint32_t unit_offset(uint32_t unit) {
  return (unit >> 10) << ((unit & 0x200U) >> 6);
}

uint32_t read_u32(std::string_view bytes, size_t position) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[position + i])) << (8 * i);
  }
  return value;
}

}  // namespace

Charsmap::Charsmap(std::string_view blob, std::string_view source) {
  const size_t trie_size = blob.size() > 4 ? read_u32(blob, 0) : 0;
  TESSERA_CHECK(trie_size > 0 && trie_size % 4 == 0 && trie_size < blob.size() - 4, CorruptFile,
                "{}: the character map has {} bytes and a trie of {}; expected a trie of whole "
                "4-byte units followed by strings, fetch the file again",
                source, blob.size(), trie_size);
  TESSERA_CHECK(blob.back() == '\0', CorruptFile,
                "{}: the last string of the character map has no end; expected a NUL byte, fetch "
                "the file again",
                source);
  units_.resize(trie_size / 4);
  for (size_t i = 0; i < units_.size(); ++i) {
    units_[i] = read_u32(blob, 4 + 4 * i);
  }
  replacements_ = blob.substr(4 + trie_size);
}

std::optional<Charsmap::Match> Charsmap::longest_match(std::string_view text) const {
  return match(text, false);
}

std::optional<Charsmap::Match> Charsmap::shortest_match(std::string_view text) const {
  return match(text, true);
}

std::optional<Charsmap::Match> Charsmap::match(std::string_view text, bool shortest) const {
  if (units_.empty()) {
    return std::nullopt;
  }
  std::optional<Match> found;
  uint32_t position = unit_offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    position ^= byte;
    if (position >= units_.size() || (units_[position] & kLabelMask) != byte) {
      break;
    }
    const uint32_t unit = units_[position];
    position ^= unit_offset(unit);
    if ((unit & kLeafBit) == 0) {
      continue;
    }
    const uint32_t value = position < units_.size() ? units_[position] & kValueMask : kValueMask;
    if (value >= replacements_.size()) {
      break;
    }
    found = Match{i + 1, std::string_view(replacements_.c_str() + value)};
    if (shortest) {
      break;
    }
  }
  return found;
}

}  // namespace tessera::text
