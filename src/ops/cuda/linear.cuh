// What the linears of linear.cu and linear_int4.cu share.
#pragma once

#include "ops/cuda/common.cuh"

namespace tessera::ops::gpu {

constexpr int kTile = 16;  // rows of W that one product of the tensor cores takes

struct Words {
  uint32_t at[4];
};

/// 16 bytes that are read once.
__device__ inline Words stream_words(const void* from) {
  Words w;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(w.at[0]), "=r"(w.at[1]), "=r"(w.at[2]), "=r"(w.at[3])
               : "l"(from));
  return w;
}

/// One of two numbers.
template <class T>
__device__ T number_of(uint32_t two, int which, T) {
  return reinterpret_cast<const T*>(&two)[which];
}

/// What follows the sums; `row` counts rows of W, `r` rows of x.
template <class T>
struct Output {
  const LinearJob& job;

  __device__ float scaled(float y, int64_t row) const {
    if (job.format == WeightFormat::kInt8) {
      y *= static_cast<const float*>(job.scales)[row];
    }
    return job.bias != nullptr ? y + to_float(static_cast<const T*>(job.bias)[row]) : y;
  }
  __device__ void put(float y, int64_t row, int64_t r) const {
    if (job.residual != nullptr) {
      // The product is rounded first, as where it is a tensor of its own.
      y = to_float(from_float<T>(y)) +
          to_float(static_cast<const T*>(job.residual)[r * job.residual_stride + row]);
    }
    if (job.wide) {
      static_cast<float*>(job.out)[r * job.outs + row] = y;
    } else {
      static_cast<T*>(job.out)[r * job.outs + row] = from_float<T>(y);
    }
  }
};

/// run_linear for kInt4 weights, at most kInt4Rows rows of x and kInt4Inputs inputs.
constexpr int64_t kInt4Rows = 4;
constexpr int64_t kInt4Inputs = 24576;
const char* run_linear_int4(const LinearJob& job, void* stream);

}  // namespace tessera::ops::gpu
