// Folders with a SentencePiece model, read as the slow LlamaTokenizer of transformers 4.34.1 does.
#pragma once

#include "io/file.h"
#include "text/sentencepiece.h"
#include "text/slow_llama_config.h"
#include "text/tokenizer.h"

#include <memory>

namespace tessera::text {

/// Opens `tokenizer.model` (or `spiece.model`) with the files beside it that exist:
/// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`, and the added tokens of
/// `tokenizer.json`. Throws NotFound without a model, CorruptFile for broken files.
///
/// Encoding cuts the text at added tokens (special ones too) and encodes each run on its own, with
/// its own dummy prefix unless the configuration says `"legacy": false`. Decoding joins without
/// spaces (`spaces_between_special_tokens=False`).
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const io::fs::path& folder);

/// The same rules around a model and settings that come from elsewhere.
std::unique_ptr<Tokenizer> make_slow_llama(SentencePiece model, SlowLlamaConfig config);

}  // namespace tessera::text
