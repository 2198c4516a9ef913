// The segmentation algorithms of SentencePiece: unigram, BPE, words, characters.
#pragma once

#include "text/sentencepiece_model.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace tessera::text {

/// A part of the normalised text and its id. Parts lie side by side and cover the text.
struct PieceSpan {
  uint32_t begin;
  uint32_t size;  // bytes, at least 1
  int32_t id;     // the vocabulary's unk_id() for unknown text
};

class SentencePieceEncoder {
 public:
  virtual ~SentencePieceEncoder() = default;
  /// `normalized`: less than 2^31 bytes.
  virtual std::vector<PieceSpan> encode(std::string_view normalized) const = 0;
};

/// The encoder of the model's kind. Throws CorruptFile naming `source` when no piece can match.
std::unique_ptr<SentencePieceEncoder> make_sentencepiece_encoder(
    std::shared_ptr<const SentencePieceVocab> vocab, std::string_view source);

/// Bytes of the first character of non-empty `text` by its lead byte alone.
size_t sentencepiece_char_length(std::string_view text);

}  // namespace tessera::text
