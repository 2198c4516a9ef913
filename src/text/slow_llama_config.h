// The settings and added tokens around a SentencePiece model, from the JSON files of its folder.
#pragma once

#include "io/file.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera::text {

struct SlowToken {
  std::string content;
  bool single_word = false;  ///< only where no word touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
};

/// A token that the configuration names. With `plain` it was a bare string, which does not change
/// the flags of a token that exists already.
struct NamedToken {
  SlowToken token;
  bool plain = true;
};

struct SlowLlamaConfig {
  bool add_bos_token = true;
  bool add_eos_token = false;
  bool legacy = true;
  bool split_special_tokens = false;
  bool clean_up_tokenization_spaces = false;
  std::optional<NamedToken> bos = NamedToken{{"<s>"}, false};
  std::optional<NamedToken> eos = NamedToken{{"</s>"}, false};
  std::optional<NamedToken> unk = NamedToken{{"<unk>"}, false};
  std::optional<NamedToken> sep, pad, cls, mask;
  std::vector<NamedToken> additional;
  /// Tokens with their ids; of two with the same id or spelling the later one counts.
  std::vector<std::pair<int32_t, SlowToken>> added;

  /// All that are set, in the order in which they are added to the vocabulary.
  std::vector<NamedToken> special_tokens() const;
};

/// Reads the files that exist in `folder`. Throws CorruptFile for values of a wrong type.
SlowLlamaConfig read_slow_llama_config(const io::fs::path& folder);

}  // namespace tessera::text
