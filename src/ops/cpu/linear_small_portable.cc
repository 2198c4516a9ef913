// Portable kernels: plain C++ over small arrays that the compiler may vectorise for the baseline.
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <cmath>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 8;
  struct Register {
    float lane[kWidth];
  };
  static Register zero() { return {}; }
  template <class T>
  static Register load(const T* p) {
    Register v;
    for (int64_t i = 0; i < kWidth; ++i) {
      v.lane[i] = value(p[i]);
    }
    return v;
  }
  static Register fma(const Register& a, const Register& b, const Register& c) {
    Register v;
    for (int64_t i = 0; i < kWidth; ++i) {
      v.lane[i] = a.lane[i] * b.lane[i] + c.lane[i];
    }
    return v;
  }
  static Register mul(const Register& a, const Register& b) {
    Register v;
    for (int64_t i = 0; i < kWidth; ++i) {
      v.lane[i] = a.lane[i] * b.lane[i];
    }
    return v;
  }
  static Register spread(float a) {
    Register v;
    for (float& lane : v.lane) {
      lane = a;
    }
    return v;
  }
  static void store(float* p, const Register& a) {
    for (int64_t i = 0; i < kWidth; ++i) {
      p[i] = a.lane[i];
    }
  }
  static Register sigmoid(const Register& a) {
    Register v;
    for (int64_t i = 0; i < kWidth; ++i) {
      v.lane[i] = 1.0F / (1.0F + std::exp(-a.lane[i]));
    }
    return v;
  }
  static float sum(const Register& v) {
    float total = 0;
    for (const float lane : v.lane) {
      total += lane;
    }
    return total;
  }
  static float value(float x) { return x; }
  template <class W>
  static float value(W x) {
    return widen(x);
  }
};

#include "ops/cpu/linear_small_body.h"
#include "ops/cpu/norm_body.h"

// Block formats are dequantised row by row (ops/linear_blocks.cc), packed weights by tiles of rows
// (ops/linear_packed.cc).
const BlockKernels* no_blocks(io::BlockFormat) {
  return nullptr;
}

}  // namespace

const Kernels kPortableKernels{Isa::kPortable,
                               small_linear<Vector, Bf16>,
                               small_linear<Vector, Fp16>,
                               small_linear<Vector, int8_t>,
                               small_linear<Vector, float>,
                               no_blocks,
                               nullptr,
                               rms_norm_row<Vector>,
                               silu_product<Vector>,
                               nullptr,
                               nullptr,
                               nullptr,
                               &kPortableAttention};

}  // namespace tessera::ops::cpu
