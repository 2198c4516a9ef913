// Each thread takes a share of the output rows of every weight, so that shares cost the same when
// the weights differ in format. Rounded activations: the format's kernels (cpu/linear_blocks_*.cc).
// Exact ones: weight rows are dequantised into a buffer that stays in cache, and go through the
// fp32 kernel for few rows or libtorch's GEMM for many.
#include "ops/linear_blocks.h"

#include "core/error.h"
#include "ops/cpu/dispatch.h"
#include "ops/linear_small.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace tessera::ops {
namespace {

// From this many activation rows on, unpacking a panel once beats unpacking for every few rows.
constexpr int64_t kPanelRowsFrom = 4;
// Dequantised rows: 64 rows × 4096 numbers are 1 MB, an L2 cache.
constexpr int64_t kWideBytes = int64_t{1} << 20;
// Below this much weight a second thread costs more than it saves (a fork-join is about 5 µs).
constexpr int64_t kBytesPerThread = int64_t{1} << 17;
constexpr int64_t kNumbersPerThread = int64_t{1} << 15;

bool is_plain(io::BlockFormat format) {
  return io::block_layout(format).elements == 1;
}

at::Tensor plain_weight(const BlockWeight& weight) {
  const auto dtype = weight.format == io::BlockFormat::kF32   ? at::kFloat
                     : weight.format == io::BlockFormat::kF16 ? at::kHalf
                                                              : at::kBFloat16;
  return at::from_blob(weight.blocks.data_ptr(),
                       {weight.blocks.size(0), block_weight_width(weight)}, dtype);
}

const uint8_t* bytes_of(const BlockWeight& weight) {
  return weight.blocks.const_data_ptr<uint8_t>();
}

/// Rounded activations and what the kernels need of them.
class Rounded {
 public:
  Rounded(const cpu::Kernels& kernels, const at::Tensor& x)
      : rows_(x.size(0)),
        in_(x.size(1)),
        codes_(new int8_t[static_cast<size_t>(rows_ * in_)]),
        scales_(new float[static_cast<size_t>(rows_ * in_ / 32)]),
        sums_(new int32_t[static_cast<size_t>(rows_ * in_ / 16)]) {
    const float* xs = x.const_data_ptr<float>();
    at::parallel_for(0, rows_, std::max<int64_t>(1, kNumbersPerThread / in_),
                     [&](int64_t begin, int64_t end) {
                       const int64_t first = begin * in_;
                       kernels.quantize(xs + first, (end - begin) * in_, codes_.get() + first,
                                        scales_.get() + first / 32, sums_.get() + first / 16);
                     });
  }

  cpu::BlockActivations view() const {
    return {codes_.get(), scales_.get(), sums_.get(), rows_, in_};
  }

  /// BlockKernels::panel's corrections; made at the first call for each kind of format.
  const void* corrections(const cpu::BlockKernels& kernels) {
    for (const Corrections& known : corrections_) {
      if (known.offset == kernels.offset && known.mins == kernels.mins &&
          known.fine == kernels.fine) {
        return known.values.get();
      }
    }
    const int64_t count = rows_ * in_ / (kernels.fine ? 16 : 32);
    corrections_.push_back({kernels.offset, kernels.mins, kernels.fine,
                            std::make_unique<int32_t[]>(static_cast<size_t>(count))});
    int32_t* values = corrections_.back().values.get();
    at::parallel_for(0, count, kNumbersPerThread, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int32_t sum = kernels.fine ? sums_[static_cast<size_t>(i)]
                                         : sums_[static_cast<size_t>(2 * i)] +
                                               sums_[static_cast<size_t>(2 * i + 1)];
        if (kernels.mins) {
          const float scale = scales_[static_cast<size_t>(kernels.fine ? i / 2 : i)];
          const float value = -scale * static_cast<float>(sum);
          std::memcpy(values + i, &value, sizeof(value));
        } else {
          values[i] = -kernels.offset * sum;
        }
      }
    });
    return values;
  }

 private:
  struct Corrections {
    int offset;
    bool mins;
    bool fine;
    std::unique_ptr<int32_t[]> values;
  };

  int64_t rows_;
  int64_t in_;
  std::unique_ptr<int8_t[]> codes_;
  std::unique_ptr<float[]> scales_;
  std::unique_ptr<int32_t[]> sums_;
  std::vector<Corrections> corrections_;
};

/// Calls body(weight, begin, end) so that each thread has an equal part of every weight's rows, cut
/// at multiples of `granule`.
template <class Body>
void share_rows(std::span<const BlockWeight> weights,
                const std::vector<size_t>& chosen,
                int64_t granule,
                const Body& body) {
  int64_t bytes = 0;
  for (const size_t i : chosen) {
    bytes += weights[i].blocks.numel();
  }
  const int64_t shares =
      std::clamp<int64_t>(bytes / kBytesPerThread, 1, std::max(1, at::get_num_threads()));
  at::parallel_for(0, shares, 1, [&](int64_t first, int64_t last) {
    for (int64_t share = first; share < last; ++share) {
      for (const size_t i : chosen) {
        const int64_t granules = (weights[i].blocks.size(0) + granule - 1) / granule;
        const int64_t begin = granules * share / shares * granule;
        const int64_t end =
            std::min(granules * (share + 1) / shares * granule, weights[i].blocks.size(0));
        if (begin < end) {
          body(i, begin, end);
        }
      }
    }
  });
}

/// Rounded products of the chosen weights with x [rows, in] into outs[i] [rows, out].
void rounded_products(const cpu::Kernels& kernels,
                      const at::Tensor& x,
                      std::span<const BlockWeight> weights,
                      const std::vector<size_t>& chosen,
                      std::vector<at::Tensor>& outs) {
  Rounded rounded(kernels, x);
  const cpu::BlockActivations view = rounded.view();
  const bool panels = view.rows >= kPanelRowsFrom;
  std::vector<const void*> corrections(weights.size());
  for (const size_t i : chosen) {
    const cpu::BlockKernels* block = kernels.blocks(weights[i].format);
    if ((panels && block->panel != nullptr) || block->mins) {
      corrections[i] = rounded.corrections(*block);
    }
  }
  share_rows(weights, chosen, panels ? 32 : 4, [&](size_t i, int64_t begin, int64_t end) {
    const cpu::BlockKernels* block = kernels.blocks(weights[i].format);
    const cpu::BlockOutput out{bytes_of(weights[i]),
                               weights[i].blocks.size(1),
                               outs[i].data_ptr<float>(),
                               outs[i].size(1),
                               begin,
                               end};
    if (panels && block->panel != nullptr) {
      const std::unique_ptr<float[]> tile(new float[static_cast<size_t>(32 * view.rows)]);
      block->panel(view, corrections[i], out, tile.get());
    } else {
      block->dot(view, corrections[i], out);
    }
  });
}

/// Rows [begin, end) of a weight as fp32.
void dequantize_rows(
    const BlockWeight& weight, int64_t in, int64_t begin, int64_t end, float* out) {
  const cpu::BlockKernels* block = cpu::kernels().blocks(weight.format);
  const int64_t row_bytes = weight.blocks.size(1);
  for (int64_t o = begin; o < end; ++o, out += in) {
    const uint8_t* row = bytes_of(weight) + o * row_bytes;
    if (block != nullptr) {
      block->dequantize(row, in, out);
    } else {
      io::dequantize(weight.format, reinterpret_cast<const std::byte*>(row), in, out);
    }
  }
}

void exact_few_rows(const at::Tensor& x,
                    std::span<const BlockWeight> weights,
                    const std::vector<size_t>& chosen,
                    std::vector<at::Tensor>& outs) {
  constexpr int64_t kRowsAtOnce = 16;
  const int64_t in = x.size(1);
  share_rows(weights, chosen, kRowsAtOnce, [&](size_t i, int64_t begin, int64_t end) {
    const std::unique_ptr<float[]> wide(new float[static_cast<size_t>(kRowsAtOnce * in)]);
    for (int64_t o = begin; o < end; o += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, end - o);
      dequantize_rows(weights[i], in, o, o + count, wide.get());
      cpu::kernels().linear_fp32(x.const_data_ptr<float>(), in, wide.get(), nullptr,
                                 outs[i].data_ptr<float>() + o, outs[i].size(1), x.size(0), in, 0,
                                 count);
    }
  });
}

void exact_many_rows(const at::Tensor& x, const BlockWeight& weight, at::Tensor& y) {
  const int64_t in = x.size(1);
  const int64_t out = weight.blocks.size(0);
  const int64_t block = std::clamp<int64_t>(kWideBytes / (in * 4) / 64 * 64, 64, out + 64);
  const at::Tensor buffer = at::empty({std::min(block, out), in}, x.options());
  for (int64_t o = 0; o < out; o += block) {
    const int64_t count = std::min(block, out - o);
    at::parallel_for(
        0, count, std::max<int64_t>(1, kNumbersPerThread / in), [&](int64_t begin, int64_t end) {
          dequantize_rows(weight, in, o + begin, o + end, buffer.data_ptr<float>() + begin * in);
        });
    y.narrow(1, o, count).copy_(at::matmul(x, buffer.narrow(0, 0, count).t()));
  }
}

void products(const at::Tensor& x,
              std::span<const BlockWeight> weights,
              bool exact,
              std::vector<at::Tensor>& outs) {
  const cpu::Kernels& kernels = cpu::kernels();
  std::vector<size_t> rounded;
  std::vector<size_t> few;
  for (size_t i = 0; i < weights.size(); ++i) {
    const cpu::BlockKernels* block = kernels.blocks(weights[i].format);
    if (is_plain(weights[i].format)) {
      outs[i] = linear_mixed(x, plain_weight(weights[i]), {});
    } else if (!exact && block != nullptr && (block->panel != nullptr || x.size(0) <= kSmallRows)) {
      rounded.push_back(i);
    } else if (x.size(0) <= kSmallRows) {
      few.push_back(i);
    } else {
      exact_many_rows(x, weights[i], outs[i]);
    }
  }
  if (!rounded.empty()) {
    rounded_products(kernels, x, weights, rounded, outs);
  }
  if (!few.empty()) {
    exact_few_rows(x, weights, few, outs);
  }
}

}  // namespace

int64_t block_weight_width(const BlockWeight& weight) {
  const io::BlockLayout& layout = io::block_layout(weight.format);
  const at::Tensor& blocks = weight.blocks;
  TESSERA_CHECK(
      blocks.defined() && blocks.is_cpu() && blocks.scalar_type() == at::kByte &&
          blocks.dim() == 2 && blocks.is_contiguous() && blocks.size(1) % layout.bytes == 0,
      InvalidArgument, "linear: a {} weight must be contiguous u8 [out, n · {}] on the CPU, got {}",
      layout.name, layout.bytes, blocks.defined() ? blocks.toString() : "nothing");
  return blocks.size(1) / layout.bytes * layout.elements;
}

std::vector<at::Tensor> linear_blocks(const at::Tensor& x,
                                      std::span<const BlockWeight> weights,
                                      bool exact) {
  std::vector<at::Tensor> outs(weights.size());
  for (const BlockWeight& weight : weights) {
    const int64_t in = block_weight_width(weight);
    TESSERA_CHECK(x.scalar_type() == at::kFloat && x.is_cpu() && x.dim() >= 1 && x.size(-1) == in,
                  InvalidArgument, "linear: x must be fp32 [..., {}] on the CPU, got {} [..., {}]",
                  in, c10::toString(x.scalar_type()), x.dim() > 0 ? x.size(-1) : 0);
  }
  if (weights.empty()) {
    return outs;
  }
  const int64_t in = x.size(-1);
  const int64_t rows = in > 0 ? x.numel() / in : 0;
  const bool gradient = x.requires_grad() && at::GradMode::is_enabled();
  if (gradient || rows == 0) {
    for (size_t i = 0; i < weights.size(); ++i) {
      outs[i] = linear_blocks_reference(x, weights[i]);
    }
    return outs;
  }
  std::vector<int64_t> shape = x.sizes().vec();
  const at::Tensor flat = x.reshape({rows, in}).contiguous();
  for (size_t i = 0; i < weights.size(); ++i) {
    outs[i] = at::empty({rows, weights[i].blocks.size(0)}, x.options());
  }
  products(flat, weights, exact, outs);
  for (at::Tensor& out : outs) {
    shape.back() = out.size(1);
    out = out.view(shape);
  }
  return outs;
}

at::Tensor linear_blocks(const at::Tensor& x,
                         const at::Tensor& blocks,
                         io::BlockFormat format,
                         bool exact) {
  const BlockWeight weight{blocks, format};
  return linear_blocks(x, std::span(&weight, 1), exact).front();
}

at::Tensor dequantize_blocks(const BlockWeight& weight) {
  const int64_t in = block_weight_width(weight);
  const int64_t out = weight.blocks.size(0);
  at::Tensor wide = at::empty({out, in}, at::kFloat);
  if (wide.numel() > 0) {
    io::dequantize(weight.format, reinterpret_cast<const std::byte*>(bytes_of(weight)), out * in,
                   wide.data_ptr<float>());
  }
  return wide;
}

at::Tensor linear_blocks_reference(const at::Tensor& x, const BlockWeight& weight) {
  return at::linear(x, dequantize_blocks(weight));
}

}  // namespace tessera::ops
