// A tile of rows is dequantised into a buffer that stays in cache and multiplied by libtorch's
// GEMM.
#include "ops/block_rows.h"

#include "core/error.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <vector>

namespace tessera::ops {
namespace {

// 64 rows × 4096 columns of fp32 is 1 MB, an L2 cache.
constexpr int64_t kTileBytes = int64_t{1} << 20;
// Below this many numbers a second thread costs more than it saves.
constexpr int64_t kNumbersPerThread = int64_t{1} << 14;

int64_t row_numbers(const at::Tensor& blocks, io::BlockFormat format) {
  const io::BlockLayout& layout = io::block_layout(format);
  TESSERA_CHECK(blocks.scalar_type() == at::kByte && blocks.dim() >= 1 && blocks.is_cpu() &&
                    blocks.size(-1) % layout.bytes == 0,
                InvalidArgument, "rows of {} blocks must be u8 with a multiple of {} bytes",
                layout.name, layout.bytes);
  return blocks.size(-1) / layout.bytes * layout.elements;
}

/// Rows from `from` on into `out` [rows, in].
void dequantize_into(const at::Tensor& blocks,
                     io::BlockFormat format,
                     int64_t from,
                     const at::Tensor& out) {
  const auto* bytes = static_cast<const std::byte*>(blocks.const_data_ptr());
  const int64_t row_bytes = blocks.size(-1);
  const int64_t in = out.size(1);
  auto* floats = out.data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kNumbersPerThread / std::max<int64_t>(1, in));
  at::parallel_for(0, out.size(0), grain, [&](int64_t begin, int64_t end) {
    io::dequantize(format, bytes + (from + begin) * row_bytes, (end - begin) * in,
                   floats + begin * in);
  });
}

}  // namespace

at::Tensor dequantize_rows(const at::Tensor& blocks, io::BlockFormat format) {
  std::vector<int64_t> shape = blocks.sizes().vec();
  shape.back() = row_numbers(blocks, format);
  const at::Tensor out = at::empty(shape, at::kFloat);
  if (out.numel() > 0) {
    dequantize_into(blocks.contiguous(), format, 0, out.view({-1, shape.back()}));
  }
  return out;
}

at::Tensor linear_block_rows(const at::Tensor& x,
                             const at::Tensor& blocks,
                             io::BlockFormat format) {
  const int64_t in = row_numbers(blocks, format);
  TESSERA_CHECK(blocks.dim() == 2 && blocks.is_contiguous() && x.scalar_type() == at::kFloat &&
                    x.dim() >= 1 && x.size(-1) == in,
                InvalidArgument, "linear: x must be fp32 [..., {}], got {} [..., {}]", in,
                c10::toString(x.scalar_type()), x.dim() > 0 ? x.size(-1) : 0);
  const int64_t out = blocks.size(0);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = out;
  const at::Tensor flat = x.reshape({-1, in});
  const at::Tensor y = at::empty({flat.size(0), out}, x.options());
  const int64_t tile = std::max<int64_t>(64, kTileBytes / (in * 4) / 64 * 64);
  const at::Tensor buffer = at::empty({std::min(tile, out), in}, at::kFloat);
  for (int64_t o = 0; o < out; o += tile) {
    const int64_t count = std::min(tile, out - o);
    const at::Tensor wide = buffer.narrow(0, 0, count);
    dequantize_into(blocks, format, o, wide);
    y.narrow(1, o, count).copy_(at::matmul(flat, wide.t()));
  }
  return y.view(shape);
}

}  // namespace tessera::ops
