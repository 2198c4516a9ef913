// AVX2 and FMA, 8 lanes.
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <immintrin.h>
#include <math.h>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 8;
  using Register = __m256;
  static Register zero() { return _mm256_setzero_ps(); }
  static Register load(const float* p) { return _mm256_loadu_ps(p); }
  static Register load(const Bf16* p) {
    const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
  }
  static void store(float* p, Register v) { _mm256_storeu_ps(p, v); }
  static Register broadcast(float x) { return _mm256_set1_ps(x); }
  static Register fma(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  static Register mul(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static float sum(Register v) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
  static float max_lane(Register v) {
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
  // As in attention_avx512.cc; 2^n is put together from its exponent's bits.
  static Register exp(Register x) {
    const Register tiny = _mm256_cmp_ps(x, broadcast(-87.0F), _CMP_LT_OQ);
    const Register n = _mm256_round_ps(mul(x, broadcast(1.44269504F)),
                                       _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    Register r = fma(n, broadcast(-0.693359375F), x);
    r = fma(n, broadcast(2.12194440e-4F), r);
    Register y = broadcast(1.0F / 720.0F);
    for (const float c : {1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F}) {
      y = fma(y, r, broadcast(c));
    }
    const __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(tiny, mul(y, _mm256_castsi256_ps(power)));
  }
};

#include "ops/cpu/attention_body.h"

}  // namespace

const AttentionKernels kAvx2Attention{paged_attention_tile<Vector, float>,
                                      paged_attention_tile<Vector, Bf16>,
                                      decode_attention_head<Vector>};

}  // namespace tessera::ops::cpu
