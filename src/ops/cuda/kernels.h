// The GPU kernels of the language engine: plain structs in, nothing allocated, nothing waited for,
// so that every one of them can be captured into a graph. libtessera_cuda.so fills the table, which
// ops/gpu.h looks up once. All pointers are the device's; strides count elements.
//
// Kernels start before their predecessor in the stream has ended (programmatic dependent launch,
// compute capability 9.0 on) and wait for it before they read or write anything but weights.
#pragma once

#include <cstdint>

namespace tessera::ops::gpu {

constexpr int kPage = 16;  // tokens

enum class Type { kFloat, kHalf, kBFloat16 };

/// out = x / √(mean(x²) + epsilon), rounded, · weight; unit_offset: · (1 + weight), rounded once.
struct NormJob {
  const void* x = nullptr;  // [rows, width]; rows are x_stride apart
  const void* weight = nullptr;
  void* out = nullptr;  // [rows, width]
  int64_t rows = 0, width = 0, x_stride = 0;
  float epsilon = 0;
  bool unit_offset = false;
  Type type = Type::kBFloat16;
};

/// out = silu(gate) · up.
struct SiluJob {
  const void* gate = nullptr;
  const void* up = nullptr;
  void* out = nullptr;  // [rows, width]
  int64_t rows = 0, width = 0, gate_stride = 0, up_stride = 0;
  Type type = Type::kBFloat16;
};

/// Rotates q and k of a step's tokens in place and writes k and v into their pages.
struct RotaryJob {
  void* q = nullptr;  // [tokens, heads, dim]; tokens are the strides apart
  void* k = nullptr;  // [tokens, kv_heads, dim]
  const void* v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  int64_t tokens = 0, heads = 0, kv_heads = 0, dim = 0;
  int64_t rotated = 0;  // dimensions from the first, even; pairs are half of it apart
  const float* frequencies = nullptr;  // [rotated / 2]
  float factor = 1;                    // of sines and cosines
  const int32_t* positions = nullptr;  // [tokens]; below 0: left alone
  const int32_t* sequences = nullptr;  // [tokens]: rows of `tables`; null: token i is of row i
  const int32_t* tables = nullptr;     // [.., table_stride]
  int64_t table_stride = 0;
  void* keys = nullptr;    // [pages, page tokens, kv_heads, dim]
  void* values = nullptr;  // the same
  Type type = Type::kBFloat16;
};

/// Attention of one query a sequence over its pages. `partials` and `counters` are only used when
/// splits > 1: fp32 [rows, heads, splits, dim + 2], and i32 [rows · heads] that are 0 before and
/// after.
struct DecodeJob {
  const void* q = nullptr;  // [rows, heads, dim]; rows are the stride apart
  int64_t q_stride = 0;
  /// Not null: q and the newest keys are not rotated yet, and the newest token, the last of its
  /// sequence, is in no page: the kernel rotates as rotary_append does, and writes to the pages.
  const void* new_keys = nullptr;  // [rows, kv_heads, dim]; rows are new_stride apart
  const void* new_values = nullptr;
  int64_t new_stride = 0;
  int64_t rotated = 0;  // a multiple of 16
  const float* frequencies = nullptr;
  float factor = 1;
  void* keys = nullptr;
  void* values = nullptr;
  const int32_t* tables = nullptr;
  int64_t table_stride = 0;
  const int32_t* lengths = nullptr;  // [rows]; 0: the output is 0
  void* out = nullptr;               // [rows, heads · dim]
  float* partials = nullptr;
  int32_t* counters = nullptr;
  int64_t rows = 0, heads = 0, kv_heads = 0, dim = 0, splits = 1, window = 0;
  float scale = 1, cap = 0;
  Type type = Type::kBFloat16;
};

/// How a weight [out, in] is stored.
enum class WeightFormat {
  kDense,  // of the activations' type
  /// i32 [out, in / 8]: number 8 j + 2 i is nibble i of word j, number 8 j + 2 i + 1 nibble i + 4.
  /// Number = (code − zero) · scale.
  kInt4,
  kInt8,  // i8 [out, in], one scale a row
};

/// out[r, o] = Σ x[r, i] W[o, i] (+ bias[o]) (+ residual[r, o]), sums in fp32, for few rows of x.
/// pair: W is [2 outs, in], and out[r, o] = silu(y[r, o]) · y[r, outs + o].
struct LinearJob {
  const void* x = nullptr;  // [rows, in], aligned to 16 bytes
  int64_t x_stride = 0;
  WeightFormat format = WeightFormat::kDense;
  const void* weight = nullptr;
  const void* scales = nullptr;    // kInt4: of x's type [rows of W, in / group, 2]: scale and zero;
                                   // kInt8: fp32 [rows of W]
  int64_t group = 0;               // inputs a scale, a multiple of 128 (kInt4)
  const void* bias = nullptr;      // [rows of W]
  const void* residual = nullptr;  // [rows, outs]
  int64_t residual_stride = 0;
  void* out = nullptr;  // [rows, outs] of x's type, or fp32
  bool wide = false;    // out is fp32
  bool pair = false;
  int64_t rows = 0, in = 0, outs = 0;
  Type type = Type::kBFloat16;
};

/// The numbers of a kInt4 or kInt8 weight, [outs, in] of `type`.
struct DequantizeJob {
  WeightFormat format = WeightFormat::kInt4;
  const void* weight = nullptr;
  const void* scales = nullptr;
  int64_t group = 0;
  void* out = nullptr;
  int64_t outs = 0, in = 0;
  Type type = Type::kBFloat16;
};

/// Each launches on the current stream and returns null, or what CUDA says against it.
struct Kernels {
  const char* (*rms_norm)(const NormJob&);
  const char* (*silu_product)(const SiluJob&);
  const char* (*rotary_append)(const RotaryJob&);
  const char* (*decode_attention)(const DecodeJob&);
  const char* (*linear)(const LinearJob&);
  const char* (*dequantize)(const DequantizeJob&);
};

/// The same on a stream (cudaStream_t) of choice.
const char* run_rms_norm(const NormJob& job, void* stream);
const char* run_silu_product(const SiluJob& job, void* stream);
const char* run_rotary_append(const RotaryJob& job, void* stream);
const char* run_decode_attention(const DecodeJob& job, void* stream);
const char* run_linear(const LinearJob& job, void* stream);
const char* run_dequantize(const DequantizeJob& job, void* stream);

}  // namespace tessera::ops::gpu
