// Mixes, file types and the order of the metadata follow ggml-org/llama.cpp (llama-quant,
// convert_hf_to_gguf): half of attn_v and ffn_down get more bits in *_K_M, the head is Q6_K, rows
// that no block of 256 fits fall back to blocks of 32, those that fit neither to F16.
#include "compress/gguf.h"

#include "core/error.h"
#include "core/half.h"
#include "core/log.h"
#include "core/strings.h"
#include "io/checkpoint.h"
#include "models/gguf.h"
#include "nn/rope.h"
#include "text/gguf_vocab.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace tessera::compress {
namespace {

using io::BlockFormat;
using io::Json;

struct Mix {
  std::string_view name;
  BlockFormat format;
  uint32_t file_type;  // general.file_type
};

constexpr Mix kMixes[] = {
    {"F32", BlockFormat::kF32, 0},      {"F16", BlockFormat::kF16, 1},
    {"BF16", BlockFormat::kBF16, 32},   {"Q4_0", BlockFormat::kQ4_0, 2},
    {"Q4_1", BlockFormat::kQ4_1, 3},    {"Q5_0", BlockFormat::kQ5_0, 8},
    {"Q5_1", BlockFormat::kQ5_1, 9},    {"Q8_0", BlockFormat::kQ8_0, 7},
    {"Q2_K", BlockFormat::kQ2_K, 10},   {"Q3_K_S", BlockFormat::kQ3_K, 11},
    {"Q3_K_M", BlockFormat::kQ3_K, 12}, {"Q3_K_L", BlockFormat::kQ3_K, 13},
    {"Q4_K_S", BlockFormat::kQ4_K, 14}, {"Q4_K_M", BlockFormat::kQ4_K, 15},
    {"Q5_K_S", BlockFormat::kQ5_K, 16}, {"Q5_K_M", BlockFormat::kQ5_K, 17},
    {"Q6_K", BlockFormat::kQ6_K, 18},
};

const Mix& find_mix(std::string_view name) {
  const bool bare = name == "Q3_K" || name == "Q4_K" || name == "Q5_K";
  const std::string full = std::string(name) + (bare ? "_M" : "");
  for (const Mix& mix : kMixes) {
    if (mix.name == full) {
      return mix;
    }
  }
  throw InvalidArgument("'{}' is no GGUF format that can be written; known: {}", name,
                        join(gguf_mixes(), ", "));
}

bool ends_with_part(std::string_view name, std::string_view part) {
  return name.ends_with(std::string(".") + std::string(part) + ".weight");
}

int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t layer = 0;
  if (name.starts_with(kPrefix)) {
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  }
  return layer;
}

/// The format before rows that do not fit are seen to.
BlockFormat wanted_format(const Mix& mix, std::string_view name, const MixShape& model) {
  const int64_t layer = layer_of(name);
  const int64_t n = model.layers;
  const bool more = layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
  const bool k_mix = io::block_layout(mix.format).elements == 256;
  const bool head = name == "output.weight" || (model.tied && name == "token_embd.weight");
  if (head) {
    return mix.format == BlockFormat::kQ8_0 ? mix.format : BlockFormat::kQ6_K;
  }
  if (!k_mix) {
    return mix.format;
  }
  const bool grouped = model.kv_heads > 0 && model.heads / model.kv_heads >= 4;
  if (ends_with_part(name, "attn_v")) {
    if (mix.name == "Q2_K") {
      return grouped ? BlockFormat::kQ4_K : BlockFormat::kQ3_K;
    }
    if (mix.name == "Q3_K_M") {
      return layer < 2 ? BlockFormat::kQ5_K : BlockFormat::kQ4_K;
    }
    if (mix.name == "Q3_K_L" || (mix.name == "Q4_K_S" && layer < 4)) {
      return BlockFormat::kQ5_K;
    }
    return mix.name.ends_with("_M") && more ? BlockFormat::kQ6_K : mix.format;
  }
  if (ends_with_part(name, "ffn_down")) {
    if (mix.name == "Q2_K") {
      return BlockFormat::kQ3_K;
    }
    if (mix.name == "Q3_K_M") {
      return layer < n / 16 ? BlockFormat::kQ5_K : BlockFormat::kQ4_K;
    }
    if (mix.name == "Q3_K_L" || (mix.name == "Q4_K_S" && layer < n / 8)) {
      return BlockFormat::kQ5_K;
    }
    return mix.name.ends_with("_M") && more ? BlockFormat::kQ6_K : mix.format;
  }
  if (ends_with_part(name, "attn_output")) {
    return mix.name == "Q2_K"     ? BlockFormat::kQ3_K
           : mix.name == "Q3_K_M" ? BlockFormat::kQ4_K
           : mix.name == "Q3_K_L" ? BlockFormat::kQ5_K
                                  : mix.format;
  }
  if (ends_with_part(name, "attn_qkv")) {
    return mix.name == "Q3_K_M" || mix.name == "Q3_K_L" ? BlockFormat::kQ4_K
           : mix.name == "Q4_K_M"                       ? BlockFormat::kQ5_K
           : mix.name == "Q5_K_M"                       ? BlockFormat::kQ6_K
                                                        : mix.format;
  }
  return mix.format;
}

/// A format of blocks of 32 in place of one of 256.
BlockFormat fallback(BlockFormat format) {
  switch (format) {
    case BlockFormat::kQ2_K:
    case BlockFormat::kQ3_K:
      return BlockFormat::kQ4_0;  // llama.cpp takes IQ4_NL, which is only read here
    case BlockFormat::kQ4_K:
      return BlockFormat::kQ5_0;
    case BlockFormat::kQ5_K:
      return BlockFormat::kQ5_1;
    case BlockFormat::kQ6_K:
      return BlockFormat::kQ8_0;
    default:
      return format;
  }
}

/// Numbers `from` … `from + out.size()` of a contiguous entry.
void read_floats(const io::TensorEntry& entry, int64_t from, std::span<float> out) {
  const auto count = static_cast<int64_t>(out.size());
  const auto load = [&](auto sample, auto convert) {
    using T = decltype(sample);
    for (int64_t i = 0; i < count; ++i) {
      T value;
      std::memcpy(&value, entry.data + (from + i) * static_cast<int64_t>(sizeof(T)), sizeof(T));
      out[static_cast<size_t>(i)] = convert(value);
    }
  };
  switch (entry.dtype) {
    case io::DType::kF32:
      return load(float{}, [](float value) { return value; });
    case io::DType::kF64:
      return load(double{}, [](double value) { return static_cast<float>(value); });
    case io::DType::kF16:
      return load(uint16_t{}, half_to_float);
    case io::DType::kBF16:
      return load(uint16_t{}, bfloat16_to_float);
    default:
      throw Unsupported("{}: weights of type {} cannot be written to GGUF; expected floats",
                        entry.file, entry.type_name());
  }
}

/// Row of the source that becomes row `row`: heads of `paired` rows are stored in pairs.
int64_t source_row(int64_t row, int64_t paired) {
  if (paired == 0) {
    return row;
  }
  const int64_t in_head = row % paired;
  return row - in_head + in_head / 2 + (in_head % 2) * (paired / 2);
}

/// One tensor to be written, and where it comes from.
struct Item {
  io::GgufTensor tensor;
  const io::TensorEntry* source = nullptr;  // null: `values`
  std::vector<float> values;
  int64_t paired = 0;
  float plus = 0.F;
};

std::vector<std::byte> encode(const Item& item) {
  const io::GgufTensor& tensor = item.tensor;
  const int64_t width = tensor.shape.back();
  const int64_t rows = *io::shape_count(tensor.shape) / std::max<int64_t>(1, width);
  const int64_t row_bytes = io::block_bytes(tensor.format, width);
  std::vector<std::byte> out(static_cast<size_t>(rows * row_bytes));
  at::parallel_for(0, rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(width));
    for (int64_t r = begin; r < end; ++r) {
      if (item.source == nullptr) {
        std::copy_n(item.values.begin() + r * width, width, row.begin());
      } else if (tensor.shape.size() == 1 && item.paired > 0) {
        for (int64_t i = 0; i < width; ++i) {  // a bias: its numbers are the rows
          read_floats(*item.source, source_row(i, item.paired), {&row[static_cast<size_t>(i)], 1});
        }
      } else {
        read_floats(*item.source, source_row(r, item.paired) * width, row);
      }
      if (item.plus != 0.F) {
        for (float& value : row) {
          value += item.plus;
        }
      }
      io::quantize(tensor.format, row.data(), width, out.data() + r * row_bytes);
    }
  });
  return out;
}

/// Reads config.json with the defaults of transformers.
class Config {
 public:
  explicit Config(const Json& json) : json_(json) {}

  std::optional<double> number(const char* key) const {
    const auto found = json_.find(key);
    return found != json_.end() && found->is_number() ? std::optional(found->get<double>())
                                                      : std::nullopt;
  }
  uint32_t integer(const char* key, std::optional<uint32_t> fallback = std::nullopt) const {
    const auto value = number(key);
    TESSERA_CHECK(value || fallback, CorruptFile, "config.json: '{}' must be a number", key);
    TESSERA_CHECK(!value || (*value >= 0 && *value <= UINT32_MAX), CorruptFile,
                  "config.json: '{}' is {}", key, *value);
    return value ? static_cast<uint32_t>(*value) : *fallback;
  }
  const Json& json() const { return json_; }

 private:
  const Json& json_;
};

const models::GgufFamily& family_of(const Json& config) {
  const auto list = config.find("architectures");
  std::string name =
      list != config.end() && list->is_array() && !list->empty() && list->front().is_string()
          ? list->front().get<std::string>()
          : std::string();
  if (name == "MistralForCausalLM") {
    name = "LlamaForCausalLM";  // one architecture in GGUF
  }
  std::vector<std::string> known;
  for (const models::GgufFamily& family : models::gguf_families()) {
    if (family.transformers == name) {
      return family;
    }
    known.emplace_back(family.transformers);
  }
  throw Unsupported("config.json: architecture '{}' cannot be written to GGUF; known: {}", name,
                    join(known, ", "));
}

struct Rotary {
  io::GgufFields fields;
  std::vector<Item> factors;
};

Item factor_item(const std::string& name, std::vector<float> values) {
  Item item;
  item.tensor = {name, BlockFormat::kF32, {static_cast<int64_t>(values.size())}};
  item.values = std::move(values);
  return item;
}

/// Divisors of the frequencies under Llama 3's rule.
std::vector<float> llama3_divisors(const nn::RopeConfig& rope, int64_t head_dim) {
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double frequency =
        std::pow(rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    const double turns = rope.original_max_position * frequency / (2.0 * M_PI);
    const double smooth =
        (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
    divisors.push_back(static_cast<float>(turns < rope.low_freq_factor ? rope.factor
                                          : turns > rope.high_freq_factor
                                              ? 1.0
                                              : 1.0 / ((1.0 - smooth) / rope.factor + smooth)));
  }
  return divisors;
}

Rotary rotary(const Json& config, const std::string& prefix, int64_t head_dim) {
  const nn::RopeConfig rope = nn::RopeConfig::from_json(config);
  Rotary out;
  const auto rotated = static_cast<uint32_t>(static_cast<double>(head_dim) * rope.partial);
  out.fields.emplace_back(prefix + "rope.dimension_count", rotated);
  out.fields.emplace_back(prefix + "rope.freq_base", static_cast<float>(rope.theta));
  if (rope.type == "linear") {
    out.fields.emplace_back(prefix + "rope.scaling.type", std::string("linear"));
    out.fields.emplace_back(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
  } else if (rope.type == "llama3") {
    out.factors.push_back(factor_item("rope_freqs.weight", llama3_divisors(rope, head_dim)));
  } else {
    TESSERA_CHECK(rope.type == "default", Unsupported,
                  "config.json: rope_type '{}' cannot be written to GGUF; known: default, linear, "
                  "llama3",
                  rope.type);
  }
  return out;
}

io::GgufFields model_fields(const models::GgufFamily& family,
                            const Config& config,
                            const Mix& mix,
                            const io::fs::path& in,
                            int64_t head_dim) {
  const std::string prefix = std::string(family.architecture) + ".";
  const uint32_t heads = config.integer("num_attention_heads");
  const auto width = static_cast<uint32_t>(head_dim);
  io::GgufFields fields = {
      {"general.architecture", std::string(family.architecture)},
      {"general.type", std::string("model")},
      {"general.name",
       in.filename().empty() ? in.parent_path().filename().string() : in.filename().string()},
      {"general.file_type", mix.file_type},
      {"general.quantization_version", uint32_t{2}},
      {prefix + "block_count", config.integer("num_hidden_layers")},
      {prefix + "context_length", config.integer("max_position_embeddings", 2048)},
      {prefix + "embedding_length", config.integer("hidden_size")},
      {prefix + "feed_forward_length", config.integer("intermediate_size")},
      {prefix + "attention.head_count", heads},
      {prefix + "attention.head_count_kv", config.integer("num_key_value_heads", heads)},
      {prefix + "attention.layer_norm_rms_epsilon",
       static_cast<float>(config.number("rms_norm_eps").value_or(1e-6))},
      {prefix + "attention.key_length", width},
      {prefix + "attention.value_length", width},
      {prefix + "vocab_size", config.integer("vocab_size")},
  };
  if (family.architecture == "gemma2") {
    fields.emplace_back(prefix + "attn_logit_softcapping",
                        static_cast<float>(config.number("attn_logit_softcapping").value_or(50)));
    fields.emplace_back(prefix + "final_logit_softcapping",
                        static_cast<float>(config.number("final_logit_softcapping").value_or(30)));
  }
  if (const uint32_t window = config.integer("sliding_window", 0); window > 0) {
    fields.emplace_back(prefix + "attention.sliding_window", window);
  }
  return fields;
}

/// A model without a tokenizer is written as one: its readers are given ids.
io::GgufFields vocabulary_of(const io::fs::path& folder, int64_t size) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"}) {
    if (io::fs::exists(folder / name)) {
      return text::gguf_tokenizer_fields(folder, size);
    }
  }
  log::warning("{}: no tokenizer in this folder; the file will have none", folder.string());
  return {{"tokenizer.ggml.model", std::string("none")}};
}

std::vector<Item> tensor_items(const models::GgufFamily& family,
                               const io::Checkpoint& checkpoint,
                               const Mix& mix,
                               const MixShape& model,
                               int64_t head_dim) {
  std::vector<Item> items;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    const auto target = models::gguf_name(family, name);
    if (!target) {
      TESSERA_CHECK(name.ends_with("rotary_emb.inv_freq"), Unsupported,
                    "{}: tensor '{}' has no place in a GGUF file of the architecture {}",
                    entry.file, name, family.architecture);
      continue;
    }
    if (model.tied && *target == "output.weight") {
      continue;  // a stored copy
    }
    TESSERA_CHECK(entry.is_contiguous() && !entry.shape.empty(), Unsupported,
                  "{}: tensor '{}' is not contiguous", entry.file, name);
    Item item;
    item.tensor = {*target, gguf_format(mix.name, *target, entry.shape, model), entry.shape};
    item.source = &entry;
    const bool heads = target->find(".attn_q.") != std::string::npos ||
                       target->find(".attn_k.") != std::string::npos;
    if (family.paired_heads && heads) {
      TESSERA_CHECK(head_dim % 2 == 0 && entry.shape[0] % head_dim == 0, CorruptFile,
                    "{}: tensor '{}' has {} rows, config.json says heads of {}", entry.file, name,
                    entry.shape[0], head_dim);
      item.paired = head_dim;
    }
    const bool norm = target->find("norm.") != std::string::npos;
    item.plus = family.norms_plus_one && norm ? 1.F : 0.F;
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

std::vector<std::string> gguf_mixes() {
  std::vector<std::string> names;
  for (const Mix& mix : kMixes) {
    names.emplace_back(mix.name);
  }
  return names;
}

BlockFormat gguf_format(std::string_view mix_name,
                        std::string_view name,
                        const std::vector<int64_t>& shape,
                        const MixShape& model) {
  const Mix& mix = find_mix(mix_name);
  if (shape.size() < 2) {
    return BlockFormat::kF32;
  }
  if (io::block_layout(mix.format).elements == 1) {
    return mix.format;
  }
  BlockFormat format = wanted_format(mix, name, model);
  const auto fits = [&](BlockFormat candidate) {
    return shape.back() % io::block_layout(candidate).elements == 0;
  };
  if (!fits(format)) {
    format = fallback(format);
  }
  return fits(format) ? format : BlockFormat::kF16;
}

void write_gguf(const io::fs::path& in,
                std::string_view mix_name,
                const io::fs::path& out,
                const GgufProgress& progress) {
  const Mix& mix = find_mix(mix_name);
  const models::ModelFolder folder = models::open_folder(in.string());
  TESSERA_CHECK(io::fs::is_directory(folder.path) && !folder.config.contains("quantization_config"),
                Unsupported, "{}: expected a folder with config.json and weights in floats",
                folder.path.string());
  const Config config(folder.config);
  const models::GgufFamily& family = family_of(folder.config);
  const uint32_t heads = std::max(1U, config.integer("num_attention_heads"));
  const int64_t head_dim = config.integer("head_dim", config.integer("hidden_size") / heads);
  const io::Checkpoint checkpoint = io::Checkpoint::open(folder.path);
  const bool has_head = checkpoint.find("lm_head.weight") != nullptr;
  const auto tie = folder.config.find("tie_word_embeddings");
  const bool tied = tie != folder.config.end() && tie->is_boolean() ? tie->get<bool>() : !has_head;
  const MixShape shape{.layers = config.integer("num_hidden_layers"),
                       .heads = heads,
                       .kv_heads = config.integer("num_key_value_heads", heads),
                       .tied = tied};
  std::vector<Item> items = tensor_items(family, checkpoint, mix, shape, head_dim);
  io::GgufFields fields = model_fields(family, config, mix, folder.path, head_dim);
  Rotary rope = rotary(folder.config, std::string(family.architecture) + ".", head_dim);
  fields.insert(fields.end(), rope.fields.begin(), rope.fields.end());
  std::move(rope.factors.begin(), rope.factors.end(), std::back_inserter(items));
  const io::GgufFields vocabulary = vocabulary_of(folder.path, config.integer("vocab_size"));
  fields.insert(fields.end(), vocabulary.begin(), vocabulary.end());
  std::vector<io::GgufTensor> tensors;
  for (const Item& item : items) {
    tensors.push_back(item.tensor);
  }
  io::GgufWriter writer(out, fields, tensors);
  const auto count = static_cast<int64_t>(items.size());
  for (int64_t i = 0; i < count; ++i) {
    const Item& item = items[static_cast<size_t>(i)];
    if (progress) {
      progress(item.tensor.name, i, count);
    }
    with_context("writing " + item.tensor.name, [&] { writer.write(encode(item)); });
  }
  writer.commit();
}

}  // namespace tessera::compress
