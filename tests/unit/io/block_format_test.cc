// Numbers and bytes are the gguf package's (tests/parity/gguf_files.py). The searches of the K
// formats, which it does not have, are held to what they minimise.
#include "io/block_format.h"

#include "core/error.h"
#include "core/half.h"
#include "core/random.h"
#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace tessera::io {
namespace {

const GgufFile& blocks_golden() {
  static const GgufFile file = open_gguf(fs::path(TESSERA_GOLDENS) / "gguf" / "blocks.gguf");
  return file;
}

constexpr const char* kAll[] = {"Q4_0", "Q4_1", "Q5_0",   "Q5_1",   "Q8_0", "Q2_K", "Q3_K", "Q4_K",
                                "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "BF16", "F16",  "MXFP4"};

std::vector<float> random_numbers(size_t count, float size) {
  Rng rng(5);
  std::vector<float> values(count);
  for (float& value : values) {  // roughly normal
    value = size * static_cast<float>(rng.uniform(-1, 1) + rng.uniform(-1, 1) + rng.uniform(-1, 1));
  }
  return values;
}

std::vector<float> round_trip(BlockFormat format, const std::vector<float>& values) {
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> blocks(static_cast<size_t>(block_bytes(format, count)));
  quantize(format, values.data(), count, blocks.data());
  std::vector<float> out(values.size());
  dequantize(format, blocks.data(), count, out.data());
  return out;
}

double mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return sum / static_cast<double>(a.size());
}

TEST(BlockFormat, NamesAndIdsAreInverse) {
  for (uint32_t id = 0; id < 64; ++id) {
    const auto format = block_format_from_id(id);
    if (format) {
      EXPECT_EQ(static_cast<uint32_t>(*format), id);
      EXPECT_EQ(block_format_from_name(block_layout(*format).name), format);
    }
  }
  EXPECT_EQ(block_format_from_id(4), std::nullopt);  // an abandoned format
  EXPECT_EQ(block_format_from_name("Q4_K_M"), std::nullopt);
  EXPECT_EQ(block_bytes(BlockFormat::kQ4_K, 512), 288);
  EXPECT_EQ(block_bytes(BlockFormat::kQ4_0, 0), 0);
  EXPECT_THROW(block_bytes(BlockFormat::kQ4_0, 33), InvalidArgument);
  EXPECT_THROW(block_bytes(BlockFormat::kQ4_K, -256), InvalidArgument);
}

TEST(BlockFormat, DequantisesBitForBit) {
  for (const char* name : kAll) {
    const auto format = block_format_from_name(name);
    ASSERT_TRUE(format) << name;
    const TensorEntry& blocks = blocks_golden().table.tensors.at(name);
    const TensorEntry& numbers = blocks_golden().table.tensors.at(std::string(name) + ".numbers");
    ASSERT_EQ(blocks.shape, numbers.shape) << name;
    std::vector<float> out(static_cast<size_t>(blocks.count()));
    dequantize(*format, blocks.data, blocks.count(), out.data());
    EXPECT_EQ(std::memcmp(out.data(), numbers.data, out.size() * sizeof(float)), 0) << name;
  }
}

TEST(BlockFormat, RoundsBitForBit) {
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "BF16", "F16", "MXFP4"}) {
    const BlockFormat format = *block_format_from_name(name);
    const TensorEntry& in = blocks_golden().table.tensors.at(std::string(name) + ".in");
    const TensorEntry& expected = blocks_golden().table.tensors.at(std::string(name) + ".rounded");
    std::vector<float> values(static_cast<size_t>(in.count()));
    std::memcpy(values.data(), in.data, values.size() * sizeof(float));
    std::vector<std::byte> out(static_cast<size_t>(block_bytes(format, in.count())));
    ASSERT_EQ(static_cast<int64_t>(out.size()), expected.bytes()) << name;
    quantize(format, values.data(), in.count(), out.data());
    EXPECT_EQ(std::memcmp(out.data(), expected.data, out.size()), 0) << name;
  }
}

TEST(BlockFormat, TheSearchBeatsRoundingFromTheExtremes) {
  const std::vector<float> values = random_numbers(256 * 40, 0.05F);
  // Mean square error of the best uniform grid over each run, from its extremes, with exact scales.
  const auto from_extremes = [&](size_t run, float top) {
    std::vector<float> out(values.size());
    for (size_t begin = 0; begin < values.size(); begin += run) {
      const auto [low, high] =
          std::minmax_element(values.begin() + static_cast<int64_t>(begin),
                              values.begin() + static_cast<int64_t>(begin + run));
      const float min = std::min(*low, 0.F);
      const float step = (*high - min) / top;
      for (size_t i = begin; i < begin + run; ++i) {
        out[i] = step * std::round((values[i] - min) / step) + min;
      }
    }
    return mean_square(values, out);
  };
  const auto error = [&](BlockFormat format) {
    return mean_square(values, round_trip(format, values));
  };
  EXPECT_LT(error(BlockFormat::kQ4_K), from_extremes(32, 15));
  EXPECT_LT(error(BlockFormat::kQ5_K), 1.05 * from_extremes(32, 31));
  EXPECT_LT(error(BlockFormat::kQ2_K), 1.05 * from_extremes(16, 3));
  EXPECT_LT(error(BlockFormat::kQ6_K), error(BlockFormat::kQ5_K) / 2);
  EXPECT_LT(error(BlockFormat::kQ5_K), error(BlockFormat::kQ4_K) / 2);
  EXPECT_LT(error(BlockFormat::kQ4_K), error(BlockFormat::kQ3_K) / 2);
  EXPECT_LT(error(BlockFormat::kQ3_K), error(BlockFormat::kQ2_K) / 2);
  EXPECT_LT(error(BlockFormat::kQ4_K), error(BlockFormat::kQ4_0));
}

TEST(BlockFormat, GridsAreKept) {
  // Numbers that a format can hold exactly come back exactly.
  std::vector<float> values(512);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<int>(i * 7 % 16) - 8) * 0.25F;
  }
  EXPECT_EQ(round_trip(BlockFormat::kQ4_0, values), values);
  std::vector<float> sixth(512);
  for (size_t i = 0; i < sixth.size(); ++i) {
    sixth[i] = static_cast<float>(static_cast<int>(i * 37 % 64) - 32) * 0.5F;
    sixth[i / 16 * 16] = -16.F;  // every run reaches the end of the codes
  }
  EXPECT_EQ(round_trip(BlockFormat::kQ6_K, sixth), sixth);
}

TEST(BlockFormat, ZerosAndConstants) {
  for (const char* name : kAll) {
    const BlockFormat format = *block_format_from_name(name);
    if (!can_quantize(format)) {
      EXPECT_THROW(round_trip(format, std::vector<float>(256)), Unsupported) << name;
      continue;
    }
    EXPECT_EQ(round_trip(format, std::vector<float>(512, 0.F)), std::vector<float>(512, 0.F))
        << name;
    for (const float constant : {1.F, -3.F, 1e-20F}) {
      for (const float value : round_trip(format, std::vector<float>(256, constant))) {
        ASSERT_NEAR(value, constant, 0.01F * std::fabs(constant) + 1e-7F) << name;
      }
    }
    EXPECT_TRUE(round_trip(format, {}).empty());
  }
}

TEST(BlockFormat, NumbersThatAreNoneAreRefused) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(256, 1.F);
    values[255] = bad;
    EXPECT_THROW(round_trip(BlockFormat::kQ4_K, values), InvalidArgument);
    EXPECT_THROW(round_trip(BlockFormat::kQ8_0, values), InvalidArgument);
  }
}

TEST(Half, EveryValueReturns) {
  for (uint32_t half = 0; half < 65536; ++half) {
    const float value = half_to_float(static_cast<uint16_t>(half));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    ASSERT_EQ(float_to_half(value), half);
    // Ties go to the even neighbour.
    const float next = half_to_float(static_cast<uint16_t>(half + 1));
    if (std::isfinite(value) && std::isfinite(next) && (half & 0x7fffU) != 0x7bffU) {
      const uint32_t even = half % 2 == 0 ? half : half + 1;
      ASSERT_EQ(float_to_half((value + next) / 2), even) << half;
    }
  }
  EXPECT_EQ(float_to_half(65519.F), 0x7bff);
  EXPECT_EQ(float_to_half(65520.F), 0x7c00);
  EXPECT_EQ(float_to_half(-1e30F), 0xfc00);
  EXPECT_EQ(float_to_half(1e-30F), 0);
}

}  // namespace
}  // namespace tessera::io
