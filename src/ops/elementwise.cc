// Threads take rows, or stretches of equal length. On a GPU: ops/cuda/rows.cu.
#include "ops/elementwise.h"

#include "core/error.h"
#include "ops/cpu/dispatch.h"
#include "ops/gpu.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>

#include <algorithm>

namespace tessera::ops {
namespace {

// Numbers for which a second thread is worth its start.
constexpr int64_t kGrain = int64_t{1} << 15;

bool one_pass(const at::Tensor& x) {
  return !x.defined() || (x.is_cpu() && x.scalar_type() == at::kFloat &&
                          !(x.requires_grad() && at::GradMode::is_enabled()));
}

// Rows [n, width] that are a stride apart, without a copy where the layout allows it.
at::Tensor as_rows(const at::Tensor& x) {
  return x.dim() == 1 ? x.unsqueeze(0) : x.reshape({-1, x.size(-1)});
}

at::Tensor rms_norm_gpu(const at::Tensor& x,
                        const at::Tensor& weight,
                        double epsilon,
                        bool unit_offset) {
  const at::Tensor rows = as_rows(x);
  const at::Tensor factors = weight.contiguous();
  const at::Tensor out = at::empty(x.sizes(), x.options());
  check_launch(gpu_kernels()->rms_norm({.x = rows.const_data_ptr(),
                                        .weight = factors.const_data_ptr(),
                                        .out = out.mutable_data_ptr(),
                                        .rows = rows.size(0),
                                        .width = rows.size(1),
                                        .x_stride = rows.stride(0),
                                        .epsilon = static_cast<float>(epsilon),
                                        .unit_offset = unit_offset,
                                        .type = gpu_type(x.scalar_type())}),
               "rms_norm");
  return out;
}

at::Tensor silu_product_gpu(const at::Tensor& gate, const at::Tensor& up) {
  const at::Tensor a = as_rows(gate);
  const at::Tensor b = as_rows(up);
  const at::Tensor out = at::empty(gate.sizes(), gate.options());
  check_launch(gpu_kernels()->silu_product({.gate = a.const_data_ptr(),
                                            .up = b.const_data_ptr(),
                                            .out = out.mutable_data_ptr(),
                                            .rows = a.size(0),
                                            .width = a.size(1),
                                            .gate_stride = a.stride(0),
                                            .up_stride = b.stride(0),
                                            .type = gpu_type(gate.scalar_type())}),
               "silu_product");
  return out;
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x,
                    const at::Tensor& weight,
                    double epsilon,
                    bool unit_offset) {
  TESSERA_CHECK(
      x.dim() >= 1 && (!weight.defined() || (weight.dim() == 1 && weight.size(0) == x.size(-1))),
      InvalidArgument, "rms_norm: weight must be [{}], got {}", x.dim() >= 1 ? x.size(-1) : 0,
      weight.defined() ? weight.toString() : "nothing");
  const int64_t width = x.size(-1);
  if (weight.defined() && width > 0 && takes_gpu_kernels({x, weight})) {
    return rms_norm_gpu(x, weight, epsilon, unit_offset);
  }
  if (unit_offset) {
    return at::rms_norm(x.to(at::kFloat), {width}, weight.to(at::kFloat) + 1.0, epsilon)
        .to(x.scalar_type());
  }
  if (!one_pass(x) || !one_pass(weight) || width == 0) {
    return at::rms_norm(x, {width}, weight, epsilon);
  }
  const at::Tensor source = x.contiguous();
  const at::Tensor factors = weight.defined() ? weight.contiguous() : weight;
  at::Tensor out = at::empty_like(source);
  const float* xs = source.const_data_ptr<float>();
  const float* ws = factors.defined() ? factors.const_data_ptr<float>() : nullptr;
  float* ys = out.data_ptr<float>();
  const auto kernel = cpu::kernels().rms_norm;
  at::parallel_for(
      0, x.numel() / width, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          kernel(xs + row * width, ws, ys + row * width, width, static_cast<float>(epsilon));
        }
      });
  return out;
}

at::Tensor silu_product(const at::Tensor& gate, const at::Tensor& up) {
  TESSERA_CHECK(gate.sizes() == up.sizes(), InvalidArgument,
                "silu_product: gate and up must have one shape, got {} and {} numbers",
                gate.numel(), up.numel());
  if (gate.dim() > 0 && gate.numel() > 0 && takes_gpu_kernels({gate, up})) {
    return silu_product_gpu(gate, up);
  }
  if (!one_pass(gate) || !one_pass(up)) {
    return at::silu(gate) * up;
  }
  const at::Tensor a = gate.contiguous();
  const at::Tensor b = up.contiguous();
  at::Tensor out = at::empty_like(a);
  const float* as = a.const_data_ptr<float>();
  const float* bs = b.const_data_ptr<float>();
  float* ys = out.data_ptr<float>();
  const auto kernel = cpu::kernels().silu_product;
  at::parallel_for(0, a.numel(), kGrain, [&](int64_t begin, int64_t end) {
    kernel(as + begin, bs + begin, ys + begin, end - begin);
  });
  return out;
}

}  // namespace tessera::ops
