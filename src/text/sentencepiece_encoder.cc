// Unigram: Viterbi from the left over byte positions, in float; of equal paths the one that began
// earlier stays. BPE: the adjacent pair whose joined text has the highest score merges first, the
// leftmost on ties; "unused" results are taken apart again. Words and characters are cut by rule.
// The order of float operations follows sentencepiece 0.2.3 (which differs from 0.2.0 in the score
// of user-defined pieces and in how sums of very long texts are kept small).
#include "text/sentencepiece_encoder.h"

#include "core/error.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <queue>
#include <unordered_map>

namespace tessera::text {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";

class UnigramEncoder : public SentencePieceEncoder {
 public:
  UnigramEncoder(std::shared_ptr<const SentencePieceVocab> vocab, std::string_view source)
      : vocab_(std::move(vocab)) {
    std::vector<std::pair<std::string_view, int32_t>> entries;
    float min_score = std::numeric_limits<float>::max();
    scores_.resize(static_cast<size_t>(vocab_->size()));
    for (int32_t id = 0; id < vocab_->size(); ++id) {
      const auto& piece = vocab_->piece(id);
      float& score = scores_[static_cast<size_t>(id)];
      score = piece.score;
      if (piece.type == PieceType::kNormal) {
        min_score = std::min(min_score, piece.score);
      } else if (piece.type == PieceType::kUserDefined) {
        score = static_cast<float>(kUserDefinedBonus * (static_cast<int>(piece.text.size()) - 1));
      } else if (piece.type != PieceType::kUnused) {
        continue;
      }
      if (piece.type != PieceType::kUnused) {
        entries.emplace_back(piece.text, id);
      }
    }
    TESSERA_CHECK(!entries.empty(), CorruptFile,
                  "{}: no piece can match text; expected a trained vocabulary, convert the model "
                  "again",
                  source);
    unk_score_ = min_score - kUnkPenalty;
    trie_ = ByteTrie(std::move(entries));
  }

  std::vector<PieceSpan> encode(std::string_view normalized) const override;

 private:
  /// The best path that ends at a byte position.
  struct Best {
    float score = 0.0F;
    int32_t begin = -1;  // of its last piece; -1: not reached
    int32_t id = -1;

    void offer(float other, size_t from, int32_t piece) {
      if (begin == -1 || other > score) {
        *this = {other, static_cast<int32_t>(from), piece};
      }
    }
  };

  static constexpr float kUnkPenalty = 10.0F;
  static constexpr double kUserDefinedBonus = 0.1;  // a byte, so that the longest one wins
  static constexpr float kRebase = 100000.0F;

  static void rebase(std::vector<Best>& best, size_t begin, size_t frontier);

  std::shared_ptr<const SentencePieceVocab> vocab_;
  std::vector<float> scores_;
  float unk_score_ = 0.0F;
  ByteTrie trie_;
};

/// Subtracts the score at `begin` from all open paths: keeps float sums exact in long texts.
void UnigramEncoder::rebase(std::vector<Best>& best, size_t begin, size_t frontier) {
  const float offset = best[begin].score;
  for (size_t i = begin; i <= frontier; ++i) {
    if (i == begin || best[i].begin != -1) {
      best[i].score -= offset;
    }
  }
}

std::vector<PieceSpan> UnigramEncoder::encode(std::string_view normalized) const {
  const size_t size = normalized.size();
  std::vector<Best> best(size + 1);
  size_t frontier = 0;
  for (size_t begin = 0; begin < size;) {
    if (best[begin].score < -kRebase || best[begin].score > kRebase) {
      rebase(best, begin, frontier);
      best[begin].score = 0.0F;
    }
    const float before = best[begin].score;
    const size_t character = sentencepiece_char_length(normalized.substr(begin));
    bool covered = false;
    uint32_t node = ByteTrie::kRoot;
    for (size_t end = begin; end < size;) {
      node = trie_.child(node, normalized[end++]);
      if (node == ByteTrie::kRoot) {
        break;
      }
      const int32_t id = trie_.value(node);
      if (id == ByteTrie::kNone) {
        continue;
      }
      frontier = std::max(frontier, end);
      best[end].offer(scores_[static_cast<size_t>(id)] + before, begin, id);
      covered = covered || end - begin == character;
    }
    if (!covered) {
      frontier = std::max(frontier, begin + character);
      best[begin + character].offer(unk_score_ + before, begin, vocab_->unk_id());
    }
    begin += character;
  }
  std::vector<PieceSpan> pieces;
  for (size_t end = size; end > 0;) {
    const auto begin = static_cast<size_t>(best[end].begin);
    pieces.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin), best[end].id});
    end = begin;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

/// The state of one encode call.
class BpeRun {
 public:
  BpeRun(const SentencePieceVocab& vocab, std::string_view text) : vocab_(vocab), text_(text) {}

  std::vector<PieceSpan> encode() {
    split();
    for (size_t i = 1; i < symbols_.size(); ++i) {
      push(static_cast<int32_t>(i - 1), static_cast<int32_t>(i));
    }
    while (!queue_.empty()) {
      const Pair pair = queue_.top();
      queue_.pop();
      merge(pair);
    }
    std::vector<PieceSpan> pieces;
    for (int32_t i = symbols_.empty() ? -1 : 0; i != -1; i = symbol(i).next) {
      emit(symbol(i).begin, symbol(i).size, 0, pieces);
    }
    return pieces;
  }

 private:
  struct Symbol {
    uint32_t begin;
    uint32_t size;  // 0: merged into the symbol to its left
    int32_t previous;
    int32_t next;
    bool frozen;  // user-defined pieces never merge
  };
  struct Pair {
    int32_t rank;  // orders as the score does
    int32_t left;
    int32_t right;
    uint32_t size;

    bool operator<(const Pair& other) const {
      return rank < other.rank || (rank == other.rank && left > other.left);
    }
  };

  static constexpr int kMaxDepth = 100;  // of taking unused pieces apart, as in sentencepiece

  /// A total order of floats as integers (NaN included), equal to < on ordinary ones.
  static int32_t score_rank(float score) {
    const auto bits = std::bit_cast<int32_t>(score);
    return bits < 0 ? bits ^ std::numeric_limits<int32_t>::max() : bits;
  }

  Symbol& symbol(int32_t index) { return symbols_[static_cast<size_t>(index)]; }
  bool known(int32_t id) const { return id != vocab_.unk_id(); }

  void split() {
    const std::string_view text = text_;
    for (size_t begin = 0; begin < text.size();) {
      const std::string_view rest = text.substr(begin);
      const size_t fixed = vocab_.user_defined().longest_prefix(rest);
      const size_t size = fixed > 0 ? fixed : sentencepiece_char_length(rest);
      const auto index = static_cast<int32_t>(symbols_.size());
      symbols_.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(size), index - 1,
                          begin + size < text.size() ? index + 1 : -1, fixed > 0});
      begin += size;
    }
  }

  void push(int32_t left, int32_t right) {
    if (left == -1 || right == -1 || symbol(left).frozen || symbol(right).frozen) {
      return;
    }
    const uint32_t left_size = symbol(left).size;
    const uint32_t size = left_size + symbol(right).size;
    const std::string_view joined = text_.substr(symbol(left).begin, size);
    const int32_t id = vocab_.match(joined);
    if (!known(id)) {
      return;
    }
    queue_.push({score_rank(vocab_.piece(id).score), left, right, size});
    if (vocab_.has_type(id, PieceType::kUnused)) {
      left_sizes_[joined] = left_size;
    }
  }

  void merge(const Pair& pair) {
    Symbol& left = symbol(pair.left);
    Symbol& right = symbol(pair.right);
    if (left.size == 0 || right.size == 0 || left.size + right.size != pair.size) {
      return;  // one of them has merged elsewhere since
    }
    left.size = pair.size;
    left.next = right.next;
    if (right.next != -1) {
      symbol(right.next).previous = pair.left;
    }
    right.size = 0;
    push(left.previous, pair.left);
    push(pair.left, left.next);
  }

  void emit(uint32_t begin, uint32_t size, int depth, std::vector<PieceSpan>& pieces) const {
    const std::string_view text = text_.substr(begin, size);
    const int32_t id = vocab_.match(text);
    if (!known(id) || !vocab_.has_type(id, PieceType::kUnused) || depth > kMaxDepth) {
      pieces.push_back({begin, size, id});
      return;
    }
    const auto it = left_sizes_.find(text);
    if (it == left_sizes_.end()) {
      pieces.push_back({begin, size, vocab_.unk_id()});
      return;
    }
    emit(begin, it->second, depth + 1, pieces);
    emit(begin + it->second, size - it->second, depth + 1, pieces);
  }

  const SentencePieceVocab& vocab_;
  std::string_view text_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> queue_;
  /// Where the latest merge into an unused piece came from: bytes of its left part.
  std::unordered_map<std::string_view, uint32_t> left_sizes_;
};

class BpeEncoder : public SentencePieceEncoder {
 public:
  explicit BpeEncoder(std::shared_ptr<const SentencePieceVocab> vocab) : vocab_(std::move(vocab)) {}

  std::vector<PieceSpan> encode(std::string_view normalized) const override {
    return BpeRun(*vocab_, normalized).encode();
  }

 private:
  std::shared_ptr<const SentencePieceVocab> vocab_;
};

/// Words begin at each ▁; characters are single, or user-defined pieces.
class RuleEncoder : public SentencePieceEncoder {
 public:
  explicit RuleEncoder(std::shared_ptr<const SentencePieceVocab> vocab)
      : vocab_(std::move(vocab)) {}

  std::vector<PieceSpan> encode(std::string_view normalized) const override {
    std::vector<PieceSpan> pieces;
    for (size_t begin = 0; begin < normalized.size();) {
      const std::string_view rest = normalized.substr(begin);
      const size_t size = vocab_->spec().kind == SentencePieceKind::kWord ? word_length(rest)
                                                                          : character_length(rest);
      int32_t id = vocab_->match(rest.substr(0, size));
      if (vocab_->has_type(id, PieceType::kUnused)) {
        id = vocab_->unk_id();
      }
      pieces.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(size), id});
      begin += size;
    }
    return pieces;
  }

 private:
  static size_t word_length(std::string_view text) {
    const size_t next = text.find(kSpaceSymbol, sentencepiece_char_length(text));
    return next == std::string_view::npos ? text.size() : next;
  }

  size_t character_length(std::string_view text) const {
    const size_t fixed = vocab_->user_defined().longest_prefix(text);
    return fixed > 0 ? fixed : sentencepiece_char_length(text);
  }

  std::shared_ptr<const SentencePieceVocab> vocab_;
};

}  // namespace

size_t sentencepiece_char_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(length, text.size());
}

std::unique_ptr<SentencePieceEncoder> make_sentencepiece_encoder(
    std::shared_ptr<const SentencePieceVocab> vocab, std::string_view source) {
  switch (vocab->spec().kind) {
    case SentencePieceKind::kUnigram:
      return std::make_unique<UnigramEncoder>(std::move(vocab), source);
    case SentencePieceKind::kBpe:
      return std::make_unique<BpeEncoder>(std::move(vocab));
    case SentencePieceKind::kWord:
    case SentencePieceKind::kChar:
      return std::make_unique<RuleEncoder>(std::move(vocab));
  }
  throw Internal("a SentencePiece model of kind {}", static_cast<int>(vocab->spec().kind));
}

}  // namespace tessera::text
