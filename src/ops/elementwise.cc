// Threads take rows, or stretches of equal length.
#include "ops/elementwise.h"

#include "core/error.h"
#include "ops/cpu/dispatch.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
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

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  TESSERA_CHECK(
      x.dim() >= 1 && (!weight.defined() || (weight.dim() == 1 && weight.size(0) == x.size(-1))),
      InvalidArgument, "rms_norm: weight must be [{}], got {}", x.dim() >= 1 ? x.size(-1) : 0,
      weight.defined() ? weight.toString() : "nothing");
  const int64_t width = x.size(-1);
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
