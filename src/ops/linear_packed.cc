// Few rows of x: the kernels of cpu/linear_packed_*.cc. Otherwise, and for layouts without a
// kernel, as the exact path of linear_blocks: each thread takes a share of the output rows and
// dequantises them into a buffer that stays in cache, which goes through the fp32 kernel for few
// rows of x or libtorch's GEMM for many.
#include "core/error.h"
#include "ops/linear_packed_kernels.h"
#include "ops/linear_small.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <memory>

namespace tessera::ops {
namespace {

// Rows that dequantize_rows unpacks together.
constexpr int64_t kTile = 16;
// Dequantised rows: 64 rows × 4096 numbers are 1 MB, an L2 cache.
constexpr int64_t kWideBytes = int64_t{1} << 20;
// Below this many numbers a second thread costs more than it saves.
constexpr int64_t kNumbersPerThread = int64_t{1} << 15;
// The same where kernels read the weight (10 µs), for one row of x, and for preparing rows of x.
constexpr int64_t kPackedPerThread = int64_t{1} << 18;
constexpr int64_t kPreparedPerThread = int64_t{1} << 13;
// A share of the kernels begins at a multiple of this many outputs.
constexpr int64_t kSharedRows = 32;

void dequantize(const PackedWeight& weight, int64_t begin, int64_t end, float* out) {
  std::visit([&](const auto& rows) { io::dequantize_rows(rows, begin, end, out); }, weight.rows);
}

/// Calls body(begin, end) over the rows [0, out), cut at tiles, from several threads.
template <class Body>
void share_tiles(
    int64_t out, int64_t in, int64_t numbers_per_thread, int64_t tile, const Body& body) {
  const int64_t tiles = (out + tile - 1) / tile;
  const int64_t grain = std::max<int64_t>(1, numbers_per_thread / std::max<int64_t>(1, in * tile));
  at::parallel_for(0, tiles, grain, [&](int64_t first, int64_t last) {
    body(first * tile, std::min(out, last * tile));
  });
}

const cpu::PackedKernel<io::GroupedRows>* kernel_of(const io::GroupedRows&,
                                                    const cpu::Kernels& kernels) {
  return kernels.grouped;
}
const cpu::PackedKernel<io::TableRows>* kernel_of(const io::TableRows&,
                                                  const cpu::Kernels& kernels) {
  return kernels.table;
}

/// Bytes of a prepared row of x; 0 without a kernel.
template <class W>
int64_t room_of(const W& w, const cpu::Kernels& kernels) {
  const auto* kernel = kernel_of(w, kernels);
  return kernel == nullptr ? 0 : kernel->room(w);
}

template <class W>
void packed_rows(const at::Tensor& x,
                 const W& w,
                 const cpu::PackedKernel<W>& kernel,
                 at::Tensor& y) {
  const int64_t rows = x.size(0);
  const int64_t room = kernel.room(w);
  const at::Tensor prepared = at::empty({rows, room}, at::kByte);
  auto* xs = static_cast<std::byte*>(prepared.data_ptr());
  at::parallel_for(0, rows, std::max<int64_t>(1, kPreparedPerThread / w.in),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t r = begin; r < end; ++r) {
                       kernel.prepare(w, x.const_data_ptr<float>() + r * w.in, xs + r * room);
                     }
                   });
  share_tiles(w.out, w.in, kPackedPerThread / rows, kSharedRows, [&](int64_t begin, int64_t end) {
    kernel.multiply(w, xs, rows, begin, end, y.data_ptr<float>(), w.out);
  });
}

void few_rows(const at::Tensor& x,
              const PackedWeight& weight,
              const cpu::Kernels& kernels,
              at::Tensor& y) {
  const int64_t in = weight.in();
  const int64_t out = weight.out();
  share_tiles(out, in, kNumbersPerThread, kTile, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<float[]> wide(new float[static_cast<size_t>(kTile * in)]);
    for (int64_t o = begin; o < end; o += kTile) {
      const int64_t count = std::min(kTile, end - o);
      dequantize(weight, o, o + count, wide.get());
      kernels.linear_fp32(x.const_data_ptr<float>(), in, wide.get(), nullptr,
                          y.data_ptr<float>() + o, out, x.size(0), in, 0, count);
    }
  });
}

void many_rows(const at::Tensor& x, const PackedWeight& weight, at::Tensor& y) {
  const int64_t in = weight.in();
  const int64_t out = weight.out();
  const int64_t block = std::clamp<int64_t>(kWideBytes / (in * 4) / 64 * 64, 64, out + 64);
  const at::Tensor buffer = at::empty({std::min(block, out), in}, x.options());
  for (int64_t o = 0; o < out; o += block) {
    const int64_t count = std::min(block, out - o);
    share_tiles(count, in, kNumbersPerThread, kTile, [&](int64_t begin, int64_t end) {
      dequantize(weight, o + begin, o + end, buffer.data_ptr<float>() + begin * in);
    });
    y.narrow(1, o, count).copy_(at::matmul(x, buffer.narrow(0, 0, count).t()));
  }
}

}  // namespace

int64_t PackedWeight::out() const {
  return std::visit([](const auto& view) { return view.out; }, rows);
}

int64_t PackedWeight::in() const {
  return std::visit([](const auto& view) { return view.in; }, rows);
}

bool has_packed_kernel(const PackedWeight& weight, const cpu::Kernels& kernels) {
  return std::visit([&](const auto& w) { return room_of(w, kernels) > 0; }, weight.rows);
}

at::Tensor linear_packed(const at::Tensor& x,
                         const PackedWeight& weight,
                         const cpu::Kernels& kernels) {
  const int64_t in = weight.in();
  TESSERA_CHECK(x.scalar_type() == at::kFloat && x.is_cpu() && x.dim() >= 1 && x.size(-1) == in,
                InvalidArgument, "linear: x must be fp32 [..., {}] on the CPU, got {} [..., {}]",
                in, c10::toString(x.scalar_type()), x.dim() > 0 ? x.size(-1) : 0);
  const int64_t rows = in > 0 ? x.numel() / in : 0;
  if (rows == 0 || weight.out() == 0 || (x.requires_grad() && at::GradMode::is_enabled())) {
    return at::linear(x, dequantize_packed(weight));
  }
  const at::Tensor flat = x.reshape({rows, in}).contiguous();
  at::Tensor y = at::empty({rows, weight.out()}, x.options());
  if (rows <= kSmallRows && has_packed_kernel(weight, kernels)) {
    std::visit([&](const auto& w) { packed_rows(flat, w, *kernel_of(w, kernels), y); },
               weight.rows);
  } else if (rows <= kSmallRows) {
    few_rows(flat, weight, kernels, y);
  } else {
    many_rows(flat, weight, y);
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.out();
  return y.view(shape);
}

at::Tensor linear_packed(const at::Tensor& x, const PackedWeight& weight) {
  return linear_packed(x, weight, cpu::kernels());
}

at::Tensor dequantize_packed(const PackedWeight& weight) {
  at::Tensor wide = at::empty({weight.out(), weight.in()}, at::kFloat);
  if (wide.numel() > 0) {
    share_tiles(weight.out(), weight.in(), kNumbersPerThread, kTile,
                [&](int64_t begin, int64_t end) {
                  dequantize(weight, begin, end, wide.data_ptr<float>() + begin * weight.in());
                });
  }
  return wide;
}

}  // namespace tessera::ops
