// GGUF files as models: metadata as config.json, tensor names as transformers spells them. The
// other direction is compress/gguf.h.
#pragma once

#include "io/checkpoint.h"
#include "io/gguf.h"
#include "models/catalog.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tessera::models {

/// One tensor name in both worlds, without ".weight" or ".bias"; "{}" stands for the layer.
struct GgufName {
  std::string_view gguf;
  std::string_view transformers;
};

/// What a family of models looks like in a GGUF file.
struct GgufFamily {
  std::string_view architecture;  // general.architecture, and the prefix of its keys
  std::string_view transformers;  // config.json "architectures"
  std::string_view model_type;    // config.json "model_type"
  std::span<const GgufName> names;
  bool paired_heads = false;    // rows of q and k in pairs: TensorEntry::paired_rows
  bool norms_plus_one = false;  // norm weights are 1 larger than in config.json's world
};

/// All families, in the order in which the first that fits is taken.
std::span<const GgufFamily> gguf_families();
/// The family of a file. Throws Unsupported naming what was found and what is known.
const GgufFamily& gguf_family(const io::GgufFile& file, std::string_view source);

/// transformers' name of a tensor; nothing for what the model does not load (rope_freqs …).
std::optional<std::string> transformers_name(const GgufFamily& family, std::string_view name);
/// The inverse; nothing for a name that the family does not have.
std::optional<std::string> gguf_name(const GgufFamily& family, std::string_view name);

/// Configuration of a file, as open_folder gives that of a folder. Throws CorruptFile for metadata
/// that are missing or of a wrong type, Unsupported for architectures that are not known.
ModelFolder open_gguf_model(const io::fs::path& path);
/// Its tensors under transformers' names: mapped where the file has the same numbers.
io::Checkpoint open_gguf_weights(const io::fs::path& path);

}  // namespace tessera::models
