#include "ops/linear_blocks.h"

#include "core/error.h"
#include "ops/cpu/dispatch.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <random>

namespace tessera::ops {
namespace {

using io::BlockFormat;

constexpr std::array kBlockFormats = {
    BlockFormat::kQ4_0, BlockFormat::kQ4_1, BlockFormat::kQ5_0,   BlockFormat::kQ5_1,
    BlockFormat::kQ8_0, BlockFormat::kQ2_K, BlockFormat::kQ3_K,   BlockFormat::kQ4_K,
    BlockFormat::kQ5_K, BlockFormat::kQ6_K, BlockFormat::kIQ4_NL, BlockFormat::kIQ4_XS,
    BlockFormat::kMXFP4};

/// Random codes, scales and minimums: every bit of a block but the sizes of its fp16 and E8M0
/// fields. Rows start one byte off an even address.
class Blocks {
 public:
  Blocks(BlockFormat format, int64_t out, int64_t in, std::mt19937& random)
      : format_(format), row_bytes_(io::block_bytes(format, in)), out_(out), in_(in) {
    bytes_.resize(static_cast<size_t>(out * row_bytes_) + 1);
    for (uint8_t& byte : bytes_) {
      byte = static_cast<uint8_t>(random());
    }
    const io::BlockLayout& layout = io::block_layout(format);
    for (int64_t at = 1; at < static_cast<int64_t>(bytes_.size()); at += layout.bytes) {
      for (const int64_t field : halves()) {
        const auto bits =
            static_cast<uint16_t>(0x2000U + random() % 0x1000U + (random() & 0x8000U));
        std::memcpy(bytes_.data() + at + field, &bits, sizeof(bits));  // 0.008 to 0.03 and negative
      }
      if (format == BlockFormat::kMXFP4) {
        bytes_[static_cast<size_t>(at)] = static_cast<uint8_t>(120 + random() % 8);
      }
    }
    numbers_.resize(static_cast<size_t>(out * in));
    io::dequantize(format, reinterpret_cast<const std::byte*>(data()), out * in, numbers_.data());
  }

  const uint8_t* data() const { return bytes_.data() + 1; }
  int64_t row_bytes() const { return row_bytes_; }
  float number(int64_t o, int64_t i) const { return numbers_[static_cast<size_t>(o * in_ + i)]; }
  const std::vector<float>& numbers() const { return numbers_; }
  BlockWeight weight() {
    return {at::from_blob(bytes_.data() + 1, {out_, row_bytes_}, at::kByte), format_};
  }

 private:
  std::vector<int64_t> halves() const {
    switch (format_) {
      case BlockFormat::kQ4_1:
      case BlockFormat::kQ5_1:
      case BlockFormat::kQ4_K:
      case BlockFormat::kQ5_K:
        return {0, 2};
      case BlockFormat::kQ2_K:
        return {80, 82};
      case BlockFormat::kQ3_K:
        return {108};
      case BlockFormat::kQ6_K:
        return {208};
      case BlockFormat::kMXFP4:
        return {};
      default:
        return {0};
    }
  }

  BlockFormat format_;
  int64_t row_bytes_;
  int64_t out_;
  int64_t in_;
  std::vector<uint8_t> bytes_;
  std::vector<float> numbers_;
};

/// x rounded as BlockActivations documents it, by plain arithmetic.
struct Rounded {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  int64_t in;

  Rounded(const at::Tensor& x) : in(x.size(1)) {
    const float* values = x.const_data_ptr<float>();
    for (int64_t i = 0; i < x.numel(); i += 32) {
      float top = 0;
      for (int64_t j = 0; j < 32; ++j) {
        top = std::max(top, std::abs(values[i + j]));
      }
      scales.push_back(top / 127.0F);
      for (int64_t j = 0; j < 32; ++j) {
        if (j % 16 == 0) {
          sums.push_back(0);
        }
        const float factor = top > 0 ? 127.0F / top : 0.0F;
        codes.push_back(static_cast<int8_t>(std::nearbyint(values[i + j] * factor)));
        sums.back() += codes.back();
      }
    }
  }

  double value(int64_t row, int64_t i) const {
    return static_cast<double>(codes[static_cast<size_t>(row * in + i)]) *
           static_cast<double>(scales[static_cast<size_t>((row * in + i) / 32)]);
  }

  cpu::BlockActivations view() const {
    return {codes.data(), scales.data(), sums.data(), static_cast<int64_t>(codes.size()) / in, in};
  }

  std::vector<int32_t> corrections(const cpu::BlockKernels& kernels) const {
    std::vector<int32_t> all;
    const size_t run = kernels.fine ? 1 : 2;  // in sums of 16
    for (size_t i = 0; i < sums.size(); i += run) {
      const int32_t sum = run == 1 ? sums[i] : sums[i] + sums[i + 1];
      int32_t bits = -kernels.offset * sum;
      if (kernels.mins) {
        const float value = -scales[i / 2] * static_cast<float>(sum);
        std::memcpy(&bits, &value, sizeof(bits));
      }
      all.push_back(bits);
    }
    return all;
  }
};

/// Largest |y − Σ w x| / Σ |w x|, the sums in double; value(row, i) gives x.
template <class Value>
double worst_error(const at::Tensor& y, const Blocks& w, int64_t in, Value value) {
  double worst = 0;
  for (int64_t r = 0; r < y.size(0); ++r) {
    for (int64_t o = 0; o < y.size(1); ++o) {
      double sum = 0;
      double size = 1e-30;
      for (int64_t i = 0; i < in; ++i) {
        const double product = static_cast<double>(w.number(o, i)) * value(r, i);
        sum += product;
        size += std::abs(product);
      }
      const double actual = y.const_data_ptr<float>()[r * y.size(1) + o];
      const double error = std::abs(actual - sum) / size;
      worst = std::isnan(error) ? 1e30 : std::max(worst, error);
    }
  }
  return worst;
}

struct Shape {
  int64_t rows, out, blocks;
};
constexpr std::array kShapes = {Shape{1, 1, 1},  Shape{1, 67, 3},  Shape{2, 5, 2},
                                Shape{3, 33, 5}, Shape{4, 32, 1},  Shape{7, 31, 3},
                                Shape{16, 9, 2}, Shape{17, 66, 3}, Shape{40, 37, 2}};

class BlockKernelsOf : public testing::TestWithParam<BlockFormat> {
 protected:
  std::mt19937 random_{static_cast<unsigned>(GetParam())};
  int64_t in_of(const Shape& shape) const {
    return shape.blocks * io::block_layout(GetParam()).elements;
  }
};

TEST_P(BlockKernelsOf, RoundedProductsAreExactForEveryInstructionSet) {
  for (const cpu::Isa isa : {cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* table = cpu::kernels_of(isa);
    if (table == nullptr) {
      continue;
    }
    const cpu::BlockKernels* kernels = table->blocks(GetParam());
    ASSERT_NE(kernels, nullptr);
    for (const Shape& shape : kShapes) {
      const int64_t in = in_of(shape);
      const Blocks w(GetParam(), shape.out, in, random_);
      const Rounded x(at::randn({shape.rows, in}));
      const std::vector<int32_t> corrections = x.corrections(*kernels);
      const auto value = [&](int64_t r, int64_t i) { return x.value(r, i); };
      at::Tensor y = at::full({shape.rows, shape.out}, 1e30F);
      const cpu::BlockOutput out{w.data(), w.row_bytes(), y.data_ptr<float>(), shape.out,
                                 0,        shape.out};
      kernels->dot(x.view(), corrections.data(), out);
      EXPECT_LT(worst_error(y, w, in, value), 2e-6)
          << cpu::isa_name(isa) << " dot " << shape.rows << " x " << in << " x " << shape.out;
      if (kernels->panel != nullptr) {
        std::vector<float> tile(static_cast<size_t>(32 * shape.rows));
        y.fill_(1e30F);
        kernels->panel(x.view(), corrections.data(), out, tile.data());
        EXPECT_LT(worst_error(y, w, in, value), 2e-6)
            << cpu::isa_name(isa) << " panel " << shape.rows << " x " << in << " x " << shape.out;
      }
    }
  }
}

TEST_P(BlockKernelsOf, WritesOnlyItsOutputRows) {
  const Shape shape{5, 70, 2};
  const int64_t in = in_of(shape);
  const Blocks w(GetParam(), shape.out, in, random_);
  const Rounded x(at::randn({shape.rows, in}));
  for (const cpu::Isa isa : {cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* table = cpu::kernels_of(isa);
    if (table == nullptr) {
      continue;
    }
    const cpu::BlockKernels* kernels = table->blocks(GetParam());
    const std::vector<int32_t> corrections = x.corrections(*kernels);
    at::Tensor y = at::full({shape.rows, shape.out}, 1e30F);
    const cpu::BlockOutput out{w.data(), w.row_bytes(), y.data_ptr<float>(), shape.out, 3, 38};
    const auto untouched = [&] {
      return y.narrow(1, 0, 3).eq(1e30F).all().item<bool>() &&
             y.narrow(1, 38, 32).eq(1e30F).all().item<bool>() &&
             y.narrow(1, 3, 35).ne(1e30F).all().item<bool>();
    };
    kernels->dot(x.view(), corrections.data(), out);
    EXPECT_TRUE(untouched()) << cpu::isa_name(isa);
    if (kernels->panel != nullptr) {
      std::vector<float> tile(static_cast<size_t>(32 * shape.rows));
      y.fill_(1e30F);
      kernels->panel(x.view(), corrections.data(), out, tile.data());
      EXPECT_TRUE(untouched()) << cpu::isa_name(isa);
    }
  }
}

TEST_P(BlockKernelsOf, DequantisesBitForBit) {
  const int64_t in = 5 * io::block_layout(GetParam()).elements;
  const Blocks w(GetParam(), 3, in, random_);
  for (const cpu::Isa isa : {cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* table = cpu::kernels_of(isa);
    if (table == nullptr) {
      continue;
    }
    std::vector<float> row(static_cast<size_t>(in));
    for (int64_t o = 0; o < 3; ++o) {
      table->blocks(GetParam())->dequantize(w.data() + o * w.row_bytes(), in, row.data());
      EXPECT_EQ(std::memcmp(row.data(), w.numbers().data() + o * in, row.size() * sizeof(float)), 0)
          << cpu::isa_name(isa);
    }
  }
}

TEST_P(BlockKernelsOf, ExactLinear) {
  for (const Shape& shape : kShapes) {
    const int64_t in = in_of(shape);
    Blocks w(GetParam(), shape.out, in, random_);
    const at::Tensor x = at::randn({shape.rows, in});
    const at::Tensor y = linear_blocks(x, w.weight().blocks, GetParam(), true);
    const float* xs = x.const_data_ptr<float>();
    EXPECT_LT(worst_error(y, w, in, [&](int64_t r, int64_t i) { return xs[r * in + i]; }), 1e-5)
        << shape.rows << " x " << in << " x " << shape.out;
  }
}

TEST_P(BlockKernelsOf, RoundedLinearStaysInItsBound) {
  for (const Shape& shape : kShapes) {
    const int64_t in = in_of(shape);
    Blocks w(GetParam(), shape.out, in, random_);
    const at::Tensor x = at::randn({shape.rows, in});
    const Rounded rounded(x);
    const at::Tensor y = linear_blocks(x, w.weight().blocks, GetParam(), false);
    const at::Tensor wide = dequantize_blocks(w.weight()).to(at::kDouble);
    const at::Tensor expected = at::matmul(x.to(at::kDouble), wide.t());
    // Half a step for each activation, and fp32 sums.
    const at::Tensor steps = at::tensor(rounded.scales).view({shape.rows, in / 32});
    const at::Tensor half_steps =
        steps.repeat_interleave(32, 1).to(at::kDouble) * 0.5001 + x.abs().to(at::kDouble) * 1e-5;
    const at::Tensor bound = at::matmul(half_steps, wide.abs().t());
    EXPECT_TRUE((y - expected).abs().le(bound).all().item<bool>())
        << shape.rows << " x " << in << " x " << shape.out;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         BlockKernelsOf,
                         testing::ValuesIn(kBlockFormats),
                         [](const auto& format) {
                           return std::string(io::block_layout(format.param).name);
                         });

TEST(QuantizeActivations, EqualsPlainArithmetic) {
  at::Tensor x = at::randn({3, 96});
  x.narrow(1, 0, 32).zero_();
  x.select(0, 1).mul_(1e30);
  x.select(0, 2).mul_(1e-30);
  const Rounded expected(x);
  for (const cpu::Isa isa : {cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* table = cpu::kernels_of(isa);
    if (table == nullptr) {
      continue;
    }
    std::vector<int8_t> codes(expected.codes.size());
    std::vector<float> scales(expected.scales.size());
    std::vector<int32_t> sums(expected.sums.size());
    table->quantize(x.const_data_ptr<float>(), x.numel(), codes.data(), scales.data(), sums.data());
    EXPECT_EQ(codes, expected.codes) << cpu::isa_name(isa);
    EXPECT_EQ(scales, expected.scales) << cpu::isa_name(isa);
    EXPECT_EQ(sums, expected.sums) << cpu::isa_name(isa);
  }
}

TEST(LinearBlocks, NanAndInfinityShow) {
  std::mt19937 random(1);
  Blocks w(BlockFormat::kQ4_0, 40, 96, random);
  for (const int64_t rows : {1, 6}) {
    for (const bool exact : {false, true}) {
      at::Tensor x = at::randn({rows, 96});
      x[0][40] = std::numeric_limits<float>::quiet_NaN();
      if (rows > 1) {
        x[1][3] = std::numeric_limits<float>::infinity();
      }
      const at::Tensor y = linear_blocks(x, w.weight().blocks, BlockFormat::kQ4_0, exact);
      EXPECT_TRUE(y[0].isnan().all().item<bool>());
      if (rows > 1) {
        EXPECT_FALSE(y[1].isfinite().any().item<bool>());
        EXPECT_TRUE(y.narrow(0, 2, rows - 2).isfinite().all().item<bool>());
      }
    }
  }
}

TEST(LinearBlocks, SeveralWeightsEqualEachAlone) {
  std::mt19937 random(2);
  Blocks a(BlockFormat::kQ4_K, 70, 256, random);
  Blocks b(BlockFormat::kQ6_K, 33, 256, random);
  Blocks c(BlockFormat::kQ4_0, 8, 256, random);
  const at::Tensor plain = at::randn({12, 256}).to(at::kBFloat16);
  const std::vector<BlockWeight> weights = {
      a.weight(), b.weight(), c.weight(), {plain.view(at::kByte), BlockFormat::kBF16}};
  for (const int64_t rows : {1, 5, 20}) {
    const at::Tensor x = at::randn({2, rows, 256});
    for (const bool exact : {false, true}) {
      const std::vector<at::Tensor> together = linear_blocks(x, weights, exact);
      ASSERT_EQ(together.size(), 4U);
      for (size_t i = 0; i < weights.size(); ++i) {
        const at::Tensor alone = linear_blocks(x, weights[i].blocks, weights[i].format, exact);
        EXPECT_TRUE(together[i].equal(alone)) << i;
        EXPECT_EQ(together[i].sizes(), (std::vector<int64_t>{2, rows, weights[i].blocks.size(0)}));
      }
    }
    EXPECT_LT((linear_blocks(x, weights, true)[3] - at::linear(x, plain.to(at::kFloat)))
                  .abs()
                  .max()
                  .item<float>(),
              1e-3F);
  }
}

TEST(LinearBlocks, GradientsReachTheActivations) {
  std::mt19937 random(3);
  Blocks w(BlockFormat::kQ8_0, 7, 64, random);
  const at::Tensor x = at::randn({3, 64}).requires_grad_();
  linear_blocks(x, w.weight().blocks, BlockFormat::kQ8_0, false).sum().backward();
  const at::Tensor expected = dequantize_blocks(w.weight()).sum(0).expand({3, 64});
  EXPECT_TRUE(at::allclose(x.grad(), expected, 1e-5, 1e-5));
}

TEST(LinearBlocks, EmptyAndWrongInputs) {
  std::mt19937 random(4);
  Blocks w(BlockFormat::kQ4_0, 5, 64, random);
  const BlockWeight weight = w.weight();
  EXPECT_EQ(linear_blocks(at::randn({0, 64}), weight.blocks, weight.format, false).sizes(),
            (std::vector<int64_t>{0, 5}));
  const at::Tensor no_rows = at::empty({0, 36}, at::kByte);
  EXPECT_EQ(linear_blocks(at::randn({3, 64}), no_rows, weight.format, false).sizes(),
            (std::vector<int64_t>{3, 0}));
  EXPECT_TRUE(linear_blocks(at::randn({3, 64}), std::span<const BlockWeight>(), false).empty());
  EXPECT_THROW(linear_blocks(at::randn({3, 32}), weight.blocks, weight.format, false),
               InvalidArgument);
  EXPECT_THROW(
      linear_blocks(at::randn({3, 64}).to(at::kDouble), weight.blocks, weight.format, true),
      InvalidArgument);
  EXPECT_THROW(
      linear_blocks(at::randn({3, 64}), at::zeros({5, 35}, at::kByte), weight.format, true),
      InvalidArgument);
  EXPECT_THROW(linear_blocks(at::randn({3, 64}), at::Tensor(), weight.format, true),
               InvalidArgument);
}

}  // namespace
}  // namespace tessera::ops
