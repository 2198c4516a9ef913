// Added tokens of tokenizer.json: whole tokens that are cut out of the text before the model sees
// it.
#pragma once

#include "text/bpe.h"
#include "text/normalize.h"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tessera::text {

struct AddedToken {
  std::string content;
  bool single_word = false;  ///< only between characters that are not \w
  bool lstrip = false;       ///< takes white space on its left along
  bool rstrip = false;       ///< and on its right
  bool normalized = true;    ///< sought in the normalized text, in normalized form
  bool special = false;      ///< skipped by decode(skip_special)
  bool operator==(const AddedToken&) const = default;
};

/// Finds any of a set of byte strings: leftmost first, the longest at one position.
class TokenTrie {
 public:
  TokenTrie() : nodes_(1) {}
  void add(std::string_view text, int32_t id);
  bool empty() const { return nodes_.size() == 1; }
  /// False when no token begins with `byte`.
  bool may_start(char byte) const { return starts_[static_cast<unsigned char>(byte)]; }
  /// The longest token at the front of `text`; `*length` gets its bytes. -1 when there is none.
  int32_t match(std::string_view text, size_t* length) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, uint32_t>> next;  // sorted by byte
    int32_t id = -1;
  };
  std::vector<Node> nodes_;
  std::array<bool, 256> starts_{};
};

class AddedVocabulary {
 public:
  /// Adds tokens in order. A token that `model` or this already has keeps its id; others follow
  /// the largest id. A repeated token takes the new flags.
  void add(std::span<const AddedToken> tokens,
           const TokenModel& model,
           const Normalizer* normalizer);

  /// Special tokens are not cut out, so they are encoded as text.
  void set_encode_special_tokens(bool value) { encode_special_tokens_ = value; }

  std::optional<int32_t> id(std::string_view content) const;
  /// nullptr when `id` is no added token.
  const AddedToken* token(int32_t id) const;
  /// What decoders get for an added token: its normalized form, as it would be without cutting.
  const std::string* decode_form(int32_t id) const;
  bool is_special(std::string_view content) const { return special_.contains(content); }
  int32_t max_id() const { return by_id_.empty() ? -1 : by_id_.rbegin()->first; }

  /// Cuts `text` into added tokens and normalized runs, in order:
  /// `on_token(id)`, `on_run(run, at_start)`.
  void extract(std::string_view text,
               const Normalizer* normalizer,
               const std::function<void(int32_t)>& on_token,
               const std::function<void(std::string, bool)>& on_run) const;

 private:
  struct Entry {
    AddedToken token;
    std::string form;  // normalized content
  };
  struct Cut {
    size_t begin;
    size_t end;
    int32_t id;  // -1: a run between tokens
  };
  std::vector<Cut> cut(std::string_view text, const TokenTrie& trie) const;
  void rebuild();

  std::map<int32_t, Entry> by_id_;
  std::map<std::string, int32_t, std::less<>> ids_;
  std::set<std::string, std::less<>> special_;
  TokenTrie raw_;         // tokens with normalized = false
  TokenTrie normalized_;  // normalized forms of the others
  bool encode_special_tokens_ = false;
};

}  // namespace tessera::text
