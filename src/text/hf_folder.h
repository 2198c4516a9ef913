// Tokenizer folders of transformers: tokenizer.json, or vocab.json + merges.txt, with what
// tokenizer_config.json, special_tokens_map.json and added_tokens.json say around them.
#pragma once

#include "io/file.h"
#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tessera::text {

/// Opens the folder as transformers 5.23's AutoTokenizer does. Needs tokenizer.json, or vocab.json
/// and merges.txt; throws NotFound without them.
std::unique_ptr<Tokenizer> load_hf_tokenizer(const io::fs::path& folder);

/// The named special tokens ("bos_token", "<s>") of the folder's configuration, in transformers'
/// order; the class' own where the files say nothing.
std::vector<std::pair<std::string, std::string>> hf_special_tokens(const io::fs::path& folder);

}  // namespace tessera::text
