// The ids of a rule's codes lie together, so inside a span all but one level's range and the end
// marker are cut off; outside, the ranges of codes, the end markers and the forbidden ids are.
// Room is kept at all times for the open span's end marker and for the spans that are owed.
#include "nn/spans.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tessera::nn {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

void remove(std::span<float> logits, int64_t first, int64_t last) {
  std::fill(logits.begin() + first, logits.begin() + last, kRemoved);
}

void check(const SpanRule& rule) {
  TESSERA_CHECK(rule.levels >= 1 && rule.codebook_size >= 1 && rule.first_code >= 0 &&
                    rule.start_id >= 0 && rule.end_id >= 0 && rule.start_id != rule.end_id,
                InvalidArgument, "span '{}': ids and sizes must not be negative or empty",
                rule.name);
  TESSERA_CHECK(rule.min_frames >= 1 && rule.max_frames >= rule.min_frames, InvalidArgument,
                "span '{}': {} to {} frames, expected 1 or more in rising order", rule.name,
                rule.min_frames, rule.max_frames);
  TESSERA_CHECK(rule.most < 0 || rule.least <= rule.most, InvalidArgument,
                "span '{}': at least {} and at most {} are asked for", rule.name, rule.least,
                rule.most);
  TESSERA_CHECK(rule.guidance >= 0, InvalidArgument,
                "span '{}': guidance must be 0 or more, got {}", rule.name, rule.guidance);
  rule.sampling.check();
}

// log(exp(a) + exp(b)).
float log_add(float a, float b) {
  const float top = std::max(a, b);
  return top == kRemoved ? kRemoved : top + std::log1p(std::exp(std::min(a, b) - top));
}

}  // namespace

SpanState::SpanState(const SpanGrammar& grammar,
                     std::span<const int64_t> end_ids,
                     int64_t max_tokens)
    : grammar_(&grammar),
      end_ids_(end_ids),
      left_(std::max<int64_t>(max_tokens, 0)),
      begun_(grammar.rules.size()),
      due_(grammar.rules.size()) {
  for (size_t i = 0; i < grammar.rules.size(); ++i) {
    const SpanRule& rule = grammar.rules[i];
    check(rule);
    highest_ = std::max({highest_, rule.start_id, rule.end_id, rule.last_code()});
    if (rule.least > 0 && rule.least <= (left_ - owed_) / rule.least_tokens()) {
      due_[i] = rule.least;
      owed_ += rule.least * rule.least_tokens();
    }
  }
  for (const int64_t id : end_ids) {
    highest_ = std::max(highest_, id);
  }
  for (const int64_t id : grammar.forbidden) {
    highest_ = std::max(highest_, id);
  }
}

int64_t SpanState::level_start() const {
  return rule().first_code + codes_ % rule().levels * rule().codebook_size;
}

bool SpanState::may_end() const {
  return codes_ % rule().levels == 0 && frames() >= rule().min_frames;
}

bool SpanState::may_continue() const {
  if (codes_ % rule().levels != 0 || frames() < rule().min_frames) {
    return true;  // there was room for these when they were begun
  }
  return frames() < rule().max_frames && left_ >= rule().levels + 1 + owed_;
}

bool SpanState::owes(size_t rule) const {
  return begun_[rule] < due_[rule];
}

bool SpanState::may_begin(size_t rule) const {
  const SpanRule& wanted = grammar_->rules[rule];
  const int64_t kept = owed_ - (owes(rule) ? wanted.least_tokens() : 0);
  return (wanted.most < 0 || begun_[rule] < wanted.most) && left_ - wanted.least_tokens() >= kept;
}

bool SpanState::is_text(int64_t id) const {
  const auto& forbidden = grammar_->forbidden;
  return id >= 0 && std::find(forbidden.begin(), forbidden.end(), id) == forbidden.end() &&
         std::none_of(grammar_->rules.begin(), grammar_->rules.end(), [&](const SpanRule& rule) {
           return id == rule.end_id || (id >= rule.first_code && id <= rule.last_code());
         });
}

IdRange SpanState::constrain(std::span<float> logits) const {
  const auto size = static_cast<int64_t>(logits.size());
  TESSERA_CHECK(highest_ < size, InvalidArgument,
                "spans: the grammar names id {}, the model has {} ids", highest_, size);
  if (ended_ || left_ == 0) {
    remove(logits, 0, size);
    return {};
  }
  if (open_ < 0) {
    must_begin() ? constrain_to_starts(logits) : constrain_outside(logits);
    return {0, size};
  }
  const int64_t first = level_start();
  const int64_t last = first + rule().codebook_size;
  const float end = logits[static_cast<size_t>(rule().end_id)];
  remove(logits, 0, first);
  remove(logits, last, size);
  IdRange range{first, last};
  if (!may_continue()) {
    remove(logits, first, last);
    range = {rule().end_id, rule().end_id + 1};
  }
  if (may_end()) {
    logits[static_cast<size_t>(rule().end_id)] = end;
    range = {std::min(range.first, rule().end_id), std::max(range.last, rule().end_id + 1)};
  }
  return range;
}

void SpanState::constrain_to_starts(std::span<float> logits) const {
  std::vector<float> starts;
  for (const SpanRule& rule : grammar_->rules) {
    starts.push_back(logits[static_cast<size_t>(rule.start_id)]);
  }
  remove(logits, 0, static_cast<int64_t>(logits.size()));
  for (size_t i = 0; i < starts.size(); ++i) {
    if (owes(i)) {
      logits[static_cast<size_t>(grammar_->rules[i].start_id)] = starts[i];
    }
  }
}

void SpanState::constrain_outside(std::span<float> logits) const {
  float end = kRemoved;
  if (owed_ > 0) {
    for (const int64_t id : end_ids_) {
      if (is_text(id)) {
        end = log_add(end, logits[static_cast<size_t>(id)]);
        logits[static_cast<size_t>(id)] = kRemoved;
      }
    }
  }
  for (size_t i = 0; i < grammar_->rules.size(); ++i) {
    const SpanRule& rule = grammar_->rules[i];
    float& start = logits[static_cast<size_t>(rule.start_id)];
    if (!may_begin(i)) {
      start = kRemoved;
    } else if (owes(i)) {
      start = log_add(start, std::exchange(end, kRemoved));
    }
  }
  for (const SpanRule& rule : grammar_->rules) {
    remove(logits, rule.first_code, rule.last_code() + 1);
    logits[static_cast<size_t>(rule.end_id)] = kRemoved;
  }
  for (const int64_t id : grammar_->forbidden) {
    logits[static_cast<size_t>(id)] = kRemoved;
  }
}

void SpanState::accept(int64_t id) {
  TESSERA_CHECK(!ended_ && left_ > 0, InvalidArgument, "spans: id {} comes after the end", id);
  open_ >= 0 ? accept_inside(id) : accept_outside(id);
  --left_;
}

void SpanState::accept_inside(int64_t id) {
  if (id == rule().end_id && may_end()) {
    open_ = -1;
    return;
  }
  const int64_t first = level_start();
  TESSERA_CHECK(may_continue() && id >= first && id < first + rule().codebook_size, InvalidArgument,
                "spans: id {} may not follow {} codes of '{}'", id, codes_, rule().name);
  ++codes_;
}

void SpanState::accept_outside(int64_t id) {
  for (size_t i = 0; i < grammar_->rules.size(); ++i) {
    const SpanRule& rule = grammar_->rules[i];
    if (id != rule.start_id) {
      continue;
    }
    TESSERA_CHECK(may_begin(i), InvalidArgument, "spans: no '{}' may begin here", rule.name);
    owed_ -= owes(i) ? rule.least_tokens() : 0;
    ++begun_[i];
    open_ = static_cast<int>(i);
    codes_ = 0;
    return;
  }
  const bool ends = std::find(end_ids_.begin(), end_ids_.end(), id) != end_ids_.end();
  TESSERA_CHECK(is_text(id) && !must_begin() && !(ends && owed_ > 0), InvalidArgument,
                "spans: id {} may not come here, outside media", id);
  ended_ = ends;
}

}  // namespace tessera::nn
