// AVX2 + FMA + F16C kernels, 8 lanes.
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 8;
  struct Register {
    __m256 v;
  };
  static Register zero() { return {_mm256_setzero_ps()}; }
  static Register load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Register load(const Bf16* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16))};
  }
  static Register load(const Fp16* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static Register load(const int8_t* p) {
    const __m128i raw = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(raw))};
  }
  static Register fma(const Register& a, const Register& b, const Register& c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
  }
  static Register mul(const Register& a, const Register& b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static Register spread(float a) { return {_mm256_set1_ps(a)}; }
  static void store(float* p, const Register& a) { _mm256_storeu_ps(p, a.v); }
  /// 1 / (1 + e^−a), see kPower2.
  static Register sigmoid(const Register& a) {
    const __m256 power = _mm256_mul_ps(a.v, _mm256_set1_ps(-kLog2E));
    // NaN stays: max and min give their second operand then.
    const __m256 limited =
        _mm256_min_ps(_mm256_set1_ps(126.0F), _mm256_max_ps(_mm256_set1_ps(-126.0F), power));
    const __m256 whole = _mm256_round_ps(limited, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 rest = _mm256_sub_ps(limited, whole);
    __m256 value = _mm256_set1_ps(kPower2[0]);
    for (int i = 1; i < kPowerTerms; ++i) {
      value = _mm256_fmadd_ps(value, rest, _mm256_set1_ps(kPower2[i]));
    }
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23);
    value = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), exponent));
    const __m256 one = _mm256_set1_ps(1.0F);
    return {_mm256_div_ps(one, _mm256_add_ps(one, value))};
  }
  static float sum(const Register& a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
};

#include "ops/cpu/linear_small_body.h"
#include "ops/cpu/norm_body.h"

}  // namespace

const Kernels kAvx2Kernels{Isa::kAvx2,
                           small_linear<Vector, Bf16>,
                           small_linear<Vector, Fp16>,
                           small_linear<Vector, int8_t>,
                           small_linear<Vector, float>,
                           avx2_blocks,
                           avx2_quantize,
                           rms_norm_row<Vector>,
                           silu_product<Vector>,
                           nullptr,
                           &kAvx2Grouped,
                           &kAvx2Table,
                           &kAvx2Attention};

}  // namespace tessera::ops::cpu
