// Matrices [out, in] of small integers with scales for groups of inputs, or of 4-bit table entries,
// as the formats of published checkpoints store them, and the numbers that they stand for. Layouts:
// compressed-tensors' pack-quantized and int-quantized, GPTQ, AWQ gemm and gemv, bitsandbytes
// NF4/FP4. The views point into the mapped file and need no alignment; nothing is checked here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::io {

/// Unsigned integers of `bits` bits in 32-bit little-endian words. The numbers of a line lie along
/// its stream: number k has the bits k · bits … of the line's words. A matrix [out, n] has its
/// lines along n (one line an output), or along the outputs (one line a column).
struct PackedIntegers {
  const std::byte* data = nullptr;
  int bits = 4;
  bool along_out = false;   // lines run along the outputs
  int64_t line_stride = 0;  // bytes from a line to the next
  int64_t word_stride = 4;  // bytes from a word of a line to the next
  int per_word = 0;         // numbers a word, its other bits unused; 0: a dense stream
  bool awq_order = false;   // 4 bits: outputs 0 2 4 6 1 3 5 7 of eight from the lowest nibble up
  bool is_signed = false;   // 8 bits: two's complement; values come with 128 added

  /// Number [out, column].
  uint32_t at(int64_t out, int64_t column) const;
};

/// Floats of a stored type with strides in elements.
struct StridedFloats {
  enum class Type { kF32, kF16, kBF16 };
  const std::byte* data = nullptr;
  Type type = Type::kF32;
  int64_t out_stride = 0;
  int64_t group_stride = 0;

  float at(int64_t out, int64_t group) const;
};

/// number[o, i] = (code[o, i] − zero[o, g]) · scale[o, g], each step rounded to fp32, with
/// g = group_of[i], or i / group_size.
struct GroupedRows {
  int64_t out = 0;
  int64_t in = 0;
  PackedIntegers codes = {};
  int64_t groups = 1;
  int64_t group_size = 0;  // inputs a group, at least 1
  StridedFloats scales = {};
  bool has_zeros = false;
  PackedIntegers zeros = {};  // [out, groups]
  uint32_t zero_add = 0;      // added to every stored zero point, in its own bits (GPTQ v1: 1)
  uint32_t zero = 0;          // the zero point of all groups without `zeros`
  const int32_t* group_of = nullptr;  // [in], each in 0 … groups − 1
};

/// bitsandbytes: numbers [out · in] in row-major order, two a byte, the first in the high nibble;
/// number k = table[nibble] · absmax[k / block]. With nested_codes the factor of block b is
/// nested_table[nested_codes[b]] · absmax[b / nested_block] + nested_offset.
struct TableRows {
  int64_t out = 0;
  int64_t in = 0;
  const std::byte* codes = nullptr;
  int64_t block = 64;
  float table[16] = {};
  const std::byte* absmax = nullptr;        // fp32
  const std::byte* nested_codes = nullptr;  // u8, or null
  const std::byte* nested_table = nullptr;  // fp32 [256]
  int64_t nested_block = 256;
  float nested_offset = 0;
};

/// Rows [begin, end) as fp32 [end − begin, in]. Layouts with lines along the outputs are read best
/// in tiles of 16 rows that start at a multiple of 16.
void dequantize_rows(const GroupedRows& rows, int64_t begin, int64_t end, float* out);
void dequantize_rows(const TableRows& rows, int64_t begin, int64_t end, float* out);

}  // namespace tessera::io
