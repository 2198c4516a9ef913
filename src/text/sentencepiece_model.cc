// SentencePiece's ModelProto (google/sentencepiece, sentencepiece_model.proto), with the checks
// that sentencepiece 0.2.3 makes on load. Field numbers stand beside each reader below. As in
// protocol buffers, a repeated scalar field overwrites, a repeated message merges, and unknown
// fields and enum values are skipped. Difference: a control piece and a normal piece of the same
// text may both exist in a BPE model (as up to 0.2.1).
#include "text/sentencepiece_model.h"

#include "core/error.h"
#include "text/protobuf.h"

#include <cmath>
#include <limits>

namespace tessera::text {
namespace {

constexpr size_t kMaxPieceBytes = 7999;  // the limit of sentencepiece 0.2.3
constexpr size_t kBytes = 256;

void read_bool(const ProtoField& field, bool& out) {
  if (field.is_varint()) {
    out = field.value != 0;
  }
}

void read_string(const ProtoField& field, std::string& out) {
  if (field.is_bytes()) {
    out = field.bytes;
  }
}

/// An empty name in the file means the default one.
void read_name(const ProtoField& field, std::string& out) {
  if (field.is_bytes() && !field.bytes.empty()) {
    out = field.bytes;
  }
}

void parse_piece(std::string_view bytes, std::string_view source, SentencePieceSpec::Piece& piece) {
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    if (field.number == 1) {
      read_string(field, piece.text);
    } else if (field.number == 2 && field.is_fixed32()) {
      piece.score = field.as_float();
    } else if (field.number == 3 && field.is_varint() && field.value >= 1 && field.value <= 6) {
      piece.type = static_cast<PieceType>(field.value);
    }
  }
}

void parse_normalizer(std::string_view bytes,
                      std::string_view source,
                      SentencePieceNormalizerSpec& spec) {
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    switch (field.number) {
      case 2:
        read_string(field, spec.charsmap);
        break;
      case 3:
        read_bool(field, spec.add_dummy_prefix);
        break;
      case 4:
        read_bool(field, spec.remove_extra_whitespaces);
        break;
      case 5:
        read_bool(field, spec.escape_whitespaces);
        break;
      default:
        break;
    }
  }
}

void parse_trainer(std::string_view bytes, std::string_view source, SentencePieceSpec& spec) {
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    switch (field.number) {
      case 3:
        if (field.is_varint() && field.value >= 1 && field.value <= 4) {
          spec.kind = static_cast<SentencePieceKind>(field.value);
        }
        break;
      case 24:
        read_bool(field, spec.treat_whitespace_as_suffix);
        break;
      case 35:
        read_bool(field, spec.byte_fallback);
        break;
      case 44:
        read_string(field, spec.unk_surface);
        break;
      case 46:
        read_name(field, spec.bos_piece);
        break;
      case 47:
        read_name(field, spec.eos_piece);
        break;
      case 48:
        read_name(field, spec.pad_piece);
        break;
      default:
        break;
    }
  }
}

bool is_matchable(PieceType type) {
  return type == PieceType::kNormal || type == PieceType::kUserDefined ||
         type == PieceType::kUnused;
}

}  // namespace

std::optional<unsigned char> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') {
    return std::nullopt;
  }
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  const size_t high = kDigits.find(piece[3]);
  const size_t low = kDigits.find(piece[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) {
    return std::nullopt;
  }
  return static_cast<unsigned char>(high * 16 + low);
}

SentencePieceSpec parse_sentencepiece(std::string_view bytes, std::string_view source) {
  SentencePieceSpec spec;
  ProtoReader reader(bytes, source);
  for (ProtoField field; reader.next(field);) {
    if (!field.is_bytes()) {
      continue;
    }
    switch (field.number) {
      case 1:
        parse_piece(field.bytes, source, spec.pieces.emplace_back());
        break;
      case 2:
        parse_trainer(field.bytes, source, spec);
        break;
      case 3:
        parse_normalizer(field.bytes, source, spec.normalizer);
        break;
      case 5:
        parse_normalizer(field.bytes, source, spec.denormalizer);
        break;
      default:
        break;
    }
  }
  TESSERA_CHECK(
      !spec.pieces.empty() && spec.pieces.size() < std::numeric_limits<int32_t>::max(), CorruptFile,
      "{}: it holds {} pieces; expected a SentencePiece model, check that this is the right file",
      source, spec.pieces.size());
  return spec;
}

std::shared_ptr<const SentencePieceVocab> SentencePieceVocab::make(SentencePieceSpec spec,
                                                                   std::string_view source) {
  std::shared_ptr<SentencePieceVocab> vocab(new SentencePieceVocab(std::move(spec)));
  vocab->index(source);
  return vocab;
}

void SentencePieceVocab::index_byte(int32_t id, std::string_view source) {
  const std::string& text = piece(id).text;
  const std::optional<unsigned char> byte = byte_of_piece(text);
  TESSERA_CHECK(
      spec_.byte_fallback && byte, CorruptFile,
      "{}: piece {} (\"{}\") is a byte piece; expected <0x00> to <0xFF> and byte_fallback "
      "to be on, convert the model again",
      source, id, text);
  byte_ids_[*byte] = id;
}

void SentencePieceVocab::index(std::string_view source) {
  byte_ids_.assign(kBytes, -1);
  std::vector<std::pair<std::string_view, int32_t>> user_defined;
  for (int32_t id = 0; id < size(); ++id) {
    auto& [text, score, type] = spec_.pieces[static_cast<size_t>(id)];
    const bool is_nul = text.size() == 1 && text[0] == '\0';
    if (is_nul && (spec_.byte_fallback || type == PieceType::kUnused)) {
      type = PieceType::kUnused;  // <0x00> stands for it; some converters write both
      continue;
    }
    TESSERA_CHECK(
        !text.empty() && text.size() <= kMaxPieceBytes && text.find('\0') == std::string::npos,
        CorruptFile,
        "{}: piece {} has {} bytes; expected 1 to {} bytes without NUL, convert the "
        "model again",
        source, id, text.size(), kMaxPieceBytes);
    TESSERA_CHECK(spec_.kind != SentencePieceKind::kUnigram || std::isfinite(score), CorruptFile,
                  "{}: the score of piece {} is {}; expected a finite number, convert the model "
                  "again",
                  source, id, score);
    auto& table = is_matchable(type) ? matchable_ : reserved_;
    TESSERA_CHECK(table.emplace(text, id).second, CorruptFile,
                  "{}: piece {} (\"{}\") stands there twice; expected distinct pieces, convert the "
                  "model again",
                  source, id, text);
    if (type == PieceType::kUserDefined) {
      user_defined.emplace_back(text, id);
    } else if (type == PieceType::kByte) {
      index_byte(id, source);
    } else if (type == PieceType::kUnknown) {
      TESSERA_CHECK(unk_id_ < 0, CorruptFile,
                    "{}: pieces {} and {} are both the unknown piece; expected one, convert the "
                    "model again",
                    source, unk_id_, id);
      unk_id_ = id;
    }
  }
  TESSERA_CHECK(unk_id_ >= 0 || spec_.byte_fallback, CorruptFile,
                "{}: it has no unknown piece and no byte fallback; expected one of them, convert "
                "the model again",
                source);
  for (size_t byte = 0; byte < kBytes && spec_.byte_fallback; ++byte) {
    TESSERA_CHECK(byte_ids_[byte] >= 0, CorruptFile,
                  "{}: byte_fallback is on but the piece <0x{:02X}> is missing; expected all 256, "
                  "convert the model again",
                  source, byte);
  }
  user_defined_ = ByteTrie(std::move(user_defined));
}

std::optional<int32_t> SentencePieceVocab::find(std::string_view text) const {
  if (const auto it = reserved_.find(text); it != reserved_.end()) {
    return it->second;
  }
  if (const auto it = matchable_.find(text); it != matchable_.end()) {
    return it->second;
  }
  return std::nullopt;
}

int32_t SentencePieceVocab::match(std::string_view text) const {
  const auto it = matchable_.find(text);
  return it == matchable_.end() ? unk_id_ : it->second;
}

}  // namespace tessera::text
