// One line a model: declare its row, list it in kModels.
#include "models/registry.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/checkpoint.h"
#include "io/hub.h"
#include "models/gguf.h"

#include <algorithm>

namespace tessera::models {

extern const ModelInfo kLlama;
extern const ModelInfo kPictureCodec;
extern const ModelInfo kAudioCodec;
extern const ModelInfo kSceneJudge;
extern const ModelInfo kSpeechRecognizer;
extern const ModelInfo kSpeakerJudge;
extern const ModelInfo kMusicJudge;

namespace {

constexpr const ModelInfo* kModels[] = {
    &kLlama,        &kPictureCodec, &kAudioCodec, &kSceneJudge, &kSpeechRecognizer,
    &kSpeakerJudge, &kMusicJudge,
};

std::string string_at(const io::Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// compressed-tensors "int-quantized", symmetric int8 with one scale a row; other schemes are
// refused by name.
nn::WeightFormat weight_format(const io::Json& config) {
  const auto found = config.find("quantization_config");
  if (found == config.end() || !found->is_object()) {
    return nn::WeightFormat::kNone;
  }
  const std::string method = string_at(*found, "quant_method");
  const std::string format = string_at(*found, "format");
  TESSERA_CHECK(
      method == "compressed-tensors" && format == "int-quantized", Unsupported,
      "config.json: quantization '{}' format '{}' is not known here; known: compressed-tensors "
      "int-quantized (int8 per channel)",
      method, format);
  const auto groups = found->find("config_groups");
  TESSERA_CHECK(groups != found->end() && groups->is_object() && !groups->empty(), CorruptFile,
                "config.json: quantization_config has no config_groups");
  for (const auto& [name, group] : groups->items()) {
    const io::Json weights =
        group.is_object() ? group.value("weights", io::Json::object()) : io::Json::object();
    const bool known = weights.is_object() && weights.value("num_bits", 0) == 8 &&
                       weights.value("symmetric", false) &&
                       string_at(weights, "strategy") == "channel";
    TESSERA_CHECK(
        known, Unsupported,
        "config.json: quantization group '{}' must be symmetric int8 per channel, found {}", name,
        weights.dump());
  }
  return nn::WeightFormat::kInt8Channel;
}

}  // namespace

std::span<const ModelInfo* const> all_models() {
  return kModels;
}

ModelFolder open_folder(std::string_view name) {
  ModelFolder folder;
  folder.path = io::resolve_model(name);
  if (const auto file = io::find_gguf(folder.path, "config.json")) {
    return open_gguf_model(*file);
  }
  TESSERA_CHECK(io::fs::is_directory(folder.path), Unsupported,
                "{}: expected a model folder with config.json or a GGUF file",
                folder.path.string());
  folder.config = io::read_json(folder.path / "config.json");
  TESSERA_CHECK(folder.config.is_object(), CorruptFile, "{}: config.json must be an object",
                folder.path.string());
  const io::fs::path generation = folder.path / "generation_config.json";
  if (io::fs::exists(generation)) {
    folder.generation_config = io::read_json(generation);
  }
  return folder;
}

const ModelInfo& find_model(const ModelFolder& folder) {
  std::string architecture;
  const auto found = folder.config.find("architectures");
  if (found != folder.config.end() && found->is_array() && !found->empty() &&
      found->front().is_string()) {
    architecture = found->front().get<std::string>();
  }
  const std::string type = string_at(folder.config, "model_type");
  for (const ModelInfo* info : kModels) {
    const auto& names = info->architectures;
    if (architecture.empty() ? info->model_type == type
                             : std::find(names.begin(), names.end(), architecture) != names.end()) {
      return *info;
    }
  }
  std::vector<std::string> known;
  for (const ModelInfo* info : kModels) {
    known.emplace_back(info->architectures.front());
  }
  throw Unsupported("{}: architecture '{}' (model_type '{}') is not known here; known: {}",
                    folder.path.string(), architecture, type, join(known, ", "));
}

std::shared_ptr<nn::Model> load_model(const ModelFolder& folder, const nn::LoadOptions& options) {
  return with_context("loading " + folder.path.string(), [&] {
    const ModelInfo& info = find_model(folder);
    const nn::Weights weights = nn::Weights::from_checkpoint(
        io::is_gguf_file(folder.path) ? open_gguf_weights(folder.path)
                                      : io::Checkpoint::open(folder.path),
        options);
    weights.set_format(weight_format(folder.config));
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
  for (const nn::Entry& candidate : info.entries) {
    names.push_back(candidate.name);
    if (candidate.name != entry) {
      continue;
    }
    for (const nn::Port& port : candidate.inputs) {
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
                                      [&](const nn::Port& port) { return port.name == name; });
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
