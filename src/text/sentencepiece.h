// SentencePiece models: text to ids and back as the sentencepiece package does it (0.2.3), without
// the rules that tokenizer classes put around it (slow_llama.h has those).
#pragma once

#include "io/file.h"
#include "text/sentencepiece_encoder.h"
#include "text/sentencepiece_model.h"
#include "text/sentencepiece_normalizer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

///   const SentencePiece model = SentencePiece::load("chn_jpn_yue_eng_ko_spectok.bpe.model");
///   const std::vector<int32_t> ids = model.encode("hello");
///   const std::string text = model.decode(ids);
class SentencePiece {
 public:
  struct Options {
    /// Overrides the model's own setting.
    std::optional<bool> add_dummy_prefix;
  };

  /// One piece of encoded text: `text` is its spelling, for unknown pieces the text itself.
  struct Piece {
    std::string text;
    int32_t id;
  };

  /// Reads a model file. Throws NotFound, or CorruptFile naming the file.
  static SentencePiece load(const io::fs::path& path, const Options& options);
  static SentencePiece load(const io::fs::path& path) { return load(path, {}); }
  /// The same from memory; `source` names it in errors.
  static SentencePiece parse(std::string_view bytes,
                             std::string_view source,
                             const Options& options);
  static SentencePiece parse(std::string_view bytes, std::string_view source) {
    return parse(bytes, source, {});
  }

  /// From pieces that come from elsewhere.
  static SentencePiece from_spec(SentencePieceSpec spec, std::string_view source) {
    return SentencePiece(std::move(spec), source);
  }

  /// Ids of any bytes (invalid ones are read as U+FFFD), without BOS and EOS.
  std::vector<int32_t> encode(std::string_view text) const;
  std::vector<Piece> encode_pieces(std::string_view text) const;

  /// Text of ids: control pieces vanish, broken byte sequences become U+FFFD, the dummy prefix is
  /// dropped. Throws InvalidArgument for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids) const;
  /// The same from spellings; those that are no piece are copied.
  std::string decode_pieces(std::span<const std::string_view> pieces) const;

  SentencePieceKind kind() const { return vocab_->spec().kind; }
  int32_t size() const { return vocab_->size(); }
  std::optional<int32_t> find_piece(std::string_view piece) const { return vocab_->find(piece); }
  /// As find_piece, with unk_id() for what is no piece.
  int32_t piece_to_id(std::string_view piece) const;
  /// Throws InvalidArgument for an id outside the vocabulary.
  const std::string& id_to_piece(int32_t id) const;
  PieceType type(int32_t id) const;
  /// -1 where the model has no such piece.
  int32_t unk_id() const { return vocab_->unk_id(); }
  int32_t bos_id() const { return control_id(vocab_->spec().bos_piece); }
  int32_t eos_id() const { return control_id(vocab_->spec().eos_piece); }
  int32_t pad_id() const { return control_id(vocab_->spec().pad_piece); }

 private:
  SentencePiece(SentencePieceSpec spec, std::string_view source);
  std::string decode_pieces(std::span<const std::string_view> pieces,
                            std::span<const int32_t> ids) const;
  const SentencePieceSpec::Piece& checked_piece(int32_t id) const;
  int32_t control_id(std::string_view piece) const;

  std::shared_ptr<const SentencePieceVocab> vocab_;
  SentencePieceNormalizer normalizer_;
  std::optional<SentencePieceNormalizer> denormalizer_;
  std::unique_ptr<SentencePieceEncoder> encoder_;
};

}  // namespace tessera::text
