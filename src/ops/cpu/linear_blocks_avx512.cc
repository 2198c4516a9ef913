// AVX-512 VNNI block kernels. Few activation rows: dot products along the rows, two runs of 32
// numbers a register. More: a panel of 32 weight rows × 512 numbers is unpacked into the L1 cache,
// 16 KB, and multiplied by all activation rows.
//   panel codes  [number / 4][32 weight rows][4]: one vpdpbusd takes four numbers of 16 weight rows
//                and four numbers of one activation row, broadcast from memory
//   panel scales [run][32 weight rows] fp32, minimums the same
//   tile         [activation rows][32] fp32: sums over the panels of a row, in the L2 cache
// Registers of a multiplication: up to 6 activation rows × 32 weight rows, as int32 within a run
// and as fp32 over runs.
// Bytes: those of the weight, once; operations: 2 · rows · out · in. Measured 2026-11-23 on two Zen
// 4 cores at 3.7 GHz, shared with other work (memory 28 to 40 GB/s, 930 int8 GOP/s): one row of
// Q4_0 and Q8_0 at 31 GB/s; 512 rows at 655 GOP/s by processor time of this kernel alone, 490 to
// 540 by the clock with all that surrounds it. A run costs 8 products and 2 multiplications on the
// same two pipes for each sum: with a scale for each 32 numbers 80 % of the peak is the limit.
#include "io/block_parts.h"
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

#include <array>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/blocks_x86.h"
#include "ops/cpu/linear_blocks_body.h"
#include "ops/cpu/transpose_avx512.h"

inline __m512 join(__m256 low, __m256 high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

/// Two runs in 512 bits.
struct Pair {
  using Bytes = __m512i;
  using Ints = __m512i;
  using Floats = __m512;
  using Tail = Single;
  static constexpr int kRuns = 2;
  static constexpr int kOut = 4;
  static constexpr int kRows = 3;

  static Floats zero() { return _mm512_setzero_ps(); }
  static Ints no_ints() { return _mm512_setzero_si512(); }
  static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats floats(Ints a) { return _mm512_cvtepi32_ps(a); }
  static Ints minus(Ints a) { return _mm512_sub_epi32(_mm512_setzero_si512(), a); }
  static float sum(Floats a) { return _mm512_reduce_add_ps(a); }
  static Bytes activations(const int8_t* p) { return _mm512_loadu_si512(p); }
  static Floats scales(const float* p) {
    return _mm512_mask_blend_ps(0xFF00, _mm512_set1_ps(p[0]), _mm512_set1_ps(p[1]));
  }

  template <class F>
  static void read_heads(const uint8_t* block, Heads<Pair>& heads) {
    const auto first = F::head(block);
    if constexpr (F::kElements == 32) {
      const auto second = F::head(block + F::kBytes);
      heads.scale[0] = join(first.scale, second.scale);
      if constexpr (F::kMins) {
        heads.min[0] = join(first.min, second.min);
      }
    } else if constexpr (F::kFine) {
      heads.scale[0] = join(first.scale[0], first.scale[1]);
      if constexpr (F::kMins) {
        heads.min[0] = join(first.min[0], first.min[1]);
      }
    } else {
      heads.scale[0] = _mm512_castps256_ps512(first.scale);
      if constexpr (F::kMins) {
        heads.min[0] = _mm512_zextps256_ps512(first.min);
      }
    }
  }
  template <class F>
  static Floats lanes(const Floats (&head)[2], int run) {
    if constexpr (F::kElements == 32) {
      return head[0];
    } else {
      const __m512i order = F::kFine
                                ? _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
                                : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
      const int first = F::kFine ? 2 * run : run;
      return _mm512_permutexvar_ps(_mm512_add_epi32(order, _mm512_set1_epi32(first)), head[0]);
    }
  }
  template <class F>
  static Floats add_mins(const Floats (&min)[2], const float* x_sums, Floats sum) {
    if constexpr (F::kElements == 32) {
      return fma(min[0], scales(x_sums), sum);
    } else if constexpr (F::kFine) {
      return fma(min[0], _mm512_loadu_ps(x_sums), sum);
    } else {
      return fma(min[0], _mm512_zextps256_ps512(_mm256_loadu_ps(x_sums)), sum);
    }
  }
  template <class F>
  static Bytes codes(const uint8_t* block, int run) {
    const __m256i low = F::codes(block, run);
    const __m256i high =
        F::kElements == 32 ? F::codes(block + F::kBytes, 0) : F::codes(block, run + 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  template <bool kWide>
  static Ints dot(Ints start, Bytes codes, Bytes xs) {
    return _mm512_dpbusd_epi32(start, codes, xs);
  }
  static Ints dot_constant(int constant, Bytes xs) {
    return _mm512_dpbusd_epi32(no_ints(), _mm512_set1_epi8(static_cast<char>(constant)), xs);
  }
};

constexpr int64_t kPanelRows = 32;
constexpr int64_t kPanelNumbers = 512;
constexpr int kTileRows = 6;

struct Panel {
  alignas(64) uint8_t codes[kPanelRows * kPanelNumbers];
  alignas(64) float scales[kPanelNumbers / 16 * kPanelRows];
  alignas(64) float mins[kPanelNumbers / 16 * kPanelRows];
};

/// 16 weight rows at the same place.
struct Lines {
  const uint8_t* of[16];
  const char* next;  // what is asked for meanwhile, line after line: the rows of the next panel
};

/// Codes of 64 (or 32) numbers of 16 rows, from `run` of the blocks at `bytes`.
template <class F, bool kWhole>
__attribute__((always_inline)) inline void unpack_codes(Lines& lines,
                                                        int64_t bytes,
                                                        int run,
                                                        uint8_t* out) {
  constexpr int kStepBytes = 16 * F::kBytes * (kWhole ? 64 : 32) / F::kElements;
#pragma GCC unroll 20
  for (int line = 0; line < kStepBytes; line += 64) {
    _mm_prefetch(lines.next + line, _MM_HINT_T1);
  }
  lines.next += kStepBytes;
  __m512i v[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    const uint8_t* block = lines.of[r] + bytes;
    v[r] = kWhole ? Pair::codes<F>(block, run) : _mm512_zextsi256_si512(F::codes(block, run));
  }
  transpose(v);
#pragma GCC unroll 16
  for (int i = 0; i < (kWhole ? 16 : 8); ++i) {
    _mm512_store_si512(out + i * kPanelRows * 4, v[i]);
  }
}

template <class F>
__attribute__((always_inline)) inline void unpack_small_scales(const Lines& lines,
                                                               int64_t bytes,
                                                               float* scales,
                                                               float* mins) {
  for (int r = 0; r < 16; ++r) {
    const auto head = F::head(lines.of[r] + bytes);
    scales[r] = _mm256_cvtss_f32(head.scale);
    if constexpr (F::kMins) {
      mins[r] = _mm256_cvtss_f32(head.min);
    }
  }
}

/// Eight or sixteen scales of a block of 16 rows, one after the other kPanelRows apart.
template <class F>
void unpack_large_scales(const Lines& lines, int64_t bytes, float* scales, float* mins) {
  __m512i a[16];
  [[maybe_unused]] __m512i b[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    const auto head = F::head(lines.of[r] + bytes);
    if constexpr (F::kFine) {
      a[r] = _mm512_castps_si512(join(head.scale[0], head.scale[1]));
      if constexpr (F::kMins) {
        b[r] = _mm512_castps_si512(join(head.min[0], head.min[1]));
      }
    } else if constexpr (F::kMins) {
      a[r] = _mm512_castps_si512(join(head.scale, head.min));
    } else {
      a[r] = _mm512_castps_si512(_mm512_zextps256_ps512(head.scale));
    }
  }
  transpose(a);
  constexpr int kScales = F::kFine ? 16 : 8;
#pragma GCC unroll 16
  for (int i = 0; i < kScales; ++i) {
    _mm512_store_si512(scales + i * kPanelRows, a[i]);
    if constexpr (F::kMins && !F::kFine) {
      _mm512_store_si512(mins + i * kPanelRows, a[i + 8]);
    }
  }
  if constexpr (F::kMins && F::kFine) {
    transpose(b);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      _mm512_store_si512(mins + i * kPanelRows, b[i]);
    }
  }
}

/// 16 weight rows of `count` numbers into their half of the panel.
template <class F>
void unpack_lines(Lines& lines, int64_t count, uint8_t* codes, float* scales, float* mins) {
  if constexpr (F::kElements == 32) {
    int64_t run = 0;
    for (; run < count / 32; ++run) {
      unpack_small_scales<F>(lines, run * F::kBytes, scales + run * kPanelRows,
                             mins + run * kPanelRows);
    }
    run = 0;
    for (; run + 2 <= count / 32; run += 2) {
      unpack_codes<F, true>(lines, run * F::kBytes, 0, codes + run * 32 * kPanelRows);
    }
    if (run < count / 32) {
      unpack_codes<F, false>(lines, run * F::kBytes, 0, codes + run * 32 * kPanelRows);
    }
  } else {
    for (int64_t block = 0; block < count / 256; ++block) {
      const int64_t scale = block * (F::kFine ? 16 : 8) * kPanelRows;
      unpack_large_scales<F>(lines, block * F::kBytes, scales + scale, mins + scale);
#pragma GCC unroll 4
      for (int run = 0; run < 8; run += 2) {
        unpack_codes<F, true>(lines, block * F::kBytes, run,
                              codes + (block * 256 + run * 32) * kPanelRows);
      }
    }
  }
}

/// `count` numbers of `rows` ≤ 32 weight rows from w on; rows that are not there repeat the last.
template <class F>
void unpack_panel(const uint8_t* w,
                  int64_t row_bytes,
                  int64_t rows,
                  int64_t count,
                  const uint8_t* next,
                  Panel& panel) {
  Lines lines;
  lines.next = reinterpret_cast<const char*>(next);
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t r = 0; r < 16; ++r) {
      const int64_t row = half * 16 + r;
      lines.of[r] = w + (row < rows ? row : rows - 1) * row_bytes;
    }
    unpack_lines<F>(lines, count, panel.codes + half * 64, panel.scales + half * 16,
                    panel.mins + half * 16);
  }
}

/// Activation rows of a multiplication at the panel's first number.
struct TilePlace {
  const int8_t* x;
  const float* x_scales;
  const int32_t* corrections;  // or float
  int64_t in;
  float* tile;
};

template <bool kMins, bool kFine, int kRows>
void multiply(const Panel& panel, int64_t count, const TilePlace& at, bool first) {
  constexpr int kRun = kFine ? 16 : 32;
  __m512 sum[kRows][2];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    sum[r][0] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(at.tile + r * kPanelRows);
    sum[r][1] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(at.tile + r * kPanelRows + 16);
  }
  const uint8_t* codes = panel.codes;
  for (int64_t run = 0; run < count / kRun; ++run) {
    __m512i part[kRows][2];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      part[r][0] = kMins ? _mm512_setzero_si512()
                         : _mm512_set1_epi32(at.corrections[r * (at.in / kRun) + run]);
      part[r][1] = part[r][0];
    }
    const int8_t* x = at.x + run * kRun;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {  // the next rows
      _mm_prefetch(reinterpret_cast<const char*>(x + (kRows + r) * at.in), _MM_HINT_T0);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRun / 4; ++i, codes += 4 * kPanelRows) {
      const __m512i low = _mm512_load_si512(codes);
      const __m512i high = _mm512_load_si512(codes + 64);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512i four = _mm512_set1_epi32(
            static_cast<int>(load32(reinterpret_cast<const uint8_t*>(x + r * at.in + 4 * i))));
        part[r][0] = _mm512_dpbusd_epi32(part[r][0], low, four);
        part[r][1] = _mm512_dpbusd_epi32(part[r][1], high, four);
      }
    }
    const __m512 scale0 = _mm512_load_ps(panel.scales + run * kPanelRows);
    const __m512 scale1 = _mm512_load_ps(panel.scales + run * kPanelRows + 16);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 x_scale = _mm512_set1_ps(at.x_scales[r * (at.in / 32) + run * kRun / 32]);
      sum[r][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][0]), _mm512_mul_ps(scale0, x_scale),
                                  sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][1]), _mm512_mul_ps(scale1, x_scale),
                                  sum[r][1]);
    }
    if constexpr (kMins) {
      const __m512 min0 = _mm512_load_ps(panel.mins + run * kPanelRows);
      const __m512 min1 = _mm512_load_ps(panel.mins + run * kPanelRows + 16);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512 x_sum =
            _mm512_castsi512_ps(_mm512_set1_epi32(at.corrections[r * (at.in / kRun) + run]));
        sum[r][0] = _mm512_fmadd_ps(min0, x_sum, sum[r][0]);
        sum[r][1] = _mm512_fmadd_ps(min1, x_sum, sum[r][1]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    _mm512_storeu_ps(at.tile + r * kPanelRows, sum[r][0]);
    _mm512_storeu_ps(at.tile + r * kPanelRows + 16, sum[r][1]);
  }
}

using Multiply = void (*)(const Panel& panel, int64_t count, const TilePlace& at, bool first);

template <bool kMins, bool kFine>
constexpr std::array<Multiply, kTileRows + 1> kMultiply = {nullptr,
                                                           multiply<kMins, kFine, 1>,
                                                           multiply<kMins, kFine, 2>,
                                                           multiply<kMins, kFine, 3>,
                                                           multiply<kMins, kFine, 4>,
                                                           multiply<kMins, kFine, 5>,
                                                           multiply<kMins, kFine, 6>};

template <class F>
void panel_linear(const BlockActivations& x,
                  const void* corrections,
                  const BlockOutput& out,
                  float* tile) {
  constexpr int64_t kRun = F::kFine ? 16 : 32;
  const auto* corrected = static_cast<const int32_t*>(corrections);
  const int64_t tiles = (x.rows + kTileRows - 1) / kTileRows;
  Panel panel;
  for (int64_t o = out.begin; o < out.end; o += kPanelRows) {
    const int64_t width = out.end - o < kPanelRows ? out.end - o : kPanelRows;
    const uint8_t* w = out.w + o * out.row_bytes;
    for (int64_t k = 0; k < x.in; k += kPanelNumbers) {
      const int64_t count = x.in - k < kPanelNumbers ? x.in - k : kPanelNumbers;
      const int64_t bytes = k / F::kElements * F::kBytes;
      const uint8_t* next = w + kPanelRows * (out.row_bytes + bytes);
      unpack_panel<F>(w + bytes, out.row_bytes, width, count, next, panel);
      for (int64_t t = 0; t < tiles; ++t) {  // tiles of nearly equal height
        const int64_t row = t * x.rows / tiles;
        const TilePlace at{x.codes + row * x.in + k, x.scales + (row * x.in + k) / 32,
                           corrected + (row * x.in + k) / kRun, x.in, tile + row * kPanelRows};
        const int64_t height = (t + 1) * x.rows / tiles - row;
        kMultiply<F::kMins, F::kFine>[static_cast<size_t>(height)](panel, count, at, k == 0);
      }
    }
    for (int64_t r = 0; r < x.rows; ++r) {
      __builtin_memcpy(out.y + r * out.y_stride + o, tile + r * kPanelRows,
                       static_cast<size_t>(width) * sizeof(float));
    }
  }
}

template <class F>
constexpr BlockKernels kernels_of_format() {
  return {dot_linear<Pair, F>, panel_linear<F>, dequantize_row<F>, F::kOffset, F::kMins, F::kFine};
}

#include "ops/cpu/linear_blocks_table.h"

}  // namespace

const BlockKernels* avx512_blocks(io::BlockFormat format) {
  return find_blocks(format);
}

int64_t avx512_int8_peak(int64_t repeats) {
  const __m512i ones = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < repeats; ++i) {
    // The compiler may neither drop nor move these: twelve chains hide the latency.
    asm volatile(
        "vpdpbusd %0, %0, %%zmm16\n\tvpdpbusd %0, %0, %%zmm17\n\tvpdpbusd %0, %0, %%zmm18\n\t"
        "vpdpbusd %0, %0, %%zmm19\n\tvpdpbusd %0, %0, %%zmm20\n\tvpdpbusd %0, %0, %%zmm21\n\t"
        "vpdpbusd %0, %0, %%zmm22\n\tvpdpbusd %0, %0, %%zmm23\n\tvpdpbusd %0, %0, %%zmm24\n\t"
        "vpdpbusd %0, %0, %%zmm25\n\tvpdpbusd %0, %0, %%zmm26\n\tvpdpbusd %0, %0, %%zmm27"
        :
        : "v"(ones)
        : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
          "xmm26", "xmm27");
  }
  return repeats * 12 * 64 * 2;
}

void avx512_quantize(const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums) {
  quantize_activations(x, count, codes, scales, sums);
}

}  // namespace tessera::ops::cpu
