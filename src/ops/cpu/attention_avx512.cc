// AVX-512, 16 lanes.
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <immintrin.h>
#include <math.h>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/widen.h"

struct Vector {
  static constexpr int64_t kWidth = 16;
  using Register = __m512;
  static Register zero() { return _mm512_setzero_ps(); }
  static Register load(const float* p) { return _mm512_loadu_ps(p); }
  static Register load(const Bf16* p) {
    const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
  }
  static void store(float* p, Register v) { _mm512_storeu_ps(p, v); }
  static Register broadcast(float x) { return _mm512_set1_ps(x); }
  static Register fma(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  static Register mul(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static Register sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static float sum(Register v) { return _mm512_reduce_add_ps(v); }
  static float max_lane(Register v) { return _mm512_reduce_max_ps(v); }
  // e^x = 2^n · e^r with |r| ≤ ln 2 / 2, e^r by its series; relative error below 2e-7. 0 for x <
  // −87.
  static Register exp(Register x) {
    const __mmask16 tiny = _mm512_cmp_ps_mask(x, broadcast(-87.0F), _CMP_LT_OQ);
    const Register n = _mm512_roundscale_ps(mul(x, broadcast(1.44269504F)),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    Register r = fma(n, broadcast(-0.693359375F), x);
    r = fma(n, broadcast(2.12194440e-4F), r);
    Register y = broadcast(1.0F / 720.0F);
    for (const float c : {1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F}) {
      y = fma(y, r, broadcast(c));
    }
    return _mm512_mask_blend_ps(tiny, _mm512_scalef_ps(y, n), zero());
  }
};

#include "ops/cpu/attention_body.h"

}  // namespace

const AttentionKernels kAvx512Attention{paged_attention_tile<Vector, float>,
                                        paged_attention_tile<Vector, Bf16>,
                                        decode_attention_head<Vector>};

}  // namespace tessera::ops::cpu
