// Cursor over a checkpoint or a seeded initialiser. Tensors are views of the copy-on-write map, so
// opening a model reads nothing; conversion (dtype, device) copies one tensor at a time.
#include "nn/weights.h"

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/strings.h"
#include "ops/block_rows.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <regex>
#include <set>

namespace tessera::nn {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

// The first few of a list of complaints, and how many more there are.
std::string summary(const std::vector<std::string>& lines) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), kShown); ++i) {
    text += (i > 0 ? "; " : "") + lines[i];
  }
  if (lines.size() > kShown) {
    text += fmt::format("; and {} more", lines.size() - kShown);
  }
  return text;
}

}  // namespace

namespace {

// Undoes TensorEntry::paired_rows; copies once, so that no step has to.
Tensor unpaired(const Tensor& stored, int64_t rows) {
  if (rows == 0 || stored.numel() == 0) {
    return stored;
  }
  TESSERA_CHECK(rows % 2 == 0 && stored.size(0) % rows == 0, CorruptFile,
                "a tensor of {} rows cannot be heads of {} rows", stored.size(0), rows);
  return stored.view({stored.size(0) / rows, rows / 2, 2, -1})
      .transpose(1, 2)
      .reshape(stored.sizes())
      .contiguous();
}

}  // namespace

namespace {

Tensor drawn(const Tensor& value, const Init& init, const std::optional<at::Generator>& generator) {
  switch (init.kind) {
    case Init::Kind::kNormal:
      return value.normal_(0.0, init.value, generator);
    case Init::Kind::kUniform:
      return value.uniform_(-init.value, init.value, generator);
    case Init::Kind::kConstant:
      break;
  }
  return value.fill_(init.value);
}

}  // namespace

struct Weights::Store {
  std::optional<io::Checkpoint> checkpoint;
  uint64_t seed = 0;
  LoadOptions options;
  io::Quantization quantization;
  std::set<std::string> used;
  std::vector<std::string> missing;
  std::vector<std::string> misshaped;
  std::vector<std::string> ignored;
};

at::ScalarType scalar_type(io::DType dtype) {
  switch (dtype) {
    case io::DType::kF64:
      return at::kDouble;
    case io::DType::kF32:
      return at::kFloat;
    case io::DType::kF16:
      return at::kHalf;
    case io::DType::kBF16:
      return at::kBFloat16;
    case io::DType::kF8E4M3:
      return at::kFloat8_e4m3fn;
    case io::DType::kF8E5M2:
      return at::kFloat8_e5m2;
    case io::DType::kI64:
      return at::kLong;
    case io::DType::kI32:
      return at::kInt;
    case io::DType::kI16:
      return at::kShort;
    case io::DType::kI8:
      return at::kChar;
    case io::DType::kU8:
      return at::kByte;
    case io::DType::kBool:
      return at::kBool;
    default:
      break;
  }
  throw Unsupported("tensors of type {} cannot be used", io::dtype_name(dtype));
}

io::DType io_dtype(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return io::DType::kF64;
    case at::kFloat:
      return io::DType::kF32;
    case at::kHalf:
      return io::DType::kF16;
    case at::kBFloat16:
      return io::DType::kBF16;
    case at::kLong:
      return io::DType::kI64;
    case at::kInt:
      return io::DType::kI32;
    case at::kShort:
      return io::DType::kI16;
    case at::kChar:
      return io::DType::kI8;
    case at::kByte:
      return io::DType::kU8;
    case at::kBool:
      return io::DType::kBool;
    default:
      throw Unsupported("tensors of type {} cannot be written", c10::toString(type));
  }
}

Tensor tensor_of(const io::TensorEntry& entry) {
  const auto options = at::TensorOptions().dtype(scalar_type(entry.dtype));
  if (entry.blocks) {
    std::vector<int64_t> shape = entry.shape;
    shape.back() = io::block_bytes(*entry.blocks, shape.back());
    return tensor_of({.dtype = entry.dtype,
                      .shape = shape,
                      .strides = io::row_major_strides(shape),
                      .data = entry.data,
                      .owner = entry.owner,
                      .file = entry.file});
  }
  if (entry.count() == 0) {
    return at::empty(entry.shape, options);
  }
  // The deleter owns the map.
  return at::from_blob(
      entry.data, entry.shape, entry.strides,
      [owner = entry.owner](void*) mutable { owner.reset(); }, options);
}

Weights Weights::from_checkpoint(io::Checkpoint checkpoint, LoadOptions options) {
  auto store = std::make_shared<Store>();
  store->checkpoint = std::move(checkpoint);
  store->options = options;
  return Weights(std::move(store), "");
}

Weights Weights::from_scratch(uint64_t seed, LoadOptions options) {
  auto store = std::make_shared<Store>();
  store->seed = seed;
  store->options = options;
  return Weights(std::move(store), "");
}

Weights Weights::child(std::string_view name) const {
  return Weights(store_, full(name));
}

std::string Weights::full(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

const LoadOptions& Weights::options() const {
  return store_->options;
}

bool Weights::is_scratch() const {
  return !store_->checkpoint.has_value();
}

bool Weights::has(std::string_view name) const {
  return !is_scratch() && store_->checkpoint->find(full(name)) != nullptr;
}

Tensor Weights::tensor(std::string_view name, at::IntArrayRef shape, Init init) const {
  return fetch(name, shape, init, false);
}

Tensor Weights::small_tensor(std::string_view name, at::IntArrayRef shape, Init init) const {
  return fetch(name, shape, init, true);
}

Tensor Weights::raw(std::string_view name) const {
  const io::TensorEntry* entry = is_scratch() ? nullptr : store_->checkpoint->find(full(name));
  if (entry == nullptr) {
    return {};
  }
  store_->used.insert(full(name));
  return tensor_of(*entry);
}

std::optional<std::vector<int64_t>> Weights::shape_of(std::string_view name) const {
  const io::TensorEntry* entry = is_scratch() ? nullptr : store_->checkpoint->find(full(name));
  return entry == nullptr ? std::nullopt : std::optional(entry->shape);
}

Tensor Weights::fetch(std::string_view name,
                      at::IntArrayRef shape,
                      const Init& init,
                      bool widen) const {
  const LoadOptions& options = store_->options;
  const std::string full_name = full(name);
  Tensor value;
  if (is_scratch() && options.draw_on_device) {
    const auto type = at::TensorOptions().dtype(options.dtype.value_or(at::kFloat));
    return drawn(at::empty(shape, type.device(options.device)), init, std::nullopt);
  }
  if (is_scratch()) {
    // A stream of its own for each name: adding a parameter does not change the others.
    at::Generator generator =
        at::make_generator<at::CPUGeneratorImpl>(mix64(store_->seed ^ hash_name(full_name)));
    value = drawn(at::empty(shape, at::kFloat), init, generator);
  } else {
    const io::TensorEntry* entry = checked_entry(name, shape);
    if (entry == nullptr) {
      // Stands for what finish() will complain about, so that the constructors run to their end.
      return at::empty(
          shape,
          at::TensorOptions().dtype(options.dtype.value_or(at::kFloat)).device(options.device));
    }
    value = tensor_of(*entry);
    if (entry->blocks) {
      value = ops::dequantize_rows(value, *entry->blocks);
    } else if (!entry->is_contiguous()) {
      value = value.contiguous();
    }
    value = unpaired(value, entry->paired_rows);
    if (value.dim() > 2 && is_int8_channel(name)) {
      value = dequantized(name, value);
    }
  }
  if (value.is_floating_point()) {
    at::ScalarType target = options.dtype.value_or(value.scalar_type());
    if (widen && options.device.is_cpu() && at::isReducedFloatingType(target)) {
      target = at::kFloat;
    }
    value = value.to(target);
  }
  return value.to(options.device);
}

// Recorded for finish() when it is missing or has another shape; then null.
const io::TensorEntry* Weights::checked_entry(std::string_view name, at::IntArrayRef shape) const {
  const std::string full_name = full(name);
  const io::TensorEntry* entry = store_->checkpoint->find(full_name);
  if (entry == nullptr) {
    store_->missing.push_back(full_name + " " + shape_text(shape));
    return nullptr;
  }
  store_->used.insert(full_name);
  if (!std::equal(entry->shape.begin(), entry->shape.end(), shape.begin(), shape.end())) {
    store_->misshaped.push_back(fmt::format("{} has shape {}, config says {}", full_name,
                                            shape_text(entry->shape), shape_text(shape)));
    return nullptr;
  }
  return entry;
}

std::optional<io::BlockFormat> Weights::block_format_of(std::string_view name) const {
  const io::TensorEntry* entry = is_scratch() ? nullptr : store_->checkpoint->find(full(name));
  const bool kept =
      entry != nullptr && !store_->options.dtype.has_value() && store_->options.device.is_cpu();
  return kept ? entry->blocks : std::nullopt;
}

Tensor Weights::block_rows(std::string_view name, at::IntArrayRef shape) const {
  const io::TensorEntry* entry = checked_entry(name, shape);
  if (entry == nullptr) {
    return at::empty({shape[0], 0}, at::kByte);
  }
  return unpaired(tensor_of(*entry), entry->paired_rows);
}

Tensor Weights::dequantized(std::string_view name, const Tensor& stored) const {
  const std::string scale_name = std::string(name) + "_scale";
  Tensor scale = fetch(scale_name, {stored.size(0), 1}, {}, true).to(at::kCPU, at::kFloat);
  std::vector<int64_t> shape(static_cast<size_t>(stored.dim()), 1);
  shape[0] = stored.size(0);
  return stored.to(at::kFloat) * scale.view(shape);
}

void Weights::ignore(const std::string& pattern) const {
  store_->ignored.push_back(pattern);
}

Tensor Weights::stored(std::string_view name,
                       at::IntArrayRef shape,
                       std::initializer_list<at::ScalarType> types) const {
  const io::TensorEntry* entry = checked_entry(name, shape);
  if (entry == nullptr) {
    return {};
  }
  const Tensor value = tensor_of(*entry);
  if (std::find(types.begin(), types.end(), value.scalar_type()) == types.end()) {
    store_->misshaped.push_back(fmt::format("{} has type {}, expected {}", full(name),
                                            entry->type_name(), c10::toString(*types.begin())));
    return {};
  }
  return value.contiguous();
}

void Weights::set_quantization(io::Quantization quantization) const {
  store_->quantization = std::move(quantization);
}

io::LayerQuantization Weights::quantization() const {
  return store_->quantization.layer(path_);
}

bool Weights::is_int8_channel(std::string_view name) const {
  const io::TensorEntry* entry = is_scratch() ? nullptr : store_->checkpoint->find(full(name));
  return entry != nullptr && entry->dtype == io::DType::kI8 && quantization().is_int8_channel();
}

void Weights::finish() const {
  if (is_scratch()) {
    return;
  }
  std::vector<std::string> unused;
  std::vector<std::regex> patterns;
  for (const std::string& pattern : store_->ignored) {
    patterns.emplace_back(pattern);
  }
  for (const auto& [name, entry] : store_->checkpoint->tensors()) {
    const bool expected =
        store_->used.contains(name) ||
        std::any_of(patterns.begin(), patterns.end(),
                    [&](const std::regex& pattern) { return std::regex_search(name, pattern); });
    if (!expected) {
      unused.push_back(name);
    }
  }
  const std::string file = store_->checkpoint->path().string();
  if (!store_->missing.empty() || !store_->misshaped.empty()) {
    std::string text = file + ": the weights do not fit config.json";
    if (!store_->misshaped.empty()) {
      text += ": " + summary(store_->misshaped);
    }
    if (!store_->missing.empty()) {
      text += fmt::format("; missing ({}): {}", store_->missing.size(), summary(store_->missing));
    }
    if (!unused.empty()) {
      text += fmt::format("; unused ({}): {}", unused.size(), summary(unused));
    }
    throw CorruptFile("{}", text);
  }
  if (!unused.empty()) {
    log::debug("{}: {} tensors not used: {}", file, unused.size(), summary(unused));
  }
}

}  // namespace tessera::nn
