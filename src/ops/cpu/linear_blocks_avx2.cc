// AVX2 + FMA + F16C block kernels, one run of 32 numbers a register. Larger batches are dequantised
// tile by tile instead (ops/linear_blocks.cc): without VNNI integer products gain little over fp32.
#include "io/block_parts.h"
#include "ops/cpu/dispatch.h"

#include <immintrin.h>

#include <array>

namespace tessera::ops::cpu {
namespace {

#include "ops/cpu/blocks_x86.h"
#include "ops/cpu/linear_blocks_body.h"

template <class F>
constexpr BlockKernels kernels_of_format() {
  return {dot_linear<Single, F>, nullptr, dequantize_row<F>, F::kOffset, F::kMins, F::kFine};
}

#include "ops/cpu/linear_blocks_table.h"

}  // namespace

const BlockKernels* avx2_blocks(io::BlockFormat format) {
  return find_blocks(format);
}

void avx2_quantize(const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums) {
  quantize_activations(x, count, codes, scales, sums);
}

}  // namespace tessera::ops::cpu
