// A row has one sequence of pages, and inside a guided span a second one that lacks the condition;
// both are pieces of the same step. What a row must still run is its history behind what its pages
// hold, so that prefill, decoding and running again after losing the pages are one case.
#include "nn/engine.h"

#include "core/error.h"
#include "nn/row_sampler.h"

#include <ATen/Parallel.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

namespace tessera::nn {

struct Engine::Row {
  Row(EngineRequest asked, uint64_t given)
      : number(given),
        request(std::move(asked)),
        sampler(request.options, request.prompt, request.options.max_new_tokens, 0) {}

  /// Ids of the run without a condition: the guidance prompt, the span's start marker, its codes.
  std::vector<int64_t> guidance_ids() const {
    std::vector<int64_t> ids = request.options.guidance_prompt;
    const std::vector<int64_t>& history = sampler.history();
    ids.insert(ids.end(), history.begin() + static_cast<std::ptrdiff_t>(sampler.span_begin()) - 1,
               history.end());
    return ids;
  }

  uint64_t number;
  EngineRequest request;
  RowSampler sampler;
  PagedSequence pages;
  PagedSequence guidance;
  size_t guided_span = 0;  // span that `guidance` belongs to, by its begin
  bool over = false;
};

// Tokens of one sequence in a step.
struct Engine::Piece {
  Row* row;
  PagedSequence* sequence;
  std::span<const int64_t> ids;   // all of the sequence, up to the last one of the piece
  bool wanted;                    // whether its last token's logits are
  std::vector<int64_t> own = {};  // `ids`, where nobody else holds them
};

// Of the wanted pieces, in their order.
struct Engine::Scores {
  Tensor logits;  // fp32 [wanted, vocab]; undefined when every row takes the best
  Tensor best;    // i64 [wanted]; undefined when logits are there
};

namespace {

int64_t pages_for(int64_t tokens) {
  return (tokens + PagedCache::kTokens - 1) / PagedCache::kTokens;
}

bool has_guidance(const GenerationOptions& options) {
  return options.spans != nullptr &&
         std::any_of(options.spans->rules.begin(), options.spans->rules.end(),
                     [](const SpanRule& rule) { return rule.guidance != 1.0; });
}

}  // namespace

Engine::Engine(std::shared_ptr<SequenceModel> model, const EngineOptions& options)
    : model_(std::move(model)), options_(options) {
  const bool host = model_->device().is_cpu();
  if (options_.batch_tokens == 0) {
    options_.batch_tokens = host ? 512 : 16384;
  }
  if (options_.mixed_tokens == 0) {
    options_.mixed_tokens = host ? options_.batch_tokens : 768;
  }
  TESSERA_CHECK(options_.batch_tokens > 0 && options.sequences > 0, InvalidArgument,
                "engine: {} tokens a step and {} sequences", options_.batch_tokens,
                options.sequences);
  const int64_t pages = options.pages > 0 ? options.pages : pages_for(options.cache_tokens);
  cache_ = model_->make_paged_cache(pages, host ? options.cache_dtype : model_->state_dtype());
  if (!host && model_->steps_without_host(*cache_)) {
    model_->prepare_for_pages();  // before the stepper, which waits for what is under way
    stepper_ = GpuStepper::make(*model_, *cache_);
  }
}

Engine::~Engine() = default;

uint64_t Engine::submit(EngineRequest request) {
  const GenerationOptions& options = request.options;
  const auto length = static_cast<int64_t>(request.prompt.size());
  TESSERA_CHECK(length > 0, InvalidArgument, "the prompt is empty; give at least one token");
  for (const int64_t id : request.prompt) {
    TESSERA_CHECK(id >= 0 && id < model_->vocab_size(), InvalidArgument,
                  "prompt ids must be in 0 … {}, got {}", model_->vocab_size() - 1, id);
  }
  options.sampling.check();
  TESSERA_CHECK(!has_guidance(options) || !options.guidance_prompt.empty(), InvalidArgument,
                "guidance needs a prompt without the condition; give guidance_prompt");
  int64_t needed = pages_for(length + std::max<int64_t>(0, options.max_new_tokens));
  if (has_guidance(options)) {
    needed += pages_for(static_cast<int64_t>(options.guidance_prompt.size()) + 1 +
                        options.max_new_tokens);
  }
  TESSERA_CHECK(needed <= cache_->pages(), InvalidArgument,
                "{} tokens of prompt and {} to come need {} pages of the cache, which has {}",
                length, options.max_new_tokens, needed, cache_->pages());
  const std::lock_guard lock(mutex_);
  inbox_.push_back(std::make_unique<Row>(std::move(request), next_number_));
  ++stats_.waiting;
  return next_number_++;
}

void Engine::cancel(uint64_t number) {
  const std::lock_guard lock(mutex_);
  cancelled_.push_back(number);
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Engine::leave(Row& row) {
  cache_->release(row.pages);
  cache_->release(row.guidance);
  row.over = true;
}

void Engine::fail(Row& row, const std::exception_ptr& error) {
  leave(row);
  if (!row.request.on_error) {
    std::rethrow_exception(error);
  }
  row.request.on_error(error);
}

void Engine::end(Row& row, Finish finish) {
  leave(row);
  if (row.request.on_finish) {
    row.request.on_finish(finish);
  }
}

void Engine::take_inbox() {
  std::vector<uint64_t> cancelled;
  {
    const std::lock_guard lock(mutex_);
    std::move(inbox_.begin(), inbox_.end(), std::back_inserter(queue_));
    inbox_.clear();
    cancelled.swap(cancelled_);
  }
  for (auto* list : {&rows_, &queue_}) {
    for (const auto& row : *list) {
      if (std::find(cancelled.begin(), cancelled.end(), row->number) != cancelled.end()) {
        end(*row, Finish::kCancelled);
      } else if (row->sampler.full()) {  // nothing was asked for
        end(*row, Finish::kLength);
      } else if (row->sampler.ended()) {  // the constraint's only text is the empty one
        end(*row, Finish::kEnd);
      }
    }
    std::erase_if(*list, [](const auto& row) { return row->over; });
  }
}

void Engine::preempt(size_t index) {
  std::unique_ptr<Row> row = std::move(rows_[index]);
  rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(index));
  cache_->release(row->pages);
  cache_->release(row->guidance);
  row->guided_span = 0;
  queue_.insert(queue_.begin(), std::move(row));
  const std::lock_guard lock(mutex_);
  ++stats_.preemptions;
}

bool Engine::reserve(Row& row, int64_t length, int64_t guidance_length) {
  return cache_->reserve(row.pages, length) && cache_->reserve(row.guidance, guidance_length);
}

// Adds a row's tokens to the step: up to `budget` of its history, and what its guidance needs when
// the history is through. False when pages lack.
bool Engine::plan(Row& row, int64_t budget, std::vector<Piece>& pieces) {
  const std::vector<int64_t>& history = row.sampler.history();
  const auto total = static_cast<int64_t>(history.size());
  const int64_t until = std::min(total, row.pages.length + budget);
  const bool complete = until == total;
  std::vector<int64_t> guidance;
  if (complete && row.sampler.guided()) {
    guidance = row.guidance_ids();
    if (row.guided_span != row.sampler.span_begin()) {  // another span: from the prompt again
      cache_->release(row.guidance);
      row.guided_span = row.sampler.span_begin();
    }
    if (row.guidance.pages.empty()) {
      cache_->adopt(row.guidance, guidance);
    }
  }
  if (!reserve(row, until, static_cast<int64_t>(guidance.size()))) {
    return false;
  }
  pieces.push_back(
      {&row, &row.pages, std::span(history).first(static_cast<size_t>(until)), complete});
  if (!guidance.empty()) {
    pieces.push_back({&row, &row.guidance, {}, true, std::move(guidance)});
    pieces.back().ids = pieces.back().own;  // a vector that moves keeps its memory
  }
  return true;
}

std::vector<Engine::Piece> Engine::schedule() {
  std::vector<Piece> pieces;
  const bool mixed = std::any_of(rows_.begin(), rows_.end(), [](const auto& row) {
    return row->pages.length + 1 == std::ssize(row->sampler.history());
  });
  int64_t budget =
      mixed ? std::min(options_.batch_tokens, options_.mixed_tokens) : options_.batch_tokens;
  bool preempted = false;
  const auto spend = [&](size_t from) {
    for (size_t i = from; i < pieces.size(); ++i) {
      budget -= static_cast<int64_t>(pieces[i].ids.size()) - pieces[i].sequence->length;
    }
  };
  for (size_t i = 0; i < rows_.size() && budget > 0;) {
    const size_t before = pieces.size();
    if (plan(*rows_[i], budget, pieces)) {
      spend(before);
      ++i;
    } else {
      preempt(rows_.size() - 1);  // the youngest; perhaps this one
      preempted = true;
    }
  }
  while (!queue_.empty() && budget > 0 && !preempted &&
         static_cast<int64_t>(rows_.size()) < options_.sequences) {
    Row& row = *queue_.front();
    const int64_t found = cache_->adopt(row.pages, row.sampler.history());
    const size_t before = pieces.size();
    // Room for all of it, and a page for each that runs: else it would soon be sent back.
    const int64_t missing = pages_for(static_cast<int64_t>(row.sampler.history().size()) - found);
    const bool fits =
        rows_.empty() || missing + static_cast<int64_t>(rows_.size()) <= cache_->available();
    if (!fits || !plan(row, budget, pieces)) {
      cache_->release(row.pages);
      cache_->release(row.guidance);
      break;  // it waits until others leave
    }
    spend(before);
    if (const auto tell = std::exchange(row.request.on_start, {})) {  // not again when it was sent
      tell(found);                                                    // back
    }
    rows_.push_back(std::move(queue_.front()));
    queue_.erase(queue_.begin());
    const std::lock_guard lock(mutex_);
    stats_.cached_tokens += found;
  }
  return pieces;
}

Engine::Scores Engine::forward(const std::vector<Piece>& pieces) {
  Scores scores = stepper_ != nullptr ? forward_gpu(pieces) : Scores{forward_host(pieces), {}};
  int64_t tokens = 0;
  for (const Piece& piece : pieces) {
    tokens += std::ssize(piece.ids) - piece.sequence->length - (piece.wanted ? 1 : 0);
    cache_->commit(*piece.sequence, piece.ids, std::ssize(piece.ids));
  }
  const std::lock_guard lock(mutex_);
  stats_.prompt_tokens += tokens;
  return scores;
}

Engine::Scores Engine::forward_gpu(const std::vector<Piece>& pieces) {
  std::vector<GpuStepper::Piece> steps;
  bool best = true;
  for (const Piece& piece : pieces) {
    steps.push_back({piece.ids, piece.sequence->length, piece.sequence->pages, piece.wanted});
    best = best && (!piece.wanted || piece.row->sampler.takes_best());
  }
  const GpuStepper::Result result = stepper_->run(steps, /*logits=*/!best);
  return {result.logits, best ? result.best : Tensor()};
}

Tensor Engine::forward_host(const std::vector<Piece>& pieces) {
  std::vector<int64_t> ids, positions, wanted;
  std::vector<int32_t> lengths, first{0};
  size_t most_pages = 1;
  for (const Piece& piece : pieces) {
    for (auto at = static_cast<size_t>(piece.sequence->length); at < piece.ids.size(); ++at) {
      ids.push_back(piece.ids[at]);
      positions.push_back(static_cast<int64_t>(at));
    }
    if (piece.wanted) {
      wanted.push_back(static_cast<int64_t>(ids.size()) - 1);
    }
    lengths.push_back(static_cast<int32_t>(piece.ids.size()));
    first.push_back(static_cast<int32_t>(ids.size()));
    most_pages = std::max(most_pages, piece.sequence->pages.size());
  }
  const Tensor tables =
      at::zeros({static_cast<int64_t>(pieces.size()), static_cast<int64_t>(most_pages)}, at::kInt);
  for (size_t i = 0; i < pieces.size(); ++i) {
    std::copy(pieces[i].sequence->pages.begin(), pieces[i].sequence->pages.end(),
              tables.mutable_data_ptr<int32_t>() + i * most_pages);
  }
  const at::Device device = model_->device();
  const Step step{.ids = at::tensor(ids, at::kLong).unsqueeze(0).to(device),
                  .positions = at::tensor(positions, at::kLong).unsqueeze(0).to(device),
                  .key_mask = {},
                  .pages = cache_.get(),
                  .batch = {.tables = tables,
                            .lengths = at::tensor(lengths, at::kInt),
                            .first_query = at::tensor(first, at::kInt)},
                  .rows = at::tensor(wanted, at::kLong).to(device)};
  return model_->step(step, nullptr).squeeze(0).to(at::kFloat).cpu().contiguous();
}

void Engine::sample(const std::vector<Piece>& pieces, const Scores& scores) {
  const Tensor& logits = scores.logits;
  // Rows of logits of each row's sequence and, behind it, of its guidance.
  struct Ready {
    Row* row;
    int64_t main;
    int64_t guidance;
    int64_t id;
    std::exception_ptr error;
  };
  std::vector<Ready> ready;
  int64_t next = 0;
  for (const Piece& piece : pieces) {
    if (!piece.wanted) {
      continue;
    }
    if (piece.sequence == &piece.row->pages) {
      ready.push_back({piece.row, next, next, 0, nullptr});
    } else {
      ready.back().guidance = next;
    }
    ++next;
  }
  if (scores.best.defined()) {
    for (Ready& item : ready) {
      item.id = scores.best.const_data_ptr<int64_t>()[item.main];
      item.row->sampler.take_best(item.id);
    }
  }
  const auto vocabulary = logits.defined() ? static_cast<size_t>(logits.size(1)) : 0;
  const auto draws = logits.defined() ? std::ssize(ready) : 0;
  at::parallel_for(0, draws, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Ready& item = ready[static_cast<size_t>(i)];
      float* data = logits.mutable_data_ptr<float>();
      try {
        item.id = item.row->sampler.choose(
            {data + static_cast<size_t>(item.main) * vocabulary, vocabulary},
            {data + static_cast<size_t>(item.guidance) * vocabulary, vocabulary});
      } catch (...) {
        item.error = std::current_exception();
      }
    }
  });
  for (const Ready& item : ready) {
    if (item.error) {
      fail(*item.row, item.error);
    } else {
      settle(*item.row, item.id);
    }
  }
  const std::lock_guard lock(mutex_);
  stats_.new_tokens += static_cast<int64_t>(ready.size());
}

void Engine::settle(Row& row, int64_t id) {
  if (row.request.options.on_logprobs) {
    row.request.options.on_logprobs(0, row.sampler.logprobs());
  }
  const bool go_on = !row.request.on_token || row.request.on_token(id);
  if (row.sampler.ended()) {
    end(row, Finish::kEnd);
  } else if (!go_on) {
    end(row, Finish::kStopped);
  } else if (row.sampler.full()) {
    end(row, Finish::kLength);
  } else if (!row.sampler.guided()) {
    cache_->release(row.guidance);
  }
}

bool Engine::step() {
  const c10::InferenceMode inference;
  take_inbox();
  const std::vector<Piece> pieces = schedule();
  if (!pieces.empty()) {
    sample(pieces, forward(pieces));
    std::erase_if(rows_, [](const auto& row) { return row->over; });
  }
  const std::lock_guard lock(mutex_);
  stats_.running = static_cast<int64_t>(rows_.size());
  stats_.waiting = static_cast<int64_t>(queue_.size() + inbox_.size());
  stats_.cache_usage =
      1.0 - static_cast<double>(cache_->available()) / static_cast<double>(cache_->pages());
  return stats_.running + stats_.waiting > 0;
}

void Engine::run() {
  while (step()) {
  }
}

}  // namespace tessera::nn
