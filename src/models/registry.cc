// The code of the catalog's rows: one line a model.
#include "models/registry.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/checkpoint.h"
#include "models/gguf.h"

#include <algorithm>
#include <map>

namespace tessera::models {

// Each in its model's file.
std::shared_ptr<nn::Model> load_llama(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_mistral(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_qwen2(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_qwen3(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_internlm2(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_gemma2(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_phi3(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_picture_codec(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_audio_codec(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_scene_judge(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_speech_recognizer(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_speaker_judge(const ModelFolder&, const nn::Weights&);
std::shared_ptr<nn::Model> load_music_judge(const ModelFolder&, const nn::Weights&);

namespace {

// By the model_type of the catalog's row.
const std::map<std::string_view, Loader> kLoaders = {
    {"llama", load_llama},
    {"mistral", load_mistral},
    {"qwen2", load_qwen2},
    {"qwen3", load_qwen3},
    {"internlm2", load_internlm2},
    {"gemma2", load_gemma2},
    {"phi3", load_phi3},
    {"tessera_picture_codec", load_picture_codec},
    {"tessera_audio_codec", load_audio_codec},
    {"tessera_scene_judge", load_scene_judge},
    {"tessera_speech_recognizer", load_speech_recognizer},
    {"tessera_speaker_judge", load_speaker_judge},
    {"tessera_music_judge", load_music_judge},
};

}  // namespace

std::span<const ModelInfo> all_models() {
  static const std::vector<ModelInfo> models = [] {
    std::vector<ModelInfo> rows;
    for (const ModelSummary& summary : all_summaries()) {
      const auto found = kLoaders.find(summary.model_type);
      TESSERA_CHECK(found != kLoaders.end(), Internal, "{}: the registry has no loader",
                    summary.name);
      rows.push_back({summary, found->second});
    }
    TESSERA_CHECK(rows.size() == kLoaders.size(), Internal,
                  "the registry has {} loaders for the catalog's {} rows", kLoaders.size(),
                  rows.size());
    return rows;
  }();
  return models;
}

const ModelInfo& find_model(const ModelFolder& folder) {
  const ModelSummary& summary = find_summary(folder);
  return all_models()[static_cast<size_t>(&summary - all_summaries().data())];
}

std::shared_ptr<nn::Model> load_model(const ModelFolder& folder, const nn::LoadOptions& options) {
  return with_context("loading " + folder.path.string(), [&] {
    const ModelInfo& info = find_model(folder);
    const nn::Weights weights = nn::Weights::from_checkpoint(
        io::is_gguf_file(folder.path) ? open_gguf_weights(folder.path)
                                      : io::Checkpoint::open(folder.path),
        options);
    weights.set_quantization(io::Quantization::from_config(folder.config));
    std::shared_ptr<nn::Model> model = info.load(folder, weights);
    weights.finish();
    model->eval();
    return model;
  });
}

nn::NamedTensors run_entry(nn::Model& model,
                           const ModelInfo& info,
                           std::string_view entry,
                           const nn::NamedTensors& inputs) {
  std::vector<std::string> names;
  for (const Entry& candidate : info.entries) {
    names.push_back(candidate.name);
    if (candidate.name != entry) {
      continue;
    }
    for (const Port& port : candidate.inputs) {
      const auto found = inputs.find(port.name);
      TESSERA_CHECK(found != inputs.end() || port.optional, InvalidArgument,
                    "entry '{}' needs the input '{}' ({})", entry, port.name, port.type);
      if (found == inputs.end()) {
        continue;
      }
      const bool integer = port.type.starts_with("i");
      TESSERA_CHECK(integer == c10::isIntegralType(found->second.scalar_type(), true),
                    InvalidArgument, "entry '{}': input '{}' must be {}, found {}", entry,
                    port.name, port.type, c10::toString(found->second.scalar_type()));
      const auto axes = std::count(port.type.begin(), port.type.end(), ',') + 1;
      TESSERA_CHECK(found->second.dim() == axes || found->second.numel() == 1, InvalidArgument,
                    "entry '{}': input '{}' must be {}, found {} axes", entry, port.name, port.type,
                    found->second.dim());
    }
    for (const auto& [name, tensor] : inputs) {
      const bool wanted = std::any_of(candidate.inputs.begin(), candidate.inputs.end(),
                                      [&](const Port& port) { return port.name == name; });
      TESSERA_CHECK(wanted, InvalidArgument,
                    "entry '{}' has no input '{}'; see `tessera inspect MODEL --entries`", entry,
                    name);
    }
    nn::NamedTensors moved;
    for (const auto& [name, tensor] : inputs) {
      moved[name] = tensor.to(model.device());
    }
    return model.run(entry, moved);
  }
  throw InvalidArgument("{} has no entry '{}'; it has: {}", info.name, entry, join(names, ", "));
}

}  // namespace tessera::models
