// Table of CPU kernels, filled once with the best instruction set that this processor has, or the
// one named by TESSERA_CPU_ISA=portable|avx2|avx512. Only plain pointers cross this border.
#pragma once

#include "io/block_format.h"
#include "io/packed_rows.h"

#include <cstdint>
#include <string_view>

namespace tessera::ops::cpu {

enum class Isa { kPortable, kAvx2, kAvx512 };

/// y[r][o] = Σ_i x[r][i] · w[o][i] (· scale[o]) for o in [begin, end) and r < rows ≤ 16.
/// x has row stride x_stride, y has row stride y_stride, w is row-major [out, in] and may be
/// unaligned.
template <class W>
using SmallLinear = void (*)(const float* x,
                             int64_t x_stride,
                             const W* w,
                             const float* scale,
                             float* y,
                             int64_t y_stride,
                             int64_t rows,
                             int64_t in,
                             int64_t begin,
                             int64_t end);

struct Bf16 {
  uint16_t bits;
};
struct Fp16 {
  uint16_t bits;
};

/// Activations rounded to int8 with one scale for each 32 numbers; in is a multiple of 32.
struct BlockActivations {
  const int8_t* codes;  // [rows, in]
  const float* scales;  // [rows, in / 32]
  const int32_t* sums;  // [rows, in / 16] sums of the codes
  int64_t rows;
  int64_t in;
};

/// Output rows [begin, end) of y = x Wᵀ, y with row stride y_stride. W is at w, `row_bytes` a row.
struct BlockOutput {
  const uint8_t* w;
  int64_t row_bytes;
  float* y;
  int64_t y_stride;
  int64_t begin;
  int64_t end;
};

/// Kernels of one block format. Rows of W may lie at any address. `corrections`
/// [rows, in / (fine ? 16 : 32)] has for each run of codes c of x: int32 −offset·Σc, or, in formats
/// with minimums, fp32 −scale·Σc.
struct BlockKernels {
  /// Reads W once for every few rows of x: best for one to three. Corrections are read in formats
  /// with minimums.
  void (*dot)(const BlockActivations& x, const void* corrections, const BlockOutput& out);
  /// Unpacks W once into the cache for all rows of x. `tile` holds 32 · x.rows floats. Null where
  /// the instruction set has none.
  void (*panel)(const BlockActivations& x,
                const void* corrections,
                const BlockOutput& out,
                float* tile);
  /// io::dequantize of `count` numbers.
  void (*dequantize)(const uint8_t* w, int64_t count, float* out);
  int offset;  // what is taken from the unsigned codes
  bool mins;   // numbers are scale · code − min
  bool fine;   // one scale for 16 numbers; otherwise for 32
};

/// y = x Wᵀ for a packed weight (io/packed_rows.h) that is read where it lies.
template <class W>
struct PackedKernel {
  /// Bytes of one prepared row of x, a multiple of 64; 0 for a layout that the kernel cannot read.
  int64_t (*room)(const W& w);
  /// Prepares one row of x [in] at `out`, which lies at a multiple of 64.
  void (*prepare)(const W& w, const float* x, std::byte* out);
  /// Outputs [begin, end) of `rows` prepared rows; begin is a multiple of 32.
  void (*multiply)(const W& w,
                   const std::byte* xs,
                   int64_t rows,
                   int64_t begin,
                   int64_t end,
                   float* y,
                   int64_t y_stride);
};

struct AttentionKernels;

struct Kernels {
  Isa isa;
  SmallLinear<Bf16> linear_bf16;
  SmallLinear<Fp16> linear_fp16;
  SmallLinear<int8_t> linear_int8;
  SmallLinear<float> linear_fp32;
  /// Kernels of a block format; null where the instruction set has none.
  const BlockKernels* (*blocks)(io::BlockFormat format);
  /// Rounds `count` numbers (a multiple of 32): arrays as in BlockActivations.
  void (*quantize)(const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums);
  /// y = x / √(mean(x²) + epsilon) · weight (or without, null) over one row.
  void (*rms_norm)(const float* x, const float* weight, float* y, int64_t width, float epsilon);
  /// y = gate · σ(gate) · up; y may be one of the others.
  void (*silu_product)(const float* gate, const float* up, float* y, int64_t count);
  /// Multiplies and adds independent int8 products in registers; returns how many operations
  /// (a product and a sum are two). Null where the instruction set has no such instruction.
  int64_t (*int8_peak)(int64_t repeats);
  /// Kernels of packed weights; null where the instruction set has none.
  const PackedKernel<io::GroupedRows>* grouped;
  const PackedKernel<io::TableRows>* table;
  const AttentionKernels* attention;  // ops/cpu/attention.h; never null
};

/// The table in use. Throws InvalidArgument when TESSERA_CPU_ISA names something unknown or
/// unavailable.
const Kernels& kernels();
/// The table of one instruction set, or nullptr when this processor lacks it (tests run all of
/// them).
const Kernels* kernels_of(Isa isa);
std::string_view isa_name(Isa isa);

// Defined in linear_blocks_<isa>.cc.
const BlockKernels* avx2_blocks(io::BlockFormat format);
const BlockKernels* avx512_blocks(io::BlockFormat format);
int64_t avx512_int8_peak(int64_t repeats);
void avx2_quantize(const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums);
void avx512_quantize(const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums);

// Defined in linear_packed_<isa>.cc.
extern const PackedKernel<io::GroupedRows> kAvx2Grouped;
extern const PackedKernel<io::GroupedRows> kAvx512Grouped;
extern const PackedKernel<io::TableRows> kAvx2Table;
extern const PackedKernel<io::TableRows> kAvx512Table;

// One for each object file; defined in linear_small_<isa>.cc.
extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace tessera::ops::cpu
