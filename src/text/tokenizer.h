// Text to token ids and back, whatever the tokenizer's file format. `load_tokenizer` finds the
// format: tokenizer.model (SentencePiece, with transformers 4.34.1's slow-class rules around it),
// tokenizer.json (huggingface/tokenizers), or vocab.json + merges.txt.
#pragma once

#include "io/file.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

/// One tokenizer. Thread-safe: all functions are const and keep no state.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text` (any bytes; invalid UTF-8 is read as U+FFFD). With `add_special`, BOS/EOS as the
  /// files configure them.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special = true) const = 0;

  /// Text of `ids`; special and added tokens verbatim unless `skip_special`. Broken UTF-8 becomes
  /// U+FFFD. Ids outside the vocabulary throw InvalidArgument.
  virtual std::string decode(std::span<const int32_t> ids, bool skip_special = false) const = 0;

  /// Id of a whole token as written in the vocabulary ("<s>", "Ġthe").
  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  /// The vocabulary's spelling of an id; empty when there is none.
  virtual std::string id_to_token(int32_t id) const = 0;
  /// The bytes that an id adds inside a text: the vocabulary's spelling without its encoding (maps
  /// of bytes to letters, word marks, <0xHH>), a leading space included. May be a part of a
  /// character. Empty when there is no such id.
  virtual std::string token_bytes(int32_t id) const = 0;
  /// Largest id + 1, added tokens included.
  virtual int32_t vocab_size() const = 0;
  virtual bool is_special(int32_t id) const = 0;
};

/// Opens the tokenizer of a model folder or of a GGUF file. Throws NotFound when the folder has no
/// known tokenizer file.
std::unique_ptr<Tokenizer> load_tokenizer(const io::fs::path& folder);

/// Turns ids that arrive one at a time into text that never ends inside a character.
///
///   StreamDecoder stream(tokenizer);
///   for (int32_t id : ids) std::cout << stream.push(id);
///   std::cout << stream.finish();
class StreamDecoder {
 public:
  /// `context`: the last prompt ids, so that the first word keeps its leading space.
  explicit StreamDecoder(const Tokenizer& tokenizer,
                         std::span<const int32_t> context = {},
                         bool skip_special = false);
  /// Text that became certain with this id; often one word, sometimes "". Ids outside the
  /// vocabulary, which a model with a padded head may draw, stand for nothing.
  std::string push(int32_t id);
  /// What was held back, broken or not.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<int32_t> ids_;
  size_t prefix_ = 0;  // ids before this are settled and only give context
  size_t read_ = 0;    // ids before this have been emitted
};

}  // namespace tessera::text
