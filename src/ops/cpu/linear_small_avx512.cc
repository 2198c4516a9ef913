// AVX-512 kernels, 16 lanes.
#include "ops/cpu/attention.h"
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
  static Register mul(const Register& a, const Register& b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Register spread(float a) { return {_mm512_set1_ps(a)}; }
  static void store(float* p, const Register& a) { _mm512_storeu_ps(p, a.v); }
  /// 1 / (1 + e^−a), see kPower2.
  static Register sigmoid(const Register& a) {
    const __m512 power = _mm512_mul_ps(a.v, _mm512_set1_ps(-kLog2E));
    // NaN stays: max and min give their second operand then.
    const __m512 limited =
        _mm512_min_ps(_mm512_set1_ps(126.0F), _mm512_max_ps(_mm512_set1_ps(-126.0F), power));
    const __m512 whole =
        _mm512_roundscale_ps(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(limited, whole);
    __m512 value = _mm512_set1_ps(kPower2[0]);
    for (int i = 1; i < kPowerTerms; ++i) {
      value = _mm512_fmadd_ps(value, rest, _mm512_set1_ps(kPower2[i]));
    }
    const __m512 one = _mm512_set1_ps(1.0F);
    return {_mm512_div_ps(one, _mm512_add_ps(one, _mm512_scalef_ps(value, whole)))};
  }
  static float sum(const Register& a) { return _mm512_reduce_add_ps(a.v); }
};

#include "ops/cpu/linear_small_body.h"
#include "ops/cpu/norm_body.h"

}  // namespace

const Kernels kAvx512Kernels{Isa::kAvx512,
                             small_linear<Vector, Bf16>,
                             small_linear<Vector, Fp16>,
                             small_linear<Vector, int8_t>,
                             small_linear<Vector, float>,
                             avx512_blocks,
                             avx512_quantize,
                             rms_norm_row<Vector>,
                             silu_product<Vector>,
                             avx512_int8_peak,
                             &kAvx512Grouped,
                             &kAvx512Table,
                             &kAvx512Attention};

}  // namespace tessera::ops::cpu
