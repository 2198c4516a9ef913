#include "models/config.h"

#include "core/error.h"
#include "nn/generate.h"

namespace tessera::models {
namespace {

using at::Tensor;

Tensor optional_input(const nn::NamedTensors& inputs, const char* name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? Tensor() : found->second;
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
  if (const Tensor penalty = optional_input(inputs, "repetition_penalty"); penalty.defined()) {
    options.sampling.repetition_penalty = penalty.to(at::kDouble).item<double>();
  }
  return {{"sequences", nn::generate(model, ids, mask, options)}};
}

}  // namespace tessera::models
