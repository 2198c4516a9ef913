// AVX-512 kernels of packed weights: integers by VNNI, 16 outputs a register; table entries by a
// permutation of the table in a register.
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

#include <memory>
#include <type_traits>
#include <utility>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/linear_packed_body.h"
#include "ops/cpu/linear_table_body.h"
#include "ops/cpu/transpose_avx512.h"

struct Vector {
  using Ints = __m512i;
  using Words = __m512i;
  using Floats = __m512;
  using Table = __m512;
  static constexpr int64_t kWidth = 16;
  static constexpr int kRows = 2;
  static constexpr int kOut = 4;

  static Ints load(const std::byte* p) { return _mm512_loadu_si512(p); }
  static Ints load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Floats a) { _mm512_storeu_ps(p, a); }
  static Ints spread(int32_t a) { return _mm512_set1_epi32(a); }
  static Floats spread(float a) { return _mm512_set1_ps(a); }
  static Floats zero() { return _mm512_setzero_ps(); }
  static Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats floats(Ints a) { return _mm512_cvtepi32_ps(a); }
  static float sum(Floats a) { return _mm512_reduce_add_ps(a); }

  template <int kBits>
  static Ints codes(Ints words, int part) {
    if constexpr (kBits == 8) {
      return words;
    } else {
      const Ints moved = part == 0 ? words : _mm512_srli_epi32(words, 4);
      return _mm512_and_si512(moved, _mm512_set1_epi8(15));
    }
  }
  template <int kBits>
  static Ints dot(Ints start, Ints codes, Ints xs) {
    return _mm512_dpbusd_epi32(start, codes, xs);
  }

  static void stage_rows(const StagePlace& at, Tile& tile) {
    const Ints flip = _mm512_set1_epi32(static_cast<int>(at.flip));
    for (int64_t o = 0; o < at.outputs; o += 16) {
      for (int64_t i = 0; i < at.words; i += 16) {
        const int64_t count = least(16, at.words - i);
        const auto mask = static_cast<__mmask16>((1U << count) - 1U);
        __m512i v[16];
#pragma GCC unroll 16
        for (int64_t r = 0; r < 16; ++r) {  // outputs that are not there repeat the last
          const int64_t row = least(o + r, at.outputs - 1) * at.stride + i * 4;
          _mm_prefetch(at.next + row, _MM_HINT_T0);
          v[r] = _mm512_xor_si512(_mm512_maskz_loadu_epi32(mask, at.from + row), flip);
        }
        transpose(v);
        for (int64_t k = 0; k < count; ++k) {
          _mm512_store_si512(tile.words + (i + k) * kBlock + o, v[k]);
        }
      }
    }
  }

  /// Byte j of a dword becomes dword j: `rows` are of the inputs k, k + 2, k + 4, k + 6, and
  /// register q gets, in its 128-bit lane L, the bytes of word 4 L + q.
  static void turn_bytes(const __m512i (&rows)[4], __m512i (&out)[4]) {
    const __m512i a = _mm512_unpacklo_epi8(rows[0], rows[1]);
    const __m512i b = _mm512_unpackhi_epi8(rows[0], rows[1]);
    const __m512i c = _mm512_unpacklo_epi8(rows[2], rows[3]);
    const __m512i d = _mm512_unpackhi_epi8(rows[2], rows[3]);
    out[0] = _mm512_unpacklo_epi16(a, c);
    out[1] = _mm512_unpackhi_epi16(a, c);
    out[2] = _mm512_unpacklo_epi16(b, d);
    out[3] = _mm512_unpackhi_epi16(b, d);
  }

  /// Even inputs become low nibbles, odd ones high nibbles, of the words of the eight outputs.
  static void stage_awq(const StagePlace& at, Tile& tile) {
    const auto mask = static_cast<__mmask16>((1U << (at.outputs / 8)) - 1U);
    const __m512i low = _mm512_set1_epi8(15);
    // Nibbles 0 2 4 6 of a word are outputs 0 4 1 5, the others 2 6 3 7.
    const __m512i first = _mm512_setr_epi32(0, 2, 16, 18, 1, 3, 17, 19, 4, 6, 20, 22, 5, 7, 21, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    for (int64_t i = 0; i < at.words; ++i) {
      __m512i even[4];
      __m512i odd[4];
#pragma GCC unroll 8
      for (int64_t k = 0; k < 8; ++k) {
        const int64_t row = (i * 8 + k) * at.stride;
        _mm_prefetch(at.next + row, _MM_HINT_T0);
        (k % 2 == 0 ? even : odd)[k / 2] = _mm512_maskz_loadu_epi32(mask, at.from + row);
      }
      __m512i evens[4];
      __m512i odds[4];
      turn_bytes(even, evens);
      turn_bytes(odd, odds);
#pragma GCC unroll 4
      for (int64_t q = 0; q < 4; ++q) {
        // 0xCA: bits of the first where the mask is set, of the second elsewhere.
        const __m512i a =
            _mm512_ternarylogic_epi32(low, evens[q], _mm512_slli_epi32(odds[q], 4), 0xCA);
        const __m512i b =
            _mm512_ternarylogic_epi32(low, _mm512_srli_epi32(evens[q], 4), odds[q], 0xCA);
        const __m512i lanes01 = _mm512_permutex2var_epi32(a, first, b);
        const __m512i lanes23 = _mm512_permutex2var_epi32(a, second, b);
        uint32_t* to = tile.words + i * kBlock + q * 8;
        store_eight(to, _mm512_castsi512_si256(lanes01));
        store_eight(to + 32, _mm512_extracti64x4_epi64(lanes01, 1));
        store_eight(to + 64, _mm512_castsi512_si256(lanes23));
        store_eight(to + 96, _mm512_extracti64x4_epi64(lanes23, 1));
      }
    }
  }
  static void store_eight(uint32_t* to, __m256i words) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), words);
  }

  static Table table(const float* entries) {
    return _mm512_loadu_ps(entries);
  }
  /// Only the four lowest bits of an index count.
  template <int kNibble>
  static Floats lookup(Table table, Words words) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * kNibble), table);
  }
  static Words load_words(const std::byte* p, int64_t lanes) {
    return lanes >= 16 ? _mm512_loadu_si512(p)
                       : _mm512_maskz_loadu_epi32(static_cast<__mmask16>((1U << lanes) - 1U), p);
  }
  static Floats factors(const float* p) {
    return _mm512_mask_blend_ps(0xFF00, _mm512_set1_ps(p[0]), _mm512_set1_ps(p[1]));
  }
};

}  // namespace

const PackedKernel<io::GroupedRows> kAvx512Grouped{grouped_room, grouped_prepare,
                                                   grouped_multiply<Vector>};
const PackedKernel<io::TableRows> kAvx512Table{table_room<Vector>, table_prepare<Vector>,
                                               table_multiply<Vector>};

}  // namespace tessera::ops::cpu
