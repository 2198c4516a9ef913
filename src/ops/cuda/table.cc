// The table of kernels on libtorch's current stream. Part of libtessera_cuda.so, which is opened
// after libtorch_cuda.so.
#include "ops/cuda/kernels.h"

#include <c10/cuda/CUDAStream.h>

namespace tessera::ops::gpu {
namespace {

template <class Job, const char* (*kRun)(const Job&, void*)>
const char* on_current_stream(const Job& job) {
  return kRun(job, c10::cuda::getCurrentCUDAStream().stream());
}

}  // namespace
}  // namespace tessera::ops::gpu

/// Looked up by name in ops/gpu.cc.
extern "C" const tessera::ops::gpu::Kernels* tessera_gpu_kernels() {
  using namespace tessera::ops::gpu;  // NOLINT(google-build-using-namespace)
  static constexpr Kernels kTable = {
      .rms_norm = on_current_stream<NormJob, run_rms_norm>,
      .silu_product = on_current_stream<SiluJob, run_silu_product>,
      .rotary_append = on_current_stream<RotaryJob, run_rotary_append>,
      .decode_attention = on_current_stream<DecodeJob, run_decode_attention>,
      .linear = on_current_stream<LinearJob, run_linear>,
      .dequantize = on_current_stream<DequantizeJob, run_dequantize>,
  };
  return &kTable;
}
