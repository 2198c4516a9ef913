// Rules (positions under padding, mask inference, end and pad ids): reference notes of
// transformers 5.23.
#include "nn/generate.h"

#include "core/error.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace tessera::nn {
namespace {

std::vector<int64_t> id_list(const io::Json& config, const char* key) {
  std::vector<int64_t> ids;
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) {
    return ids;
  }
  for (const io::Json& item : found->is_array() ? *found : io::Json::array({*found})) {
    TESSERA_CHECK(item.is_number_integer(), CorruptFile,
                  "config: '{}' must be an id or a list of ids, found {}", key, found->dump());
    ids.push_back(item.get<int64_t>());
  }
  return ids;
}

void read_number(const io::Json& config, const char* key, double* value) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_number()) {
    *value = found->get<double>();
  }
}

// All ones, unless the pad id occurs in the prompt and is no end id.
Tensor infer_mask(const Tensor& ids, const GenerationOptions& options) {
  if (options.pad_hint.has_value()) {
    const int64_t pad = *options.pad_hint;
    const bool is_end =
        std::find(options.end_ids.begin(), options.end_ids.end(), pad) != options.end_ids.end();
    const Tensor real = ids != pad;
    if (!is_end && !real.all().item<bool>()) {
      return real.to(at::kLong);
    }
  }
  return at::ones(ids.sizes(), ids.options());
}

// One row while it is being generated.
struct Row {
  std::vector<int64_t> history;  // prompt without padding, and output
  std::vector<int64_t> output;
  Rng rng;
  bool finished = false;
};

}  // namespace

GenerationOptions GenerationOptions::from_configs(const io::Json& config,
                                                  const io::Json& generation_config,
                                                  bool sampling_defaults) {
  GenerationOptions options;
  const bool own = generation_config.is_object();
  options.end_ids = own && generation_config.contains("eos_token_id")
                        ? id_list(generation_config, "eos_token_id")
                        : id_list(config, "eos_token_id");
  const std::vector<int64_t> pad = own && generation_config.contains("pad_token_id")
                                       ? id_list(generation_config, "pad_token_id")
                                       : id_list(config, "pad_token_id");
  if (!pad.empty()) {
    options.pad_hint = pad.front();
  }
  options.pad_id =
      !pad.empty() ? pad.front() : (options.end_ids.empty() ? 0 : options.end_ids.front());
  if (sampling_defaults && own) {
    SamplingParams& sampling = options.sampling;
    sampling.greedy = !generation_config.value("do_sample", false);
    sampling.top_k = 50;
    double top_k = 50;
    read_number(generation_config, "top_k", &top_k);
    sampling.top_k = static_cast<int64_t>(top_k);
    read_number(generation_config, "temperature", &sampling.temperature);
    read_number(generation_config, "top_p", &sampling.top_p);
    read_number(generation_config, "min_p", &sampling.min_p);
    read_number(generation_config, "repetition_penalty", &sampling.repetition_penalty);
  }
  return options;
}

Tensor generate(SequenceModel& model,
                const Tensor& ids,
                const Tensor& mask,
                const GenerationOptions& options,
                const TokenCallback& on_token) {
  TESSERA_CHECK(ids.dim() == 2 && ids.size(1) > 0, InvalidArgument,
                "generate: the prompt is empty; give at least one token (a BOS, for example)");
  options.sampling.check();
  const int64_t batch = ids.size(0);
  const Tensor host_ids = ids.cpu().contiguous();
  Tensor key_mask =
      (mask.defined() ? mask.cpu().to(at::kLong) : infer_mask(host_ids, options)).contiguous();
  const bool padded = !key_mask.to(at::kBool).all().item<bool>();

  std::vector<Row> rows;
  for (int64_t b = 0; b < batch; ++b) {
    Row row{.history = {}, .output = {}, .rng = Rng(options.seed, static_cast<uint64_t>(b))};
    for (int64_t t = 0; t < ids.size(1); ++t) {
      if (key_mask[b][t].item<int64_t>() != 0) {
        row.history.push_back(host_ids[b][t].item<int64_t>());
      }
    }
    rows.push_back(std::move(row));
  }

  const std::unique_ptr<Cache> cache = model.make_cache();
  Tensor step_ids = ids;
  Tensor positions = (key_mask.cumsum(1) - 1).clamp_min(0);
  int64_t produced = 0;
  while (produced < options.max_new_tokens) {
    Step step{.ids = step_ids,
              .positions = positions.to(ids.device()),
              .key_mask = padded ? key_mask.to(ids.device()) : Tensor(),
              .last_only = true};
    const Tensor logits =
        model.step(step, cache.get()).select(1, -1).to(at::kFloat).cpu().contiguous().clone();
    Tensor next = at::full({batch, 1}, options.pad_id, at::kLong);
    bool any_left = false;
    for (int64_t b = 0; b < batch; ++b) {
      Row& row = rows[static_cast<size_t>(b)];
      if (row.finished) {
        row.output.push_back(options.pad_id);
        continue;
      }
      const std::span<float> scores(logits.data_ptr<float>() + b * logits.size(1),
                                    static_cast<size_t>(logits.size(1)));
      process_logits(scores, options.sampling, row.history);
      const int64_t id = pick(scores, options.sampling, row.rng);
      row.output.push_back(id);
      row.history.push_back(id);
      next[b][0] = id;
      const bool ended =
          std::find(options.end_ids.begin(), options.end_ids.end(), id) != options.end_ids.end();
      const bool go_on = !on_token || on_token(b, id);
      row.finished = ended || !go_on;
      any_left = any_left || !row.finished;
    }
    ++produced;
    if (!any_left) {
      break;
    }
    step_ids = next.to(ids.device());
    positions = positions.narrow(1, positions.size(1) - 1, 1) + 1;
    key_mask = at::cat({key_mask, at::ones({batch, 1}, at::kLong)}, 1);
  }

  Tensor output = at::full({batch, produced}, options.pad_id, at::kLong);
  for (int64_t b = 0; b < batch; ++b) {
    const std::vector<int64_t>& tokens = rows[static_cast<size_t>(b)].output;
    if (produced > 0) {
      output[b].copy_(at::tensor(tokens, at::kLong));
    }
  }
  return at::cat({host_ids, output}, 1);
}

}  // namespace tessera::nn
