// quantization_config of the published formats. Names of layers that stay plain are whole paths or
// "re:" patterns matched from the start in compressed-tensors, and parts of a path in AWQ and
// bitsandbytes, as their loaders compare them.
#include "io/quantization.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <regex>

namespace tessera::io {
namespace {

constexpr const char* kKnown =
    "known: compressed-tensors (pack-quantized, int-quantized), gptq, awq (gemm, gemv), "
    "bitsandbytes";

std::string text_at(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag_at(const Json& json, const char* key, bool otherwise) {
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

int64_t integer_at(const Json& json, const char* key, int64_t otherwise) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) {
    return otherwise;
  }
  TESSERA_CHECK(found->is_number_integer(), CorruptFile,
                "config.json: quantization_config.{} must be an integer, found {}", key,
                found->dump());
  return found->get<int64_t>();
}

std::vector<std::string> texts_at(const Json& json, const char* key) {
  std::vector<std::string> texts;
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) {
    return texts;
  }
  TESSERA_CHECK(found->is_array(), CorruptFile,
                "config.json: quantization_config.{} must be a list, found {}", key,
                found->type_name());
  for (const Json& item : *found) {
    TESSERA_CHECK(item.is_string(), CorruptFile,
                  "config.json: quantization_config.{} must be a list of texts", key);
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

int checked_bits(int64_t bits, std::initializer_list<int> known, const char* method) {
  TESSERA_CHECK(std::find(known.begin(), known.end(), bits) != known.end(), CorruptFile,
                "config.json: quantization_config says {} bits, which {} does not have", bits,
                method);
  return static_cast<int>(bits);
}

/// As the peers write it: −1 stands for a whole row.
int64_t checked_group(int64_t size) {
  TESSERA_CHECK(
      size == -1 || (size > 0 && size <= std::numeric_limits<int32_t>::max()), CorruptFile,
      "config.json: quantization_config.group_size must be -1 or positive, found {}", size);
  return size == -1 ? 0 : size;
}

bool matches(const std::string& target, std::string_view path) {
  constexpr size_t kLongestPattern = 1000;
  if (!target.starts_with("re:")) {
    return target == path;
  }
  TESSERA_CHECK(target.size() <= kLongestPattern, CorruptFile,
                "config.json: a pattern of quantization_config has {} characters", target.size());
  // Time that grows with the text, whatever a hostile pattern says (an option of libstdc++ alone).
  constexpr auto kLinear = std::regex::ECMAScript | std::regex_constants::__polynomial;
  try {
    const std::string text(path);
    return std::regex_search(text, std::regex(target.substr(3), kLinear),
                             std::regex_constants::match_continuous);
  } catch (const std::regex_error& error) {
    throw CorruptFile("config.json: quantization_config: pattern '{}' cannot be read: {}", target,
                      error.what());
  }
}

/// Whether `part` is a run of whole names of the dotted `path`.
bool contains_names(std::string_view path, std::string_view part) {
  const std::string dotted = "." + std::string(path) + ".";
  return dotted.find("." + std::string(part) + ".") != std::string::npos;
}

}  // namespace

Quantization Quantization::from_config(const Json& config) {
  const auto found = config.find("quantization_config");
  if (found == config.end() || !found->is_object() || found->empty()) {
    return {};
  }
  const std::string method = text_at(*found, "quant_method");
  if (method == "compressed-tensors") {
    return compressed_tensors(*found);
  }
  if (method == "gptq") {
    return gptq(*found);
  }
  if (method == "awq") {
    return awq(*found);
  }
  // Old files of bitsandbytes say only what was loaded how.
  if (method == "bitsandbytes" || (method.empty() && (flag_at(*found, "load_in_4bit", false) ||
                                                      flag_at(*found, "load_in_8bit", false)))) {
    return bits_and_bytes(*found);
  }
  throw Unsupported("config.json: quantization '{}' is not known here; {}", method, kKnown);
}

Quantization Quantization::compressed_tensors(const Json& json) {
  Quantization result;
  result.method_ = QuantizationMethod::kCompressedTensors;
  result.excluded_ = texts_at(json, "ignore");
  const std::string status = text_at(json, "quantization_status");
  TESSERA_CHECK(status.empty() || status == "compressed", Unsupported,
                "config.json: compressed-tensors weights are in the state '{}'; only 'compressed' "
                "files can be read",
                status);
  const auto groups = json.find("config_groups");
  TESSERA_CHECK(groups != json.end() && groups->is_object() && !groups->empty(), CorruptFile,
                "config.json: quantization_config has no config_groups");
  for (const auto& [name, group] : groups->items()) {
    const auto weights = group.is_object() ? group.find("weights") : group.end();
    TESSERA_CHECK(group.is_object() && weights != group.end() && weights->is_object(), CorruptFile,
                  "config.json: quantization group '{}' has no weights", name);
    const std::string own = text_at(group, "format");
    const std::string format = own.empty() ? text_at(json, "format") : own;
    const std::string strategy = text_at(*weights, "strategy");
    const std::string type = text_at(*weights, "type");
    const bool packed = format == "pack-quantized";
    const bool bytes = format == "int-quantized" || format == "naive-quantized";
    TESSERA_CHECK((packed || bytes) && (type.empty() || type == "int") &&
                      (strategy == "group" || strategy == "channel" || strategy == "tensor"),
                  Unsupported,
                  "config.json: quantization group '{}' (format '{}', type '{}', strategy '{}') is "
                  "not known here; {}",
                  name, format, type, strategy, kKnown);
    Group out;
    out.targets = texts_at(group, "targets");
    if (std::find(out.targets.begin(), out.targets.end(), "Linear") != out.targets.end()) {
      out.targets.clear();
    }
    out.layer.method = result.method_;
    out.layer.packed = packed;
    out.layer.bits = checked_bits(integer_at(*weights, "num_bits", 8), {1, 2, 3, 4, 5, 6, 7, 8},
                                  "compressed-tensors");
    out.layer.symmetric = flag_at(*weights, "symmetric", true);
    out.layer.group_size = strategy == "group"
                               ? checked_group(integer_at(*weights, "group_size", -1))
                           : strategy == "channel" ? 0
                                                   : -1;
    result.detail_ = format;
    result.groups_.push_back(std::move(out));
  }
  return result;
}

Quantization Quantization::gptq(const Json& json) {
  Quantization result;
  result.method_ = QuantizationMethod::kGptq;
  const std::string format = text_at(json, "checkpoint_format");
  TESSERA_CHECK(format.empty() || format == "gptq" || format == "gptq_v2", Unsupported,
                "config.json: GPTQ checkpoint_format '{}' is not known here; known: gptq, gptq_v2",
                format);
  LayerQuantization layer;
  layer.method = result.method_;
  layer.bits = checked_bits(integer_at(json, "bits", 4), {2, 3, 4, 8}, "GPTQ");
  layer.group_size = checked_group(integer_at(json, "group_size", 128));
  layer.symmetric = flag_at(json, "sym", true);
  layer.version2 = format == "gptq_v2";
  const auto dynamic = json.find("dynamic");
  layer.any_bits = dynamic != json.end() && dynamic->is_object() && !dynamic->empty();
  result.groups_.push_back({{}, layer});
  result.detail_ = flag_at(json, "desc_act", false) ? "act-order" : "";
  return result;
}

Quantization Quantization::awq(const Json& json) {
  Quantization result;
  result.method_ = QuantizationMethod::kAwq;
  std::string version = text_at(json, "version");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  TESSERA_CHECK(version.empty() || version == "gemm" || version == "gemv", Unsupported,
                "config.json: AWQ version '{}' is not known here; known: gemm, gemv", version);
  LayerQuantization layer;
  layer.method = result.method_;
  layer.bits = checked_bits(integer_at(json, "bits", integer_at(json, "w_bit", 4)), {4}, "AWQ");
  layer.group_size =
      checked_group(integer_at(json, "group_size", integer_at(json, "q_group_size", 128)));
  layer.symmetric = !flag_at(json, "zero_point", true);
  layer.by_rows = version == "gemv";
  result.groups_.push_back({{}, layer});
  result.excluded_ = texts_at(json, "modules_to_not_convert");
  result.detail_ = layer.by_rows ? "gemv" : "gemm";
  return result;
}

Quantization Quantization::bits_and_bytes(const Json& json) {
  Quantization result;
  result.method_ = QuantizationMethod::kBitsAndBytes;
  const bool four = flag_at(json, "load_in_4bit", false) || flag_at(json, "_load_in_4bit", false);
  const bool eight = flag_at(json, "load_in_8bit", false) || flag_at(json, "_load_in_8bit", false);
  TESSERA_CHECK(four != eight, CorruptFile,
                "config.json: bitsandbytes needs one of load_in_4bit and load_in_8bit");
  LayerQuantization layer;
  layer.method = result.method_;
  layer.bits = four ? 4 : 8;
  result.groups_.push_back({{}, layer});
  result.excluded_ = texts_at(json, "llm_int8_skip_modules");
  result.detail_ = four ? text_at(json, "bnb_4bit_quant_type") : "int8";
  return result;
}

LayerQuantization Quantization::layer(std::string_view path) const {
  const bool by_parts =
      method_ == QuantizationMethod::kAwq || method_ == QuantizationMethod::kBitsAndBytes;
  const auto named = [&](const std::string& name) {
    return matches(name, path) || (by_parts && contains_names(path, name));
  };
  if (std::any_of(excluded_.begin(), excluded_.end(), named)) {
    return {};
  }
  const Group* general = nullptr;  // a layer's name goes before its class
  for (const Group& group : groups_) {
    if (std::any_of(group.targets.begin(), group.targets.end(), named)) {
      return group.layer;
    }
    general = general == nullptr && group.targets.empty() ? &group : general;
  }
  return general == nullptr ? LayerQuantization{} : general->layer;
}

std::string Quantization::description() const {
  if (method_ == QuantizationMethod::kNone || groups_.empty()) {
    return "";
  }
  const LayerQuantization& first = groups_.front().layer;
  constexpr std::array<std::string_view, 5> kNames = {"", "compressed-tensors", "GPTQ", "AWQ",
                                                      "bitsandbytes"};
  std::string text(kNames[static_cast<size_t>(method_)]);
  text += detail_.empty() ? "" : " " + detail_;
  text += fmt::format(", {} bits", first.bits);
  if (method_ != QuantizationMethod::kBitsAndBytes) {
    text += first.group_size > 0    ? fmt::format(", groups of {}", first.group_size)
            : first.group_size == 0 ? ", one group a row"
                                    : ", one scale a tensor";
    text += first.symmetric ? ", symmetric" : ", with zero points";
  }
  return groups_.size() > 1 ? text + fmt::format(" and {} more schemes", groups_.size() - 1) : text;
}

}  // namespace tessera::io
