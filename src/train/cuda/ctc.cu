// Connectionist temporal classification with lengths that stay on the device: one block a text, one
// thread a state, alpha kept for the backward sweep. The recursions are those of Graves et al. 2006
// in the logarithm. Nothing waits for the host, so that a step with it can be captured.
#include "train/cuda/ctc.h"

#include <cfloat>

namespace tessera::train {
namespace {

constexpr int kThreads = 256;
constexpr float kNever = -FLT_MAX;  // log of 0; not infinity, whose differences are NaN

__device__ float log_sum(float a, float b, float c) {
  const float most = fmaxf(a, fmaxf(b, c));
  if (most == kNever) {
    return kNever;
  }
  return most + logf(expf(a - most) + expf(b - most) + expf(c - most));
}

__device__ float times(float a, float b) {
  return a == kNever || b == kNever ? kNever : a + b;
}

// States of a text are blank, first symbol, blank, ..., last symbol, blank.
__global__ void ctc_kernel(CtcArguments a) {
  extern __shared__ float row[];  // two rows of states
  const int64_t text = blockIdx.x;
  const int states_at_most = static_cast<int>(2 * a.symbols + 1);
  const int64_t length = a.lengths[text] < a.symbols ? a.lengths[text] : a.symbols;
  const int states = static_cast<int>(2 * length + 1);
  const int64_t frames = a.frames[text] < a.time ? a.frames[text] : a.time;
  const float* probs = a.log_probs + text * a.time * a.classes;
  float* gradient = a.gradient + text * a.time * a.classes;
  float* alpha = a.alpha + text * a.time * states_at_most;
  const int64_t* symbols = a.targets + text * a.symbols;
  // A symbol that is none reads and counts as the blank: nothing outside the row is touched.
  const auto label = [&](int s) {
    const int64_t symbol = s % 2 == 0 ? 0 : symbols[s / 2];
    return symbol >= 0 && symbol < a.classes ? symbol : 0;
  };
  // Whether state s may follow state s - 2.
  const auto skips = [&](int s) {
    return s >= 3 && s % 2 == 1 && symbols[s / 2] != symbols[s / 2 - 1];
  };

  float* now = row;
  float* before = row + states_at_most;
  for (int64_t t = 0; t < frames; ++t) {
    for (int s = threadIdx.x; s < states; s += kThreads) {
      float way = s < 2 ? 0 : kNever;
      if (t > 0) {
        way = log_sum(before[s], s > 0 ? before[s - 1] : kNever, skips(s) ? before[s - 2] : kNever);
      }
      now[s] = times(way, probs[t * a.classes + label(s)]);
      alpha[t * states_at_most + s] = now[s];
    }
    __syncthreads();
    float* swap = now;
    now = before;
    before = swap;
  }
  float total = kNever;
  if (frames > 0) {
    total = log_sum(before[states - 1], states > 1 ? before[states - 2] : kNever, kNever);
  }
  if (threadIdx.x == 0) {
    a.loss[text] = total == kNever ? 0 : -total;
  }
  __syncthreads();
  if (total == kNever) {
    return;
  }
  // beta[s]: all ways from state s at time t to the end, what is emitted at t left out.
  for (int64_t t = frames - 1; t >= 0; --t) {
    for (int s = threadIdx.x; s < states; s += kThreads) {
      float way = s >= states - 2 ? 0 : kNever;
      if (t + 1 < frames) {
        const float* next = probs + (t + 1) * a.classes;
        const auto to = [&](int other) { return times(before[other], next[label(other)]); };
        way = log_sum(to(s), s + 1 < states ? to(s + 1) : kNever,
                      s + 2 < states && skips(s + 2) ? to(s + 2) : kNever);
      }
      now[s] = way;
      const float both = times(alpha[t * states_at_most + s], way);
      if (both != kNever) {
        atomicAdd(gradient + t * a.classes + label(s), -expf(both - total));
      }
    }
    __syncthreads();
    float* swap = now;
    now = before;
    before = swap;
  }
}

}  // namespace

const char* run_ctc(const CtcArguments& arguments, cudaStream_t stream) {
  const auto bytes = static_cast<size_t>(2 * (2 * arguments.symbols + 1)) * sizeof(float);
  ctc_kernel<<<static_cast<unsigned>(arguments.texts), kThreads, bytes, stream>>>(arguments);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace tessera::train
