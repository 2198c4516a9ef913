// WordPiece (longest match first), WordLevel (whole words) and Unigram (Viterbi over pieces) as in
// huggingface/tokenizers 0.23. Scores of Unigram are doubles; of equal paths the one found first
// stays; adjacent unknown characters are one unknown token.
#include "core/error.h"
#include "core/strings.h"
#include "text/bpe.h"
#include "text/json_fields.h"

#include <algorithm>
#include <array>
#include <limits>

namespace tessera::text {
namespace {

constexpr double kUnknownPenalty = 10.0;

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

class WordPieceModel : public TokenModel {
 public:
  WordPieceModel(Vocabulary vocabulary, std::string unk, std::string prefix, size_t max_characters)
      : TokenModel(std::move(vocabulary)),
        unk_(std::move(unk)),
        prefix_(std::move(prefix)),
        max_characters_(max_characters) {}

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    const size_t before = ids.size();
    bool bad = count_characters(word) > max_characters_;
    for (size_t start = 0; start < word.size() && !bad;) {
      size_t end = std::min(word.size(), start + vocabulary_.longest());
      while (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) {
        ++end;
      }
      std::optional<int32_t> id;
      for (; end > start; end = previous(word, end)) {
        std::string piece = start > 0 ? prefix_ : std::string();
        piece += word.substr(start, end - start);
        id = vocabulary_.id(piece);
        if (id) {
          break;
        }
      }
      if (id) {
        ids.push_back(*id);
      }
      bad = !id;
      start = end;
    }
    if (bad) {
      ids.resize(before);
      const auto id = vocabulary_.id(unk_);
      TESSERA_CHECK(id, CorruptFile, "model WordPiece: unk_token '{}' is not in the vocabulary",
                    unk_);
      ids.push_back(*id);
    }
  }

 private:
  static size_t previous(std::string_view text, size_t end) {
    do {
      --end;
    } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
    return end;
  }

  std::string unk_;
  std::string prefix_;
  size_t max_characters_;
};

class WordLevelModel : public TokenModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unk)
      : TokenModel(std::move(vocabulary)), unk_(std::move(unk)) {}

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    auto id = vocabulary_.id(word);
    if (!id) {
      id = vocabulary_.id(unk_);
    }
    TESSERA_CHECK(id, CorruptFile, "model WordLevel: unk_token '{}' is not in the vocabulary",
                  unk_);
    ids.push_back(*id);
  }

 private:
  std::string unk_;
};

class UnigramModel : public TokenModel {
 public:
  UnigramModel(Vocabulary vocabulary,
               std::vector<double> scores,
               std::optional<int32_t> unk_id,
               bool byte_fallback)
      : TokenModel(std::move(vocabulary)),
        scores_(std::move(scores)),
        unk_id_(unk_id),
        byte_fallback_(byte_fallback) {
    const double lowest = scores_.empty() ? std::numeric_limits<double>::infinity()
                                          : *std::min_element(scores_.begin(), scores_.end());
    unk_score_ = lowest - kUnknownPenalty;
    children_.emplace_back();
    for (int32_t id = 0; id <= vocabulary_.max_id(); ++id) {
      if (const std::string* token = vocabulary_.token(id)) {
        add_to_trie(*token, vocabulary_.id(*token).value_or(id));
      }
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<size_t>(byte)] =
          vocabulary_.id(fmt::format("<0x{:02X}>", byte)).value_or(-1);
    }
  }

  void encode(std::string_view word, std::vector<int32_t>& ids) const override {
    const std::vector<Node> best = viterbi(word);
    std::vector<std::string_view> pieces;  // from the end
    bool previous_unknown = false;
    for (size_t end = word.size(); end > 0;) {
      const Node& node = best[end];
      const bool unknown = unk_id_ && node.id == *unk_id_;
      if (unknown && previous_unknown) {
        const std::string_view last = pieces.back();
        pieces.back() = word.substr(node.begin, end - node.begin + last.size());
      } else {
        pieces.push_back(word.substr(node.begin, end - node.begin));
      }
      previous_unknown = unknown;
      end = node.begin;
    }
    for (auto it = pieces.rbegin(); it != pieces.rend(); ++it) {
      append_piece(*it, ids);
    }
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  struct Node {
    size_t begin = kNone;
    double score = 0;
    int32_t id = 0;
  };
  struct TrieNode {
    std::vector<std::pair<unsigned char, uint32_t>> next;  // sorted by byte
    int32_t id = -1;
  };

  void add_to_trie(std::string_view token, int32_t id) {
    uint32_t at = 0;
    for (const char c : token) {
      const auto byte = static_cast<unsigned char>(c);
      auto& next = children_[at].next;
      auto it =
          std::lower_bound(next.begin(), next.end(), std::pair<unsigned char, uint32_t>(byte, 0));
      if (it == next.end() || it->first != byte) {
        const auto fresh = static_cast<uint32_t>(children_.size());
        next.insert(it, {byte, fresh});
        at = fresh;
        children_.emplace_back();
      } else {
        at = it->second;
      }
    }
    children_[at].id = id;
  }

  std::vector<Node> viterbi(std::string_view word) const {
    std::vector<Node> best(word.size() + 1);
    for (size_t begin = 0; begin < word.size();) {
      int length = 0;
      utf8_decode(word.substr(begin), &length);
      const size_t one = static_cast<size_t>(length);
      const double so_far = best[begin].score;
      const auto offer = [&](size_t end, double score, int32_t id) {
        Node& node = best[end];
        if (node.begin == kNone || score > node.score) {
          node = {begin, score, id};
        }
      };
      bool single = false;
      uint32_t at = 0;
      for (size_t end = begin; end < word.size();) {
        const auto byte = static_cast<unsigned char>(word[end]);
        const auto& next = children_[at].next;
        const auto it =
            std::lower_bound(next.begin(), next.end(), std::pair<unsigned char, uint32_t>(byte, 0));
        if (it == next.end() || it->first != byte) {
          break;
        }
        at = it->second;
        ++end;
        const int32_t id = children_[at].id;
        if (id >= 0) {
          offer(end, scores_[static_cast<size_t>(id)] + so_far, id);
          single = single || end - begin == one;
        }
      }
      if (!single) {
        TESSERA_CHECK(unk_id_, CorruptFile,
                      "model Unigram: '{}' is unknown and the file has no unk_id",
                      word.substr(begin, one));
        offer(begin + one, unk_score_ + so_far, *unk_id_);
      }
      begin += one;
    }
    return best;
  }

  void append_piece(std::string_view piece, std::vector<int32_t>& ids) const {
    if (const auto id = vocabulary_.id(piece)) {
      ids.push_back(*id);
      return;
    }
    const bool all_bytes =
        byte_fallback_ && std::all_of(piece.begin(), piece.end(), [this](char c) {
          return byte_ids_[static_cast<unsigned char>(c)] >= 0;
        });
    if (all_bytes) {
      for (const char c : piece) {
        ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
      }
    } else if (unk_id_) {
      ids.push_back(*unk_id_);
    }
  }

  std::vector<double> scores_;
  std::vector<TrieNode> children_;
  std::array<int32_t, 256> byte_ids_{};
  std::optional<int32_t> unk_id_;
  bool byte_fallback_;
  double unk_score_ = 0;
};

}  // namespace

std::unique_ptr<TokenModel> make_wordpiece(const io::Json& json) {
  constexpr std::string_view kWhat = "model WordPiece";
  const int64_t limit = int_field(json, "max_input_chars_per_word", kWhat, 100);
  TESSERA_CHECK(limit >= 0, CorruptFile, "{}: max_input_chars_per_word {}, expected 0 or more",
                kWhat, limit);
  return std::make_unique<WordPieceModel>(
      Vocabulary::from_json(member(json, "vocab"), "model WordPiece: vocab"),
      string_field(json, "unk_token", kWhat, "[UNK]"),
      string_field(json, "continuing_subword_prefix", kWhat, "##"), static_cast<size_t>(limit));
}

std::unique_ptr<TokenModel> make_wordlevel(const io::Json& json) {
  return std::make_unique<WordLevelModel>(
      Vocabulary::from_json(member(json, "vocab"), "model WordLevel: vocab"),
      string_field(json, "unk_token", "model WordLevel", "<unk>"));
}

std::unique_ptr<TokenModel> make_unigram(const io::Json& json) {
  constexpr std::string_view kWhat = "model Unigram";
  Vocabulary vocabulary;
  std::vector<double> scores;
  for (const io::Json& entry : list_field(json, "vocab", kWhat)) {
    TESSERA_CHECK(
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
        CorruptFile, "{}: vocab entry {} is not [piece, score]", kWhat, scores.size());
    vocabulary.add(entry[0].get<std::string>(), static_cast<int64_t>(scores.size()));
    scores.push_back(entry[1].get<double>());
  }
  std::optional<int32_t> unk_id;
  if (!member(json, "unk_id").is_null()) {
    const int64_t id = int_field(json, "unk_id", kWhat, 0);
    TESSERA_CHECK(id >= 0 && id < static_cast<int64_t>(scores.size()), CorruptFile,
                  "{}: unk_id {} is outside the vocabulary of {}", kWhat, id, scores.size());
    unk_id = static_cast<int32_t>(id);
  }
  return std::make_unique<UnigramModel>(std::move(vocabulary), std::move(scores), unk_id,
                                        bool_field(json, "byte_fallback", kWhat, false));
}

}  // namespace tessera::text
