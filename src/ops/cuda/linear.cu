// x · Wᵀ for few rows of x, bound by the reading of W. A block takes tiles of 16 rows of W; its
// warps share the inputs and add up at the end. Each warp multiplies with the tensor cores
// (m16n8k16: W is the left matrix, x the right one), straight from registers: sums do not depend
// on the order of the inputs as long as both sides have the same, so a lane takes 16 neighbouring
// bytes of a row of W and the numbers of x that belong to them, without shared memory.
//
// Words of W are loaded kAhead pieces before they are used, the first ones before the previous
// kernel has ended. A row of x gives the same bits whatever rows are beside it, as far as one
// kernel takes them: 4-bit codes with up to four rows are linear_int4.cu's. 4-bit codes are
// multiplied as 128 + code (1024 + code in fp16), which is one operation on the bits; the sum of x,
// which another product gives, takes that and the zero point away again.
#include "ops/cuda/linear.cuh"

namespace tessera::ops::gpu {
namespace {

constexpr int kColumns = 8;    // rows of x
constexpr int kMostRows = 16;  // of x in a block; more are several blocks

template <class T>
__device__ void multiply(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ inline void multiply<__nv_bfloat16>(float (&sum)[4],
                                               const uint32_t (&a)[4],
                                               uint32_t b0,
                                               uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ inline void multiply<__half>(float (&sum)[4],
                                        const uint32_t (&a)[4],
                                        uint32_t b0,
                                        uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline uint32_t subtract(uint32_t a, uint32_t b, __nv_bfloat16) {
  const __nv_bfloat162 d = __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&a),
                                   *reinterpret_cast<const __nv_bfloat162*>(&b));
  return *reinterpret_cast<const uint32_t*>(&d);
}
__device__ inline uint32_t subtract(uint32_t a, uint32_t b, __half) {
  const __half2 d =
      __hsub2(*reinterpret_cast<const __half2*>(&a), *reinterpret_cast<const __half2*>(&b));
  return *reinterpret_cast<const uint32_t*>(&d);
}

// Twice the number whose low bits count in ones: 128 in bf16, 1024 in fp16.
template <class T>
constexpr uint32_t kOnes = 0x43004300U;
template <>
constexpr uint32_t kOnes<__half> = 0x64006400U;

// How a lane reads a piece of a row of W: `kLoads` vectors of 16 bytes, `kNumbers` numbers each,
// kApart numbers from one to the next; kPiece numbers of a row are one piece. `pair` gives numbers
// 4 step … 4 step + 3 of a vector as two registers; kInt4's come with kOnes added.
template <class T, WeightFormat kFormat>
struct Storage;

template <class T>
struct Storage<T, WeightFormat::kDense> {
  static constexpr int kNumbers = 8, kLoads = 2, kPiece = 64, kApart = 32;
  static constexpr int kLaneBytes = 16, kPieceBytes = 128;
  static __device__ int64_t bytes(int64_t in) { return in * 2; }
  static __device__ void pair(const Words& w, int step, uint32_t (&to)[2]) {
    to[0] = w.at[2 * step];
    to[1] = w.at[2 * step + 1];
  }
};

template <class T>
struct Storage<T, WeightFormat::kInt4> {
  static constexpr int kNumbers = 32, kLoads = 1, kPiece = 128, kApart = 128;
  static constexpr int kLaneBytes = 16, kPieceBytes = 64;
  static __device__ int64_t bytes(int64_t in) { return in / 2; }
  static __device__ void pair(const Words& w, int step, uint32_t (&to)[2]) {
    const uint32_t word = w.at[step / 2] >> (step % 2 * 8);
    to[0] = (word & 0x000F000FU) | kOnes<T>;
    to[1] = (word >> 4 & 0x000F000FU) | kOnes<T>;
  }
};

template <class T>
struct Storage<T, WeightFormat::kInt8> {
  static constexpr int kNumbers = 16, kLoads = 1, kPiece = 64, kApart = 64;
  static constexpr int kLaneBytes = 16, kPieceBytes = 64;
  static __device__ int64_t bytes(int64_t in) { return in; }
  // Both ends of two's complement: the low seven bits, less 128 where the sign bit is set. In bf16
  // the sign bit makes 128 the next power of two, in fp16 it counts 128 as it is.
  static __device__ void pair(const Words& w, int step, uint32_t (&to)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t two = __byte_perm(w.at[step], 0, i == 0 ? 0x4140 : 0x4342);
      to[i] = subtract((two & 0x007F007FU) | kOnes<T>, (two & 0x00800080U) | kOnes<T>, T());
    }
  }
};

// Blocks stay: each takes one group of kTiles tiles after the other, and words are fetched across
// the border, so that reading never pauses. A step is one piece of each warp; all warps make the
// same steps. In a pair the upper 8 rows of a tile are of the first weight, the lower 8 of the
// second, so that a lane has both numbers of an output. kWhole: the inputs are whole pieces.
template <class T,
          WeightFormat kFormat,
          int kTiles,
          int kSets,
          bool kPair,
          int kAhead,
          int kWarps,
          bool kWhole>
__global__ void __launch_bounds__(kWarps * 32) linear_kernel(LinearJob job) {
  constexpr int kThreads = kWarps * 32;
  constexpr bool kInt4 = kFormat == WeightFormat::kInt4;
  constexpr int kOuts = kPair ? kTile / 2 : kTile;  // outputs of a tile
  using Stored = Storage<T, kFormat>;
  let_next_start();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int g = lane / 4;
  const int t = lane % 4;
  const int64_t in = job.in;
  const auto outs = static_cast<int>(job.outs);
  const int groups = (outs + kOuts * kTiles - 1) / (kOuts * kTiles);  // of tiles
  const int pieces = static_cast<int>((in + Stored::kPiece - 1) / Stored::kPiece);
  const int steps = (pieces + kWarps - 1) / kWarps;
  const int scale_groups = kInt4 ? static_cast<int>(in / job.group) : 0;
  const int pieces_a_scale = kInt4 ? static_cast<int>(job.group) / Stored::kPiece : 1;
  const int64_t row_bytes = Stored::bytes(in);
  // This lane's row of W: `half` 0 is the upper one of a tile.
  const auto row_of = [&](int group, int m, int half) {
    const int first = (group * kTiles + m) * kOuts;
    const int row = kPair ? first + g : first + g + half * 8;
    return min(row, outs - 1) + (kPair && half == 1 ? outs : 0);
  };
  const auto inside = [&](int piece, int l) {
    return kWhole || static_cast<int64_t>(piece) * Stored::kPiece + t * Stored::kNumbers +
                             l * Stored::kApart <
                         in;
  };

  Words ahead[kAhead][kTiles][2][Stored::kLoads];
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
        rows_w[m][half] =
            static_cast<const char*>(job.weight) + row * row_bytes + t * Stored::kLaneBytes;
        rows_scales[m][half] = static_cast<const uint32_t*>(job.scales) + row * scale_groups;
      }
    }
  };
  const auto fetch = [&](Words(&to)[kTiles][2][Stored::kLoads], uint32_t(&scale)[kTiles][2]) {
    if (next_group >= groups) {
      return;
    }
    if (next_piece < pieces) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int l = 0; l < Stored::kLoads; ++l) {
            to[m][half][l] = inside(next_piece, l)
                                 ? stream_words(rows_w[m][half] + next_piece * Stored::kPieceBytes +
                                                l * (Stored::kPieceBytes / Stored::kLoads))
                                 : Words{};
          }
          if constexpr (kInt4) {
            scale[m][half] =
                __ldg(rows_scales[m][half] +
                      (pieces_a_scale == 1 ? next_piece : next_piece / pieces_a_scale));
          }
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
  wait_for_previous();

  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * kMostRows;
  const auto rows = static_cast<int>(min(static_cast<int64_t>(kMostRows), job.rows - first_row));
  // This lane's. Columns without a row read one that is there: their sums are not looked at.
  const T* x_rows[kSets];
#pragma unroll
  for (int n = 0; n < kSets; ++n) {
    x_rows[n] = static_cast<const T*>(job.x) +
                (first_row + min(n * kColumns + g, rows - 1)) * job.x_stride + t * Stored::kNumbers;
  }
  float sums[kTiles][kSets][4] = {};
  // Adds the products of one piece.
  const auto take = [&](int piece, const Words(&words)[kTiles][2][Stored::kLoads],
                        const uint32_t(&scale)[kTiles][2]) {
    // Of this piece, where it has a scale of its own. Two in turn for a single tile: a product need
    // not wait for the one before it.
    constexpr int kParts = kTiles == 1 ? 2 : 1;
    float part[kParts][kTiles][kSets][4] = {};
    float ones[kSets][4] = {};  // sums of x, for the zero points
    constexpr uint32_t kOne = kOnes<T> == 0x43004300U ? 0x3F803F80U : 0x3C003C00U;
    constexpr uint32_t kAllOnes[4] = {kOne, kOne, kOne, kOne};
#pragma unroll
    for (int l = 0; l < Stored::kLoads; ++l) {
#pragma unroll
      for (int eight = 0; eight < Stored::kNumbers / 8; ++eight) {
        Words xs[kSets];
#pragma unroll
        for (int n = 0; n < kSets; ++n) {
          xs[n] = {};
          if (inside(piece, l)) {
            const auto found = *reinterpret_cast<const uint4*>(x_rows[n] + piece * Stored::kPiece +
                                                               l * Stored::kApart + eight * 8);
            xs[n] = {found.x, found.y, found.z, found.w};
          }
        }
#pragma unroll
        for (int step = 0; step < 2; ++step) {
#pragma unroll
          for (int m = 0; m < kTiles; ++m) {
            uint32_t upper[2], lower[2];
            Stored::pair(words[m][0][l], eight * 2 + step, upper);
            Stored::pair(words[m][1][l], eight * 2 + step, lower);
            const uint32_t a[4] = {upper[0], lower[0], upper[1], lower[1]};
#pragma unroll
            for (int n = 0; n < kSets; ++n) {
              multiply<T>(kInt4 ? part[step % kParts][m][n] : sums[m][n], a, xs[n].at[2 * step],
                          xs[n].at[2 * step + 1]);
            }
          }
          if constexpr (kInt4) {
#pragma unroll
            for (int n = 0; n < kSets; ++n) {
              multiply<T>(ones[n], kAllOnes, xs[n].at[2 * step], xs[n].at[2 * step + 1]);
            }
          }
        }
      }
    }
    if constexpr (kInt4) {
      constexpr float kBase = kOnes<T> == 0x43004300U ? 128.0F : 1024.0F;
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float factor = to_float(number_of(scale[m][half], 0, T()));
          const float zero = to_float(number_of(scale[m][half], 1, T())) + kBase;
#pragma unroll
          for (int n = 0; n < kSets; ++n) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
              const float whole = part[0][m][n][i] + (kParts == 2 ? part[kParts - 1][m][n][i] : 0);
              sums[m][n][i] = fmaf(fmaf(-zero, ones[n][i], whole), factor, sums[m][n][i]);
            }
          }
        }
      }
    }
  };

  __shared__ float shared[2][kWarps][kTiles * kSets * 4][32];
  const Output<T> output{job};
  int buffer = 0;
  // Adds up the warps' sums of a group of tiles, and writes the outputs. One barrier a group: the
  // next group uses the other half of the memory.
  const auto finish = [&](int group) {
    float(&own)[kWarps][kTiles * kSets * 4][32] = shared[buffer];
    buffer ^= 1;
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kSets; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          own[warp][(m * kSets + n) * 4 + i][lane] = sums[m][n][i];
          sums[m][n][i] = 0;
        }
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
    constexpr int kRows = kSets * kColumns;
    for (int item = threadIdx.x; item < kTiles * kRows * kOuts; item += kThreads) {
      // Neighbouring threads take neighbouring rows of W: the output's order.
      const int in_tile = item % kOuts;
      const int r = item / kOuts % kRows;
      const int m = item / (kOuts * kRows);
      const int slot = (m * kSets + r / kColumns) * 4 + in_tile / 8 * 2 + r % 2;
      const int from = in_tile % 8 * 4 + r % kColumns / 2;
      const int row = (group * kTiles + m) * kOuts + in_tile;
      if (r >= rows || row >= outs) {
        continue;
      }
      float y = output.scaled(total(slot, from), row);
      if constexpr (kPair) {
        y = silu(y) * output.scaled(total(slot + 2, from), row + outs);
      }
      output.put(y, row, first_row + r);
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

template <class T,
          WeightFormat kFormat,
          int kTiles,
          int kSets,
          bool kPair,
          int kAhead,
          int kWarps,
          bool kWhole>
const char* linear_start(const LinearJob& job, void* stream) {
  const auto kernel = linear_kernel<T, kFormat, kTiles, kSets, kPair, kAhead, kWarps, kWhole>;
  static const int resident = resident_blocks(kernel, kWarps * 32);
  const int64_t outs_a_block = kTiles * (kPair ? kTile / 2 : kTile);
  const int64_t groups = (job.outs + outs_a_block - 1) / outs_a_block;
  const int64_t turns = (groups + resident - 1) / resident;
  // As many as make equal numbers of turns.
  const dim3 grid(static_cast<unsigned>((groups + turns - 1) / turns),
                  static_cast<unsigned>((job.rows + kMostRows - 1) / kMostRows));
  return launch(kernel, grid, kWarps * 32, 0, stream, job);
}

template <class T, WeightFormat kFormat, int kTiles, int kSets, bool kPair, int kAhead, int kWarps>
const char* linear_of(const LinearJob& job, void* stream) {
  constexpr bool kAlways = kFormat == WeightFormat::kInt4;  // run_linear has looked
  if (kAlways || job.in % Storage<T, kFormat>::kPiece == 0) {
    return linear_start<T, kFormat, kTiles, kSets, kPair, kAhead, kWarps, true>(job, stream);
  }
  return linear_start<T, kFormat, kTiles, kSets, kPair, kAhead, kWarps, kAlways>(job, stream);
}

// Measured on an H200 at the shapes of a 7 B Llama. More than 8 rows of x with a dense weight are
// cuBLAS's, which is quicker there.
template <class T, WeightFormat kFormat>
const char* linear_shape(const LinearJob& job, void* stream) {
  if constexpr (kFormat == WeightFormat::kDense) {
    if (job.rows > kColumns) {
      return "linear: at most 8 rows";
    }
    return job.pair ? linear_of<T, kFormat, 2, 1, true, 2, 16>(job, stream)
                    : linear_of<T, kFormat, 2, 1, false, 2, 16>(job, stream);
  } else {
    if (job.rows > kColumns) {
      return job.pair ? linear_of<T, kFormat, 2, 2, true, 2, 8>(job, stream)
                      : linear_of<T, kFormat, 2, 2, false, 2, 8>(job, stream);
    }
    return job.pair ? linear_of<T, kFormat, 2, 1, true, 2, 8>(job, stream)
                    : linear_of<T, kFormat, 2, 1, false, 2, 16>(job, stream);
  }
}

template <class T>
const char* linear_type(const LinearJob& job, void* stream) {
  switch (job.format) {
    case WeightFormat::kDense:
      return linear_shape<T, WeightFormat::kDense>(job, stream);
    case WeightFormat::kInt4:
      return linear_shape<T, WeightFormat::kInt4>(job, stream);
    case WeightFormat::kInt8:
      return linear_shape<T, WeightFormat::kInt8>(job, stream);
  }
  return "unknown format";
}

template <class T>
__global__ void dequantize_kernel(DequantizeJob job) {
  let_next_start();
  wait_for_previous();
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * 8;
  if (at >= job.outs * job.in) {
    return;
  }
  const int64_t row = at / job.in;
  Vector<T, 8> result;
  if (job.format == WeightFormat::kInt4) {
    const uint32_t word = static_cast<const uint32_t*>(job.weight)[at / 8];
    const auto both = load<T, 2>(static_cast<const T*>(job.scales) +
                                 (row * (job.in / job.group) + at % job.in / job.group) * 2);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t code = word >> (i / 2 * 4 + i % 2 * 16) & 15U;
      result.at[i] =
          from_float<T>((static_cast<float>(code) - to_float(both.at[1])) * to_float(both.at[0]));
    }
  } else {
    const auto codes = load<int8_t, 8>(static_cast<const int8_t*>(job.weight) + at);
    const float scale = static_cast<const float*>(job.scales)[row];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      result.at[i] = from_float<T>(static_cast<float>(codes.at[i]) * scale);
    }
  }
  store<T, 8>(static_cast<T*>(job.out) + at, result);
}

template <class T>
const char* dequantize_of(const DequantizeJob& job, void* stream) {
  constexpr unsigned kBlock = 256;
  const int64_t vectors = job.outs * job.in / 8;
  return launch(dequantize_kernel<T>, dim3(static_cast<unsigned>((vectors + kBlock - 1) / kBlock)),
                kBlock, 0, stream, job);
}

}  // namespace

const char* run_linear(const LinearJob& job, void* stream) {
  if (job.rows == 0 || job.outs == 0) {
    return nullptr;
  }
  const bool int4 = job.format == WeightFormat::kInt4;
  if (job.in % (int4 ? 128 : 16) != 0 ||
      (int4 && (job.group % 128 != 0 || job.in % job.group != 0))) {
    return "linear: the inputs are no multiple of what the kernel reads";
  }
  if (int4 && job.rows <= kInt4Rows && job.in <= kInt4Inputs && job.type != Type::kFloat) {
    return run_linear_int4(job, stream);
  }
  switch (job.type) {
    case Type::kHalf:
      return linear_type<__half>(job, stream);
    case Type::kBFloat16:
      return linear_type<__nv_bfloat16>(job, stream);
    case Type::kFloat:
      break;
  }
  return "linear: activations must be bf16 or fp16";
}

const char* run_dequantize(const DequantizeJob& job, void* stream) {
  if (job.outs == 0 || job.in % 8 != 0) {
    return job.outs == 0 ? nullptr : "dequantize: the inputs are no multiple of 8";
  }
  switch (job.type) {
    case Type::kHalf:
      return dequantize_of<__half>(job, stream);
    case Type::kBFloat16:
      return dequantize_of<__nv_bfloat16>(job, stream);
    case Type::kFloat:
      return dequantize_of<float>(job, stream);
  }
  return "unknown type";
}

}  // namespace tessera::ops::gpu
