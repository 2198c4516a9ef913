// Tensors of a Linear P in the formats of published checkpoints; b bits, G groups, n = in · out:
//   compressed-tensors  P.weight_packed i32 [out, ⌈in·b/32⌉] or P.weight i8 [out, in],
//   P.weight_scale
//                       [out, G], P.weight_zero_point, P.weight_g_idx i32 [in], P.weight_shape
//   GPTQ                P.qweight i32 [in·b/32, out], P.qzeros i32 [G, out·b/32], P.scales [G,
//   out],
//                       P.g_idx i32 [in]
//   AWQ gemm            P.qweight i32 [in, out/8], P.qzeros i32 [G, out/8], P.scales [G, out]
//   AWQ gemv            P.qweight i32 [out, in/8], P.qzeros i32 [out, z], P.scales [out, 8·z]
//   bitsandbytes        P.weight bytes [⌈n/2⌉, 1], P.weight.{absmax, quant_map, nested_absmax,
//                       nested_quant_map, quant_state.bitsandbytes__nf4|fp4}; or P.weight i8
//                       [out, in] with P.SCB fp32 [out]
#include "nn/packed_weight.h"

#include "core/error.h"
#include "core/log.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <atomic>

namespace tessera::nn {
namespace {

using io::GroupedRows;
using io::LayerQuantization;
using io::PackedIntegers;
using io::StridedFloats;

constexpr auto kScaleTypes = {at::kFloat, at::kHalf, at::kBFloat16};

const std::byte* bytes_of(const Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.const_data_ptr());
}

std::string name_at(const Weights& weights, std::string_view name) {
  return weights.path() + "." + std::string(name);
}

int64_t words_for(int64_t numbers, int64_t bits) {
  return (numbers * bits + 31) / 32;
}

StridedFloats floats_view(const Tensor& tensor, int64_t out_stride, int64_t group_stride) {
  const auto type = tensor.scalar_type() == at::kFloat  ? StridedFloats::Type::kF32
                    : tensor.scalar_type() == at::kHalf ? StridedFloats::Type::kF16
                                                        : StridedFloats::Type::kBF16;
  return {bytes_of(tensor), type, out_stride, group_stride};
}

/// Collects the tensors of a weight; one that is absent or wrong makes it void.
class Parts {
 public:
  explicit Parts(const Weights& weights) : weights_(weights) {}

  Tensor take(std::string_view name,
              at::IntArrayRef shape,
              std::initializer_list<at::ScalarType> types) {
    Tensor tensor = weights_.stored(name, shape, types);
    whole_ = whole_ && tensor.defined();
    if (tensor.defined()) {
      storage_.push_back(tensor);
    }
    return tensor;
  }

  bool whole() const { return whole_; }
  std::vector<Tensor>& storage() { return storage_; }

 private:
  const Weights& weights_;
  std::vector<Tensor> storage_;
  bool whole_ = true;
};

/// What stands for a weight that finish() will complain about.
QuantizedWeight void_weight(int64_t in, int64_t out) {
  return {std::nullopt, at::full({out, in}, 0, at::kChar), at::full({out}, 0, at::kFloat)};
}

QuantizedWeight finished(Parts& parts, const GroupedRows& rows) {
  if (!parts.whole()) {
    return void_weight(rows.in, rows.out);
  }
  return {ops::PackedWeight{rows, std::move(parts.storage())}, {}, {}};
}

int64_t group_count(int64_t in, int64_t group_size) {
  return group_size > 0 ? (in + group_size - 1) / group_size : 1;
}

/// Reads which group each input belongs to. The trivial order (i / group_size) is dropped.
void take_groups(Parts& parts, const Weights& weights, std::string_view name, GroupedRows& rows) {
  if (!weights.has(name)) {
    return;
  }
  const Tensor taken = parts.take(name, {rows.in}, {at::kInt, at::kLong});
  if (!taken.defined()) {
    return;
  }
  const Tensor order = taken.to(at::kInt);
  const int32_t* groups = order.const_data_ptr<int32_t>();
  bool trivial = true;
  for (int64_t i = 0; i < rows.in; ++i) {
    TESSERA_CHECK(groups[i] >= 0 && groups[i] < rows.groups, CorruptFile,
                  "{}[{}] is {}, but there are {} groups", name_at(weights, name), i, groups[i],
                  rows.groups);
    trivial = trivial && groups[i] == i / rows.group_size;
  }
  if (!trivial) {
    parts.storage().push_back(order);
    rows.group_of = groups;
  }
}

void take_zero_points(Parts& parts, const LayerQuantization& layer, GroupedRows& rows) {
  rows.has_zeros = true;
  if (layer.packed && layer.group_size >= 0) {
    const Tensor zeros =
        parts.take("weight_zero_point", {words_for(rows.out, layer.bits), rows.groups}, {at::kInt});
    rows.zeros = {
        .bits = layer.bits, .along_out = true, .line_stride = 4, .word_stride = rows.groups * 4};
    rows.zeros.data = zeros.defined() ? bytes_of(zeros) : nullptr;
  } else {
    const bool one = layer.group_size < 0;
    const Tensor zeros =
        one ? parts.take("weight_zero_point", {1}, {at::kChar})
            : parts.take("weight_zero_point", {rows.out, rows.groups}, {at::kChar});
    // A packed weight's codes are 2^(b − 1) above their value, bytes 128: so are the zero points.
    rows.zeros = {.bits = 8, .line_stride = one ? 0 : rows.groups, .is_signed = true};
    rows.zeros.data = zeros.defined() ? bytes_of(zeros) : nullptr;
    rows.zero_add = layer.packed ? rows.zero - 128U : 0;
  }
}

QuantizedWeight compressed_tensors(const Weights& weights,
                                   const LayerQuantization& layer,
                                   int64_t in,
                                   int64_t out) {
  Parts parts(weights);
  GroupedRows rows{.out = out, .in = in};
  rows.groups = group_count(in, layer.group_size);
  rows.group_size = layer.group_size > 0 ? layer.group_size : std::max<int64_t>(in, 1);
  rows.zero = 1U << (layer.bits - 1);
  if (layer.packed) {
    const auto shape = weights.shape_of("weight_packed");
    // Old files put ⌊32/b⌋ numbers in a word and leave its other bits unused.
    const int64_t per_word = 32 / layer.bits;
    const int64_t old_words = (in + per_word - 1) / per_word;
    const bool old = shape && shape->size() == 2 && (*shape)[1] == old_words &&
                     old_words != words_for(in, layer.bits);
    const int64_t words = old ? old_words : words_for(in, layer.bits);
    const Tensor codes = parts.take("weight_packed", {out, words}, {at::kInt});
    rows.codes = {.bits = layer.bits, .line_stride = words * 4};
    rows.codes.data = codes.defined() ? bytes_of(codes) : nullptr;
    rows.codes.per_word = old ? static_cast<int>(per_word) : 0;
    const Tensor size = parts.take("weight_shape", {2}, {at::kLong, at::kInt});
    if (size.defined()) {
      const Tensor wide = size.to(at::kLong);
      const int64_t* stated = wide.const_data_ptr<int64_t>();
      TESSERA_CHECK(stated[0] == out && stated[1] == in, CorruptFile,
                    "{} says [{}, {}], config.json [{}, {}]", name_at(weights, "weight_shape"),
                    stated[0], stated[1], out, in);
    }
  } else {
    const Tensor codes = parts.take("weight", {out, in}, {at::kChar});
    rows.codes = {.bits = 8, .line_stride = in, .is_signed = true};
    rows.codes.data = codes.defined() ? bytes_of(codes) : nullptr;
    rows.zero = 128;
  }
  if (layer.group_size < 0) {
    const Tensor scale = parts.take("weight_scale", {1}, kScaleTypes);
    rows.scales = scale.defined() ? floats_view(scale, 0, 0) : rows.scales;
  } else {
    const Tensor scale = parts.take("weight_scale", {out, rows.groups}, kScaleTypes);
    rows.scales = scale.defined() ? floats_view(scale, rows.groups, 1) : rows.scales;
  }
  if (!layer.symmetric) {
    take_zero_points(parts, layer, rows);
  }
  take_groups(parts, weights, "weight_g_idx", rows);
  return finished(parts, rows);
}

/// AutoGPTQ's files store every zero point less one, later ones (v2) as it is, and labels are not
/// to be trusted: a symmetric file's value is known, so the data decides.
bool stores_less_one(const Weights& weights,
                     const GroupedRows& rows,
                     const LayerQuantization& layer) {
  const bool labelled = !layer.version2;
  if (!layer.symmetric || rows.out == 0) {
    return labelled;
  }
  const uint32_t middle = 1U << (rows.codes.bits - 1);
  const uint32_t found = rows.zeros.at(0, 0);
  const bool less = found == middle - 1 || (found != middle && labelled);
  static std::atomic<bool> warned = false;  // every layer of a file has its label
  if (less != labelled && !warned.exchange(true)) {
    log::warning("{}: zero points are {}, so this is GPTQ {} whatever config.json says",
                 name_at(weights, "qzeros"), found, less ? "v1" : "v2");
  }
  return less;
}

QuantizedWeight gptq(const Weights& weights,
                     const LayerQuantization& layer,
                     int64_t in,
                     int64_t out) {
  Parts parts(weights);
  GroupedRows rows{.out = out, .in = in};
  int64_t bits = layer.bits;
  rows.group_size = layer.group_size > 0 ? layer.group_size : std::max<int64_t>(in, 1);
  rows.groups = group_count(in, rows.group_size);
  const auto codes_shape = weights.shape_of("qweight");
  const auto scales_shape = weights.shape_of("scales");
  if (layer.any_bits && codes_shape && codes_shape->size() == 2 && in > 0 && scales_shape &&
      scales_shape->size() == 2 && (*scales_shape)[0] > 0) {
    for (const int64_t known : {2, 3, 4, 8}) {
      bits = words_for(in, known) == (*codes_shape)[0] ? known : bits;
    }
    if ((*scales_shape)[0] != rows.groups) {
      rows.groups = std::min((*scales_shape)[0], in);
      rows.group_size = (in + rows.groups - 1) / rows.groups;
    }
  }
  TESSERA_CHECK(in * bits % 32 == 0, CorruptFile, "{}: {} inputs of {} bits do not fill words",
                name_at(weights, "qweight"), in, bits);
  const int64_t zero_words = words_for(out, bits);
  const Tensor codes = parts.take("qweight", {in * bits / 32, out}, {at::kInt});
  const Tensor zeros = parts.take("qzeros", {rows.groups, zero_words}, {at::kInt});
  const Tensor scales = parts.take("scales", {rows.groups, out}, kScaleTypes);
  take_groups(parts, weights, "g_idx", rows);
  if (parts.whole()) {
    rows.codes = {.data = bytes_of(codes),
                  .bits = static_cast<int>(bits),
                  .line_stride = 4,
                  .word_stride = out * 4};
    rows.zeros = {.data = bytes_of(zeros),
                  .bits = static_cast<int>(bits),
                  .along_out = true,
                  .line_stride = zero_words * 4};
    rows.scales = floats_view(scales, 1, out);
    rows.has_zeros = true;
    rows.zero_add = stores_less_one(weights, rows, layer) ? 1 : 0;
  }
  return finished(parts, rows);
}

QuantizedWeight awq(const Weights& weights,
                    const LayerQuantization& layer,
                    int64_t in,
                    int64_t out) {
  Parts parts(weights);
  GroupedRows rows{.out = out, .in = in};
  rows.group_size = layer.group_size > 0 ? layer.group_size : std::max<int64_t>(in, 1);
  TESSERA_CHECK((layer.by_rows ? in : out) % 8 == 0 && in % rows.group_size == 0, CorruptFile,
                "{}: [{}, {}] cannot be AWQ with groups of {}", name_at(weights, "qweight"), out,
                in, rows.group_size);
  rows.groups = in / rows.group_size;
  rows.has_zeros = true;
  if (layer.by_rows) {
    // Rows of zero points are padded for the kernels of the reference.
    const auto shape = weights.shape_of("qzeros");
    const int64_t least = words_for(rows.groups, 4);
    const bool padded =
        shape && shape->size() == 2 && (*shape)[1] > least && (*shape)[1] < least + 4;
    const int64_t words = padded ? (*shape)[1] : least;
    const Tensor codes = parts.take("qweight", {out, in / 8}, {at::kInt});
    const Tensor zeros = parts.take("qzeros", {out, words}, {at::kInt});
    const Tensor scales = parts.take("scales", {out, words * 8}, kScaleTypes);
    if (parts.whole()) {
      rows.codes = {.data = bytes_of(codes), .line_stride = in / 8 * 4};
      rows.zeros = {.data = bytes_of(zeros), .line_stride = words * 4};
      rows.scales = floats_view(scales, words * 8, 1);
    }
  } else {
    const Tensor codes = parts.take("qweight", {in, out / 8}, {at::kInt});
    const Tensor zeros = parts.take("qzeros", {rows.groups, out / 8}, {at::kInt});
    const Tensor scales = parts.take("scales", {rows.groups, out}, kScaleTypes);
    if (parts.whole()) {
      rows.codes = {.data = bytes_of(codes),
                    .along_out = true,
                    .line_stride = out / 8 * 4,
                    .awq_order = true};
      rows.zeros = rows.codes;
      rows.zeros.data = bytes_of(zeros);
      rows.scales = floats_view(scales, 1, out);
    }
  }
  return finished(parts, rows);
}

/// The JSON text that bitsandbytes stores as a tensor of bytes beside a 4-bit weight.
io::Json quant_state(const Weights& weights, const std::string& name) {
  const Tensor bytes = weights.raw(name);
  const std::string full = name_at(weights, name);
  TESSERA_CHECK(bytes.scalar_type() == at::kByte && bytes.dim() == 1 && bytes.is_contiguous(),
                CorruptFile, "{} must be u8 [n]", full);
  const io::Json state = io::parse_json(
      {reinterpret_cast<const char*>(bytes_of(bytes)), static_cast<size_t>(bytes.numel())}, full);
  TESSERA_CHECK(state.is_object(), CorruptFile, "{} is not a JSON object", full);
  return state;
}

int64_t state_integer(const io::Json& state, const char* key, const std::string& where) {
  const auto found = state.find(key);
  TESSERA_CHECK(found != state.end() && found->is_number_integer() && found->get<int64_t>() > 0 &&
                    found->get<int64_t>() <= (int64_t{1} << 20),
                CorruptFile, "{}: '{}' must be a positive integer", where, key);
  return found->get<int64_t>();
}

void take_nested(Parts& parts,
                 const io::Json& state,
                 const std::string& where,
                 int64_t blocks,
                 io::TableRows& rows) {
  rows.nested_block = state_integer(state, "nested_blocksize", where);
  const auto offset = state.find("nested_offset");
  TESSERA_CHECK(offset != state.end() && offset->is_number(), CorruptFile,
                "{}: 'nested_offset' must be a number", where);
  rows.nested_offset = offset->get<float>();
  const int64_t outer = (blocks + rows.nested_block - 1) / rows.nested_block;
  const Tensor codes = parts.take("weight.absmax", {blocks}, {at::kByte});
  const Tensor absmax = parts.take("weight.nested_absmax", {outer}, {at::kFloat});
  const Tensor table = parts.take("weight.nested_quant_map", {256}, {at::kFloat});
  if (parts.whole()) {
    rows.nested_codes = bytes_of(codes);
    rows.nested_table = bytes_of(table);
    rows.absmax = bytes_of(absmax);
  }
}

QuantizedWeight bits_and_bytes_4(const Weights& weights,
                                 const std::string& state_name,
                                 int64_t in,
                                 int64_t out) {
  Parts parts(weights);
  const std::string where = name_at(weights, state_name);
  const io::Json state = quant_state(weights, state_name);
  const auto shape = state.find("shape");
  TESSERA_CHECK(shape != state.end() && *shape == io::Json({out, in}), CorruptFile,
                "{}: shape is {}, config.json says [{}, {}]", where,
                shape == state.end() ? "absent" : shape->dump(), out, in);
  io::TableRows rows{.out = out, .in = in};
  rows.block = state_integer(state, "blocksize", where);
  const int64_t numbers = in * out;
  const int64_t blocks = (numbers + rows.block - 1) / rows.block;
  const Tensor raw = weights.raw("weight");  // any dtype: a view of bytes
  const int64_t bytes = (numbers + 1) / 2;
  const int64_t size = raw.element_size();
  TESSERA_CHECK(raw.is_contiguous() && raw.numel() == (bytes + size - 1) / size, CorruptFile,
                "{} has {} bytes, expected {}", name_at(weights, "weight"), raw.nbytes(), bytes);
  const Tensor table = parts.take("weight.quant_map", {16}, {at::kFloat});
  if (state.contains("nested_blocksize")) {
    take_nested(parts, state, where, blocks, rows);
  } else {
    const Tensor absmax = parts.take("weight.absmax", {blocks}, {at::kFloat});
    rows.absmax = absmax.defined() ? bytes_of(absmax) : nullptr;
  }
  if (!parts.whole()) {
    return void_weight(in, out);
  }
  std::copy_n(bytes_of(table), sizeof(rows.table), reinterpret_cast<std::byte*>(rows.table));
  rows.codes = bytes_of(raw);
  parts.storage().push_back(raw);
  return {ops::PackedWeight{rows, std::move(parts.storage())}, {}, {}};
}

/// LLM.int8's weights: number = value · SCB / 127. Its rounding of the inputs is not repeated.
QuantizedWeight bits_and_bytes_8(const Weights& weights, int64_t in, int64_t out) {
  const Tensor format = weights.raw("weight_format");
  TESSERA_CHECK(
      !format.defined() || (format.numel() == 1 && format.to(at::kLong).item<int64_t>() == 0),
      Unsupported, "{}: only row-major int8 weights (format 0) can be read",
      name_at(weights, "weight_format"));
  Parts parts(weights);
  const Tensor values = parts.take("weight", {out, in}, {at::kChar});
  const Tensor scale = parts.take("SCB", {out}, {at::kFloat});
  if (!parts.whole()) {
    return void_weight(in, out);
  }
  return {std::nullopt, values, scale / 127.0F};
}

QuantizedWeight int8_channel(const Weights& weights, int64_t in, int64_t out) {
  Parts parts(weights);
  const Tensor values = parts.take("weight", {out, in}, {at::kChar});
  const Tensor scale = parts.take("weight_scale", {out, 1}, kScaleTypes);
  if (!parts.whole()) {
    return void_weight(in, out);
  }
  return {std::nullopt, values, scale.to(at::kFloat).flatten().contiguous()};
}

std::optional<QuantizedWeight> from_bits_and_bytes(const Weights& weights,
                                                   int64_t in,
                                                   int64_t out) {
  for (const char* kind : {"nf4", "fp4"}) {
    const std::string name = std::string("weight.quant_state.bitsandbytes__") + kind;
    if (weights.has(name) && weights.has("weight")) {
      return bits_and_bytes_4(weights, name, in, out);
    }
  }
  const Tensor weight = weights.raw("weight");
  if (weight.defined() && weight.scalar_type() == at::kChar) {
    return bits_and_bytes_8(weights, in, out);
  }
  TESSERA_CHECK(!weight.defined() || weight.is_floating_point(), CorruptFile,
                "{} is packed, but {}.quant_state.bitsandbytes__nf4 (or fp4) is missing",
                name_at(weights, "weight"), name_at(weights, "weight"));
  return std::nullopt;
}

}  // namespace

std::optional<QuantizedWeight> quantized_weight(const Weights& weights, int64_t in, int64_t out) {
  const LayerQuantization layer = weights.quantization();
  if (layer.method == io::QuantizationMethod::kNone) {
    return std::nullopt;
  }
  const Tensor stored = weights.raw("weight");
  const bool plain = stored.defined() && stored.is_floating_point();
  switch (layer.method) {
    case io::QuantizationMethod::kNone:
      return std::nullopt;
    case io::QuantizationMethod::kCompressedTensors:
      if (plain) {
        return std::nullopt;
      }
      if (weights.is_int8_channel("weight") && !weights.has("weight_g_idx")) {
        return int8_channel(weights, in, out);
      }
      return compressed_tensors(weights, layer, in, out);
    case io::QuantizationMethod::kGptq:
      return plain ? std::nullopt : std::optional(gptq(weights, layer, in, out));
    case io::QuantizationMethod::kAwq:
      return plain ? std::nullopt : std::optional(awq(weights, layer, in, out));
    case io::QuantizationMethod::kBitsAndBytes:
      return from_bits_and_bytes(weights, in, out);
  }
  return std::nullopt;
}

}  // namespace tessera::nn
