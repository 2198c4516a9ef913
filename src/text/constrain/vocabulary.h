// The tokens of a model as byte strings, in the order that makes masks fast.
#pragma once

#include "text/tokenizer.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::constrain {

/// Immutable; share one between all constraints of a model.
class Vocabulary {
 public:
  /// `tokens[id]`: the bytes that the token adds to the text; "" for ids that are no text (control
  /// tokens), which are never allowed. `end_ids`: the tokens that end a text; allowed when the
  /// grammar is complete, whatever their bytes. Throws InvalidArgument for an id out of range,
  /// Unsupported for a token of more than 65,535 bytes.
  Vocabulary(std::vector<std::string> tokens, std::vector<int32_t> end_ids);
  /// The bytes of every token of a tokenizer that is not special.
  static Vocabulary from_tokenizer(const text::Tokenizer& tokenizer, std::vector<int32_t> end_ids);

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  /// 32-bit words of a mask.
  size_t mask_words() const { return (tokens_.size() + 31) / 32; }
  std::string_view bytes(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  std::span<const int32_t> end_ids() const { return end_ids_; }
  bool is_end(int32_t id) const;
  /// Bytes of the longest token.
  size_t longest() const { return longest_; }

  /// The trie of all tokens as a list: a node comes before its children. Ids of a node's tokens are
  /// ids()[first_id .. first_id of the next node).
  struct Node {
    uint32_t skip;      // the node after this one's descendants
    uint32_t first_id;  // in ids()
    uint16_t depth;     // bytes from the root, >= 1
    uint8_t byte;
  };
  /// A last entry without meaning closes `first_id`.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> ids() const { return ids_; }
  /// For each node the classes (below 64) of the bytes of all its descendants, as bits.
  std::span<const uint64_t> classes_below() const { return classes_below_; }
  /// Letters and digits by kind, other ASCII characters and kinds of UTF-8 bytes one by one.
  static unsigned byte_class(uint8_t byte);

 private:
  std::vector<std::string> tokens_;
  std::vector<int32_t> end_ids_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
  std::vector<uint64_t> classes_below_;
  size_t longest_ = 0;
};

}  // namespace tessera::constrain
