// `tessera bench machine`, `generate`, `linear` and `codec`.
#include "pipelines/bench.h"

#include "cli/tensor/common.h"
#include "core/error.h"
#include "models/registry.h"

#include <cstdio>

namespace tessera::cli {
namespace {

// Published sizes with random weights, for measuring without a checkpoint.
io::Json named_shape(const std::string& name) {
  TESSERA_CHECK(name == "1.1b" || name == "7b" || name == "7b-w4", InvalidArgument,
                "--random {}: expected 1.1b, 7b or 7b-w4", name);
  if (name != "1.1b") {  // arXiv 2302.13971
    io::Json shape = {{"architectures", {"LlamaForCausalLM"}},
                      {"model_type", "llama"},
                      {"vocab_size", 32000},
                      {"hidden_size", 4096},
                      {"intermediate_size", 11008},
                      {"num_hidden_layers", 32},
                      {"num_attention_heads", 32},
                      {"num_key_value_heads", 32},
                      {"max_position_embeddings", 4096},
                      {"rms_norm_eps", 1e-5}};
    if (name == "7b-w4") {
      shape["quantization_config"] = {
          {"quant_method", "awq"}, {"version", "gemm"},  {"bits", 4},
          {"group_size", 128},     {"zero_point", true}, {"modules_to_not_convert", {"lm_head"}}};
    }
    return shape;
  }
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", 32000},
          {"hidden_size", 2048},
          {"intermediate_size", 5632},
          {"num_hidden_layers", 22},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 4},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-5}};
}

std::shared_ptr<nn::SequenceModel> open_model(const BenchGenerateOptions& options,
                                              const nn::LoadOptions& load) {
  std::shared_ptr<nn::Model> model;
  if (options.random.empty()) {
    model = models::load_model(models::open_folder(options.model), load);
  } else {
    const models::ModelFolder folder{
        .path = options.random, .config = named_shape(options.random), .generation_config = {}};
    nn::LoadOptions drawn = load;
    drawn.draw_on_device = !load.device.is_cpu();
    const nn::Weights weights = nn::Weights::from_scratch(0, drawn);
    weights.set_quantization(io::Quantization::from_config(folder.config));
    model = models::find_model(folder).load(folder, weights);
  }
  const auto sequence = std::dynamic_pointer_cast<nn::SequenceModel>(model);
  TESSERA_CHECK(sequence != nullptr, Unsupported, "bench generate: this model does not generate");
  return sequence;
}

void print(const io::Json& result, bool json) {
  if (json) {
    std::printf("%s\n", result.dump().c_str());
    return;
  }
  for (const auto& [key, value] : result.items()) {
    if (value.is_number_float()) {
      std::printf("%-20s %.2f\n", key.c_str(), value.get<double>());
    } else {
      std::printf("%-20s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    }
  }
}

}  // namespace

int run_bench_machine(const BenchOptions& options) {
  translate_torch_errors([&] {
    prepare(options);
    print(pipelines::measure_machine(options.seconds), options.json);
  });
  return 0;
}

int run_bench_generate(const BenchGenerateOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const std::shared_ptr<nn::SequenceModel> model = open_model(options, load);
    io::Json result =
        options.requests > 0
            ? pipelines::measure_serving(model, options.requests, options.prompt, options.generate)
            : pipelines::measure_generation(model, options.prompt, options.generate, options.batch);
    result["device"] = options.device;
    result["model"] = options.random.empty() ? options.model : "random " + options.random;
    result["dtype"] = options.dtype.empty() ? "stored" : options.dtype;
    print(result, options.json);
  });
  return 0;
}

int run_bench_codec(const BenchCodecOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const auto model = models::load_model(models::open_folder(options.model), load);
    const auto codec = std::dynamic_pointer_cast<nn::Codec>(model);
    TESSERA_CHECK(codec != nullptr, InvalidArgument, "{} is no codec of pictures or sound",
                  options.model);
    TESSERA_CHECK(load.device.is_cpu(), Unsupported, "bench codec measures on the CPU");
    io::Json result = pipelines::measure_codec(*codec, options.seconds);
    result["model"] = options.model;
    print(result, options.json);
  });
  return 0;
}

int run_bench_linear(const BenchLinearOptions& options) {
  translate_torch_errors([&] {
    prepare(options);
    const io::Json result =
        pipelines::measure_linears(options.formats, options.rows, options.exact, options.seconds);
    if (options.json) {
      std::printf("%s\n", result.dump().c_str());
      return;
    }
    print(result.at("machine"), false);
    std::printf("\n%-18s %5s %10s %10s %8s %9s %9s\n", "format", "rows", "ms", "tok/s", "GB/s",
                "of read", "GOP/s");
    for (const io::Json& row : result.at("linears")) {
      const std::string shape = row.contains("shape") ? " " + row.at("shape").dump() : "";
      std::printf("%-18s %5d %10.2f %10.1f %8.2f %8.0f%% %9.1f\n",
                  (row.at("format").get<std::string>() + shape).c_str(), row.at("rows").get<int>(),
                  row.at("ms").get<double>(), row.at("tok_s").get<double>(),
                  row.at("gb_s").get<double>(), 100 * row.at("share_of_read_peak").get<double>(),
                  row.at("gops").get<double>());
    }
  });
  return 0;
}

}  // namespace tessera::cli
