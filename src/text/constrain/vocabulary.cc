// The trie comes from the sorted tokens: neighbours share their common prefix.
#include "text/constrain/vocabulary.h"

#include "core/error.h"

#include <algorithm>
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
