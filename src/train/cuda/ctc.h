// What the CTC kernel reads and writes; all pointers are the device's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tessera::train {

struct CtcArguments {
  const float* log_probs;  // [texts, time, classes], the blank is class 0
  const int64_t* targets;  // [texts, symbols], padded
  const int64_t* frames;   // [texts]
  const int64_t* lengths;  // [texts]: symbols of each
  float* alpha;            // [texts, time, 2 symbols + 1]: working room
  float* loss;             // [texts]: -log of the text's probability, 0 where it cannot be
  float* gradient;         // [texts, time, classes], zeros at first: d loss / d log_probs
  int64_t texts, time, classes, symbols;
};

/// Null, or what CUDA says against it. `symbols` is at most 3,000 (shared memory).
const char* run_ctc(const CtcArguments& arguments, cudaStream_t stream);

}  // namespace tessera::train
