// x · Wᵀ for few rows of x and 4-bit codes, in integers. A row of x becomes 16-bit integers, with a
// scale for each 128 inputs, when a block begins: two planes of signed bytes, in shared memory. The
// tensor cores (m16n8k32) multiply them by the codes; the planes of a row are two columns of the
// right matrix, so that a lane ends with both sums of a row. The integers' rounding, 2^-16 of the
// largest of 128 inputs, is far below that of a bf16 result.
//
// A word of codes is two registers of bytes by one operation each: the low nibbles, and the high
// ones left where they are, 16 times too large, with sums of their own. x is stored in that order.
// Integer sums are exact, and the sums over pieces have one order: a row of x gives the same bits
// whatever rows are beside it. Blocks, warps, and fetches ahead are as in linear.cu. With more rows
// than four the making of integers in each block costs more than it saves.
#include "ops/cuda/linear.cuh"

namespace tessera::ops::gpu {
namespace {

constexpr int kPiece = 128;  // inputs
constexpr int kPieceBytes = 64;
constexpr float kMost = 32512;  // 127 · 256: the upper byte stays below 128

/// What x is in shared memory: planes [rows, pieces, low or high nibbles, 2, lanes, 4] of words,
/// then [rows, pieces] of the scale and the sum.
struct Prepared {
  uint32_t* planes;
  float2* ends;
};

__device__ inline void multiply_bytes(int (&sum)[4],
                                      const uint32_t (&a)[4],
                                      uint32_t b0,
                                      uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Byte `which` of four registers.
__device__ inline uint32_t bytes_of(uint32_t a, uint32_t b, uint32_t c, uint32_t d, int which) {
  const uint32_t pick = which == 0 ? 0x0040U : 0x0051U;
  return __byte_perm(__byte_perm(a, b, pick), __byte_perm(c, d, pick), 0x5410);
}

// Makes `rows` rows of x integers. A thread takes the 8 inputs of a word of codes, 16 threads a
// piece.
template <class T>
__device__ void prepare(const T* x, int64_t x_stride, int rows, int pieces, Prepared to) {
  const int all = rows * pieces * 16;
  const int apart = static_cast<int>(blockDim.x);
  int at = static_cast<int>(threadIdx.x);
  const auto read = [&](int from) {
    if (from >= all) {
      return uint4{};
    }
    const int row = from / (pieces * 16);
    return *reinterpret_cast<const uint4*>(x + row * x_stride + (from - row * pieces * 16) * 8);
  };
  uint4 next = read(at);
  for (; (at & ~31) < all; at += apart) {  // whole warps
    const uint32_t words[4] = {next.x, next.y, next.z, next.w};
    next = read(at + apart);
    uint32_t most = 0;  // of magnitudes, whose order is that of their bits
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      most = __vmaxu2(most, words[i] & 0x7FFF7FFFU);
    }
#pragma unroll
    for (int lanes = 1; lanes < 16; lanes *= 2) {
      most = __vmaxu2(most, __shfl_xor_sync(0xFFFFFFFFU, most, lanes));
    }
    const float largest = to_float(number_of(max(most & 0xFFFFU, most >> 16), 0, T()));
    const float factor = largest > 1e-30F ? kMost / largest : 0.0F;
    // 1.5 · 2^23 more: the integer is in the low bits of the sum.
    constexpr float kShift = 12582912.0F;
    constexpr uint32_t kShiftBits = 0x4B400000U;
    uint32_t numbers[8];
    uint32_t sum = 0U - 8 * kShiftBits;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float value = to_float(number_of(words[i / 2], i % 2, T()));
      numbers[i] = __float_as_uint(fmaf(value, factor, kShift));
      sum += numbers[i];
    }
#pragma unroll
    for (int lanes = 1; lanes < 16; lanes *= 2) {
      sum += __shfl_xor_sync(0xFFFFFFFFU, sum, lanes);
    }
    if (at >= all) {
      break;
    }
    // The nibbles of a word are inputs 0 2 4 6 1 3 5 7.
    uint32_t* own = to.planes + at / 16 * 64 + at % 16;
    own[16] = bytes_of(numbers[0], numbers[4], numbers[1], numbers[5], 0);
    own[48] = bytes_of(numbers[2], numbers[6], numbers[3], numbers[7], 0);
#pragma unroll
    for (uint32_t& number : numbers) {
      number += 128;  // the lower byte is signed
    }
    own[0] = bytes_of(numbers[0], numbers[4], numbers[1], numbers[5], 1);
    own[32] = bytes_of(numbers[2], numbers[6], numbers[3], numbers[7], 1);
    if (at % 16 == 0) {
      // Products come 16 times too large. No number stays none, infinities become none.
      const float scale = isfinite(largest) ? largest / (kMost * 16) : __uint_as_float(0x7FC00000U);
      to.ends[at / 16] = {scale, static_cast<float>(static_cast<int>(sum)) * 16};
    }
  }
  __syncthreads();
}

template <class T, int kTiles, bool kPair, int kAhead, int kWarps>
__global__ void __launch_bounds__(kWarps * 32) int4_kernel(LinearJob job) {
  constexpr int kThreads = kWarps * 32;
  constexpr int kOuts = kPair ? kTile / 2 : kTile;  // outputs of a tile
  let_next_start();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int g = lane / 4;
  const int t = lane % 4;
  const auto outs = static_cast<int>(job.outs);
  const auto rows = static_cast<int>(job.rows);
  const int groups = (outs + kOuts * kTiles - 1) / (kOuts * kTiles);  // of tiles
  const int pieces = static_cast<int>(job.in) / kPiece;
  const int steps = (pieces + kWarps - 1) / kWarps;
  const int scale_groups = static_cast<int>(job.in / job.group);
  const int pieces_a_scale = static_cast<int>(job.group) / kPiece;
  const auto row_of = [&](int group, int m, int half) {
    const int first = (group * kTiles + m) * kOuts;
    const int row = kPair ? first + g : first + g + half * 8;
    return min(row, outs - 1) + (kPair && half == 1 ? outs : 0);
  };

  Words ahead[kAhead][kTiles][2];
  uint32_t scales[kAhead][kTiles][2] = {};        // scale and zero point of the piece
  int next_group = static_cast<int>(blockIdx.x);  // what is fetched next
  int next_piece = warp;
  const char* rows_w[kTiles][2];
  const uint32_t* rows_scales[kTiles][2];
  const auto enter_group = [&] {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t row = row_of(next_group, m, half);
        rows_w[m][half] = static_cast<const char*>(job.weight) + row * (job.in / 2) + t * 16;
        rows_scales[m][half] = static_cast<const uint32_t*>(job.scales) + row * scale_groups;
      }
    }
  };
  const auto fetch = [&](Words(&to)[kTiles][2], uint32_t(&scale)[kTiles][2]) {
    if (next_group >= groups) {
      return;
    }
    if (next_piece < pieces) {
      const int scale_at = pieces_a_scale == 1 ? next_piece : next_piece / pieces_a_scale;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          to[m][half] = stream_words(rows_w[m][half] + next_piece * kPieceBytes);
          scale[m][half] = __ldg(rows_scales[m][half] + scale_at);
        }
      }
    }
    next_piece += kWarps;
    if (next_piece >= steps * kWarps) {
      next_piece = warp;
      next_group += static_cast<int>(gridDim.x);
      enter_group();
    }
  };
  enter_group();
#pragma unroll
  for (int u = 0; u < kAhead; ++u) {
    fetch(ahead[u], scales[u]);
  }

  extern __shared__ uint4 prepared[];
  const Prepared x{reinterpret_cast<uint32_t*>(prepared),
                   reinterpret_cast<float2*>(prepared + rows * pieces * 16)};
  wait_for_previous();
  prepare<T>(static_cast<const T*>(job.x), job.x_stride, rows, pieces, x);

  // This lane's column and row of x. Those beyond the rows take one that is there: their sums are
  // not looked at.
  const uint4* column = prepared + min(g / 2, rows - 1) * pieces * 16 + g % 2 * 4 + t;
  const float2* ends = x.ends + min(t, rows - 1) * pieces;
  float sums[kTiles][2] = {};
  const auto take = [&](int piece, const Words(&words)[kTiles][2],
                        const uint32_t(&scale)[kTiles][2]) {
    const uint4 low_x = column[piece * 16];
    const uint4 high_x = column[piece * 16 + 8];
    const float2 end = ends[piece];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      int low[4] = {};
      int high[4] = {};
#pragma unroll
      for (int i = 0; i < 4; i += 2) {
        constexpr uint32_t kLow = 0x0F0F0F0FU;
        constexpr uint32_t kHigh = 0xF0F0F0F0U;
        const uint32_t w[4] = {words[m][0].at[i], words[m][1].at[i], words[m][0].at[i + 1],
                               words[m][1].at[i + 1]};
        const uint32_t a[4] = {w[0] & kLow, w[1] & kLow, w[2] & kLow, w[3] & kLow};
        multiply_bytes(low, a, i == 0 ? low_x.x : low_x.z, i == 0 ? low_x.y : low_x.w);
        const uint32_t b[4] = {w[0] & kHigh, w[1] & kHigh, w[2] & kHigh, w[3] & kHigh};
        multiply_bytes(high, b, i == 0 ? high_x.x : high_x.z, i == 0 ? high_x.y : high_x.w);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // At most 2 · 64 · 15 · 16 · 32512, which is less than 2^30.
        const int whole = (low[2 * half] * 16 + high[2 * half]) * 256 +
                          (low[2 * half + 1] * 16 + high[2 * half + 1]);
        const float factor = to_float(number_of(scale[m][half], 0, T())) * end.x;
        const float zero = to_float(number_of(scale[m][half], 1, T()));
        sums[m][half] = fmaf(fmaf(-zero, end.y, static_cast<float>(whole)), factor, sums[m][half]);
      }
    }
  };

  __shared__ float shared[2][kWarps][kTiles * 2][32];
  const Output<T> output{job};
  int buffer = 0;
  // Adds up the warps' sums of a group of tiles, and writes the outputs. One barrier a group: the
  // next group uses the other half of the memory.
  const auto finish = [&](int group) {
    float(&own)[kWarps][kTiles * 2][32] = shared[buffer];
    buffer ^= 1;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        own[warp][m * 2 + half][lane] = sums[m][half];
        sums[m][half] = 0;
      }
    }
    __syncthreads();
    const auto total = [&](int slot, int from) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) {
        sum += own[w][slot][from];
      }
      return sum;
    };
    for (int item = threadIdx.x; item < rows * kTiles * kOuts; item += kThreads) {
      // Neighbouring threads take neighbouring rows of W: the output's order.
      const int in_tile = item % kOuts;
      const int m = item / kOuts % kTiles;
      const int r = item / (kOuts * kTiles);
      const int slot = m * 2 + in_tile / 8;
      const int from = in_tile % 8 * 4 + r;
      const int row = (group * kTiles + m) * kOuts + in_tile;
      if (row >= outs) {
        continue;
      }
      float y = output.scaled(total(slot, from), row);
      if constexpr (kPair) {
        y = silu(y) * output.scaled(total(slot + 1, from), row + outs);
      }
      output.put(y, row, r);
    }
  };

  int group = static_cast<int>(blockIdx.x);
  int piece = warp;
  while (group < groups) {
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (piece < pieces) {
        take(piece, ahead[u], scales[u]);
      }
      fetch(ahead[u], scales[u]);
      piece += kWarps;
      if (piece >= steps * kWarps) {
        finish(group);
        piece = warp;
        group += static_cast<int>(gridDim.x);
        if (group >= groups) {
          break;
        }
      }
    }
  }
}

template <class T, int kTiles, bool kPair, int kAhead, int kWarps>
const char* int4_start(const LinearJob& job, void* stream) {
  const auto kernel = int4_kernel<T, kTiles, kPair, kAhead, kWarps>;
  const auto bytes = static_cast<int>(job.rows * job.in * 2 + job.rows * (job.in / kPiece) * 8);
  constexpr int kUsual = 16 * 1024;  // fits beside the sums without asking
  if (bytes > kUsual) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) {
      cudaGetLastError();
      return text_of(error);
    }
  }
  const int64_t resident = resident_blocks(kernel, kWarps * 32, bytes);
  const int64_t outs_a_block = kTiles * (kPair ? kTile / 2 : kTile);
  const int64_t groups = (job.outs + outs_a_block - 1) / outs_a_block;
  const int64_t turns = (groups + resident - 1) / resident;
  // As many as make equal numbers of turns.
  return launch(kernel, dim3(static_cast<unsigned>((groups + turns - 1) / turns)), kWarps * 32,
                static_cast<unsigned>(bytes), stream, job);
}

// Measured on an H200 at the shapes of a 7 B Llama.
template <class T>
const char* int4_type(const LinearJob& job, void* stream) {
  return job.pair ? int4_start<T, 2, true, 2, 16>(job, stream)
                  : int4_start<T, 2, false, 2, 16>(job, stream);
}

}  // namespace

const char* run_linear_int4(const LinearJob& job, void* stream) {
  return job.type == Type::kHalf ? int4_type<__half>(job, stream)
                                 : int4_type<__nv_bfloat16>(job, stream);
}

}  // namespace tessera::ops::gpu
