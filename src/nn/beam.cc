// Rules: transformers 5.23 generation (`_beam_search`). Log-probabilities are normalised before the
// processors; K = max(2, 1 + end ids) · beams candidates a row leave enough open ones when many
// end; −1e9 marks what may not be chosen, as in the reference, so that ties and lack of candidates
// come out alike. Sums are fp32 in the reference's order.
#include "nn/beam.h"

#include "core/error.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera::nn {
namespace {

constexpr float kOut = -1.0e9F;

struct Beam {
  std::vector<int64_t> output;  // generated ids
  float score = kOut;           // open: sum of log-probabilities; finished: divided by the length
  bool finished = false;
  int64_t parent = 0;  // row of the batch that it continues
};

// The prompt of one row and its beams.
struct Row {
  std::vector<int64_t> prompt = {};  // without padding
  std::vector<Beam> open = {};
  std::vector<Beam> best = {};  // finished, best first; what is not finished fills up
  Rng rng;
  bool improvable = true;
};

// The first `count` of `items` by falling score, earlier ones first on ties.
void keep_best(std::vector<Beam>& items, size_t count) {
  std::stable_sort(items.begin(), items.end(),
                   [](const Beam& a, const Beam& b) { return a.score > b.score; });
  items.resize(std::min(count, items.size()));
}

class BeamSearch {
 public:
  BeamSearch(SequenceModel& model,
             const Tensor& ids,
             const Tensor& key_mask,
             const GenerationOptions& options,
             const BeamOptions& beams)
      : model_(model),
        options_(options),
        beams_(beams),
        sampling_(options.sampling),
        ids_(ids.cpu().contiguous()),
        key_mask_(key_mask.contiguous()),
        padded_(!key_mask.to(at::kBool).all().item<bool>()),
        device_(ids.device()) {
    const auto ends = static_cast<int64_t>(options.end_ids.size());
    sampling_.least_kept = ends > 0 ? ends + 1 : 2;
    candidates_ = std::max<int64_t>(2, 1 + ends) * beams.beams;
    for (int64_t b = 0; b < ids_.size(0); ++b) {
      start_row(b);
    }
  }

  BeamResult run() {
    const std::unique_ptr<Cache> cache = model_.make_cache();
    Tensor step_ids = ids_;
    Tensor positions = (key_mask_.cumsum(1) - 1).clamp_min(0);
    bool going = options_.max_new_tokens > 0;
    for (int64_t produced = 0; going; ++produced) {
      const Step step{.ids = step_ids.to(device_),
                      .positions = positions.to(device_),
                      .key_mask = padded_ ? key_mask_.to(device_) : Tensor(),
                      .last_only = true};
      Tensor logits = model_.step(step, cache.get()).select(1, -1).to(at::kFloat).cpu();
      if (produced == 0) {  // the beams of a row begin alike: one was run
        logits = spread(logits, cache.get());
      }
      const Tensor logprobs = at::log_softmax(logits, -1).contiguous();
      bool all_stopped = true;
      for (size_t b = 0; b < rows_.size(); ++b) {
        all_stopped = advance(b, logprobs, produced) && all_stopped;
      }
      going = !all_stopped && !finished();
      if (going) {
        std::tie(step_ids, positions) = next_step(*cache);
      }
    }
    return result();
  }

 private:
  void start_row(int64_t b) {
    Row row{.rng = Rng(options_.seed, static_cast<uint64_t>(b))};
    const int64_t* ids = ids_.const_data_ptr<int64_t>() + b * ids_.size(1);
    const int64_t* kept = key_mask_.const_data_ptr<int64_t>() + b * ids_.size(1);
    for (int64_t t = 0; t < ids_.size(1); ++t) {
      if (kept[t] != 0) {
        row.prompt.push_back(ids[t]);
      }
    }
    row.open.resize(static_cast<size_t>(beams_.beams));
    row.open.front().score = 0;
    row.best.resize(static_cast<size_t>(beams_.beams));
    rows_.push_back(std::move(row));
  }

  Tensor spread(const Tensor& logits, Cache* cache) {
    const Tensor rows = at::arange(ids_.size(0)).repeat_interleave(beams_.beams);
    cache->select_rows(rows.to(device_));
    key_mask_ = key_mask_.index_select(0, rows);
    return logits.index_select(0, rows);
  }

  // Continues the beams of row `b` by one token; true when every candidate ended.
  bool advance(size_t b, const Tensor& logprobs, int64_t produced) {
    Row& row = rows_[b];
    std::vector<Beam> candidates = continuations(b, logprobs);
    const bool last = produced + 1 >= options_.max_new_tokens;
    bool all_stopped = true;
    for (Beam& candidate : candidates) {
      candidate.finished = last || std::find(options_.end_ids.begin(), options_.end_ids.end(),
                                             candidate.output.back()) != options_.end_ids.end();
      all_stopped = all_stopped && candidate.finished;
    }
    std::vector<Beam> open = candidates;
    for (Beam& beam : open) {
      beam.score += beam.finished ? kOut : 0.0F;
      beam.finished = false;
    }
    finish(row, std::move(candidates), produced + 1);
    keep_best(open, static_cast<size_t>(beams_.beams));
    row.open = std::move(open);
    update_improvable(row, produced + 1);
    return all_stopped;
  }

  // The candidates of row `b`, the most likely first or in the order of their draws.
  std::vector<Beam> continuations(size_t b, const Tensor& logprobs) {
    Row& row = rows_[b];
    const int64_t vocabulary = logprobs.size(1);
    std::vector<float> scores;
    scores.reserve(static_cast<size_t>(beams_.beams * vocabulary));
    for (size_t i = 0; i < row.open.size(); ++i) {
      const float* from =
          logprobs.const_data_ptr<float>() +
          (static_cast<int64_t>(b) * beams_.beams + static_cast<int64_t>(i)) * vocabulary;
      std::vector<float> beam(from, from + vocabulary);
      std::vector<int64_t> history = row.prompt;
      history.insert(history.end(), row.open[i].output.begin(), row.open[i].output.end());
      process_logits(
          beam, sampling_,
          {.history = history, .prompt = row.prompt.size(), .end_ids = options_.end_ids});
      for (const float score : beam) {
        scores.push_back(score + row.open[i].score);
      }
    }
    std::vector<Beam> result;
    for (const size_t index : choose(scores, row.rng)) {
      const size_t parent = index / static_cast<size_t>(vocabulary);
      Beam beam = row.open[parent];
      beam.output.push_back(static_cast<int64_t>(index) % vocabulary);
      beam.score = scores[index];
      beam.parent = static_cast<int64_t>(b) * beams_.beams + static_cast<int64_t>(parent);
      result.push_back(std::move(beam));
    }
    return result;
  }

  // Largest scores; for sampling, largest scores plus Gumbel noise: draws from their softmax
  // without replacement, in order.
  std::vector<size_t> choose(const std::vector<float>& scores, Rng& rng) const {
    std::vector<double> keys(scores.begin(), scores.end());
    if (!sampling_.greedy) {
      for (double& key : keys) {
        key -= std::log(-std::log1p(-rng.uniform()));
      }
    }
    std::vector<size_t> order(keys.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const auto count = std::min<std::ptrdiff_t>(candidates_, std::ssize(order));
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](size_t x, size_t y) {
      return keys[x] != keys[y] ? keys[x] > keys[y] : x < y;
    });
    order.resize(static_cast<size_t>(count));
    return order;
  }

  // The best of what was finished and of the first `beams` candidates that are now.
  void finish(Row& row, std::vector<Beam> candidates, int64_t length) const {
    const auto divisor =
        static_cast<float>(std::pow(static_cast<double>(length), beams_.length_penalty));
    const bool full = beams_.early_stopping == BeamOptions::EarlyStopping::kFull &&
                      std::all_of(row.best.begin(), row.best.end(),
                                  [](const Beam& beam) { return beam.finished; });
    for (size_t i = 0; i < candidates.size(); ++i) {
      Beam& beam = candidates[i];
      beam.finished = beam.finished && static_cast<int64_t>(i) < beams_.beams;
      beam.score /= divisor;
      beam.score += full ? kOut : 0.0F;
      beam.score += row.improvable ? 0.0F : kOut;
      beam.score += beam.finished ? 0.0F : kOut;
    }
    row.best.insert(row.best.end(), candidates.begin(), candidates.end());
    keep_best(row.best, static_cast<size_t>(beams_.beams));
  }

  // Whether an open beam may still get better than the worst finished one.
  void update_improvable(Row& row, int64_t length) const {
    const bool whole =
        beams_.early_stopping == BeamOptions::EarlyStopping::kNever && beams_.length_penalty > 0;
    const auto divisor = static_cast<float>(std::pow(
        static_cast<double>(whole ? options_.max_new_tokens : length), beams_.length_penalty));
    const float possible = row.open.front().score / divisor;
    float worst = row.best.front().score;
    for (const Beam& beam : row.best) {
      worst = std::min(worst, beam.score);
    }
    row.improvable =
        row.improvable && std::any_of(row.best.begin(), row.best.end(), [&](const Beam& beam) {
          return possible > (beam.finished ? worst : kOut);
        });
  }

  bool finished() const {
    const bool none =
        std::none_of(rows_.begin(), rows_.end(), [](const Row& row) { return row.improvable; });
    const bool full = std::all_of(rows_.begin(), rows_.end(), [](const Row& row) {
      return std::all_of(row.best.begin(), row.best.end(),
                         [](const Beam& beam) { return beam.finished; });
    });
    return none || (beams_.early_stopping == BeamOptions::EarlyStopping::kFull && full);
  }

  // What is fed next, after the cache has followed the beams.
  std::pair<Tensor, Tensor> next_step(Cache& cache) {
    std::vector<int64_t> parents;
    std::vector<int64_t> newest;
    for (const Row& row : rows_) {
      for (const Beam& beam : row.open) {
        parents.push_back(beam.parent);
        newest.push_back(beam.output.back());
      }
    }
    cache.select_rows(at::tensor(parents, at::kLong).to(device_));
    key_mask_ = at::cat({key_mask_, at::ones({key_mask_.size(0), 1}, at::kLong)}, 1);
    const Tensor positions = (key_mask_.cumsum(1) - 1).clamp_min(0);
    const int64_t restart = model_.restart_length();
    if (cache.length() <= restart && key_mask_.size(1) > restart) {
      cache.truncate(0);
      return {open_sequences(), positions};
    }
    return {at::tensor(newest, at::kLong).unsqueeze(1),
            positions.narrow(1, positions.size(1) - 1, 1)};
  }

  Tensor open_sequences() const {
    std::vector<Tensor> sequences;
    for (size_t b = 0; b < rows_.size(); ++b) {
      for (const Beam& beam : rows_[b].open) {
        sequences.push_back(
            at::cat({ids_[static_cast<int64_t>(b)], at::tensor(beam.output, at::kLong)}));
      }
    }
    return at::stack(sequences);
  }

  BeamResult result() const {
    size_t longest = 0;
    for (const Row& row : rows_) {
      for (int64_t i = 0; i < beams_.returned; ++i) {
        longest = std::max(longest, row.best[static_cast<size_t>(i)].output.size());
      }
    }
    const int64_t fill = options_.pad_id != 0 || options_.end_ids.empty()
                             ? options_.pad_id
                             : options_.end_ids.front();
    BeamResult out;
    std::vector<Tensor> sequences;
    for (size_t b = 0; b < rows_.size(); ++b) {
      for (int64_t i = 0; i < beams_.returned; ++i) {
        const Beam& beam = rows_[b].best[static_cast<size_t>(i)];
        std::vector<int64_t> output = beam.output;
        output.resize(longest, fill);
        sequences.push_back(
            at::cat({ids_[static_cast<int64_t>(b)], at::tensor(output, at::kLong)}));
        out.scores.push_back(beam.score);
      }
    }
    out.sequences = at::stack(sequences).to(device_);
    return out;
  }

  SequenceModel& model_;
  const GenerationOptions& options_;
  const BeamOptions& beams_;
  SamplingParams sampling_;
  Tensor ids_;       // [B, T] on the host
  Tensor key_mask_;  // [B, T], then [B · beams, tokens so far], on the host
  bool padded_;
  at::Device device_;
  int64_t candidates_ = 0;
  std::vector<Row> rows_;
};

}  // namespace

void BeamOptions::check() const {
  TESSERA_CHECK(beams >= 1, InvalidArgument, "beams must be 1 or more, got {}", beams);
  TESSERA_CHECK(returned >= 1 && returned <= beams, InvalidArgument,
                "sequences to return must be 1 … {} (the number of beams), got {}", beams,
                returned);
  TESSERA_CHECK(std::isfinite(length_penalty), InvalidArgument, "length_penalty {} is no number",
                length_penalty);
}

BeamResult beam_search(SequenceModel& model,
                       const Tensor& ids,
                       const Tensor& mask,
                       const GenerationOptions& options,
                       const BeamOptions& beams) {
  TESSERA_CHECK(ids.dim() == 2 && ids.size(0) > 0 && ids.size(1) > 0, InvalidArgument,
                "beam search: the prompt is empty; give at least one token (a BOS, for example)");
  options.sampling.check();
  TESSERA_CHECK(!options.constraint, InvalidArgument,
                "a beam search follows no constraint; sample instead, with one beam");
  beams.check();
  const Tensor key_mask = mask.defined() ? mask.cpu().to(at::kLong) : inferred_mask(ids, options);
  return BeamSearch(model, ids, key_mask, options, beams).run();
}

}  // namespace tessera::nn
