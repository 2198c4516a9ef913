#include "io/tensor_table.h"

#include "core/error.h"

#include <array>
#include <cstring>

namespace tessera::io {
namespace {

struct DTypeRow {
  std::string_view name;
  size_t size;
};

// Indexed by DType.
constexpr std::array<DTypeRow, 19> kDTypes = {{
    {"BOOL", 1},    {"U8", 1},          {"I8", 1},          {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 1}, {"F8_E5M2FNUZ", 1}, {"I16", 2},     {"U16", 2},
    {"F16", 2},     {"BF16", 2},        {"I32", 4},         {"U32", 4},     {"F32", 4},
    {"C64", 8},     {"F64", 8},         {"I64", 8},         {"U64", 8},
}};

}  // namespace

std::string_view dtype_name(DType dtype) {
  return kDTypes.at(static_cast<size_t>(dtype)).name;
}

size_t dtype_size(DType dtype) {
  return kDTypes.at(static_cast<size_t>(dtype)).size;
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i].name == name) {
      return static_cast<DType>(i);
    }
  }
  return std::nullopt;
}

std::optional<int64_t> shape_count(std::span<const int64_t> shape) {
  // A size of zero does not excuse an overflow of the others: strides are products of those.
  int64_t product = 1;
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && __builtin_mul_overflow(product, size, &product))) {
      return std::nullopt;
    }
    empty = empty || size == 0;
  }
  return empty ? 0 : product;
}

std::vector<int64_t> row_major_strides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= shape[i] > 0 ? shape[i] : 1;
  }
  return strides;
}

int64_t TensorEntry::bytes() const {
  return blocks ? block_bytes(*blocks, count()) : count() * static_cast<int64_t>(dtype_size(dtype));
}

std::string_view TensorEntry::type_name() const {
  return blocks ? block_layout(*blocks).name : dtype_name(dtype);
}

int64_t TensorEntry::count() const {
  return shape_count(shape).value_or(0);
}

bool TensorEntry::is_contiguous() const {
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 0) {
      return true;
    }
    if (shape[i] != 1 && strides[i] != step) {
      return count() == 0;
    }
    step *= shape[i];
  }
  return true;
}

FileBytes FileBytes::map(const fs::path& path) {
  auto file = MappedFile::open(path);
  return {file->bytes(), file, path.string()};
}

FileBytes FileBytes::copy(std::span<const std::byte> bytes, std::string name) {
  // Exactly as large as the content, so that AddressSanitizer sees a read past its end.
  std::shared_ptr<std::byte[]> buffer(new std::byte[bytes.size()]);
  if (!bytes.empty()) {
    std::memcpy(buffer.get(), bytes.data(), bytes.size());
  }
  return {{buffer.get(), bytes.size()}, buffer, std::move(name)};
}

}  // namespace tessera::io
