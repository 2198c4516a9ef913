// The content of a SentencePiece model file: pieces, normaliser settings, and what encoding needs
// of the trainer's settings.
#pragma once

#include "text/byte_trie.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace tessera::text {

/// Values as in the file.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// Values as in the file.
enum class SentencePieceKind : uint8_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

struct SentencePieceNormalizerSpec {
  std::string charsmap;  ///< empty: identity
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// One parsed file. The index of a piece is its id.
struct SentencePieceSpec {
  struct Piece {
    std::string text;
    float score = 0.0F;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Piece> pieces;
  SentencePieceNormalizerSpec normalizer;
  SentencePieceNormalizerSpec denormalizer;
  SentencePieceKind kind = SentencePieceKind::kUnigram;
  bool treat_whitespace_as_suffix = false;
  bool byte_fallback = false;
  std::string unk_surface = " \xE2\x81\x87 ";  ///< what the unknown id decodes to
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string pad_piece = "<pad>";
};

/// Parses a `ModelProto`. Throws CorruptFile naming `source`.
SentencePieceSpec parse_sentencepiece(std::string_view bytes, std::string_view source);

/// The pieces with their look-up tables; immutable.
class SentencePieceVocab {
 public:
  /// Takes the pieces after checking them (no empty or duplicate ones, at most one unknown piece,
  /// all 256 byte pieces or none). Throws CorruptFile naming `source`.
  static std::shared_ptr<const SentencePieceVocab> make(SentencePieceSpec spec,
                                                        std::string_view source);

  const SentencePieceSpec& spec() const { return spec_; }
  int32_t size() const { return static_cast<int32_t>(spec_.pieces.size()); }
  const SentencePieceSpec::Piece& piece(int32_t id) const {
    return spec_.pieces[static_cast<size_t>(id)];
  }
  bool has_type(int32_t id, PieceType type) const { return id >= 0 && piece(id).type == type; }
  /// Id of the unknown piece; -1 in models with byte fallback that have none.
  int32_t unk_id() const { return unk_id_; }
  bool is_unknown(int32_t id) const { return id < 0 || has_type(id, PieceType::kUnknown); }

  /// Any piece by its text: control, unknown and byte pieces come first.
  std::optional<int32_t> find(std::string_view text) const;
  /// A piece that text can match (normal, user-defined, unused); unk_id() when there is none.
  int32_t match(std::string_view text) const;
  /// Id of the piece `<0xHH>`; only with byte fallback.
  int32_t byte_id(unsigned char byte) const { return byte_ids_[byte]; }
  const ByteTrie& user_defined() const { return user_defined_; }

 private:
  explicit SentencePieceVocab(SentencePieceSpec spec) : spec_(std::move(spec)) {}
  void index(std::string_view source);
  void index_byte(int32_t id, std::string_view source);

  SentencePieceSpec spec_;
  int32_t unk_id_ = -1;
  std::unordered_map<std::string_view, int32_t> matchable_;
  std::unordered_map<std::string_view, int32_t> reserved_;
  std::vector<int32_t> byte_ids_;
  ByteTrie user_defined_;
};

/// "<0x0A>" → 10; nothing when `piece` is not written so (upper-case hexadecimal).
std::optional<unsigned char> byte_of_piece(std::string_view piece);

}  // namespace tessera::text
