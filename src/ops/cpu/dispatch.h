// Table of CPU kernels, filled once with the best instruction set that this processor has, or the
// one named by TESSERA_CPU_ISA=portable|avx2|avx512. Only plain pointers cross this border.
#pragma once

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

struct Kernels {
  Isa isa;
  SmallLinear<Bf16> linear_bf16;
  SmallLinear<Fp16> linear_fp16;
  SmallLinear<int8_t> linear_int8;
};

/// The table in use. Throws InvalidArgument when TESSERA_CPU_ISA names something unknown or
/// unavailable.
const Kernels& kernels();
/// The table of one instruction set, or nullptr when this processor lacks it (tests run all of
/// them).
const Kernels* kernels_of(Isa isa);
std::string_view isa_name(Isa isa);

// One for each object file; defined in linear_small_<isa>.cc.
extern const Kernels kPortableKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace tessera::ops::cpu
