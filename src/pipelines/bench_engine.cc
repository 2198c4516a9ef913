// A language model as the engine runs it. On a GPU everything runs once before it is timed: kernels
// are loaded and the steps' graphs recorded then. On the CPU a short request maps pages and starts
// threads. The machine is measured last: its buffers are no part of the peak of memory.
#include "core/clock.h"
#include "nn/engine.h"
#include "pipelines/bench.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <sys/resource.h>

#include <algorithm>
#include <functional>

namespace tessera::pipelines {
namespace {

void wait_for(at::Device device) {
  if (!device.is_cpu()) {
    c10::impl::getDeviceGuardImpl(device.type())->synchronizeDevice(device.index());
  }
}

// Seconds of one run, of `runs` that are queued together.
double time_on(at::Device device, int runs, const std::function<void()>& body) {
  body();
  wait_for(device);
  const auto begun = Clock::now();
  for (int i = 0; i < runs; ++i) {
    body();
  }
  wait_for(device);
  return seconds_since(begun) / runs;
}

io::Json measure_device(at::Device device) {
  const c10::InferenceMode inference;
  const auto type = at::TensorOptions().dtype(at::kBFloat16).device(device);
  constexpr int64_t kSize = 8192;
  const at::Tensor a = at::randn({kSize, kSize}, type);
  const at::Tensor b = at::randn({kSize, kSize}, type);
  const double product = time_on(device, 10, [&] { at::matmul(a, b); });
  const at::Tensor from = at::empty({int64_t{1} << 30}, type);
  at::Tensor to = at::empty_like(from);
  const double copy = time_on(device, 10, [&] { to.copy_(from); });
  return {{"copy_gb_s", 2.0 * static_cast<double>(from.nbytes()) / copy / 1e9},
          {"bf16_tflops", 2.0 * kSize * kSize * kSize / product / 1e12}};
}

// Requests with prompts of their own, and when their tokens came: seconds since the first was
// submitted.
struct Run {
  std::vector<std::vector<double>> times;
  Clock::time_point begun;

  Run(nn::Engine& engine, int64_t vocabulary, int64_t requests, int64_t prompt, int64_t generate)
      : times(static_cast<size_t>(requests)) {
    nn::GenerationOptions options;
    options.sampling.greedy = true;
    options.max_new_tokens = generate;
    std::vector<nn::EngineRequest> list;
    for (auto& own : times) {
      const at::Tensor ids = at::randint(0, vocabulary, {prompt}, at::kLong);
      const int64_t* first = ids.const_data_ptr<int64_t>();
      list.push_back({.prompt = {first, first + prompt},
                      .options = options,
                      .on_token = [this, &own](int64_t) {
                        own.push_back(seconds_since(begun));
                        return true;
                      }});
    }
    begun = Clock::now();
    for (nn::EngineRequest& request : list) {
      engine.submit(std::move(request));
    }
    engine.run();
  }
};

nn::EngineOptions engine_options(int64_t requests, int64_t tokens) {
  return {.cache_tokens = requests * (tokens + nn::PagedCache::kTokens), .sequences = requests};
}

// Bytes that every step reads: all weights but the embedding table, of which a row is.
double weight_bytes(const nn::SequenceModel& model, double& numbers) {
  double bytes = 0;
  numbers = 0;
  for (const auto& item : model.named_parameters()) {
    if (item.key().find("embed") == std::string::npos) {
      bytes += static_cast<double>(item.value().nbytes());
      const bool words = item.value().scalar_type() == at::kInt;  // of eight codes
      numbers += static_cast<double>(item.value().numel()) * (words ? 8 : 1);
    }
  }
  return bytes;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) {
    return 0;
  }
  const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

}  // namespace

io::Json measure_generation(const std::shared_ptr<nn::SequenceModel>& model,
                            int64_t prompt,
                            int64_t generate,
                            int64_t batch) {
  const bool host = model->device().is_cpu();
  nn::Engine engine(model, engine_options(batch, prompt + generate));
  const int64_t vocabulary = model->vocab_size();
  if (host) {
    Run(engine, vocabulary, 1, 1, 2);
  } else {
    Run(engine, vocabulary, batch, prompt, generate);
  }
  const Run run(engine, vocabulary, batch, prompt, generate);
  double prefill = 0;
  double last = 0;
  for (const auto& own : run.times) {
    prefill = std::max(prefill, own.front());
    last = std::max(last, own.back());
  }
  const double step = (last - prefill) / static_cast<double>(std::max<int64_t>(1, generate - 1));
  double numbers = 0;
  const double weights = weight_bytes(*model, numbers);
  const double page =
      static_cast<double>(model->make_paged_cache(1, model->state_dtype())->bytes()) /
      nn::PagedCache::kTokens;
  const double length = static_cast<double>(prompt) + static_cast<double>(generate) / 2;
  const double read = (weights + page * length * static_cast<double>(batch)) / step / 1e9;
  const double tokens = static_cast<double>(batch * prompt);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  io::Json result = {{"prompt", prompt},
                     {"generate", generate},
                     {"batch", batch},
                     {"threads", at::get_num_threads()},
                     {"prefill_ms", 1e3 * prefill},
                     {"prefill_tok_s", tokens / prefill},
                     {"decode_tok_s", static_cast<double>(batch) / step},
                     {"step_ms", 1e3 * step},
                     {"step_gb_s", read},
                     {"peak_rss_mb", static_cast<double>(usage.ru_maxrss) / 1024.0},
                     {"weight_mb", weights / 1e6}};
  if (host) {
    result["read_gb_s"] = measure_machine(0.3)["read_gb_s"];
    result["share_of_read_peak"] = read / result["read_gb_s"].get<double>();
    return result;
  }
  result.update(measure_device(model->device()));
  result["share_of_copy"] = read / result["copy_gb_s"].get<double>();
  result["share_of_bf16"] =
      2 * numbers * tokens / prefill / 1e12 / result["bf16_tflops"].get<double>();
  return result;
}

io::Json measure_serving(const std::shared_ptr<nn::SequenceModel>& model,
                         int64_t requests,
                         int64_t prompt,
                         int64_t generate) {
  nn::Engine engine(model, engine_options(requests, prompt + generate));
  Run(engine, model->vocab_size(), requests, prompt, generate);
  const Run run(engine, model->vocab_size(), requests, prompt, generate);
  std::vector<double> first, between;
  double last = 0;
  for (const auto& own : run.times) {
    first.push_back(own.front());
    last = std::max(last, own.back());
    for (size_t i = 1; i < own.size(); ++i) {
      between.push_back(own[i] - own[i - 1]);
    }
  }
  return {{"requests", requests},
          {"prompt", prompt},
          {"generate", generate},
          {"seconds", last},
          {"output_tok_s", static_cast<double>(requests * generate) / last},
          {"first_token_p50_ms", 1e3 * percentile(first, 0.5)},
          {"first_token_p99_ms", 1e3 * percentile(first, 0.99)},
          {"between_tokens_p50_ms", 1e3 * percentile(between, 0.5)},
          {"between_tokens_p99_ms", 1e3 * percentile(between, 0.99)}};
}

}  // namespace tessera::pipelines
