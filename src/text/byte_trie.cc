// Nodes lie in breadth-first order, so that the children of a node are neighbours and their labels
// can be searched with memchr. Building needs no recursion: each node remembers the range of
// sorted keys below it. Memory is linear in the bytes of the keys.
#include "text/byte_trie.h"

#include <algorithm>
#include <cstring>

namespace tessera::text {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries) {
  std::sort(entries.begin(), entries.end());
  struct Range {
    size_t begin;
    size_t end;
    size_t depth;
  };
  nodes_.push_back({});
  labels_.push_back(0);
  std::vector<Range> ranges = {{0, entries.size(), 0}};  // ranges[i] belongs to nodes_[i]
  for (size_t node = 0; node < nodes_.size(); ++node) {
    auto [begin, end, depth] = ranges[node];
    if (begin < end && entries[begin].first.size() == depth) {
      nodes_[node].value = entries[begin++].second;
    }
    nodes_[node].first_child = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char label = entries[begin].first[depth];
      size_t stop = begin + 1;
      while (stop < end && entries[stop].first[depth] == label) {
        ++stop;
      }
      nodes_.push_back({});
      labels_.push_back(static_cast<unsigned char>(label));
      ranges.push_back({begin, stop, depth + 1});
      ++nodes_[node].children;
      begin = stop;
    }
  }
}

uint32_t ByteTrie::child(uint32_t node, char byte) const {
  const Node& from = nodes_[node];
  if (from.children == 0) {
    return kRoot;
  }
  const unsigned char* first = labels_.data() + from.first_child;
  const void* at = std::memchr(first, static_cast<unsigned char>(byte), from.children);
  return at == nullptr ? kRoot
                       : from.first_child +
                             static_cast<uint32_t>(static_cast<const unsigned char*>(at) - first);
}

size_t ByteTrie::longest_prefix(std::string_view text) const {
  if (empty()) {
    return 0;
  }
  size_t longest = 0;
  uint32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == kRoot) {
      break;
    }
    if (value(node) != kNone) {
      longest = i + 1;
    }
  }
  return longest;
}

}  // namespace tessera::text
