// Steps of many sequences over pages on a GPU. All that changes from step to step is written to one
// buffer and copied at once; a step of single tokens is a recorded graph for the next larger size
// of the batch; the host waits once, for what it needs of the result.
#pragma once

#include "nn/sequence_model.h"
#include "nn/step_graphs.h"

#include <map>
#include <memory>
#include <span>
#include <vector>

namespace tessera::nn {

class GpuStepper {
 public:
  /// Tokens of one sequence: those of `ids` from `past` on.
  struct Piece {
    std::span<const int64_t> ids;
    int64_t past = 0;
    std::span<const int32_t> pages;
    bool wanted = false;  // whether the last token's logits are
  };
  /// Of the wanted pieces, in their order; on the host and valid until the next step.
  struct Result {
    Tensor best;    // i64 [wanted]: the most likely id, the first of equals
    Tensor logits;  // fp32 [wanted, vocab]; undefined when not asked for
  };

  /// Null where the steps of this model and cache need the host: they are on the CPU, there is no
  /// library of kernels, or there are none for these heads.
  static std::unique_ptr<GpuStepper> make(SequenceModel& model, PagedCache& cache);

  /// Runs a step; keys and values are written to the pieces' pages.
  Result run(const std::vector<Piece>& pieces, bool logits);

 private:
  // What the graph of one size reads and writes, on the device.
  struct Buffers {
    Tensor numbers;  // i32: ids, positions, lengths [size each], tables [size, width]
    Tensor best;     // i64 [size]
    Tensor logits;   // fp32 [size, vocab]
  };
  struct Arranged;
  GpuStepper(SequenceModel& model, PagedCache& cache, std::unique_ptr<StepGraphs> graphs);
  Tensor upload(const std::vector<int32_t>& numbers);
  Result run_singles(const std::vector<Piece>& pieces, bool logits);
  Result run_any(const std::vector<Piece>& pieces, bool logits);
  Result fetch(const Tensor& best, const Tensor& logits, bool with_logits);

  SequenceModel& model_;
  PagedCache& cache_;
  std::unique_ptr<StepGraphs> graphs_;
  std::map<uint64_t, Buffers> buffers_;
  Tensor pinned_;              // i32, what goes up
  Tensor best_, host_logits_;  // pinned, what comes down
};

}  // namespace tessera::nn
