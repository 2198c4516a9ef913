// A fixed set of byte strings with numbers, for "which of them begin here?" in one walk.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::text {

class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;
  static constexpr uint32_t kRoot = 0;

  ByteTrie() = default;
  /// `entries`: distinct non-empty keys with values >= 0, in any order.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  bool empty() const { return nodes_.size() <= 1; }
  /// The node after `byte`; kRoot when no key goes on that way.
  uint32_t child(uint32_t node, char byte) const;
  /// Value of the key that ends at `node`, else kNone.
  int32_t value(uint32_t node) const { return nodes_[node].value; }
  /// Bytes of the longest key that `text` begins with; 0 if none.
  size_t longest_prefix(std::string_view text) const;

 private:
  struct Node {
    uint32_t first_child = 0;
    uint32_t children = 0;
    int32_t value = kNone;
  };
  std::vector<Node> nodes_;
  std::vector<unsigned char> labels_;  // byte that leads to a node; siblings lie side by side
};

}  // namespace tessera::text
