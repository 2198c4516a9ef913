// Up to kDenseRows rows of x (kPackedRows with packed weights) run in ops/cuda/linear.cu and
// linear_int4.cu. More rows are the tensor cores' matter: packed weights are unpacked into a
// buffer for one product.
#include "ops/linear_gpu.h"

#include "core/error.h"
#include "ops/elementwise.h"
#include "ops/gpu.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

namespace tessera::ops {
namespace {

constexpr int64_t kDenseRows = 8;
// Each 16 rows read the weight again: still less than writing and reading it unpacked.
constexpr int64_t kPackedRows = 32;

bool packed(const GpuWeight& weight) {
  return weight.format != gpu::WeightFormat::kDense;
}

bool has_kernel(const at::Tensor& rows, const GpuWeight& weight, const LinearEnd& end) {
  const int64_t most = packed(weight) ? kPackedRows : kDenseRows;
  const int64_t unit = weight.format == gpu::WeightFormat::kInt4 ? 128 : 16;
  const at::Tensor dense = packed(weight) ? at::Tensor() : weight.weight;
  const at::Tensor scales =
      weight.format == gpu::WeightFormat::kInt4 ? weight.scales : at::Tensor();
  return rows.size(0) <= most && at::isReducedFloatingType(rows.scalar_type()) &&
         rows.size(1) % unit == 0 && rows.stride(0) % 8 == 0 &&
         reinterpret_cast<uintptr_t>(rows.const_data_ptr()) % 16 == 0 &&
         takes_gpu_kernels({rows, dense, scales, weight.bias, end.residual});
}

at::Tensor composite(const at::Tensor& rows, const GpuWeight& weight, const LinearEnd& end) {
  const at::Tensor numbers =
      packed(weight) ? dequantize_gpu(weight, rows.scalar_type()) : weight.weight;
  if (end.residual.defined() && !weight.bias.defined() && !end.pair && !end.wide &&
      end.residual.is_contiguous() && end.residual.scalar_type() == numbers.scalar_type() &&
      !at::GradMode::is_enabled()) {
    at::Tensor sum = end.residual;
    return sum.addmm_(rows, numbers.t());
  }
  at::Tensor y = at::linear(
      rows, numbers, weight.bias.defined() ? weight.bias.to(rows.scalar_type()) : at::Tensor());
  if (end.pair) {
    const int64_t half = y.size(1) / 2;
    y = silu_product(y.narrow(1, 0, half), y.narrow(1, half, half));
  }
  if (end.residual.defined()) {
    y = y.requires_grad() ? y + end.residual : y.add_(end.residual);
  }
  return end.wide ? y.to(at::kFloat) : y;
}

}  // namespace

at::Tensor linear_gpu(const at::Tensor& x, const GpuWeight& weight, const LinearEnd& end) {
  TESSERA_CHECK(x.dim() > 0 && x.size(-1) == weight.in(), InvalidArgument,
                "linear: x has {} inputs, the weight {}", x.dim() > 0 ? x.size(-1) : 0,
                weight.in());
  const int64_t outs = end.pair ? weight.out() / 2 : weight.out();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = outs;
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  LinearEnd flat = end;
  if (end.residual.defined()) {
    flat.residual = end.residual.reshape({-1, outs});
  }
  if (!has_kernel(rows, weight, flat)) {
    return composite(rows, weight, flat).view(shape);
  }
  const at::Tensor out = at::empty(shape, end.wide ? x.options().dtype(at::kFloat) : x.options());
  const auto pointer = [](const at::Tensor& t) {
    return t.defined() ? t.const_data_ptr() : nullptr;
  };
  const gpu::LinearJob job{.x = rows.const_data_ptr(),
                           .x_stride = rows.stride(0),
                           .format = weight.format,
                           .weight = weight.weight.const_data_ptr(),
                           .scales = pointer(weight.scales),
                           .group = weight.group,
                           .bias = pointer(weight.bias),
                           .residual = pointer(flat.residual),
                           .residual_stride = flat.residual.defined() ? flat.residual.stride(0) : 0,
                           .out = out.mutable_data_ptr(),
                           .wide = end.wide,
                           .pair = end.pair,
                           .rows = rows.size(0),
                           .in = rows.size(1),
                           .outs = outs,
                           .type = gpu_type(x.scalar_type())};
  check_launch(gpu_kernels()->linear(job), "linear");
  return out;
}

at::Tensor dequantize_gpu(const GpuWeight& weight, at::ScalarType type) {
  const at::Tensor scales =
      weight.format == gpu::WeightFormat::kInt4 ? weight.scales.to(type) : weight.scales;
  if (weight.format == gpu::WeightFormat::kDense) {
    return weight.weight.to(type);
  }
  if (gpu_kernels() == nullptr) {
    if (weight.format == gpu::WeightFormat::kInt8) {
      return (weight.weight.to(at::kFloat) * scales.unsqueeze(1)).to(type);
    }
    const at::Tensor shifts = at::tensor({0, 16, 4, 20, 8, 24, 12, 28}, weight.weight.options());
    const at::Tensor codes =
        weight.weight.unsqueeze(2).bitwise_right_shift(shifts).bitwise_and(15).to(at::kFloat);
    const at::Tensor groups = codes.view({weight.out(), -1, weight.group});
    const at::Tensor both = scales.to(at::kFloat);
    return ((groups - both.select(2, 1).unsqueeze(2)) * both.select(2, 0).unsqueeze(2))
        .view({weight.out(), weight.in()})
        .to(type);
  }
  const at::Tensor out =
      at::empty({weight.out(), weight.in()}, weight.weight.options().dtype(type));
  check_launch(gpu_kernels()->dequantize({.format = weight.format,
                                          .weight = weight.weight.const_data_ptr(),
                                          .scales = scales.const_data_ptr(),
                                          .group = weight.group,
                                          .out = out.mutable_data_ptr(),
                                          .outs = weight.out(),
                                          .in = weight.in(),
                                          .type = gpu_type(type)}),
               "dequantize");
  return out;
}

std::optional<GpuWeight> gpu_weight(const PackedWeight& weight, at::Device device) {
  const auto* rows = std::get_if<io::GroupedRows>(&weight.rows);
  if (rows == nullptr || rows->codes.bits != 4 || rows->group_of != nullptr ||
      rows->group_size % 128 != 0 || rows->in % rows->group_size != 0) {
    return std::nullopt;
  }
  const bool half = rows->scales.type == io::StridedFloats::Type::kF16;
  const at::Tensor words = at::empty({rows->out, rows->in / 8}, at::kInt);
  const at::Tensor scales = at::empty({rows->out, rows->groups, 2}, at::kFloat);
  int32_t* to = words.mutable_data_ptr<int32_t>();
  float* pair = scales.mutable_data_ptr<float>();
  at::parallel_for(0, rows->out, 16, [&](int64_t begin, int64_t end) {
    for (int64_t out = begin; out < end; ++out) {
      for (int64_t j = 0; j < rows->in / 8; ++j) {
        uint32_t word = 0;
        for (int i = 0; i < 8; ++i) {
          word |= rows->codes.at(out, 8 * j + i) << (i / 2 * 4 + i % 2 * 16);
        }
        to[out * (rows->in / 8) + j] = static_cast<int32_t>(word);
      }
      for (int64_t g = 0; g < rows->groups; ++g) {
        // A stored zero point wraps in its own bits.
        const uint32_t zero = rows->has_zeros ? (rows->zeros.at(out, g) + rows->zero_add) &
                                                    ((uint64_t{1} << rows->zeros.bits) - 1)
                                              : rows->zero;
        pair[(out * rows->groups + g) * 2] = rows->scales.at(out, g);
        pair[(out * rows->groups + g) * 2 + 1] = static_cast<float>(zero);
      }
    }
  });
  return GpuWeight{.format = gpu::WeightFormat::kInt4,
                   .weight = words.to(device),
                   .scales = scales.to(half ? at::kHalf : at::kBFloat16).to(device),
                   .group = rows->group_size};
}

std::optional<GpuWeight> join(const std::vector<GpuWeight>& parts) {
  const GpuWeight& first = parts.front();
  const auto alike = [&](const at::Tensor& a, const at::Tensor& b) {
    return a.defined() == b.defined() && (!a.defined() || a.scalar_type() == b.scalar_type());
  };
  std::vector<at::Tensor> weights, scales, biases;
  for (const GpuWeight& part : parts) {
    if (part.format != first.format || part.in() != first.in() || part.group != first.group ||
        !alike(part.weight, first.weight) || !alike(part.scales, first.scales) ||
        !alike(part.bias, first.bias)) {
      return std::nullopt;
    }
    weights.push_back(part.weight);
    scales.push_back(part.scales);
    biases.push_back(part.bias);
  }
  return GpuWeight{.format = first.format,
                   .weight = at::cat(weights),
                   .scales = first.scales.defined() ? at::cat(scales) : at::Tensor(),
                   .group = first.group,
                   .bias = first.bias.defined() ? at::cat(biases) : at::Tensor()};
}

}  // namespace tessera::ops
