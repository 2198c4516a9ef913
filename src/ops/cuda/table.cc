// The table of kernels on libtorch's current stream. Part of libtessera_cuda.so, which is opened
// after libtorch_cuda.so.
#include "ops/cuda/kernels.h"

#include <c10/core/Device.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

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

/// Looked up by name in ops/device.cc. Bytes; a huge number when CUDA does not say.
extern "C" int64_t tessera_free_gpu_memory(c10::Device device) {
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0;
  size_t total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<int64_t>(free) : INT64_MAX;
}
