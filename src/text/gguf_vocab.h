// The tokenizer of a model folder as a GGUF file holds it (`tokenizer.ggml.*`): what
// load_gguf_tokenizer reads.
#pragma once

#include "io/gguf.h"

#include <cstdint>

namespace tessera::text {

/// Fields for `folder`: a SentencePiece tokenizer.model becomes kind `llama`, byte-level BPE
/// (tokenizer.json, or vocab.json + merges.txt) kind `gpt2`; chat template and special ids
/// included. The list of tokens has `size` entries, those that the tokenizer lacks unused. Throws
/// NotFound without a tokenizer, Unsupported for one that GGUF has no words for.
io::GgufFields gguf_tokenizer_fields(const io::fs::path& folder, int64_t size);

/// The name of the rule that cuts words as the `pre_tokenizer` of a tokenizer.json does; nothing
/// when there is none.
std::optional<std::string> gguf_word_rule(const io::Json& pre_tokenizer);

}  // namespace tessera::text
