// Models by architecture. A model is one file, its row in catalog.cc and its line in registry.cc.
#pragma once

#include "models/catalog.h"
#include "nn/sequence_model.h"

#include <memory>
#include <span>
#include <string_view>

namespace tessera::models {

/// Builds a model from its weights, which `weights` reads or draws.
using Loader = std::shared_ptr<nn::Model> (*)(const ModelFolder& folder,
                                              const nn::Weights& weights);

/// A row of the catalog with its code.
struct ModelInfo : ModelSummary {
  Loader load = nullptr;
};

/// All rows of the catalog, in its order.
std::span<const ModelInfo> all_models();
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
