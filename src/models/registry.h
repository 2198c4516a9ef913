// The table of architectures. A model is one file and one line in registry.cc.
#pragma once

#include "io/json.h"
#include "nn/sequence_model.h"

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::models {

/// A model on disk: a published folder, or a GGUF file, with its configuration read.
struct ModelFolder {
  io::fs::path path;
  io::Json config;             // config.json
  io::Json generation_config;  // generation_config.json, or null
};

/// Row of the table: everything that commands, docs and the server need to know of an architecture.
struct ModelInfo {
  std::string_view name;                        // "Llama"
  std::vector<std::string_view> architectures;  // config.json "architectures"
  std::string_view model_type;                  // config.json "model_type"
  std::string_view tasks;                       // "text generation"
  std::vector<nn::Entry> entries;
  std::shared_ptr<nn::Model> (*load)(const ModelFolder& folder, const nn::Weights& weights);
};

/// All architectures, in the order of the documentation's table.
std::span<const ModelInfo* const> all_models();

/// Reads the configuration of a folder, a GGUF file, a folder with one GGUF model, or a hub-cache
/// name. Throws NotFound, CorruptFile.
ModelFolder open_folder(std::string_view name);
/// The row for a folder's config.json. Throws Unsupported naming what was found and what is known.
const ModelInfo& find_model(const ModelFolder& folder);
/// Loads the weights; complains about missing and mis-shaped tensors in one error.
std::shared_ptr<nn::Model> load_model(const ModelFolder& folder, const nn::LoadOptions& options);
/// Runs an entry after checking inputs against its ports (names, dtype, number of dimensions).
nn::NamedTensors run_entry(nn::Model& model,
                           const ModelInfo& info,
                           std::string_view entry,
                           const nn::NamedTensors& inputs);

}  // namespace tessera::models
