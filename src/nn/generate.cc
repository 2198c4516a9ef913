// Rules (positions under padding, mask inference, end and pad ids): reference notes of
// transformers 5.23.
#include "nn/generate.h"

#include "core/error.h"
#include "nn/row_sampler.h"

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

struct Row {
  RowSampler sampler;
  bool finished;
  Finish finish;  // when it is
};

class Generation {
 public:
  Generation(SequenceModel& model,
             const Tensor& ids,
             const Tensor& key_mask,
             const GenerationOptions& options,
             const TokenCallback& on_token)
      : model_(model),
        options_(options),
        on_token_(on_token),
        device_(ids.device()),
        ids_(ids.cpu().contiguous()),
        key_mask_(key_mask),
        padded_(!key_mask.to(at::kBool).all().item<bool>()) {
    options.sampling.check();
    const auto is_guided = [](const SpanRule& rule) { return rule.guidance != 1.0; };
    TESSERA_CHECK(options.spans == nullptr || std::ranges::none_of(options.spans->rules, is_guided),
                  Unsupported, "generate: guided spans are the matter of nn::Engine");
    const auto batch = static_cast<size_t>(ids.size(0));
    for (size_t b = 0; b < batch; ++b) {
      start_row(b);
    }
  }

  std::vector<Finish> finishes() const {
    std::vector<Finish> list;
    for (const Row& row : rows_) {
      list.push_back(row.finish);
    }
    return list;
  }

  Tensor run() {
    const std::unique_ptr<Cache> cache = model_.make_cache();
    Tensor step_ids = ids_;
    Tensor positions = (key_mask_.cumsum(1) - 1).clamp_min(0);
    const int64_t restart = model_.restart_length();
    while (std::any_of(rows_.begin(), rows_.end(), [](const Row& row) { return !row.finished; })) {
      if (cache->length() > 0 && cache->length() <= restart && key_mask_.size(1) > restart) {
        cache->truncate(0);
        step_ids = result();
        positions = (key_mask_.cumsum(1) - 1).clamp_min(0);
      }
      const Step step{.ids = step_ids.to(device_),
                      .positions = positions.to(device_),
                      .key_mask = padded_ ? key_mask_.to(device_) : Tensor(),
                      .last_only = true};
      Tensor logits =
          model_.step(step, cache.get()).select(1, -1).to(at::kFloat).cpu().contiguous();
      step_ids = advance(logits.clone());
      positions = positions.narrow(1, positions.size(1) - 1, 1) + 1;
      key_mask_ = at::cat({key_mask_, at::ones({key_mask_.size(0), 1}, at::kLong)}, 1);
    }
    return result();
  }

 private:
  void start_row(size_t b) {
    std::vector<int64_t> prompt;
    const int64_t* ids = ids_.const_data_ptr<int64_t>() + static_cast<int64_t>(b) * ids_.size(1);
    const int64_t* kept =
        key_mask_.const_data_ptr<int64_t>() + static_cast<int64_t>(b) * ids_.size(1);
    for (int64_t t = 0; t < ids_.size(1); ++t) {
      if (kept[t] != 0) {
        prompt.push_back(ids[t]);
      }
    }
    RowSampler sampler(options_, std::move(prompt), options_.max_new_tokens, b);
    const bool finished = options_.max_new_tokens <= 0 || sampler.ended();
    const Finish finish = sampler.ended() ? Finish::kEnd : Finish::kLength;
    rows_.push_back({std::move(sampler), finished, finish});
  }

  // One id for each row from logits [B, vocab], which are used up; returns what is fed next [B, 1].
  Tensor advance(const Tensor& logits) {
    const auto vocabulary = static_cast<size_t>(logits.size(1));
    Tensor next = at::full({logits.size(0), 1}, options_.pad_id, at::kLong);
    for (size_t b = 0; b < rows_.size(); ++b) {
      Row& row = rows_[b];
      if (row.finished) {
        continue;
      }
      const int64_t id =
          row.sampler.choose({logits.data_ptr<float>() + b * vocabulary, vocabulary}, {});
      if (options_.on_logprobs) {
        options_.on_logprobs(static_cast<int64_t>(b), row.sampler.logprobs());
      }
      next.data_ptr<int64_t>()[b] = id;
      const bool go_on = !on_token_ || on_token_(static_cast<int64_t>(b), id);
      row.finished = row.sampler.ended() || !go_on || row.sampler.full();
      row.finish = row.sampler.ended() ? Finish::kEnd : go_on ? Finish::kLength : Finish::kStopped;
    }
    return next;
  }

  Tensor result() const {
    int64_t produced = 0;
    for (const Row& row : rows_) {
      produced = std::max(produced, row.sampler.produced());
    }
    const Tensor output = at::full({ids_.size(0), produced}, options_.pad_id, at::kLong);
    for (size_t b = 0; b < rows_.size(); ++b) {
      const Row& row = rows_[b];
      const std::vector<int64_t>& history = row.sampler.history();
      std::copy(history.end() - row.sampler.produced(), history.end(),
                output.data_ptr<int64_t>() + static_cast<int64_t>(b) * produced);
    }
    return at::cat({ids_, output}, 1);
  }

  SequenceModel& model_;
  const GenerationOptions& options_;
  const TokenCallback& on_token_;
  at::Device device_;
  Tensor ids_;       // [B, T] on the host
  Tensor key_mask_;  // [B, tokens so far] on the host
  bool padded_;
  std::vector<Row> rows_;
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
    read_number(generation_config, "typical_p", &sampling.typical_p);
    read_number(generation_config, "repetition_penalty", &sampling.repetition_penalty);
    double ngram = 0;
    read_number(generation_config, "no_repeat_ngram_size", &ngram);
    sampling.no_repeat_ngram = static_cast<int64_t>(ngram);
    double least = 0;
    read_number(generation_config, "min_new_tokens", &least);
    sampling.min_new_tokens = static_cast<int64_t>(least);
  }
  return options;
}

Tensor inferred_mask(const Tensor& ids, const GenerationOptions& options) {
  if (options.pad_hint.has_value()) {
    const int64_t pad = *options.pad_hint;
    const bool is_end =
        std::find(options.end_ids.begin(), options.end_ids.end(), pad) != options.end_ids.end();
    const Tensor real = ids.cpu() != pad;
    if (!is_end && !real.all().item<bool>()) {
      return real.to(at::kLong);
    }
  }
  return at::ones(ids.sizes(), at::kLong);
}

Tensor generate(SequenceModel& model,
                const Tensor& ids,
                const Tensor& mask,
                const GenerationOptions& options,
                const TokenCallback& on_token,
                std::vector<Finish>* finishes) {
  TESSERA_CHECK(ids.dim() == 2 && ids.size(1) > 0, InvalidArgument,
                "generate: the prompt is empty; give at least one token (a BOS, for example)");
  const Tensor key_mask = mask.defined() ? mask.cpu().to(at::kLong) : inferred_mask(ids, options);
  Generation generation(model, ids, key_mask.contiguous(), options, on_token);
  Tensor result = generation.run();
  if (finishes != nullptr) {
    *finishes = generation.finishes();
  }
  return result;
}

}  // namespace tessera::nn
