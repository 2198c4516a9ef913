// Work is cut over output rows: each thread streams its own part of the weight. Above kSmallRows
// rows a block of the weight is widened into a small fp32 buffer that stays in cache and goes
// through libtorch's GEMM.
#include "ops/linear_small.h"

#include "core/error.h"
#include "ops/cpu/dispatch.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <algorithm>

namespace tessera::ops {
namespace {

// Output rows of a widened block: 64 rows × 4096 columns of fp32 is 1 MB, an L2 cache.
constexpr int64_t kWidenBlockBytes = int64_t{1} << 20;
// Below this much weight a second thread costs more than it saves (a fork-join is about 5 µs).
constexpr int64_t kBytesPerThread = int64_t{1} << 17;

template <class W>
void small_rows(cpu::SmallLinear<W> kernel,
                const at::Tensor& x,
                const at::Tensor& weight,
                const at::Tensor& scale,
                at::Tensor& y) {
  const int64_t rows = x.size(0);
  const int64_t in = x.size(1);
  const int64_t out = weight.size(0);
  const float* xs = x.const_data_ptr<float>();
  const W* ws = static_cast<const W*>(weight.const_data_ptr());
  const float* scales = scale.defined() ? scale.const_data_ptr<float>() : nullptr;
  float* ys = y.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(
      16, kBytesPerThread / std::max<int64_t>(1, in * static_cast<int64_t>(sizeof(W))));
  at::parallel_for(0, out, grain, [&](int64_t begin, int64_t end) {
    kernel(xs, in, ws, scales, ys, out, rows, in, begin, end);
  });
}

}  // namespace

at::Tensor linear_mixed_reference(const at::Tensor& x,
                                  const at::Tensor& weight,
                                  const at::Tensor& scale) {
  at::Tensor dense = weight.to(at::kFloat);
  if (scale.defined()) {
    dense = dense * scale.unsqueeze(1);
  }
  return at::linear(x, dense);
}

at::Tensor linear_mixed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
  TESSERA_CHECK(x.scalar_type() == at::kFloat && weight.dim() == 2 && x.dim() >= 1 &&
                    x.size(-1) == weight.size(1),
                InvalidArgument, "linear: x must be fp32 [..., {}], got {} [..., {}]",
                weight.size(1), c10::toString(x.scalar_type()), x.dim() > 0 ? x.size(-1) : 0);
  const int64_t in = weight.size(1);
  const int64_t out = weight.size(0);
  const int64_t rows = in > 0 ? x.numel() / in : 0;
  if (!weight.is_contiguous() || in == 0 || out == 0 || rows == 0) {
    return linear_mixed_reference(x, weight, scale);
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  const at::Tensor flat = x.reshape({rows, in}).contiguous();
  at::Tensor y = at::empty({rows, out}, x.options());
  if (rows <= kSmallRows) {
    const cpu::Kernels& kernels = cpu::kernels();
    switch (weight.scalar_type()) {
      case at::kBFloat16:
        small_rows(kernels.linear_bf16, flat, weight, scale, y);
        break;
      case at::kHalf:
        small_rows(kernels.linear_fp16, flat, weight, scale, y);
        break;
      case at::kChar:
        small_rows(kernels.linear_int8, flat, weight, scale, y);
        break;
      default:
        return linear_mixed_reference(x, weight, scale);
    }
    return y.view(shape);
  }
  const int64_t block = std::max<int64_t>(64, kWidenBlockBytes / (in * 4) / 64 * 64);
  for (int64_t o = 0; o < out; o += block) {
    const int64_t count = std::min(block, out - o);
    at::Tensor wide = weight.narrow(0, o, count).to(at::kFloat);  // [count, in]
    if (scale.defined()) {
      wide.mul_(scale.narrow(0, o, count).unsqueeze(1));
    }
    y.narrow(1, o, count).copy_(at::matmul(flat, wide.t()));
  }
  return y.view(shape);
}

}  // namespace tessera::ops
