// Named tensors as they lie in a file, and the bytes that they point into. Every reader of weights
// gives a TensorTable; libtorch is not needed here, nn/weights.h turns entries into tensors.
#pragma once

#include "io/block_format.h"
#include "io/file.h"
#include "io/json.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

/// Element types, in the order in which safetensors sorts them (by alignment).
enum class DType {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

/// safetensors spelling: "F32", "BF16", "I64", "BOOL", "F8_E4M3" …
std::string_view dtype_name(DType dtype);
/// Bytes of one element.
size_t dtype_size(DType dtype);
/// Inverse of dtype_name; nothing for a name that is not known.
std::optional<DType> dtype_from_name(std::string_view name);

/// Number of elements of `shape` (1 for a scalar); nothing if a size is negative or the product
/// does not fit.
std::optional<int64_t> shape_count(std::span<const int64_t> shape);
/// Row-major strides in elements. The shape must have a valid count.
std::vector<int64_t> row_major_strides(std::span<const int64_t> shape);

/// One tensor in a file.
struct TensorEntry {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;       // in elements, >= 0; row-major for safetensors
  std::byte* data = nullptr;          // first element; may be unaligned, null only if count() == 0
  std::shared_ptr<const void> owner;  // keeps the map (or the decoded copy) alive
  std::string file;                   // where it is, for messages
  /// Set: `data` are blocks of this format in rows (the last axis), `shape` counts the numbers that
  /// they stand for, `dtype` is kU8.
  std::optional<BlockFormat> blocks = std::nullopt;
  /// Not 0: the tensor's rows are heads of this many rows, in each of which row j of the first half
  /// and row j of the second lie side by side (2j, 2j + 1), as GGUF files of the Llama family have
  /// the projections of queries and keys.
  int64_t paired_rows = 0;

  /// Number of elements.
  int64_t count() const;
  /// Bytes that the elements take.
  int64_t bytes() const;
  /// What the elements are stored as: dtype_name, or the block format's name.
  std::string_view type_name() const;
  /// True when the elements lie in row-major order without gaps.
  bool is_contiguous() const;
};

/// Bytes that entries point into: a memory map, or a buffer.
struct FileBytes {
  std::span<std::byte> bytes;
  std::shared_ptr<const void> owner;
  std::string name;  // for messages

  /// Maps a file. Throws NotFound, Io.
  static FileBytes map(const fs::path& path);
  /// An own copy of `bytes`.
  static FileBytes copy(std::span<const std::byte> bytes, std::string name);

  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
};

/// What a weights file holds.
struct TensorTable {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;  // safetensors `__metadata__`
  /// What a torch file holds beside tensors ("epoch", "config.dim"): numbers, texts, booleans,
  /// null, or a list of those.
  std::map<std::string, Json> values;
};

}  // namespace tessera::io
