// Tokenizers inside GGUF files (`tokenizer.ggml.*`).
#pragma once

#include "io/gguf.h"
#include "text/tokenizer.h"

#include <memory>

namespace tessera::text {

/// The tokenizer of a file: `llama` (SentencePiece BPE with byte fallback, under the rules of
/// transformers' slow LlamaTokenizer) or `gpt2` (byte-level BPE; `tokenizer.ggml.pre` names the
/// rule that cuts words). Throws NotFound when the file has none, Unsupported for other kinds,
/// CorruptFile for lists that do not fit each other.
std::unique_ptr<Tokenizer> load_gguf_tokenizer(const io::fs::path& path);

}  // namespace tessera::text
