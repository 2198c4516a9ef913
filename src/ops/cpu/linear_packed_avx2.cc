// AVX2 + FMA + F16C kernels of packed weights, 8 outputs a register.
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/linear_packed_body.h"
#include "ops/cpu/linear_table_body.h"

struct Vector {
  using Ints = __m256i;
  using Words = __m256i;
  using Floats = __m256;
  struct Table {
    __m256 low;
    __m256 high;
  };
  static constexpr int64_t kWidth = 8;
  static constexpr int kRows = 1;
  static constexpr int kOut = 4;

  static Ints load_ints(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }
  static Ints load(const std::byte* p) { return load_ints(p); }
  static Ints load(const int32_t* p) { return load_ints(p); }
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Floats a) { _mm256_storeu_ps(p, a); }
  static Ints spread(int32_t a) { return _mm256_set1_epi32(a); }
  static Floats spread(float a) { return _mm256_set1_ps(a); }
  static Floats zero() { return _mm256_setzero_ps(); }
  static Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }
  static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats floats(Ints a) { return _mm256_cvtepi32_ps(a); }
  static float sum(Floats a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }

  template <int kBits>
  static Ints codes(Ints words, int part) {
    if constexpr (kBits == 8) {
      return words;
    } else {
      const Ints moved = part == 0 ? words : _mm256_srli_epi32(words, 4);
      return _mm256_and_si256(moved, _mm256_set1_epi8(15));
    }
  }
  template <int kBits>
  static Ints dot(Ints start, Ints codes, Ints xs) {
    if constexpr (kBits == 8) {  // pairs of products would saturate: even and odd bytes apart
      const Ints even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(255)),
                                          _mm256_srai_epi16(_mm256_slli_epi16(xs, 8), 8));
      const Ints odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(xs, 8));
      return _mm256_add_epi32(start, _mm256_add_epi32(even, odd));
    } else {
      const Ints pairs = _mm256_maddubs_epi16(codes, xs);
      return _mm256_add_epi32(start, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }

  static void stage_rows(const StagePlace& at, Tile& tile) { stage_plain(at, 4, tile); }
  static void stage_awq(const StagePlace& at, Tile& tile) { stage_awq_plain(at, tile); }

  static Table table(const float* entries) {
    return {_mm256_loadu_ps(entries), _mm256_loadu_ps(entries + 8)};
  }
  /// Permutations read three bits of an index; the fourth, moved to the sign, chooses the half.
  template <int kNibble>
  static Floats lookup(const Table& table, Words words) {
    const Ints moved = _mm256_srli_epi32(words, 4 * kNibble);
    const Ints sign = _mm256_slli_epi32(words, 28 - 4 * kNibble);
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, moved),
                            _mm256_permutevar8x32_ps(table.high, moved), _mm256_castsi256_ps(sign));
  }
  static Words load_words(const std::byte* p, int64_t /*lanes: rows fill registers*/) {
    return load_ints(p);
  }
  static Floats factors(const float* p) { return _mm256_set1_ps(*p); }
};

}  // namespace

const PackedKernel<io::GroupedRows> kAvx2Grouped{grouped_room, grouped_prepare,
                                                 grouped_multiply<Vector>};
const PackedKernel<io::TableRows> kAvx2Table{table_room<Vector>, table_prepare<Vector>,
                                             table_multiply<Vector>};

}  // namespace tessera::ops::cpu
