// AVX-512 kernels, 16 lanes.
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 16;
  struct Register {
    __m512 v;
  };
  static Register zero() { return {_mm512_setzero_ps()}; }
  static Register load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Register load(const Bf16* p) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16))};
  }
  static Register load(const Fp16* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static Register load(const int8_t* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(raw))};
  }
  static Register fma(const Register& a, const Register& b, const Register& c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  static float sum(const Register& a) { return _mm512_reduce_add_ps(a.v); }
};

#include "ops/cpu/linear_small_body.h"

}  // namespace

const Kernels kAvx512Kernels{Isa::kAvx512,
                             small_linear<Vector, Bf16>,
                             small_linear<Vector, Fp16>,
                             small_linear<Vector, int8_t>,
                             small_linear<Vector, float>,
                             avx512_blocks,
                             avx512_quantize};

}  // namespace tessera::ops::cpu
