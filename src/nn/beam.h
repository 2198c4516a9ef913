// Beam search and beam sampling over a SequenceModel, as huggingface/transformers 5 does them.
#pragma once

#include "nn/generate.h"

namespace tessera::nn {

struct BeamOptions {
  int64_t beams = 4;     // >= 1
  int64_t returned = 1;  // best sequences a row, <= beams
  double length_penalty =
      1.0;  // scores are divided by length^length_penalty; > 0 favours long ones
  enum class EarlyStopping {
    kHeuristic,  // until no open beam can beat the worst finished one at its present length (false)
    kFull,       // as soon as there are as many finished sequences as beams (true)
    kNever,      // until none can at any length ("never")
  } early_stopping = EarlyStopping::kHeuristic;

  /// Throws InvalidArgument naming the value that is out of range.
  void check() const;
};

struct BeamResult {
  Tensor sequences;           // i64 [B · returned, T + longest], prompt included, best first
  std::vector<float> scores;  // of each sequence: sum of log-probabilities / length^length_penalty
};

/// Continues ids i64 [B, T] as `generate` does; options.sampling.greedy false draws the candidates
/// (beam-sample) without replacement. Row r draws from stream r of the seed. Media spans, row
/// limits and callbacks of `options` are not looked at. Where a sequence is shorter than the
/// longest, the pad id follows, or the first end id when the pad id is 0 (the reference's reading
/// of it).
BeamResult beam_search(SequenceModel& model,
                       const Tensor& ids,
                       const Tensor& mask,
                       const GenerationOptions& options,
                       const BeamOptions& beams);

}  // namespace tessera::nn
