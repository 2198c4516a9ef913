// Keys and names: ggml-org/llama.cpp (gguf-py constants and tensor_mapping, convert_hf_to_gguf).
// What converters change is undone: queries and keys of the Llama family are stored for interleaved
// rotation (TensorEntry::paired_rows), norms of Gemma as 1 + weight, Llama 3's rotary rule as a
// tensor of divisors (`rope_freqs`, read as LongRoPE with one list).
#include "models/gguf.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tessera::models {
namespace {

using io::GgufFile;
using io::Json;

constexpr GgufName kLlamaNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
    {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"},
    {"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
    {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
    {"blk.{}.attn_q_norm", "model.layers.{}.self_attn.q_norm"},
    {"blk.{}.attn_k_norm", "model.layers.{}.self_attn.k_norm"},
    {"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
    {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
    {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"},
};

constexpr GgufName kGemma2Names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
    {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj"},
    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj"},
    {"blk.{}.attn_v", "model.layers.{}.self_attn.v_proj"},
    {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
    {"blk.{}.post_attention_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.ffn_norm", "model.layers.{}.pre_feedforward_layernorm"},
    {"blk.{}.ffn_gate", "model.layers.{}.mlp.gate_proj"},
    {"blk.{}.ffn_up", "model.layers.{}.mlp.up_proj"},
    {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"},
    {"blk.{}.post_ffw_norm", "model.layers.{}.post_feedforward_layernorm"},
};

constexpr GgufName kPhi3Names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {"blk.{}.attn_norm", "model.layers.{}.input_layernorm"},
    {"blk.{}.attn_qkv", "model.layers.{}.self_attn.qkv_proj"},
    {"blk.{}.attn_output", "model.layers.{}.self_attn.o_proj"},
    {"blk.{}.ffn_norm", "model.layers.{}.post_attention_layernorm"},
    {"blk.{}.ffn_up", "model.layers.{}.mlp.gate_up_proj"},
    {"blk.{}.ffn_down", "model.layers.{}.mlp.down_proj"},
};

// InternLM2 files hold q, k and v apart and permuted, so that Llama's model computes them.
constexpr GgufFamily kFamilies[] = {
    {.architecture = "llama",
     .transformers = "LlamaForCausalLM",
     .model_type = "llama",
     .names = kLlamaNames,
     .paired_heads = true},
    {.architecture = "mistral",
     .transformers = "LlamaForCausalLM",
     .model_type = "llama",
     .names = kLlamaNames,
     .paired_heads = true},
    {.architecture = "internlm2",
     .transformers = "LlamaForCausalLM",
     .model_type = "llama",
     .names = kLlamaNames,
     .paired_heads = true},
    {.architecture = "qwen2",
     .transformers = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .names = kLlamaNames},
    {.architecture = "qwen3",
     .transformers = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .names = kLlamaNames},
    {.architecture = "gemma2",
     .transformers = "Gemma2ForCausalLM",
     .model_type = "gemma2",
     .names = kGemma2Names,
     .norms_plus_one = true},
    {.architecture = "phi3",
     .transformers = "Phi3ForCausalLM",
     .model_type = "phi3",
     .names = kPhi3Names},
};

/// "blk.12.attn_q" against "blk.{}.attn_q": the layer's digits, or nothing. A pattern without a
/// layer matches itself and gives "".
std::optional<std::string_view> match(std::string_view pattern, std::string_view name) {
  const size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos) {
    return pattern == name ? std::optional(std::string_view()) : std::nullopt;
  }
  const std::string_view tail = pattern.substr(hole + 2);
  if (name.size() <= pattern.size() - 2 || !name.starts_with(pattern.substr(0, hole)) ||
      !name.ends_with(tail)) {
    return std::nullopt;
  }
  const std::string_view layer = name.substr(hole, name.size() - hole - tail.size());
  const bool digits =
      std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional(layer) : std::nullopt;
}

std::string filled(std::string_view pattern, std::string_view layer) {
  const size_t hole = pattern.find("{}");
  return hole == std::string_view::npos
             ? std::string(pattern)
             : std::string(pattern.substr(0, hole)) + std::string(layer) +
                   std::string(pattern.substr(hole + 2));
}

std::optional<std::string> renamed(std::span<const GgufName> names,
                                   std::string_view name,
                                   std::string_view GgufName::*from,
                                   std::string_view GgufName::*to) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view kind = name.substr(dot);
  if (kind != ".weight" && kind != ".bias") {
    return std::nullopt;
  }
  for (const GgufName& row : names) {
    if (const auto layer = match(row.*from, name.substr(0, dot))) {
      return filled(row.*to, *layer) + std::string(kind);
    }
  }
  return std::nullopt;
}

/// Reads the metadata of one file; keys come without the architecture's prefix.
class Metadata {
 public:
  Metadata(const GgufFile& file, std::string_view prefix, std::string source)
      : file_(file), prefix_(prefix), source_(std::move(source)) {}

  /// A positive integer, or a list that repeats one.
  std::optional<int64_t> integer(std::string_view name) const {
    const std::string key = full(name);
    const io::GgufValue* value = file_.find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    std::optional<int64_t> number = value->integer();
    if (const auto list = value->integers(); list && !list->empty()) {
      TESSERA_CHECK(std::all_of(list->begin(), list->end(),
                                [&](int64_t item) { return item == list->front(); }),
                    Unsupported, "{}: '{}' differs from layer to layer, which is not known here",
                    source_, key);
      number = list->front();
    }
    TESSERA_CHECK(number && *number > 0 && *number <= int64_t{1} << 31, CorruptFile,
                  "{}: '{}' must be a positive integer", source_, key);
    return number;
  }

  int64_t required(std::string_view name) const {
    const auto value = integer(name);
    TESSERA_CHECK(value, CorruptFile, "{}: the metadata have no '{}'", source_, full(name));
    return *value;
  }

  std::optional<double> number(std::string_view name) const {
    const std::string key = full(name);
    const io::GgufValue* value = file_.find(key);
    if (value == nullptr) {
      return std::nullopt;
    }
    const auto number = value->number();
    TESSERA_CHECK(number && std::isfinite(*number), CorruptFile, "{}: '{}' must be a number",
                  source_, key);
    return number;
  }

  std::string text(std::string_view name) const {
    return std::string(file_.text(full(name)).value_or(""));
  }

  const GgufFile& file() const { return file_; }
  const std::string& source() const { return source_; }

 private:
  std::string full(std::string_view name) const { return prefix_ + "." + std::string(name); }

  const GgufFile& file_;
  std::string prefix_;
  std::string source_;
};

const io::TensorEntry* tensor(const GgufFile& file, std::string_view name) {
  const auto found = file.table.tensors.find(std::string(name));
  return found == file.table.tensors.end() ? nullptr : &found->second;
}

/// A small tensor of divisors of the rotary frequencies.
Json factors(const Metadata& meta, const io::TensorEntry& entry) {
  constexpr int64_t kMax = 65536;
  TESSERA_CHECK(
      !entry.blocks && entry.dtype == io::DType::kF32 && entry.count() > 0 && entry.count() <= kMax,
      CorruptFile, "{}: the rotary factors must be a short list of F32", meta.source());
  Json list = Json::array();
  for (int64_t i = 0; i < entry.count(); ++i) {
    float value = 0;
    std::memcpy(&value, entry.data + i * static_cast<int64_t>(sizeof(float)), sizeof(float));
    list.push_back(static_cast<double>(value));
  }
  return list;
}

/// rope_scaling, or null.
Json rope_scaling(const Metadata& meta, int64_t context) {
  const auto original = meta.integer("rope.scaling.original_context_length");
  const io::TensorEntry* long_factors = tensor(meta.file(), "rope_factors_long.weight");
  const io::TensorEntry* short_factors = tensor(meta.file(), "rope_factors_short.weight");
  if (long_factors != nullptr && short_factors != nullptr) {
    Json scaling = {{"rope_type", "longrope"},
                    {"short_factor", factors(meta, *short_factors)},
                    {"long_factor", factors(meta, *long_factors)},
                    {"original_max_position_embeddings", original.value_or(context)}};
    if (const auto scale = meta.number("rope.scaling.attn_factor")) {
      scaling["attention_factor"] = *scale;
    }
    return scaling;
  }
  if (const io::TensorEntry* entry = tensor(meta.file(), "rope_freqs.weight")) {
    // One list whatever the length: the rule's result, not its parameters, is what the file has.
    const Json list = factors(meta, *entry);
    return {{"rope_type", "longrope"}, {"short_factor", list},
            {"long_factor", list},     {"factor", 1.0},
            {"attention_factor", 1.0}, {"original_max_position_embeddings", context}};
  }
  const std::string type = meta.text("rope.scaling.type");
  const double factor =
      meta.number("rope.scaling.factor").value_or(meta.number("rope.scale_linear").value_or(0.0));
  if (type == "none" || factor == 0.0 || (type.empty() && factor == 1.0)) {
    return {};
  }
  if (type == "linear" || type.empty()) {
    return {{"rope_type", "linear"}, {"factor", factor}};
  }
  TESSERA_CHECK(type == "yarn", Unsupported,
                "{}: rope.scaling.type '{}' is not known here; known: none, linear, yarn",
                meta.source(), type);
  Json scaling = {{"rope_type", "yarn"},
                  {"factor", factor},
                  {"original_max_position_embeddings", original.value_or(context)}};
  for (const auto& [key, ours] : {std::pair{"rope.scaling.yarn_beta_fast", "beta_fast"},
                                  {"rope.scaling.yarn_beta_slow", "beta_slow"}}) {
    if (const auto value = meta.number(key)) {
      scaling[ours] = *value;
    }
  }
  return scaling;
}

/// Keys that only some families have.
void add_gemma2(const Metadata& meta, int64_t head_dim, Json& config) {
  for (const auto& [key, ours] : {std::pair{"attn_logit_softcapping", "attn_logit_softcapping"},
                                  {"final_logit_softcapping", "final_logit_softcapping"}}) {
    if (const auto value = meta.number(key)) {
      config[ours] = *value;
    }
  }
  if (const auto window = meta.integer("attention.sliding_window")) {
    config["sliding_window"] = *window;
  }
  // Not in the file: the largest model (46 layers) alone divides by another width.
  constexpr int64_t kLargestLayers = 46;
  const int64_t layers = config["num_hidden_layers"];
  const int64_t width = config["hidden_size"].get<int64_t>();
  const int64_t heads = config["num_attention_heads"].get<int64_t>();
  config["query_pre_attn_scalar"] = layers == kLargestLayers ? width / heads : head_dim;
}

Json config_of(const GgufFamily& family, const Metadata& meta) {
  const GgufFile& file = meta.file();
  const io::TensorEntry* embedding = tensor(file, "token_embd.weight");
  TESSERA_CHECK(embedding != nullptr && embedding->shape.size() == 2, CorruptFile,
                "{}: no matrix token_embd.weight; expected a language model", meta.source());
  TESSERA_CHECK(!meta.integer("expert_count"), Unsupported,
                "{}: a mixture of experts, which is not known here", meta.source());
  const int64_t hidden = meta.required("embedding_length");
  const int64_t heads = meta.required("attention.head_count");
  const int64_t head_dim =
      meta.integer("attention.key_length").value_or(std::max<int64_t>(1, hidden / heads));
  const int64_t context = meta.required("context_length");
  Json config = {
      {"architectures", {family.transformers}},
      {"model_type", family.model_type},
      {"vocab_size", embedding->shape[0]},
      {"hidden_size", hidden},
      {"intermediate_size", meta.required("feed_forward_length")},
      {"num_hidden_layers", meta.required("block_count")},
      {"num_attention_heads", heads},
      {"num_key_value_heads", meta.integer("attention.head_count_kv").value_or(heads)},
      {"head_dim", head_dim},
      {"max_position_embeddings", context},
      {"rope_theta", meta.number("rope.freq_base").value_or(10000.0)},
      {"tie_word_embeddings", tensor(file, "output.weight") == nullptr},
      {"attention_bias", tensor(file, "blk.0.attn_q.bias") != nullptr},
      {"mlp_bias", tensor(file, "blk.0.ffn_gate.bias") != nullptr},
  };
  if (const auto epsilon = meta.number("attention.layer_norm_rms_epsilon")) {
    config["rms_norm_eps"] = *epsilon;
  }
  if (const auto rotated = meta.integer("rope.dimension_count"); rotated && *rotated < head_dim) {
    config["partial_rotary_factor"] = static_cast<double>(*rotated) / static_cast<double>(head_dim);
  }
  if (const Json scaling = rope_scaling(meta, context); !scaling.is_null()) {
    config["rope_scaling"] = scaling;
  }
  if (family.architecture == "gemma2") {
    add_gemma2(meta, head_dim, config);
  } else if (family.architecture == "phi3") {
    const auto window = meta.integer("attention.sliding_window");
    config["sliding_window"] = window && *window < context ? Json(*window) : Json();
    config["original_max_position_embeddings"] =
        meta.integer("rope.scaling.original_context_length").value_or(context);
  }
  return config;
}

/// Tokens that end a reply, whether or not the file names them so.
constexpr std::string_view kEndTokens[] = {"<|eot_id|>",    "<|im_end|>",    "<|end|>",
                                           "<end_of_turn>", "<|endoftext|>", "<|eom_id|>"};

Json generation_config_of(const GgufFile& file, int64_t vocab) {
  Json config = Json::object();
  std::vector<int64_t> ends;
  const auto add_end = [&](std::optional<int64_t> id) {
    if (id && *id >= 0 && *id < vocab && std::find(ends.begin(), ends.end(), *id) == ends.end()) {
      ends.push_back(*id);
    }
  };
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    add_end(file.integer(std::string("tokenizer.ggml.") + key));
  }
  const io::GgufValue* tokens = file.find("tokenizer.ggml.tokens");
  const io::GgufValue* types = file.find("tokenizer.ggml.token_type");
  const auto texts = tokens != nullptr ? tokens->texts() : std::nullopt;
  const auto kinds = types != nullptr ? types->integers() : std::nullopt;
  constexpr int64_t kControl = 3;
  for (size_t i = 0; texts && kinds && i < std::min(texts->size(), kinds->size()); ++i) {
    if ((*kinds)[i] == kControl && std::find(std::begin(kEndTokens), std::end(kEndTokens),
                                             (*texts)[i]) != std::end(kEndTokens)) {
      add_end(static_cast<int64_t>(i));
    }
  }
  if (!ends.empty()) {
    config["eos_token_id"] = ends;
  }
  if (const auto bos = file.integer("tokenizer.ggml.bos_token_id")) {
    config["bos_token_id"] = *bos;
  }
  if (const auto pad = file.integer("tokenizer.ggml.padding_token_id")) {
    config["pad_token_id"] = *pad;
  }
  return config;
}

/// A copy of an F32 tensor with 1 subtracted.
io::TensorEntry minus_one(const io::TensorEntry& entry, const std::string& name) {
  TESSERA_CHECK(!entry.blocks && entry.dtype == io::DType::kF32, Unsupported,
                "{}: the norm '{}' is {}, expected F32", entry.file, name, entry.type_name());
  const auto count = static_cast<size_t>(entry.count());
  auto values = std::make_shared<std::vector<float>>(count);
  if (count > 0) {
    std::memcpy(values->data(), entry.data, count * sizeof(float));
  }
  for (float& value : *values) {
    value -= 1.0F;
  }
  io::TensorEntry copy = entry;
  copy.data = reinterpret_cast<std::byte*>(values->data());
  copy.owner = values;
  return copy;
}

}  // namespace

std::span<const GgufFamily> gguf_families() {
  return kFamilies;
}

const GgufFamily& gguf_family(const GgufFile& file, std::string_view source) {
  const std::string_view architecture = file.text("general.architecture").value_or("");
  std::vector<std::string> known;
  for (const GgufFamily& family : kFamilies) {
    if (family.architecture == architecture) {
      return family;
    }
    known.emplace_back(family.architecture);
  }
  throw Unsupported("{}: general.architecture '{}' is not known here; known: {}", source,
                    utf8_lossy(architecture), join(known, ", "));
}

std::optional<std::string> transformers_name(const GgufFamily& family, std::string_view name) {
  return renamed(family.names, name, &GgufName::gguf, &GgufName::transformers);
}

std::optional<std::string> gguf_name(const GgufFamily& family, std::string_view name) {
  return renamed(family.names, name, &GgufName::transformers, &GgufName::gguf);
}

ModelFolder open_gguf_model(const io::fs::path& path) {
  const GgufFile file = io::open_gguf(path);
  const GgufFamily& family = gguf_family(file, path.string());
  ModelFolder folder;
  folder.path = path;
  folder.config =
      config_of(family, Metadata(file, std::string(family.architecture), path.string()));
  folder.generation_config = generation_config_of(file, folder.config["vocab_size"]);
  return folder;
}

io::Checkpoint open_gguf_weights(const io::fs::path& path) {
  GgufFile file = io::open_gguf(path);
  const GgufFamily& family = gguf_family(file, path.string());
  const Json config =
      config_of(family, Metadata(file, std::string(family.architecture), path.string()));
  io::TensorTable table;
  for (auto& [name, entry] : file.table.tensors) {
    const auto ours = transformers_name(family, name);
    if (!ours) {
      continue;  // rotary factors, which config_of has read; heads of other uses
    }
    const bool heads =
        name.find(".attn_q.") != std::string::npos || name.find(".attn_k.") != std::string::npos;
    if (family.paired_heads && heads) {
      entry.paired_rows = config["head_dim"];
    }
    const bool shifted = family.norms_plus_one && name.find("norm.") != std::string::npos;
    table.tensors.emplace(*ours, shifted ? minus_one(entry, name) : std::move(entry));
  }
  return io::Checkpoint::from_table(path, std::move(table));
}

}  // namespace tessera::models
