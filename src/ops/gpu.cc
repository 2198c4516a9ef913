#include "ops/gpu.h"

#include "core/error.h"
#include "ops/device.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace tessera::ops {

const gpu::Kernels* gpu_kernels() {
  static const gpu::Kernels* const table = []() -> const gpu::Kernels* {
    const auto find =
        reinterpret_cast<const gpu::Kernels* (*)()>(cuda_function("tessera_gpu_kernels"));
    return find == nullptr ? nullptr : find();
  }();
  return table;
}

bool takes_gpu_kernels(std::initializer_list<at::Tensor> tensors) {
  const at::Tensor& first = *tensors.begin();
  const at::ScalarType type = first.scalar_type();
  if (!first.is_cuda() || (type != at::kFloat && type != at::kHalf && type != at::kBFloat16)) {
    return false;
  }
  const bool all = std::all_of(tensors.begin(), tensors.end(), [&](const at::Tensor& t) {
    return !t.defined() || (t.is_cuda() && t.scalar_type() == type && t.dim() > 0 &&
                            (t.stride(-1) == 1 || t.size(-1) <= 1) &&
                            !(t.requires_grad() && at::GradMode::is_enabled()));
  });
  return all && gpu_kernels() != nullptr;
}

gpu::Type gpu_type(at::ScalarType type) {
  return type == at::kFloat  ? gpu::Type::kFloat
         : type == at::kHalf ? gpu::Type::kHalf
                             : gpu::Type::kBFloat16;
}

void check_launch(const char* error, const char* what) {
  TESSERA_CHECK(error == nullptr, Internal, "{} on the GPU: {}", what, error);
}

}  // namespace tessera::ops
