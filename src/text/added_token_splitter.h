// Cuts text at added tokens as the trie of transformers' slow tokenizers does.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tessera::text {

class AddedTokenSplitter {
 public:
  /// Adds a token; an empty one is ignored.
  void add(std::string_view token);

  /// Parts of `text` in order, none empty: added tokens and the runs between them. An invalid byte
  /// counts as one character U+FFFD.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  struct Text;
  struct Match;
  struct State;

  /// The node after `character`; kRoot when no token goes on that way.
  uint32_t child(uint32_t node, char32_t character) const;
  Match resolve(const Text& text, const std::vector<State>& states, size_t which, size_t at) const;
  std::vector<Match> find(const Text& text) const;

  static constexpr uint32_t kRoot = 0;
  std::unordered_map<uint64_t, uint32_t> edges_;  // node << 32 | character
  std::vector<bool> ends_ = {false};              // a token ends at the node
};

}  // namespace tessera::text
