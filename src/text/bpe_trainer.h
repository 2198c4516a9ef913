// Trains byte-level BPE vocabularies as huggingface/tokenizers 0.23 does (BpeTrainer with the
// ByteLevel pre-tokenizer), and writes them as the tokenizer files of a model folder.
//
//   BpeTrainer trainer;
//   for (const std::string& text : corpus) trainer.add(text);
//   const BpePieces pieces = trainer.train({.vocab_size = 1000});
//   write_tokenizer(folder, pieces, added_tokens);
#pragma once

#include "io/file.h"
#include "text/pretokenize.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::text {

struct BpeTrainerOptions {
  int64_t vocab_size = 1000;  // pieces in all: special tokens, 256 bytes and merges
  int64_t min_frequency = 2;  // a pair that is rarer is not merged
};

/// A trained vocabulary: `pieces` by id, spelled in the characters that stand for bytes, and the
/// merges in order of rank. The first pieces are `<unk>`, `<s>` and `</s>`.
struct BpePieces {
  std::vector<std::string> pieces;
  std::vector<std::pair<std::string, std::string>> merges;
};

class BpeTrainer {
 public:
  BpeTrainer();
  ~BpeTrainer();
  BpeTrainer(const BpeTrainer&) = delete;
  BpeTrainer& operator=(const BpeTrainer&) = delete;

  /// Counts the words of a text (any bytes; invalid UTF-8 is read as U+FFFD) `times` times.
  void add(std::string_view text, uint64_t times = 1);
  /// Different words counted so far.
  size_t words() const { return counts_.size(); }
  /// Merges the most frequent pair of pieces, of equally frequent ones that of the smallest ids,
  /// until the vocabulary is full or no pair is frequent enough. Throws InvalidArgument when
  /// vocab_size has no room for special tokens and bytes.
  BpePieces train(const BpeTrainerOptions& options) const;

 private:
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::map<std::string, uint64_t, std::less<>> counts_;
};

/// Writes tokenizer.json and tokenizer_config.json, which load_tokenizer and transformers'
/// AutoTokenizer read alike. `added` follow the pieces as plain added tokens with consecutive ids;
/// texts begin with `<s>`. Throws InvalidArgument for an added token that is empty, a piece
/// already, or given twice.
void write_tokenizer(const io::fs::path& folder,
                     const BpePieces& pieces,
                     std::span<const std::string> added);

}  // namespace tessera::text
