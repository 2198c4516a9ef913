// Which ids may come next when media spans lie in a text: a state machine a row that makes
// malformed spans impossible, and the sampling settings and guidance that hold inside each kind of
// span. A span is START, frames of `levels` codes each, END. Level l of a frame has the ids
// first_code + l · codebook_size … + codebook_size − 1 (AnyGPT's layout).
#pragma once

#include "nn/sampler.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera::nn {

/// One kind of span.
struct SpanRule {
  std::string name;  // "image"; for messages
  int64_t start_id = 0;
  int64_t end_id = 0;
  int64_t first_code = 0;
  int64_t levels = 1;
  int64_t codebook_size = 0;
  int64_t min_frames = 1;
  int64_t max_frames = 1;   // equal to min_frames: an exact length
  SamplingParams sampling;  // inside the span
  /// Classifier-free guidance inside the span: logits = u + guidance · (c − u), where u are the
  /// logits after GenerationOptions::guidance_prompt. 1 = off.
  double guidance = 1.0;
  int64_t most = -1;  // spans of this kind in one output; 0 forbids them, −1 = any number
  int64_t least = 0;  // end ids are forbidden before so many spans have been made

  int64_t last_code() const { return first_code + levels * codebook_size - 1; }
  /// Tokens of the shortest span, markers included.
  int64_t least_tokens() const { return min_frames * levels + 2; }
};

struct SpanGrammar {
  std::vector<SpanRule> rules;
  /// Never generated: role markers and the like. Codes and end markers of spans need not be listed.
  std::vector<int64_t> forbidden;
};

/// Ids first … last − 1; empty when there are none.
struct IdRange {
  int64_t first = 0;
  int64_t last = 0;

  bool empty() const { return first >= last; }
};

/// Where one row's output stands. Prompts need not be fed: an output always starts outside spans.
class SpanState {
 public:
  /// `grammar` and `end_ids` must outlive the state. `max_tokens`: room for the output; a span is
  /// only begun when its least form fits, and is closed in time. Spans that SpanRule::least asks
  /// for are begun while there is room for them, unless there is too little from the start. Throws
  /// InvalidArgument for a grammar that contradicts itself.
  SpanState(const SpanGrammar& grammar, std::span<const int64_t> end_ids, int64_t max_tokens);

  /// Sets the logits of ids that may not come next to −infinity and returns the range of those that
  /// may; it is empty when nothing may (the output is full or has ended). While spans are owed, the
  /// probability of ending passes to the start of the first of them.
  IdRange constrain(std::span<float> logits) const;
  /// The id that was chosen. Throws InvalidArgument when it was not allowed.
  void accept(int64_t id);
  /// Index of the rule of the open span, or −1.
  int open() const { return open_; }
  /// Whole frames of the open span.
  int64_t frames() const { return open_ < 0 ? 0 : codes_ / rule().levels; }

 private:
  const SpanRule& rule() const { return grammar_->rules[static_cast<size_t>(open_)]; }
  int64_t level_start() const;  // first code of the level that comes next
  bool may_end() const;         // the open span
  bool may_continue() const;    // the open span, by one code
  bool may_begin(size_t rule) const;
  bool owes(size_t rule) const;
  bool must_begin() const { return owed_ > 0 && left_ <= owed_; }
  bool is_text(int64_t id) const;
  void accept_inside(int64_t id);
  void accept_outside(int64_t id);
  void constrain_to_starts(std::span<float> logits) const;
  void constrain_outside(std::span<float> logits) const;

  const SpanGrammar* grammar_;
  std::span<const int64_t> end_ids_;
  int64_t left_;         // tokens of room
  int64_t owed_ = 0;     // tokens that the spans still owed take at least
  int64_t highest_ = 0;  // id that the grammar names
  bool ended_ = false;
  int open_ = -1;  // rule of the open span
  int64_t codes_ = 0;
  std::vector<int64_t> begun_;  // spans of each rule
  std::vector<int64_t> due_;    // spans of each rule that must be begun
};

}  // namespace tessera::nn
