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
  int64_t max_frames = 0;   // equal to min_frames: an exact length
  SamplingParams sampling;  // inside the span
  /// Classifier-free guidance inside the span: logits = u + guidance · (c − u), where u are the
  /// logits after GenerationOptions::guidance_prompt. 1 = off.
  double guidance = 1.0;
  int64_t most = -1;  // spans of this kind in one output; 0 forbids them, −1 = any number
  int64_t least = 0;  // end ids are forbidden before so many spans have been made

  int64_t last_code() const { return first_code + levels * codebook_size - 1; }
};

struct SpanGrammar {
  std::vector<SpanRule> rules;
  /// Never generated: role markers and the like. Codes and end markers of spans need not be listed.
  std::vector<int64_t> forbidden;
};

/// Where one row's output stands. Prompts need not be fed: an output always starts outside spans.
class SpanState {
 public:
  /// `grammar` and `end_ids` must outlive the state. `max_tokens`: room for the output; a span is
  /// only begun when its least form fits, and is closed in time.
  SpanState(const SpanGrammar& grammar, std::span<const int64_t> end_ids, int64_t max_tokens);

  /// Sets the logits of ids that may not come next to −infinity. Returns false when nothing may
  /// (the output is full).
  bool constrain(std::span<float> logits) const;
  /// The id that was chosen. Throws InvalidArgument when it was not allowed.
  void accept(int64_t id);
  /// Index of the rule of the open span, or −1.
  int open() const { return open_; }
  /// Whole frames of the open span.
  int64_t frames() const { return open_ < 0 ? 0 : codes_ / rule().levels; }

 private:
  const SpanRule& rule() const { return grammar_->rules[static_cast<size_t>(open_)]; }

  const SpanGrammar* grammar_;
  std::span<const int64_t> end_ids_;
  int64_t left_;   // tokens of room
  int open_ = -1;  // rule of the open span
  int64_t codes_ = 0;
  std::vector<int64_t> made_;  // spans of each rule
};

}  // namespace tessera::nn
