// `tessera forward`: one entry of a model on tensors from a file; parity tests and bug reports use
// it.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "models/registry.h"
#include "nn/tensor_file.h"

#include <c10/core/InferenceMode.h>

#include <fmt/ranges.h>

#include <functional>
#include <optional>

namespace tessera::cli {

int run_forward(const ForwardOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const models::ModelFolder folder = models::open_folder(options.model);
    const models::ModelInfo& info = models::find_model(folder);
    const nn::NamedTensors inputs = nn::read_tensors(options.in);
    const std::shared_ptr<nn::Model> model = models::load_model(folder, load);
    const c10::InferenceMode inference;
    std::optional<nn::TapCollector> taps;
    if (!options.taps.empty()) {
      taps.emplace(options.taps);
    }
    nn::NamedTensors outputs = models::run_entry(*model, info, options.entry, inputs);
    if (taps.has_value()) {
      TESSERA_CHECK(!taps->tensors().empty(), InvalidArgument,
                    "--taps '{}' matches no submodule that ran; names look like model.layers.0.mlp",
                    options.taps);
      for (auto& [name, tensor] : taps->tensors()) {
        outputs.emplace(name, tensor);
      }
    }
    nn::write_tensors(options.out, outputs);
    for (const auto& [name, tensor] : outputs) {
      log::debug("{} {}", name, fmt::join(tensor.sizes().vec(), " × "));
    }
  });
  return 0;
}

}  // namespace tessera::cli
