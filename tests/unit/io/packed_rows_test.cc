#include "io/packed_rows.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

namespace tessera::io {
namespace {

/// Writes number `place` of a line, a bit at a time.
void put(std::vector<uint32_t>& words,
         int64_t line,
         int64_t line_words,
         int64_t word_step,
         int64_t place,
         int bits,
         uint32_t value) {
  for (int b = 0; b < bits; ++b) {
    const int64_t bit = place * bits + b;
    const auto word = static_cast<size_t>(line * line_words + bit / 32 * word_step);
    words[word] |= ((value >> b) & 1U) << (bit % 32);
  }
}

struct Layout {
  bool along_out;
  bool lines_side_by_side;
};

// Every width and direction, sizes that fill no word and no tile.
TEST(PackedRows, EveryWidthAndDirection) {
  std::mt19937 random(5);
  for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8}) {
    for (const Layout layout : {Layout{false, false}, {false, true}, {true, false}, {true, true}}) {
      const int64_t out = 19;
      const int64_t in = 37;
      const int64_t group = 10;
      const int64_t groups = 4;
      const int64_t lines = layout.along_out ? in : out;
      const int64_t length = layout.along_out ? out : in;
      const int64_t words = (length * bits + 31) / 32;
      std::vector<uint32_t> stored(static_cast<size_t>(lines * words));
      std::vector<uint32_t> codes(static_cast<size_t>(out * in));
      const int64_t line_words = layout.lines_side_by_side ? 1 : words;
      const int64_t word_step = layout.lines_side_by_side ? lines : 1;
      for (int64_t o = 0; o < out; ++o) {
        for (int64_t i = 0; i < in; ++i) {
          const uint32_t value = random() & ((1U << bits) - 1U);
          codes[static_cast<size_t>(o * in + i)] = value;
          put(stored, layout.along_out ? i : o, line_words, word_step, layout.along_out ? o : i,
              bits, value);
        }
      }
      std::vector<float> scales(static_cast<size_t>(out * groups));
      for (float& scale : scales) {
        scale = std::uniform_real_distribution<float>(-2, 2)(random);
      }
      GroupedRows rows{.out = out, .in = in};
      rows.codes = {.data = reinterpret_cast<const std::byte*>(stored.data()),
                    .bits = bits,
                    .along_out = layout.along_out,
                    .line_stride = line_words * 4,
                    .word_stride = word_step * 4};
      rows.groups = groups;
      rows.group_size = group;
      rows.zero = 1;
      rows.scales = {reinterpret_cast<const std::byte*>(scales.data()), StridedFloats::Type::kF32,
                     groups, 1};
      std::vector<int32_t> order(static_cast<size_t>(in));
      for (int32_t& g : order) {
        g = static_cast<int32_t>(random() % 4);
      }
      for (const bool ordered : {false, true}) {
        rows.group_of = ordered ? order.data() : nullptr;
        for (const auto& [begin, end] : {std::pair{int64_t{0}, out}, {3, 17}, {16, 19}, {5, 5}}) {
          std::vector<float> numbers(static_cast<size_t>((end - begin) * in), -1.0F);
          dequantize_rows(rows, begin, end, numbers.data());
          for (int64_t o = begin; o < end; ++o) {
            for (int64_t i = 0; i < in; ++i) {
              const int64_t g = ordered ? order[static_cast<size_t>(i)] : i / group;
              const float code = static_cast<float>(codes[static_cast<size_t>(o * in + i)]);
              ASSERT_EQ(numbers[static_cast<size_t>((o - begin) * in + i)],
                        (code - 1.0F) * scales[static_cast<size_t>(o * groups + g)])
                  << bits << " bits, " << layout.along_out << layout.lines_side_by_side << " [" << o
                  << ", " << i << "]";
            }
          }
        }
      }
    }
  }
}

TEST(PackedRows, AwqOrderAndItsGeneralPath) {
  // One word: output k of eight lies in nibble {0, 4, 1, 5, 2, 6, 3, 7}[k].
  const uint32_t word = 0x76543210;
  const std::array<uint32_t, 8> expected = {0, 4, 1, 5, 2, 6, 3, 7};
  const float one = 1.0F;
  GroupedRows rows{.out = 8, .in = 1};
  rows.codes = {.data = reinterpret_cast<const std::byte*>(&word),
                .along_out = true,
                .line_stride = 4,
                .awq_order = true};
  rows.group_size = 1;
  rows.scales = {reinterpret_cast<const std::byte*>(&one), StridedFloats::Type::kF32, 0, 0};
  std::array<float, 8> numbers{};
  dequantize_rows(rows, 0, 8, numbers.data());
  for (size_t k = 0; k < 8; ++k) {
    EXPECT_EQ(numbers[k], static_cast<float>(expected[k]));
    EXPECT_EQ(rows.codes.at(static_cast<int64_t>(k), 0), expected[k]);
  }
  dequantize_rows(rows, 3, 5, numbers.data());
  EXPECT_EQ(numbers[0], 5.0F);
  EXPECT_EQ(numbers[1], 2.0F);
}

TEST(PackedRows, SignedBytesOldWordsAndZeroPointsThatWrap) {
  const std::array<int8_t, 3> bytes = {-128, 0, 127};
  const PackedIntegers signed_bytes{.data = reinterpret_cast<const std::byte*>(bytes.data()),
                                    .bits = 8,
                                    .line_stride = 3,
                                    .is_signed = true};
  EXPECT_EQ(signed_bytes.at(0, 0), 0U);
  EXPECT_EQ(signed_bytes.at(0, 1), 128U);
  EXPECT_EQ(signed_bytes.at(0, 2), 255U);

  const std::array<uint32_t, 2> words = {7U << 27 | 5U, 3U};  // ten numbers of 3 bits a word
  const PackedIntegers old{.data = reinterpret_cast<const std::byte*>(words.data()),
                           .bits = 3,
                           .line_stride = 8,
                           .per_word = 10};
  EXPECT_EQ(old.at(0, 0), 5U);
  EXPECT_EQ(old.at(0, 9), 7U);
  EXPECT_EQ(old.at(0, 10), 3U);

  // GPTQ v1: 15 stands for the zero point 0.
  const uint32_t code = 9;
  const uint32_t stored_zero = 15;
  const float scale = 0.5F;
  GroupedRows rows{.out = 1, .in = 1};
  rows.codes = {.data = reinterpret_cast<const std::byte*>(&code), .line_stride = 4};
  rows.zeros = {.data = reinterpret_cast<const std::byte*>(&stored_zero), .line_stride = 4};
  rows.has_zeros = true;
  rows.zero_add = 1;
  rows.group_size = 1;
  rows.scales = {reinterpret_cast<const std::byte*>(&scale), StridedFloats::Type::kF32, 0, 0};
  float number = 0;
  dequantize_rows(rows, 0, 1, &number);
  EXPECT_EQ(number, 4.5F);
}

// Blocks that straddle rows, an odd number of numbers, nested factors.
TEST(PackedRows, TablesByFlatBlocks) {
  const int64_t out = 5;
  const int64_t in = 13;
  std::mt19937 random(9);
  std::vector<uint8_t> bytes(static_cast<size_t>((out * in + 1) / 2));
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(random());
  }
  const std::array<float, 9> absmax = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  TableRows rows{.out = out, .in = in};
  rows.codes = reinterpret_cast<const std::byte*>(bytes.data());
  rows.block = 8;
  rows.absmax = reinterpret_cast<const std::byte*>(absmax.data());
  for (int q = 0; q < 16; ++q) {
    rows.table[q] = static_cast<float>(q) - 7.5F;
  }
  std::vector<uint8_t> outer_codes = {0, 1, 2, 3, 4, 5, 6, 7, 255};
  std::vector<float> outer_table(256);
  for (size_t i = 0; i < 256; ++i) {
    outer_table[i] = static_cast<float>(i) / 16;
  }
  for (const bool nested : {false, true}) {
    if (nested) {
      rows.nested_codes = reinterpret_cast<const std::byte*>(outer_codes.data());
      rows.nested_table = reinterpret_cast<const std::byte*>(outer_table.data());
      rows.nested_block = 4;
      rows.nested_offset = 0.25F;
    }
    for (const auto& [begin, end] : {std::pair{int64_t{0}, out}, {1, 4}, {4, 5}}) {
      std::vector<float> numbers(static_cast<size_t>((end - begin) * in));
      dequantize_rows(rows, begin, end, numbers.data());
      for (int64_t k = begin * in; k < end * in; ++k) {
        const uint8_t pair = bytes[static_cast<size_t>(k / 2)];
        const int code = k % 2 == 0 ? pair >> 4 : pair & 15;
        const auto block = static_cast<size_t>(k / 8);
        const float factor =
            nested ? outer_table[outer_codes[block]] * absmax[block / 4] + 0.25F : absmax[block];
        ASSERT_EQ(numbers[static_cast<size_t>(k - begin * in)],
                  (static_cast<float>(code) - 7.5F) * factor);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::io
