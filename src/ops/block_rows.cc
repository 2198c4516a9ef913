// Rows are dequantised by the scalar reference, shared out over the threads.
#include "ops/block_rows.h"

#include "core/error.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace tessera::ops {
namespace {

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

}  // namespace tessera::ops
