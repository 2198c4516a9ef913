// One step runs the newest id and the draft d1 … dk, and gives the logits after each. They are used
// in turn, by the same sampler as without drafts, up to the first id that is not the draft's; the
// cache then forgets what was not taken. A look-up proposes with certainty, so that the sampler may
// simply draw: the draw equals the draft with probability p, and is else distributed as p without
// it. A draft model's ids are kept or replaced by RowSampler::choose with a draft. A draft model
// ignores the constraint and the spans: its proposals are then refused more often, nothing else.
#include "nn/speculative.h"

#include "core/error.h"
#include "nn/row_sampler.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <limits>

namespace tessera::nn {
namespace {

// Ids that may come next, with the distribution that each was drawn from (of a draft model).
struct Draft {
  std::vector<int64_t> ids;
  std::vector<std::vector<float>> proposals;
};

// A model over one sequence whose end may be taken back.
class Runner {
 public:
  explicit Runner(SequenceModel& model) : model_(model), cache_(model.make_cache()) {}

  // Runs what the cache lacks of `ids`; logits fp32 [n, vocab] on the host after the last `wanted`.
  Tensor run(std::span<const int64_t> ids, int64_t wanted) {
    const auto total = static_cast<int64_t>(ids.size());
    const int64_t restart = model_.restart_length();
    if (cache_->length() > 0 && cache_->length() <= restart && total > restart) {
      cache_->truncate(0);
    }
    // Of a long prompt the logits of the end alone are made.
    if (wanted > 1 && total - cache_->length() > wanted) {
      step(ids.first(ids.size() - static_cast<size_t>(wanted)), true);
    }
    const Tensor logits = step(ids, wanted == 1);
    return logits.narrow(0, logits.size(0) - wanted, wanted).to(at::kFloat).cpu().contiguous();
  }

  void keep(int64_t length) { cache_->truncate(std::min(length, cache_->length())); }

  // How many of `wanted` ids may follow `length` in one step: none crosses the length at which the
  // state changes its meaning.
  int64_t room(int64_t length, int64_t wanted) const {
    const int64_t restart = model_.restart_length();
    int64_t room = wanted;
    if (restart > 0 && length <= restart) {
      room = std::min(room, restart - length);
    }
    if (model_.max_positions() > 0) {
      room = std::min(room, model_.max_positions() - length);
    }
    return std::max<int64_t>(0, room);
  }

 private:
  // Runs what the cache lacks of `ids` -> logits [n or 1, vocab].
  Tensor step(std::span<const int64_t> ids, bool last_only) {
    const std::vector<int64_t> fresh(ids.begin() + cache_->length(), ids.end());
    return model_.step({.ids = at::tensor(fresh, at::kLong).unsqueeze(0).to(model_.device()),
                        .positions = {},
                        .key_mask = {},
                        .last_only = last_only},
                       cache_.get())[0];
  }

  SequenceModel& model_;
  std::unique_ptr<Cache> cache_;
};

class DraftModel {
 public:
  DraftModel(SequenceModel& model, const GenerationOptions& options, size_t prompt, int64_t vocab)
      : runner_(model),
        options_(options),
        prompt_(prompt),
        vocab_(vocab),
        rng_(options.seed, hash_name("draft")) {}

  Draft propose(std::vector<int64_t> history, int64_t most) {
    runner_.keep(static_cast<int64_t>(history.size()) - 1);
    Draft draft;
    most = runner_.room(static_cast<int64_t>(history.size()), most);
    while (std::ssize(draft.ids) < most) {
      const Tensor logits = runner_.run(history, 1);
      const float* data = logits.const_data_ptr<float>();
      std::vector<float> scores(data, data + std::min(vocab_, logits.size(1)));
      process_logits(scores, options_.sampling,
                     {.history = history, .prompt = prompt_, .end_ids = options_.end_ids});
      const int64_t id = pick(scores, options_.sampling, rng_);
      if (scores[static_cast<size_t>(id)] == -std::numeric_limits<float>::infinity()) {
        break;  // everything is banned
      }
      softmax(scores);
      history.push_back(id);
      draft.ids.push_back(id);
      draft.proposals.push_back(std::move(scores));
      if (std::find(options_.end_ids.begin(), options_.end_ids.end(), id) !=
          options_.end_ids.end()) {
        break;
      }
    }
    return draft;
  }

 private:
  Runner runner_;
  const GenerationOptions& options_;
  size_t prompt_;
  int64_t vocab_;
  Rng rng_;
};

void check(const std::vector<int64_t>& prompt,
           const GenerationOptions& options,
           const SpeculativeOptions& speculation) {
  TESSERA_CHECK(!prompt.empty(), InvalidArgument, "the prompt is empty; give at least one token");
  TESSERA_CHECK(speculation.draft_tokens > 0 && speculation.ngram > 0, InvalidArgument,
                "speculation: drafts of {} tokens after {} equal ones; both must be 1 or more",
                speculation.draft_tokens, speculation.ngram);
  options.sampling.check();
  TESSERA_CHECK(options.spans == nullptr || speculation.draft == nullptr, InvalidArgument,
                "a draft model follows no spans; use the look-up");
  TESSERA_CHECK(options.spans == nullptr ||
                    std::all_of(options.spans->rules.begin(), options.spans->rules.end(),
                                [](const SpanRule& rule) { return rule.guidance == 1.0; }),
                InvalidArgument, "speculation does not go with guidance");
}

}  // namespace

std::vector<int64_t> look_up(std::span<const int64_t> history, int64_t ngram, int64_t most) {
  const auto length = std::ssize(history);
  for (int64_t size = std::min<int64_t>(ngram, length - 1); size > 0 && most > 0; --size) {
    const auto newest = history.last(static_cast<size_t>(size));
    for (int64_t begin = length - size - 1; begin >= 0; --begin) {
      const auto place = history.begin() + begin;
      if (std::equal(newest.begin(), newest.end(), place)) {
        const auto from = place + size;
        return {from, from + std::min<int64_t>(most, history.end() - from)};
      }
    }
  }
  return {};
}

std::vector<int64_t> generate_speculative(SequenceModel& model,
                                          const std::vector<int64_t>& prompt,
                                          const GenerationOptions& options,
                                          const SpeculativeOptions& speculation,
                                          const TokenCallback& on_token,
                                          SpeculativeStats* stats) {
  check(prompt, options, speculation);
  SpeculativeStats unused;
  SpeculativeStats& count = stats != nullptr ? *stats : unused;
  RowSampler sampler(options, prompt, options.max_new_tokens, 0);
  Runner runner(model);
  std::optional<DraftModel> drafter;
  if (speculation.draft != nullptr) {
    drafter.emplace(*speculation.draft, options, prompt.size(), model.vocab_size());
  }
  count = {.finish = sampler.ended() ? Finish::kEnd : Finish::kLength};
  bool going = !sampler.full() && !sampler.ended();
  while (going) {
    std::vector<int64_t> ids = sampler.history();
    const auto length = static_cast<int64_t>(ids.size());
    // The last id of the output needs no draft: a step gives one more than was proposed.
    const int64_t room = runner.room(
        length,
        std::min(speculation.draft_tokens, options.max_new_tokens - sampler.produced() - 1));
    const Draft draft =
        drafter ? drafter->propose(ids, room) : Draft{look_up(ids, speculation.ngram, room), {}};
    ids.insert(ids.end(), draft.ids.begin(), draft.ids.end());
    const Tensor logits = runner.run(ids, std::ssize(draft.ids) + 1);
    ++count.steps;
    count.drafted += std::ssize(draft.ids);
    bool agreed = true;
    for (size_t i = 0; going && agreed && i <= draft.ids.size(); ++i) {
      const auto vocabulary = static_cast<size_t>(logits.size(1));
      const std::span<float> scores{logits.mutable_data_ptr<float>() + i * vocabulary, vocabulary};
      const bool drawn = i < draft.proposals.size();
      const int64_t id = drawn ? sampler.choose(scores, draft.ids[i], draft.proposals[i])
                               : sampler.choose(scores, {});
      agreed = i < draft.ids.size() && id == draft.ids[i];
      count.accepted += agreed ? 1 : 0;
      if (options.on_logprobs) {
        options.on_logprobs(0, sampler.logprobs());
      }
      const bool go_on = !on_token || on_token(0, id);
      going = go_on && !sampler.ended() && !sampler.full();
      count.finish = sampler.ended() ? Finish::kEnd : go_on ? Finish::kLength : Finish::kStopped;
    }
    runner.keep(static_cast<int64_t>(sampler.history().size()) - 1);
  }
  return {sampler.history().begin() + static_cast<std::ptrdiff_t>(prompt.size()),
          sampler.history().end()};
}

}  // namespace tessera::nn
