// Which operations run in kernels of our own on a GPU: those of the table in ops/cuda/kernels.h,
// where libtessera_cuda.so lies beside libtessera.so and no gradient is asked for. Everything else
// is composed of libtorch's operations.
#pragma once

#include "ops/cuda/kernels.h"

#include <ATen/core/Tensor.h>

#include <initializer_list>

namespace tessera::ops {

/// The table; null without the library.
const gpu::Kernels* gpu_kernels();

/// Whether kernels may take these together: all on the GPU, of one floating type that they know,
/// the last dimension dense, no gradient asked for. Undefined tensors are passed over.
bool takes_gpu_kernels(std::initializer_list<at::Tensor> tensors);

/// Of fp32, fp16 or bf16.
gpu::Type gpu_type(at::ScalarType type);

/// Throws Internal when a launch was refused.
void check_launch(const char* error, const char* what);

}  // namespace tessera::ops
