// Precompiled character maps ("precompiled_charsmap"): the text normalisation tables inside
// SentencePiece models and the Precompiled normaliser of tokenizer.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

/// Replacement rules "prefix → text", looked up in a Darts double array. Default-constructed: no
/// rules.
class Charsmap {
 public:
  struct Match {
    size_t length;                 ///< bytes of the input that are replaced, at least 1
    std::string_view replacement;  ///< lives as long as the Charsmap
  };

  Charsmap() = default;
  /// `blob`: u32 size of the trie in bytes, the trie (u32 units), then strings that each end in
  /// NUL; little-endian. Throws CorruptFile naming `source`.
  Charsmap(std::string_view blob, std::string_view source);

  bool empty() const { return units_.empty(); }
  /// The rule with the longest prefix of `text` (SentencePiece).
  std::optional<Match> longest_match(std::string_view text) const;
  /// The rule with the shortest prefix of `text` (huggingface/tokenizers).
  std::optional<Match> shortest_match(std::string_view text) const;

 private:
  std::optional<Match> match(std::string_view text, bool shortest) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace tessera::text
