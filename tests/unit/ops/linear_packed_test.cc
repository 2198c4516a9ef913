#include "core/error.h"
#include "ops/linear_packed_kernels.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>

namespace tessera::ops {
namespace {

using at::Tensor;

struct Example {
  PackedWeight weight;
  Tensor dense;  // fp32 [out, in]
};

/// Bytes with one scale for every `group` inputs: numbers that plain tensor operations give too.
Example example(int64_t out, int64_t in, int64_t group) {
  const int64_t groups = (in + group - 1) / group;
  const Tensor codes = at::randint(-128, 128, {out, in}, at::kChar);
  const Tensor scales = at::rand({out, groups});
  io::GroupedRows rows{.out = out, .in = in};
  rows.codes = {.data = static_cast<const std::byte*>(codes.const_data_ptr()),
                .bits = 8,
                .line_stride = in,
                .is_signed = true};
  rows.groups = groups;
  rows.group_size = group;
  rows.zero = 128;
  rows.scales = {static_cast<const std::byte*>(scales.const_data_ptr()),
                 io::StridedFloats::Type::kF32, groups, 1};
  const Tensor wide = scales.repeat_interleave(group, 1).narrow(1, 0, in);
  return {{rows, {codes, scales}}, codes.to(at::kFloat) * wide};
}

TEST(LinearPacked, AnyNumberOfRowsAndOddShapes) {
  at::manual_seed(3);
  for (const auto& [out, in] : {std::pair{1, 1}, {5, 7}, {33, 70}, {300, 513}}) {
    const Example item = example(out, in, 32);
    EXPECT_TRUE(dequantize_packed(item.weight).equal(item.dense));
    for (const int64_t rows : {0, 1, 2, 15, 16, 17, 40}) {
      const Tensor x = at::randn({2, rows, in}).narrow(0, 1, 1);
      const Tensor expected = at::matmul(x, item.dense.t());
      const Tensor actual = linear_packed(x, item.weight);
      EXPECT_EQ(actual.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(actual, expected, 1e-4, 1e-2)) << out << " " << in << " " << rows;
    }
  }
}

TEST(LinearPacked, GradientsReachTheInputs) {
  const Example item = example(9, 21, 5);
  const Tensor x = at::randn({4, 21}).requires_grad_(true);
  linear_packed(x, item.weight).sum().backward();
  EXPECT_TRUE(at::allclose(x.grad(), item.dense.sum(0).expand({4, 21}), 1e-4, 1e-3));
}

TEST(LinearPacked, OtherInputsAreRefused) {
  const Example item = example(4, 8, 8);
  EXPECT_THROW(linear_packed(at::randn({3, 7}), item.weight), InvalidArgument);
  EXPECT_THROW(linear_packed(at::randn({3, 8}, at::kDouble), item.weight), InvalidArgument);
}

/// Bytes that end where the memory ends and begin at an odd address.
Tensor odd_bytes(const std::vector<uint8_t>& bytes) {
  Tensor memory = at::empty({static_cast<int64_t>(bytes.size()) + 1}, at::kByte);
  const Tensor view = memory.narrow(0, 1, memory.numel() - 1);
  std::memcpy(view.data_ptr(), bytes.data(), bytes.size());
  return view;
}

const std::byte* start(const Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}

/// Puts `bits` bits at a bit of a little-endian stream.
void put(std::vector<uint8_t>& bytes, int64_t bit, int bits, uint32_t value) {
  for (int b = 0; b < bits; ++b, ++bit) {
    bytes[static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(((value >> b) & 1U) << (bit % 8));
  }
}

enum class Kind { kGptq, kGptqV1, kAwqGemm, kAwqGemv, kPacked, kPackedZeros, kBytes };

struct Grouped {
  Kind kind;
  int bits;
  int64_t out;
  int64_t in;
  int64_t group;  // −1: all inputs
};

struct Truth {
  PackedWeight weight;
  Tensor dense;  // fp64 [out, in]
};

/// Place of a number in a word of AWQ.
constexpr int64_t kAwqPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};

/// Bit of a number's code.
int64_t bit_of(const Grouped& g, int64_t o, int64_t i) {
  const int64_t words = (g.in * g.bits + 31) / 32;
  switch (g.kind) {
    case Kind::kGptq:
    case Kind::kGptqV1:
      return (i * g.bits / 32 * g.out + o) * 32 + i * g.bits % 32;
    case Kind::kAwqGemm:
      return i * g.out * 4 + o / 8 * 32 + kAwqPlace[o % 8] * 4;
    case Kind::kBytes:
      return (o * g.in + i) * 8;
    default:
      return o * words * 32 + i * g.bits;
  }
}

/// Random codes, zero points and scales in the layout of a format, and the numbers that they are.
Truth truth_of(const Grouped& g) {
  const int64_t size = g.group > 0 ? g.group : g.in;
  const int64_t groups = (g.in + size - 1) / size;
  const auto limit = static_cast<int64_t>(1) << g.bits;
  const bool zeros_stored = g.kind != Kind::kPacked && g.kind != Kind::kBytes;
  const Tensor codes = at::randint(0, limit, {g.out, g.in}, at::kInt);
  const Tensor zeros = zeros_stored ? at::randint(0, limit, {g.out, groups}, at::kInt)
                                    : at::full({g.out, groups}, limit / 2, at::kInt);
  // Scales of either type, along the outputs or along the groups.
  const bool by_group =
      g.kind == Kind::kGptq || g.kind == Kind::kGptqV1 || g.kind == Kind::kAwqGemm;
  const auto dtype = g.out % 2 == 0 ? at::kHalf : g.in % 3 == 0 ? at::kFloat : at::kBFloat16;
  const Tensor scales = (at::randn({g.out, groups}) * 0.01).to(dtype);
  const Tensor laid = by_group ? scales.t().contiguous() : scales;

  const int64_t words = (g.in * g.bits + 31) / 32;
  const int64_t zero_words = (g.out * g.bits + 31) / 32;
  std::vector<uint8_t> code_bytes(static_cast<size_t>(
      g.kind == Kind::kBytes ? g.out * g.in
                             : std::max(g.out * words * 4, g.in * ((g.out + 7) / 8 * 4))));
  if (g.kind != Kind::kAwqGemm && g.kind != Kind::kBytes) {
    code_bytes.resize(static_cast<size_t>(g.out * words * 4));
  }
  const int* code_numbers = codes.const_data_ptr<int>();
  const int* zero_numbers = zeros.const_data_ptr<int>();
  const int64_t gemv_words = (groups + 7) / 8;
  std::vector<uint8_t> zero_bytes(static_cast<size_t>(
      (g.kind == Kind::kAwqGemv ? g.out * gemv_words : groups * zero_words) * 4));
  for (int64_t o = 0; o < g.out; ++o) {
    for (int64_t i = 0; i < g.in; ++i) {
      auto code = static_cast<uint32_t>(code_numbers[o * g.in + i]);
      put(code_bytes, bit_of(g, o, i), g.bits, g.kind == Kind::kBytes ? code ^ 0x80U : code);
    }
    for (int64_t n = 0; n < groups; ++n) {
      auto zero = static_cast<uint32_t>(zero_numbers[o * groups + n]);
      if (g.kind == Kind::kGptqV1) {
        zero = (zero - 1) & static_cast<uint32_t>(limit - 1);
      }
      const int64_t bit =
          g.kind == Kind::kAwqGemm       ? n * zero_words * 32 + o / 8 * 32 + kAwqPlace[o % 8] * 4
          : g.kind == Kind::kAwqGemv     ? o * gemv_words * 32 + n * 4
          : g.kind == Kind::kPackedZeros ? (o * g.bits / 32 * groups + n) * 32 + o * g.bits % 32
                                         : n * zero_words * 32 + o * g.bits;
      put(zero_bytes, bit, g.bits, zero);
    }
  }
  const Tensor stored_codes = odd_bytes(code_bytes);
  const Tensor stored_zeros = odd_bytes(zero_bytes);
  io::GroupedRows rows{.out = g.out, .in = g.in};
  rows.groups = groups;
  rows.group_size = size;
  rows.codes = {.data = start(stored_codes), .bits = g.bits, .line_stride = words * 4};
  rows.zeros = {.data = start(stored_zeros),
                .bits = g.bits,
                .along_out = true,
                .line_stride = zero_words * 4};
  rows.has_zeros = zeros_stored;
  rows.zero = static_cast<uint32_t>(limit / 2);
  switch (g.kind) {
    case Kind::kGptqV1:
      rows.zero_add = 1;
      [[fallthrough]];
    case Kind::kGptq:
      rows.codes.line_stride = 4;
      rows.codes.word_stride = g.out * 4;
      break;
    case Kind::kAwqGemm:
      rows.codes.along_out = rows.codes.awq_order = rows.zeros.awq_order = true;
      rows.codes.line_stride = g.out / 8 * 4;
      break;
    case Kind::kAwqGemv:
      rows.zeros.along_out = false;
      rows.zeros.line_stride = gemv_words * 4;
      break;
    case Kind::kPackedZeros:
      rows.zeros.line_stride = 4;
      rows.zeros.word_stride = groups * 4;
      break;
    case Kind::kBytes:
      rows.codes.line_stride = g.in;
      rows.codes.is_signed = true;
      break;
    case Kind::kPacked:
      break;
  }
  using Type = io::StridedFloats::Type;
  rows.scales = {start(laid),
                 dtype == at::kHalf    ? Type::kF16
                 : dtype == at::kFloat ? Type::kF32
                                       : Type::kBF16,
                 by_group ? 1 : groups, by_group ? g.out : 1};
  const auto wide = [&](const Tensor& t) {
    return t.to(at::kDouble).repeat_interleave(size, 1).narrow(1, 0, g.in);
  };
  return {{rows, {stored_codes, stored_zeros, laid}},
          (codes.to(at::kDouble) - wide(zeros)) * wide(scales)};
}

struct Tables {
  int64_t out;
  int64_t in;
  int64_t block;
  bool nested;
};

/// bitsandbytes' layout with a random table.
Truth truth_of(const Tables& t) {
  const int64_t blocks = (t.out * t.in + t.block - 1) / t.block;
  const Tensor codes = at::randint(0, 16, {t.out * t.in}, at::kInt);
  const Tensor table = at::randn({16});
  std::vector<uint8_t> bytes(static_cast<size_t>((t.out * t.in + 1) / 2));
  const int* code_numbers = codes.const_data_ptr<int>();
  for (int64_t k = 0; k < t.out * t.in; ++k) {
    put(bytes, k / 2 * 8 + (k % 2 == 0 ? 4 : 0), 4, static_cast<uint32_t>(code_numbers[k]));
  }
  const Tensor stored = odd_bytes(bytes);
  io::TableRows rows{.out = t.out, .in = t.in, .codes = start(stored), .block = t.block};
  std::memcpy(rows.table, table.const_data_ptr(), sizeof(rows.table));
  Tensor absmax = at::rand({blocks}) + 0.1;
  PackedWeight weight{rows, {stored}};
  Tensor factors = absmax;
  if (t.nested) {
    constexpr int64_t kNested = 4;
    const Tensor inner = at::randint(0, 256, {blocks}, at::kByte);
    const Tensor map = at::rand({256});
    absmax = at::rand({(blocks + kNested - 1) / kNested});
    rows.nested_codes = start(inner);
    rows.nested_table = start(map);
    rows.nested_block = kNested;
    rows.nested_offset = 0.25F;
    const Tensor outer = absmax.repeat_interleave(kNested).narrow(0, 0, blocks);
    factors = map.index_select(0, inner.to(at::kInt)) * outer + 0.25F;
    weight.storage.insert(weight.storage.end(), {inner, map});
  }
  rows.absmax = start(absmax);
  weight.rows = rows;
  weight.storage.push_back(absmax);
  const Tensor numbers =
      table.to(at::kDouble).index_select(0, codes) *
      factors.to(at::kDouble).repeat_interleave(t.block).narrow(0, 0, t.out * t.in);
  return {weight, numbers.view({t.out, t.in})};
}

/// Every instruction set, kernel or not, against a product in fp64: errors stay below 2^-21 of the
/// products' magnitudes (activations count as a quarter of their row's largest at least), and rows
/// alone give the bits that they give together.
void expect_exact(const Truth& truth, const Tensor& x, const std::string& what) {
  const Tensor expected = at::matmul(x.to(at::kDouble), truth.dense.t());
  const Tensor floor = x.abs().amax(1, true) / 4;
  const Tensor size =
      at::matmul(at::maximum(x.abs(), floor).to(at::kDouble), truth.dense.abs().t());
  for (const cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* kernels = cpu::kernels_of(isa);
    if (kernels == nullptr) {
      continue;
    }
    const Tensor actual = linear_packed(x, truth.weight, *kernels);
    const double worst =
        ((actual.to(at::kDouble) - expected).abs() / (size + 1e-300)).max().item<double>();
    EXPECT_LT(worst, 0x1p-21) << what << " " << cpu::isa_name(isa) << " " << x.size(0);
    if (has_packed_kernel(truth.weight, *kernels) && x.size(0) > 1 && x.size(0) <= 16) {
      const int64_t row = x.size(0) - 1;
      EXPECT_TRUE(linear_packed(x.narrow(0, row, 1), truth.weight, *kernels)
                      .equal(actual.narrow(0, row, 1)))
          << what << " " << cpu::isa_name(isa);
    }
  }
}

std::string described(const Grouped& g) {
  return "kind " + std::to_string(static_cast<int>(g.kind)) + ", " + std::to_string(g.bits) +
         " bits, " + std::to_string(g.out) + " × " + std::to_string(g.in) + ", groups of " +
         std::to_string(g.group);
}

const std::vector<Grouped>& grouped_cases() {
  static const std::vector<Grouped> kCases = [] {
    std::vector<Grouped> cases;
    const std::pair<Kind, int> kinds[] = {
        {Kind::kGptq, 4},    {Kind::kGptqV1, 4},  {Kind::kGptq, 8},       {Kind::kGptqV1, 8},
        {Kind::kAwqGemm, 4}, {Kind::kAwqGemv, 4}, {Kind::kPacked, 4},     {Kind::kPackedZeros, 4},
        {Kind::kPacked, 8},  {Kind::kBytes, 8},   {Kind::kPackedZeros, 8}};
    for (const auto& [kind, bits] : kinds) {
      const bool eights = kind == Kind::kAwqGemm;
      for (const auto& [out, in, group] : {std::tuple{1, 8, -1},
                                           {7, 40, 8},
                                           {33, 136, 32},
                                           {130, 256, 64},
                                           {64, 520, 128},
                                           {300, 392, 96},
                                           {129, 648, -1},
                                           {24, 768, 384}}) {
        cases.push_back({kind, bits, eights ? (out + 7) / 8 * 8 : out, in, group});
      }
      if (kind == Kind::kPacked || kind == Kind::kPackedZeros) {  // words with room at the end
        cases.push_back({kind, bits, 19, 77, 32});
        cases.push_back({kind, bits, 3, 5, -1});
      }
    }
    return cases;
  }();
  return kCases;
}

TEST(LinearPacked, GroupedKernelsOfEveryInstructionSetAreExact) {
  at::manual_seed(5);
  for (const Grouped& g : grouped_cases()) {
    const Truth truth = truth_of(g);
    const Tensor dense = dequantize_packed(truth.weight).to(at::kDouble);
    ASSERT_TRUE(at::allclose(dense, truth.dense, 1e-6, 1e-12)) << described(g);
    for (const int64_t rows : {1, 2, 3, 4, 7, 16, 17}) {
      expect_exact(truth, at::randn({rows, g.in}), described(g));
    }
  }
}

TEST(LinearPacked, PublishedLayoutsHaveAKernel) {
  for (const cpu::Isa isa : {cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    const cpu::Kernels* kernels = cpu::kernels_of(isa);
    if (kernels == nullptr) {
      continue;
    }
    for (const Grouped& g : grouped_cases()) {
      const bool ends_in_a_word = g.bits == 8 && g.in % 4 != 0;
      EXPECT_EQ(has_packed_kernel(truth_of(g).weight, *kernels), !ends_in_a_word) << described(g);
    }
    EXPECT_TRUE(has_packed_kernel(truth_of(Tables{3, 192, 64, true}).weight, *kernels));
  }
}

TEST(LinearPacked, LayoutsWithoutAKernelAreStillRead) {
  at::manual_seed(6);
  for (const Grouped& g :
       {Grouped{Kind::kPacked, 4, 21, 70, 10}, Grouped{Kind::kPacked, 2, 40, 96, 32},
        Grouped{Kind::kBytes, 8, 9, 35, 5}}) {
    expect_exact(truth_of(g), at::randn({3, g.in}), described(g));
  }
  Truth truth = truth_of(Grouped{Kind::kGptq, 4, 40, 64, 32});  // inputs in an order of their own
  auto rows = std::get<io::GroupedRows>(truth.weight.rows);
  const Tensor order = at::randint(0, 2, {64}, at::kInt);
  rows.group_of = order.const_data_ptr<int32_t>();
  truth.weight.rows = rows;
  truth.dense = dequantize_packed(truth.weight).to(at::kDouble);
  EXPECT_FALSE(has_packed_kernel(truth.weight, cpu::kernels()));
  expect_exact(truth, at::randn({3, 64}), "act-order");
}

TEST(LinearPacked, TableKernelsOfEveryInstructionSetAreExact) {
  at::manual_seed(7);
  for (const Tables& t : {Tables{1, 64, 64, false},
                          {5, 192, 64, true},
                          {66, 320, 64, false},
                          {131, 256, 128, true},
                          {10, 4096, 4096, false},
                          {9, 96, 32, true},
                          {7, 50, 64, false}}) {
    const Truth truth = truth_of(t);
    for (const int64_t rows : {1, 2, 3, 4, 7, 16, 17}) {
      expect_exact(truth, at::randn({rows, t.in}), "table " + std::to_string(t.in));
    }
  }
}

TEST(LinearPacked, ActivationsOfEveryMagnitude) {
  at::manual_seed(8);
  const Truth truth = truth_of(Grouped{Kind::kGptq, 4, 40, 512, 128});
  const Tensor x = at::randn({6, 512});
  x[0].mul_(1e-30);
  x[1].mul_(1e30);
  x[2][77] = 1e6;  // one that is far above the rest of its run
  x[3].abs_();     // what a zero point takes away is larger than what is left
  x[4].zero_();
  x[5].mul_(at::pow(2.0, at::randint(-12, 12, {512})));
  expect_exact(truth, x, "magnitudes");
  EXPECT_TRUE(linear_packed(x[4], truth.weight).eq(0).all().item<bool>());
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), infinity, -infinity}) {
    const Tensor broken = at::randn({1, 512});
    broken[0][300] = bad;
    EXPECT_FALSE(linear_packed(broken, truth.weight).isfinite().any().item<bool>());
  }
}

}  // namespace
}  // namespace tessera::ops
