// Decoders of tokenizer.json: from token strings back to text.
#pragma once

#include "io/json.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// One step of the chain; the text is what the last step's tokens give when joined.
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
  /// The bytes of one token that stands inside a text, where it may be a part of a character.
  virtual std::string token_bytes(std::string token) const = 0;
};

/// Builds the decoder of a tokenizer.json; nullptr for null. Throws Unsupported for an unknown
/// type, CorruptFile for bad fields.
std::unique_ptr<Decoder> make_decoder(const io::Json& json);

/// Removes the spaces that WordPiece puts before punctuation and English contractions. `full`: as
/// the decoder does it, which also contracts " do not".
std::string clean_up_spaces(std::string text, bool full);

}  // namespace tessera::text
