// Pre-tokenizers of tokenizer.json: they cut a normalized text into the words that the model sees,
// and change some characters on the way.
#pragma once

#include "io/json.h"
#include "text/regex.h"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

/// Words of one run of text: ranges of `text` in order. A range may be left out, never empty.
struct Words {
  struct Piece {
    size_t begin;
    size_t end;
    bool at_start;  ///< begins where the user's text begins (Metaspace's `first`)
  };
  std::string text;
  std::vector<Piece> pieces;

  std::string_view operator[](size_t i) const {
    return std::string_view(text).substr(pieces[i].begin, pieces[i].end - pieces[i].begin);
  }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Words& words) const = 0;
};

/// Builds the pre-tokenizer of a tokenizer.json; nullptr for null. Throws Unsupported for an
/// unknown type, CorruptFile for bad fields.
std::unique_ptr<PreTokenizer> make_pretokenizer(const io::Json& json);

/// GPT-2's map of bytes to printable characters: code point of each byte.
const std::array<char32_t, 256>& byte_to_char();
/// The byte that `c` stands for, or -1.
int char_to_byte(char32_t c);
/// Appends the printable form of `bytes`.
void append_byte_level(std::string& out, std::string_view bytes);

/// `{"String": s}` or `{"Regex": s}`, as in Split and Replace.
Regex make_pattern(const io::Json& json, std::string_view what);

}  // namespace tessera::text
