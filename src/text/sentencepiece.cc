// Encode: normalise, segment, then turn unknown parts into bytes (byte fallback) or one unknown
// piece for each run. Decode: the way back, with bytes checked as UTF-8. Source of the rules:
// google/sentencepiece 0.2.3, SentencePieceProcessor. Not here: sampling, n-best lists, offsets
// into the original text, extra options (bos, eos, reverse).
#include "text/sentencepiece.h"

#include "core/error.h"
#include "core/strings.h"

namespace tessera::text {
namespace {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

/// Valid characters as they are, each invalid byte as one U+FFFD.
void append_bytes(std::string& out, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto length = static_cast<size_t>(utf8_length(bytes));
    out += length == 0 ? kReplacement : bytes.substr(0, length);
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
}

/// `piece` with ▁ turned into spaces.
void append_unescaped(std::string& out, std::string_view piece) {
  while (true) {
    const size_t space = piece.find(kSpaceSymbol);
    out += piece.substr(0, space);
    if (space == std::string_view::npos) {
      return;
    }
    out += ' ';
    piece.remove_prefix(space + kSpaceSymbol.size());
  }
}

}  // namespace

SentencePiece SentencePiece::load(const io::fs::path& path, const Options& options) {
  return parse(io::read_file(path, kMaxFileBytes), path.string(), options);
}

SentencePiece SentencePiece::parse(std::string_view bytes,
                                   std::string_view source,
                                   const Options& options) {
  SentencePieceSpec spec = parse_sentencepiece(bytes, source);
  spec.normalizer.add_dummy_prefix =
      options.add_dummy_prefix.value_or(spec.normalizer.add_dummy_prefix);
  return SentencePiece(std::move(spec), source);
}

SentencePiece::SentencePiece(SentencePieceSpec spec, std::string_view source)
    : vocab_(SentencePieceVocab::make(std::move(spec), source)),
      normalizer_(vocab_->spec().normalizer, vocab_->spec().treat_whitespace_as_suffix, source),
      encoder_(make_sentencepiece_encoder(vocab_, source)) {
  if (!vocab_->spec().denormalizer.charsmap.empty()) {
    denormalizer_.emplace(vocab_->spec().denormalizer, false, source);
  }
}

std::vector<SentencePiece::Piece> SentencePiece::encode_pieces(std::string_view text) const {
  const std::string normalized = normalizer_.normalize(text, vocab_->user_defined());
  std::vector<Piece> pieces;
  bool after_unknown = false;
  for (const PieceSpan& span : encoder_->encode(normalized)) {
    const std::string_view part = std::string_view(normalized).substr(span.begin, span.size);
    const bool unknown = vocab_->is_unknown(span.id);
    if (unknown && vocab_->spec().byte_fallback) {
      for (const char c : part) {
        const int32_t id = vocab_->byte_id(static_cast<unsigned char>(c));
        pieces.push_back({vocab_->piece(id).text, id});
      }
    } else if (unknown && after_unknown) {
      pieces.back().text += part;
    } else {
      pieces.push_back({std::string(part), span.id});
    }
    after_unknown = unknown;
  }
  return pieces;
}

std::vector<int32_t> SentencePiece::encode(std::string_view text) const {
  const std::vector<Piece> pieces = encode_pieces(text);
  std::vector<int32_t> ids;
  ids.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    ids.push_back(piece.id);
  }
  return ids;
}

std::string SentencePiece::decode(std::span<const int32_t> ids) const {
  std::vector<std::string_view> pieces;
  pieces.reserve(ids.size());
  for (const int32_t id : ids) {
    pieces.push_back(checked_piece(id).text);
  }
  return decode_pieces(pieces, ids);
}

std::string SentencePiece::decode_pieces(std::span<const std::string_view> pieces) const {
  std::vector<int32_t> ids;
  ids.reserve(pieces.size());
  for (const std::string_view piece : pieces) {
    ids.push_back(piece_to_id(piece));
  }
  return decode_pieces(pieces, ids);
}

std::string SentencePiece::decode_pieces(std::span<const std::string_view> pieces,
                                         std::span<const int32_t> ids) const {
  const SentencePieceNormalizerSpec& spec = vocab_->spec().normalizer;
  const bool drops_space = spec.add_dummy_prefix || spec.remove_extra_whitespaces;
  std::string out;
  std::string bytes;
  bool at_start = true;  // a leading ▁ is still to be dropped
  for (size_t i = 0; i < ids.size(); ++i) {
    std::string_view piece = pieces[i];
    const int32_t id = ids[i];
    if (vocab_->has_type(id, PieceType::kByte)) {
      bytes += static_cast<char>(byte_of_piece(piece).value_or(0));
      continue;
    }
    append_bytes(out, bytes);
    bytes.clear();
    at_start = at_start && out.empty();
    if (vocab_->has_type(id, PieceType::kControl)) {
      continue;
    }
    if (vocab_->is_unknown(id)) {
      const bool is_unk_piece = id >= 0 && vocab_->piece(id).text == piece;
      out += is_unk_piece ? std::string_view(vocab_->spec().unk_surface) : piece;
      continue;
    }
    if (at_start && drops_space && piece.starts_with(kSpaceSymbol)) {
      piece.remove_prefix(kSpaceSymbol.size());
      at_start = spec.remove_extra_whitespaces;
    }
    append_unescaped(out, piece);
  }
  append_bytes(out, bytes);
  return denormalizer_ ? denormalizer_->normalize(out, ByteTrie()) : out;
}

int32_t SentencePiece::piece_to_id(std::string_view piece) const {
  return vocab_->find(piece).value_or(vocab_->unk_id());
}

const SentencePieceSpec::Piece& SentencePiece::checked_piece(int32_t id) const {
  TESSERA_CHECK(id >= 0 && id < size(), InvalidArgument,
                "the id {} is not in the vocabulary; expected 0 to {}", id, size() - 1);
  return vocab_->piece(id);
}

const std::string& SentencePiece::id_to_piece(int32_t id) const {
  return checked_piece(id).text;
}

PieceType SentencePiece::type(int32_t id) const {
  return checked_piece(id).type;
}

int32_t SentencePiece::control_id(std::string_view piece) const {
  const int32_t id = piece_to_id(piece);
  return vocab_->has_type(id, PieceType::kControl) ? id : -1;
}

}  // namespace tessera::text
