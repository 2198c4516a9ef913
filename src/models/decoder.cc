// Keys and their defaults: huggingface/transformers 5, both generations of config.json.
#include "models/decoder.h"

#include "core/error.h"

#include <cmath>
#include <utility>

namespace tessera::models {
namespace {

nn::Activation activation_of(const std::string& name, const char* key) {
  static constexpr std::pair<const char*, nn::Activation> kNames[] = {
      {"silu", nn::Activation::kSilu},         {"swish", nn::Activation::kSilu},
      {"gelu", nn::Activation::kGelu},         {"gelu_pytorch_tanh", nn::Activation::kGeluTanh},
      {"gelu_new", nn::Activation::kGeluTanh}, {"relu", nn::Activation::kRelu},
  };
  for (const auto& [known, activation] : kNames) {
    if (name == known) {
      return activation;
    }
  }
  throw Unsupported(
      "config.json: {} '{}' is not known here; known: silu, gelu, gelu_pytorch_tanh, relu", key,
      name);
}

std::string activation_name(nn::Activation activation) {
  return activation == nn::Activation::kGeluTanh ? "gelu_pytorch_tanh" : "silu";
}

class CausalModel : public nn::DecoderModel {
 public:
  CausalModel(const nn::Weights& weights,
              const nn::DecoderOptions& options,
              const ModelFolder& folder)
      : DecoderModel(weights, options), folder_(folder) {}

  nn::NamedTensors run(std::string_view entry, const nn::NamedTensors& inputs) override {
    return run_language_model_entry(*this, folder_, entry, inputs);
  }

 private:
  ModelFolder folder_;
};

}  // namespace

nn::DecoderOptions read_decoder(const io::Json& config,
                                nn::DecoderOptions options,
                                const char* activation_key) {
  const ConfigReader read(config, "config.json");
  options.vocab = read.positive("vocab_size", options.vocab);
  options.layers = read.positive("num_hidden_layers", options.layers);
  options.max_positions = read.positive("max_position_embeddings", options.max_positions);
  options.epsilon = read.number("rms_norm_eps", options.epsilon);
  options.tied = read.boolean("tie_word_embeddings", options.tied);

  nn::AttentionOptions& attention = options.attention;
  attention.hidden = read.positive("hidden_size", attention.hidden);
  attention.heads = read.positive("num_attention_heads", attention.heads);
  // A null means as many as heads, whatever the family takes for an absent key.
  if (config.contains("num_key_value_heads") || attention.kv_heads == 0) {
    attention.kv_heads = read.positive("num_key_value_heads", attention.heads);
  }
  TESSERA_CHECK(attention.heads % attention.kv_heads == 0, CorruptFile,
                "config.json: num_attention_heads {} must be a multiple of num_key_value_heads {}",
                attention.heads, attention.kv_heads);
  if (config.contains("head_dim") || attention.head_dim == 0) {
    attention.head_dim = read.positive("head_dim", attention.hidden / attention.heads);
  }
  TESSERA_CHECK(attention.head_dim > 0, CorruptFile,
                "config.json: hidden_size {} is less than num_attention_heads {}", attention.hidden,
                attention.heads);
  attention.scores.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));

  nn::MlpOptions& mlp = options.mlp;
  mlp.hidden = attention.hidden;
  mlp.inner = read.positive("intermediate_size", mlp.inner);
  mlp.activation =
      activation_of(read.string(activation_key, activation_name(mlp.activation)), activation_key);
  // Residual outputs start smaller with depth, so that activations keep their size (GPT-2).
  attention.init_std = mlp.init_std = read.number("initializer_range", 0.02);
  attention.output_init_std = mlp.output_init_std =
      attention.init_std / std::sqrt(2.0 * static_cast<double>(options.layers));

  io::Json rope = config;
  rope["max_position_embeddings"] = options.max_positions;
  options.rope = nn::RopeConfig::from_json(rope);
  return options;
}

std::vector<bool> read_sliding_layers(const io::Json& config, int64_t layers, int64_t first) {
  std::vector<bool> slides;
  const auto types = config.find("layer_types");
  if (types == config.end() || types->is_null()) {
    for (int64_t i = 0; i < layers; ++i) {
      slides.push_back(i >= first);
    }
    return slides;
  }
  TESSERA_CHECK(types->is_array() && static_cast<int64_t>(types->size()) == layers, CorruptFile,
                "config.json: 'layer_types' must be a list of {} names", layers);
  for (const io::Json& type : *types) {
    TESSERA_CHECK(type == "sliding_attention" || type == "full_attention", Unsupported,
                  "config.json: layer type {} is not known here; known: full_attention, "
                  "sliding_attention",
                  type.dump());
    slides.push_back(type == "sliding_attention");
  }
  return slides;
}

std::shared_ptr<nn::Model> make_decoder(const ModelFolder& folder,
                                        const nn::Weights& weights,
                                        const nn::DecoderOptions& options) {
  return std::make_shared<CausalModel>(weights, options, folder);
}

}  // namespace tessera::models
