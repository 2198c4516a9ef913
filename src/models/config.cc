#include "models/config.h"

#include "core/error.h"
#include "nn/beam.h"

namespace tessera::models {
namespace {

using at::Tensor;

Tensor optional_input(const nn::NamedTensors& inputs, const char* name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? Tensor() : found->second;
}

double scalar(const nn::NamedTensors& inputs, const char* name, double fallback) {
  const Tensor value = optional_input(inputs, name);
  return value.defined() ? value.to(at::kDouble).item<double>() : fallback;
}

Tensor as_ids(const Tensor& tensor) {
  const Tensor ids = tensor.to(at::kLong);
  return ids.dim() == 2 ? ids : ids.view({1, -1});
}

void check_mask(const Tensor& mask, const Tensor& ids) {
  TESSERA_CHECK(!mask.defined() || mask.sizes() == ids.sizes(), InvalidArgument,
                "attention_mask must have input_ids' shape");
}

}  // namespace

const io::Json* ConfigReader::find(const char* key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::is_null(const char* key) const {
  const auto found = json_.find(key);
  return found != json_.end() && found->is_null();
}

int64_t ConfigReader::positive(const char* key, int64_t fallback) const {
  const io::Json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  constexpr int64_t kMax = int64_t{1} << 31;
  TESSERA_CHECK(
      value->is_number_integer() && value->get<int64_t>() > 0 && value->get<int64_t>() <= kMax,
      CorruptFile, "{}: '{}' must be a positive integer, found {}", source_, key, value->dump());
  return value->get<int64_t>();
}

int64_t ConfigReader::positive_or_null(const char* key, int64_t fallback) const {
  return is_null(key) ? 0 : positive(key, fallback);
}

int64_t ConfigReader::count(const char* key, int64_t fallback) const {
  const io::Json* value = find(key);
  return value != nullptr && *value == 0 ? 0 : positive(key, fallback);
}

std::vector<int64_t> ConfigReader::positives(const char* key,
                                             const std::vector<int64_t>& fallback) const {
  const io::Json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  constexpr int64_t kMax = int64_t{1} << 31;
  std::vector<int64_t> list;
  bool good = value->is_array() && !value->empty() && value->size() <= 64;
  for (size_t i = 0; good && i < value->size(); ++i) {
    const io::Json& item = (*value)[i];
    good = item.is_number_integer() && item.get<int64_t>() > 0 && item.get<int64_t>() <= kMax;
    list.push_back(good ? item.get<int64_t>() : 0);
  }
  TESSERA_CHECK(good, CorruptFile, "{}: '{}' must be a list of positive integers, found {}",
                source_, key, value->dump());
  return list;
}

double ConfigReader::number(const char* key, double fallback) const {
  const io::Json* value = find(key);
  TESSERA_CHECK(value == nullptr || value->is_number(), CorruptFile,
                "{}: '{}' must be a number, found {}", source_, key, value->dump());
  return value == nullptr ? fallback : value->get<double>();
}

double ConfigReader::number_or_null(const char* key, double fallback) const {
  return is_null(key) ? 0.0 : number(key, fallback);
}

bool ConfigReader::boolean(const char* key, bool fallback) const {
  const io::Json* value = find(key);
  TESSERA_CHECK(value == nullptr || value->is_boolean(), CorruptFile,
                "{}: '{}' must be true or false, found {}", source_, key, value->dump());
  return value == nullptr ? fallback : value->get<bool>();
}

std::string ConfigReader::string(const char* key, const std::string& fallback) const {
  const io::Json* value = find(key);
  TESSERA_CHECK(value == nullptr || value->is_string(), CorruptFile,
                "{}: '{}' must be a string, found {}", source_, key, value->dump());
  return value == nullptr ? fallback : value->get<std::string>();
}

nn::NamedTensors run_language_model_entry(nn::SequenceModel& model,
                                          const ModelFolder& folder,
                                          std::string_view entry,
                                          const nn::NamedTensors& inputs) {
  const Tensor ids = as_ids(inputs.at("input_ids"));
  Tensor mask = optional_input(inputs, "attention_mask");
  if (mask.defined()) {
    mask = as_ids(mask);
  }
  check_mask(mask, ids);
  if (entry == "forward") {
    return {{"logits", model.step({.ids = ids, .positions = {}, .key_mask = mask}, nullptr)}};
  }
  nn::GenerationOptions options =
      nn::GenerationOptions::from_configs(folder.config, folder.generation_config, false);
  options.max_new_tokens = inputs.at("max_new_tokens").to(at::kLong).item<int64_t>();
  TESSERA_CHECK(options.max_new_tokens >= 0, InvalidArgument,
                "max_new_tokens must be 0 or more, got {}", options.max_new_tokens);
  nn::SamplingParams& sampling = options.sampling;
  sampling.repetition_penalty = scalar(inputs, "repetition_penalty", 1.0);
  sampling.no_repeat_ngram = static_cast<int64_t>(scalar(inputs, "no_repeat_ngram_size", 0));
  sampling.min_new_tokens = static_cast<int64_t>(scalar(inputs, "min_new_tokens", 0));
  const auto beams = static_cast<int64_t>(scalar(inputs, "num_beams", 1));
  if (beams != 1) {
    const auto early = static_cast<int64_t>(scalar(inputs, "early_stopping", 0));
    TESSERA_CHECK(early >= 0 && early <= 2, InvalidArgument,
                  "early_stopping must be 0 (false), 1 (true) or 2 (never), got {}", early);
    const nn::BeamOptions search{
        .beams = beams,
        .returned = static_cast<int64_t>(scalar(inputs, "num_return_sequences", 1)),
        .length_penalty = scalar(inputs, "length_penalty", 1.0),
        .early_stopping = static_cast<nn::BeamOptions::EarlyStopping>(early)};
    return {{"sequences", nn::beam_search(model, ids, mask, options, search).sequences}};
  }
  return {{"sequences", nn::generate(model, ids, mask, options)}};
}

}  // namespace tessera::models
