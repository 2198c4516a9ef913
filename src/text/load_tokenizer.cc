// Which reader opens a model folder: tokenizer.json first, then a SentencePiece tokenizer.model,
// then vocab.json + merges.txt.
#include "core/error.h"
#include "text/hf_folder.h"
#include "text/slow_llama.h"
#include "text/tokenizer.h"

namespace tessera::text {

std::unique_ptr<Tokenizer> load_tokenizer(const io::fs::path& folder) {
  if (!io::fs::exists(folder)) {
    io::throw_not_found(folder, "a model folder");
  }
  const bool has_model =
      io::fs::exists(folder / "tokenizer.model") || io::fs::exists(folder / "spiece.model");
  if (!io::fs::exists(folder / "tokenizer.json") && has_model) {
    return load_sentencepiece_tokenizer(folder);
  }
  return load_hf_tokenizer(folder);
}

}  // namespace tessera::text
