// The order in which token documents are trained on: shuffled by seed every epoch and packed into
// sequences of one length, without mixing documents. Everything is a function of (files, options,
// seed, position), so that a run resumes at any position with any number of threads.
//
// A document of n tokens makes n − 1 training positions (each token predicts the next one); shorter
// than 2 it is left out. One with more positions than a sequence holds is treated as
// `long_documents` says:
//   split     cut into pieces; neighbours share one token, so that every prediction is made once
//   truncate  its first sequence + 1 tokens are kept
//   drop      left out
// Packing: the shuffled pieces are taken in windows of `window`; in each, the longest first, a
// piece goes into the first sequence that has room for it (first-fit decreasing). The sequences of
// an epoch are then shuffled. Room left at a sequence's end is padding of weight 0.
#pragma once

#include "train/data/token_file.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace tessera::train {

enum class LongDocuments { kSplit, kTruncate, kDrop };

/// One source of documents; an epoch holds each document `repeat` times (a fraction: a share of
/// them, another one each epoch).
struct TokenSource {
  std::shared_ptr<const TokenFile> file;
  double repeat = 1.0;
};

struct PackingOptions {
  int64_t sequence = 2048;     // training positions of a sequence
  int64_t max_documents = 64;  // most pieces in a sequence
  int64_t window = 4096;       // pieces packed together
  LongDocuments long_documents = LongDocuments::kSplit;
  uint64_t seed = 0;
};

/// A stretch of a document: `length` + 1 tokens from `from`, making `length` positions.
struct Piece {
  uint32_t source = 0;
  uint64_t document = 0;
  uint64_t from = 0;
  int64_t length = 0;
};

/// The endless list of packed sequences. Thread-safe.
class PackedDocuments {
 public:
  /// Throws InvalidArgument when no document is left to train on.
  PackedDocuments(std::vector<TokenSource> sources, const PackingOptions& options);

  /// Pieces of sequence `index` ≥ 0, in their order.
  std::vector<Piece> sequence(int64_t index) const;
  /// Epoch that sequence `index` belongs to, and its place there.
  std::pair<int64_t, int64_t> position(int64_t index) const;
  /// Sequences of an epoch.
  int64_t epoch_size(int64_t epoch) const;

  const std::vector<TokenSource>& sources() const { return sources_; }
  const PackingOptions& options() const { return options_; }

  /// Where epochs start, so that a resumed run need not plan those that are over.
  io::Json state() const;
  void load_state(const io::Json& state);

 private:
  struct Epoch {
    std::vector<Piece> pieces;
    std::vector<uint64_t> starts;  // first piece of each sequence, then the number of pieces
    int64_t count() const { return static_cast<int64_t>(starts.size()) - 1; }
  };
  std::shared_ptr<const Epoch> plan(int64_t epoch) const;
  std::vector<Piece> collect(int64_t epoch) const;
  std::shared_ptr<const Epoch> epoch_locked(int64_t epoch) const;
  std::pair<int64_t, int64_t> position_locked(int64_t index) const;

  std::vector<TokenSource> sources_;
  PackingOptions options_;
  mutable std::mutex mutex_;
  mutable std::map<int64_t, int64_t> first_;  // epoch -> index of its first sequence
  mutable std::map<int64_t, std::shared_ptr<const Epoch>> plans_;  // the last two used
};

}  // namespace tessera::train
