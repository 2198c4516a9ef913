// Single linears of packed checkpoints' layouts with random bytes: what they are does not change
// the time. Enough copies are in memory that no cache holds them.
#include "core/clock.h"
#include "core/error.h"
#include "ops/linear_packed.h"
#include "pipelines/bench.h"

#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <algorithm>

namespace tessera::pipelines {
namespace {

constexpr int64_t kGroup = 128;
constexpr int64_t kTableBlock = 64;
constexpr int64_t kBytesInMemory = int64_t{160} << 20;
constexpr std::pair<int64_t, int64_t> kShapes[] = {{2048, 2048}, {5632, 2048}, {4096, 11008}};

const std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}

ops::PackedWeight table_weight(int64_t out, int64_t in) {
  const at::Tensor codes = at::randint(0, 256, {out * in / 2}, at::kByte);
  const at::Tensor absmax = at::rand({out * in / kTableBlock});
  io::TableRows rows{.out = out, .in = in, .codes = bytes_of(codes), .block = kTableBlock};
  rows.absmax = bytes_of(absmax);
  for (int i = 0; i < 16; ++i) {
    rows.table[i] = static_cast<float>(i) / 8.0F - 1.0F;
  }
  return {rows, {codes, absmax}};
}

ops::PackedWeight random_weight(const std::string& format, int64_t out, int64_t in) {
  if (format == "NF4") {
    return table_weight(out, in);
  }
  io::GroupedRows rows{.out = out, .in = in};
  rows.groups = in / kGroup;
  rows.group_size = kGroup;
  const at::Tensor codes = at::randint(0, 256, {out * in / 2}, at::kByte);
  const at::Tensor scales = at::rand({rows.groups * out}).to(at::kHalf);
  rows.codes = {.data = bytes_of(codes), .bits = 4, .line_stride = in / 2};
  rows.scales = {bytes_of(scales), io::StridedFloats::Type::kF16, rows.groups, 1};
  rows.zero = 8;
  if (format == "W4A16") {
    return {rows, {codes, scales}};
  }
  const bool awq = format == "AWQ";
  const at::Tensor zeros = at::randint(0, 256, {rows.groups * out / 2}, at::kByte);
  rows.codes.along_out = rows.codes.awq_order = awq;
  rows.codes.line_stride = awq ? out / 2 : 4;
  rows.codes.word_stride = awq ? 4 : out * 4;
  rows.scales.out_stride = 1;
  rows.scales.group_stride = out;
  rows.has_zeros = true;
  rows.zeros = {.data = bytes_of(zeros), .along_out = true, .line_stride = out / 2};
  rows.zeros.awq_order = awq;
  return {rows, {codes, scales, zeros}};
}

int64_t size_of(const ops::PackedWeight& weight) {
  int64_t bytes = 0;
  for (const at::Tensor& tensor : weight.storage) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

}  // namespace

bool is_packed_layout(const std::string& format) {
  return format == "GPTQ" || format == "AWQ" || format == "W4A16" || format == "NF4";
}

io::Json measure_packed(const std::string& format,
                        const std::vector<int64_t>& rows,
                        double seconds,
                        double read_gb_s) {
  io::Json results = io::Json::array();
  for (const auto& [out, in] : kShapes) {
    std::vector<ops::PackedWeight> weights;
    double bytes = 0;
    while (bytes < kBytesInMemory) {
      weights.push_back(random_weight(format, out, in));
      bytes += static_cast<double>(size_of(weights.back()));
    }
    const auto count = static_cast<double>(weights.size());
    for (const int64_t height : rows) {
      const at::Tensor x = at::randn({height, in});
      double best = 1e30;
      const auto start = Clock::now();
      for (int runs = 0; runs < 3 || seconds_since(start) < seconds; ++runs) {
        const auto begin = Clock::now();
        for (const ops::PackedWeight& weight : weights) {
          ops::linear_packed(x, weight);
        }
        best = std::min(best, seconds_since(begin));
      }
      const double rate = bytes / best / 1e9;
      const double operations = 2 * static_cast<double>(out * in * height) * count;
      results.push_back({{"format", format},
                         {"shape", {out, in}},
                         {"rows", height},
                         {"ms", best / count * 1e3},
                         {"tok_s", static_cast<double>(height) * count / best},
                         {"weight_mb", bytes / count / 1e6},
                         {"gb_s", rate},
                         {"share_of_read_peak", rate / read_gb_s},
                         {"gops", operations / best / 1e9}});
    }
  }
  return results;
}

}  // namespace tessera::pipelines
