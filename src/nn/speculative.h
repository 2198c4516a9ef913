// Speculative decoding (arXiv 2211.17192): cheap drafts are checked by one step of the model, which
// so gives several ids. What comes out is distributed exactly as without drafts.
#pragma once

#include "nn/generate.h"

namespace tessera::nn {

struct SpeculativeOptions {
  /// Makes the drafts; null: what followed the last occurrence of the newest ids is proposed again
  /// (prompt look-up). Its ids must mean the same as the model's.
  SequenceModel* draft = nullptr;
  int64_t draft_tokens = 4;  // ids of a draft, at most
  int64_t ngram = 3;  // look-up: most newest ids that must agree; fewer, down to 1, after that
};

struct SpeculativeStats {
  int64_t steps = 0;     // of the model, the prompt's included
  int64_t drafted = 0;   // ids that it checked
  int64_t accepted = 0;  // of these, taken
  Finish finish = Finish::kLength;
};

/// Continues `prompt` and returns the new ids, at most options.max_new_tokens. Greedy decoding and
/// prompt look-up give the ids of `generate` (row 0) with the same options and seed; a sampled
/// draft gives other draws of the same distribution. Both hold but for the rounding of steps of
/// several tokens. `on_token` gets row 0. Throws InvalidArgument for an empty prompt, guidance, a
/// draft of no token.
std::vector<int64_t> generate_speculative(SequenceModel& model,
                                          const std::vector<int64_t>& prompt,
                                          const GenerationOptions& options,
                                          const SpeculativeOptions& speculation,
                                          const TokenCallback& on_token = {},
                                          SpeculativeStats* stats = nullptr);

/// What followed the last earlier occurrence of the newest `ngram` ids of `history`, else of fewer;
/// at most `most` ids, none when nothing agrees.
std::vector<int64_t> look_up(std::span<const int64_t> history, int64_t ngram, int64_t most);

}  // namespace tessera::nn
