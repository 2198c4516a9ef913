// The models of tokenizer.json: from one word to token ids. BPE is in bpe.cc, the others in
// word_models.cc.
#pragma once

#include "io/json.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera::text {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

/// Tokens with their ids, in both directions.
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;

  /// A later id for the same token wins. Throws CorruptFile for ids below 0 or above 2^30.
  void add(std::string token, int64_t id);
  std::optional<int32_t> id(std::string_view token) const;
  /// nullptr when no token has this id.
  const std::string* token(int32_t id) const;
  /// Number of distinct tokens.
  size_t size() const { return ids_.size(); }
  int32_t max_id() const { return max_id_; }
  /// Bytes of the longest token.
  size_t longest() const { return longest_; }

  /// Reads {token: id}; `what` names the object in errors.
  static Vocabulary from_json(const io::Json& json, std::string_view what);

 private:
  std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> ids_;
  std::unordered_map<int32_t, const std::string*> tokens_;
  int32_t max_id_ = -1;
  size_t longest_ = 0;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;

  /// Appends the ids of one word. Throws CorruptFile when the file's unknown token is needed and
  /// missing.
  virtual void encode(std::string_view word, std::vector<int32_t>& ids) const = 0;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit TokenModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  Vocabulary vocabulary_;
};

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
};

/// Byte pair encoding (Sennrich et al. 2016) by merge ranks: of all adjacent pairs the one with the
/// lowest rank is merged first, the leftmost on ties.
class BpeModel : public TokenModel {
 public:
  /// `merges` in order of rank. Throws CorruptFile when a part or a result is not in `vocabulary`.
  BpeModel(Vocabulary vocabulary,
           const std::vector<std::pair<std::string, std::string>>& merges,
           BpeOptions options);
  void encode(std::string_view word, std::vector<int32_t>& ids) const override;

 private:
  struct Merge {
    uint64_t pair = UINT64_MAX;  // ids, left in the high half; all ones: free slot
    uint32_t rank = 0;
    int32_t id = 0;
  };
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
  };

  const Merge* find(int32_t left, int32_t right) const;
  void insert(int32_t left, int32_t right, uint32_t rank, int32_t id);
  std::optional<int32_t> symbol_id(std::string_view text, bool first, bool last) const;
  void start_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  bool append_bytes(std::string_view text, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(std::vector<int32_t>& symbols) const;

  BpeOptions options_;
  std::vector<Merge> table_;  // open addressing, a power of two
  uint64_t mask_ = 0;
  std::vector<int32_t> character_ids_;  // id of each one-character token below U+0200, or -1
  std::vector<int32_t> byte_ids_;       // ids of <0x00> to <0xFF>, or -1
  std::optional<int32_t> unk_id_;
};

/// Builds the `model` object of a tokenizer.json. Throws Unsupported for an unknown type.
std::unique_ptr<TokenModel> make_model(const io::Json& json);

/// Reads `merges`: "a b" strings or [a, b] pairs.
std::vector<std::pair<std::string, std::string>> parse_merges(const io::Json& json);

/// WordPiece, WordLevel and Unigram.
std::unique_ptr<TokenModel> make_wordpiece(const io::Json& json);
std::unique_ptr<TokenModel> make_wordlevel(const io::Json& json);
std::unique_ptr<TokenModel> make_unigram(const io::Json& json);

}  // namespace tessera::text
