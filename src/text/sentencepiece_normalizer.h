// The text normaliser of a SentencePiece model.
#pragma once

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/sentencepiece_model.h"

#include <string>
#include <string_view>
#include <utility>

namespace tessera::text {

class SentencePieceNormalizer {
 public:
  /// `suffix`: the dummy prefix goes to the end of the text. Throws CorruptFile naming `source` for
  /// a broken character map.
  SentencePieceNormalizer(const SentencePieceNormalizerSpec& spec,
                          bool suffix,
                          std::string_view source);

  /// Normal form of any bytes; each invalid byte becomes U+FFFD. Prefixes of the input that are
  /// keys of `verbatim` are copied as they are.
  std::string normalize(std::string_view input, const ByteTrie& verbatim) const;

 private:
  /// Output of one step, and the bytes of the input it took.
  std::pair<std::string_view, size_t> step(std::string_view input, const ByteTrie& verbatim) const;

  Charsmap charsmap_;
  std::string_view space_;
  bool add_dummy_prefix_;
  bool remove_extra_whitespaces_;
  bool suffix_;
};

}  // namespace tessera::text
