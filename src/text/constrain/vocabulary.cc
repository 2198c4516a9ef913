// The trie comes from the sorted tokens: neighbours share their common prefix.
#include "text/constrain/vocabulary.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <utility>

namespace tessera::constrain {

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::vector<int32_t> end_ids)
    : tokens_(std::move(tokens)), end_ids_(std::move(end_ids)) {
  std::sort(end_ids_.begin(), end_ids_.end());
  for (const int32_t id : end_ids_) {
    TESSERA_CHECK(id >= 0 && id < size(), InvalidArgument,
                  "end token {} is not in the vocabulary of {} tokens", id, size());
    tokens_[static_cast<size_t>(id)].clear();
  }
  std::vector<int32_t> order(tokens_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return bytes(a) < bytes(b); });
  std::vector<uint32_t> path;  // nodes of the last token's bytes
  std::string_view last;
  for (const int32_t id : order) {
    const std::string_view token = bytes(id);
    if (token.empty()) {
      continue;
    }
    TESSERA_CHECK(token.size() <= std::numeric_limits<uint16_t>::max(), Unsupported,
                  "token {} has {} bytes, more than 65,535", id, token.size());
    longest_ = std::max(longest_, token.size());
    const auto shared = static_cast<size_t>(
        std::mismatch(last.begin(), last.end(), token.begin(), token.end()).first - last.begin());
    for (size_t i = shared; i < path.size(); ++i) {
      nodes_[path[i]].skip = static_cast<uint32_t>(nodes_.size());
    }
    path.resize(shared);
    for (size_t i = shared; i < token.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, static_cast<uint32_t>(ids_.size()), static_cast<uint16_t>(i + 1),
                        static_cast<uint8_t>(token[i])});
    }
    ids_.push_back(id);
    last = token;
  }
  for (const uint32_t node : path) {
    nodes_[node].skip = static_cast<uint32_t>(nodes_.size());
  }
  nodes_.push_back({0, static_cast<uint32_t>(ids_.size()), 0, 0});
  // Children come after their parent: from the back, `below` of each depth collects what is below.
  classes_below_.assign(nodes_.size(), 0);
  std::vector<uint64_t> below(longest_ + 2, 0);
  for (size_t i = nodes_.size() - 1; i-- > 0;) {
    const size_t depth = nodes_[i].depth;
    classes_below_[i] = std::exchange(below[depth + 1], 0);
    below[depth] |= classes_below_[i] | uint64_t{1} << byte_class(nodes_[i].byte);
  }
}

unsigned Vocabulary::byte_class(uint8_t byte) {
  static const std::array<uint8_t, 256> kClasses = [] {
    std::array<uint8_t, 256> classes{};
    uint8_t next = 0;
    const auto assign = [&](int first, int last) {
      for (int b = first; b <= last; ++b) {
        classes[static_cast<size_t>(b)] = next;
      }
      ++next;
    };
    for (const auto& [first, last] : std::initializer_list<std::pair<int, int>>{{0, 0x1F},
                                                                                {'0', '9'},
                                                                                {'A', 'F'},
                                                                                {'G', 'Z'},
                                                                                {'a', 'f'},
                                                                                {'g', 'z'},
                                                                                {0x80, 0xBF},
                                                                                {0xC0, 0xDF},
                                                                                {0xE0, 0xEF},
                                                                                {0xF0, 0xFF}}) {
      assign(first, last);
    }
    for (int b = 0x20; b <= 0x7F; ++b) {
      const bool alphanumeric =
          (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
      if (!alphanumeric) {
        assign(b, b);
      }
    }
    for (const int b : {'\t', '\n', '\r'}) {
      assign(b, b);
    }
    return classes;
  }();
  return kClasses[byte];
}

Vocabulary Vocabulary::from_tokenizer(const text::Tokenizer& tokenizer,
                                      std::vector<int32_t> end_ids) {
  std::vector<std::string> tokens(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) {
      tokens[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
    }
  }
  return {std::move(tokens), std::move(end_ids)};
}

bool Vocabulary::is_end(int32_t id) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), id);
}

}  // namespace tessera::constrain
