// Which reader opens a model folder: tokenizer.json first, then a SentencePiece tokenizer.model,
// then a GGUF file, then vocab.json + merges.txt.
#include "core/error.h"
#include "text/gguf_tokenizer.h"
#include "text/hf_folder.h"
#include "text/slow_llama.h"
#include "text/tokenizer.h"

namespace tessera::text {

std::unique_ptr<Tokenizer> load_tokenizer(const io::fs::path& folder) {
  if (!io::fs::exists(folder)) {
    io::throw_not_found(folder, "a model folder");
  }
  const auto has = [&](const char* name) { return io::fs::exists(folder / name); };
  if (has("tokenizer.json")) {
    return load_hf_tokenizer(folder);
  }
  if (has("tokenizer.model") || has("spiece.model")) {
    return load_sentencepiece_tokenizer(folder);
  }
  if (const auto file = io::find_gguf(folder, "vocab.json")) {
    return load_gguf_tokenizer(*file);
  }
  return load_hf_tokenizer(folder);
}

}  // namespace tessera::text
