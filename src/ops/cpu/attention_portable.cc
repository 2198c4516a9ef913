// Plain C++ over small arrays.
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <math.h>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 8;
  struct Register {
    float lane[kWidth];
  };
  template <class F>
  static Register each(F&& value) {
    Register v;
    for (int64_t i = 0; i < kWidth; ++i) {
      v.lane[i] = value(i);
    }
    return v;
  }
  static Register zero() { return {}; }
  static Register load(const float* p) {
    return each([&](int64_t i) { return p[i]; });
  }
  static Register load(const Bf16* p) {
    return each([&](int64_t i) { return widen(p[i]); });
  }
  static void store(float* p, const Register& v) {
    for (int64_t i = 0; i < kWidth; ++i) {
      p[i] = v.lane[i];
    }
  }
  static Register broadcast(float x) {
    return each([&](int64_t) { return x; });
  }
  static Register fma(const Register& a, const Register& b, const Register& c) {
    return each([&](int64_t i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static Register mul(const Register& a, const Register& b) {
    return each([&](int64_t i) { return a.lane[i] * b.lane[i]; });
  }
  static Register sub(const Register& a, const Register& b) {
    return each([&](int64_t i) { return a.lane[i] - b.lane[i]; });
  }
  static Register exp(const Register& v) {
    return each([&](int64_t i) { return expf(v.lane[i]); });
  }
  static float sum(const Register& v) {
    float total = 0;
    for (const float lane : v.lane) {
      total += lane;
    }
    return total;
  }
  static float max_lane(const Register& v) {
    float most = v.lane[0];
    for (const float lane : v.lane) {
      most = lane > most ? lane : most;
    }
    return most;
  }
};

#include "ops/cpu/attention_body.h"

}  // namespace

const AttentionKernels kPortableAttention{paged_attention_tile<Vector, float>,
                                          paged_attention_tile<Vector, Bf16>,
                                          decode_attention_head<Vector>};

}  // namespace tessera::ops::cpu
