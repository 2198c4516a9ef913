// GGUF files (versions 2 and 3, little-endian): typed metadata and tensors, often quantised in
// blocks. Nothing is copied: values and tensors point into the memory map. Format:
// ggml-org/ggml docs/gguf.md.
#pragma once

#include "io/block_format.h"
#include "io/tensor_table.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tessera::io {

/// Value types by their numbers in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// One metadata value in the file. Asked for another type than it has, it gives nothing: files are
/// written with u32 here and i32 there, so integers of all widths are one type to the reader.
class GgufValue {
 public:
  /// `bytes`: the checked encoding of one value, or of all `count` elements of an array.
  GgufValue(GgufType type, bool array, uint64_t count, std::string_view bytes)
      : type_(type), array_(array), count_(count), bytes_(bytes) {}

  bool is_array() const { return array_; }
  /// Type of the value, or of an array's elements.
  GgufType type() const { return type_; }
  /// Elements of an array, 1 otherwise.
  uint64_t size() const { return count_; }

  std::optional<int64_t> integer() const;  // any integer type, if it fits
  std::optional<double> number() const;    // an integer or a float
  std::optional<bool> boolean() const;
  std::optional<std::string_view> text() const;
  /// Elements of an array of such values.
  std::optional<std::vector<int64_t>> integers() const;
  std::optional<std::vector<double>> numbers() const;
  std::optional<std::vector<std::string_view>> texts() const;

 private:
  std::optional<int64_t> integer_at(uint64_t index) const;
  std::optional<double> number_at(uint64_t index) const;

  GgufType type_;
  bool array_;
  uint64_t count_;
  std::string_view bytes_;
};

/// A whole file, or all parts of a split one.
struct GgufFile {
  uint32_t version = 3;
  std::map<std::string, GgufValue, std::less<>> metadata;
  /// Shapes are in row-major order (the file's, reversed). Quantised tensors have
  /// TensorEntry::blocks.
  TensorTable table;
  std::shared_ptr<const void> owner;  // keeps the bytes of `metadata` alive

  const GgufValue* find(std::string_view key) const;
  // Value of `key`, or nothing when it is absent or of another type.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string_view> text(std::string_view key) const;
};

/// Whether the bytes begin as a GGUF file does.
bool looks_like_gguf(std::string_view bytes);
/// Whether `path` is a regular file that begins so.
bool is_gguf_file(const fs::path& path);

/// The GGUF file that `path` means: itself, or the one model (of a split one, its first part) in a
/// folder that has no file called `unless`. Nothing for other paths. Throws InvalidArgument when
/// there are several.
std::optional<fs::path> find_gguf(const fs::path& path, std::string_view unless);

/// Reads one file. Throws CorruptFile for sizes that do not fit the file, tensors that are
/// misaligned, overlap or leave the file, and names used twice; Unsupported for version 1,
/// big-endian files and unknown block formats.
GgufFile read_gguf(const FileBytes& source);

/// Maps `path` and, when it is a part of a split model (…-00001-of-00003.gguf), the other parts
/// beside it. Metadata is that of the first part. Throws as read_gguf, and NotFound for a missing
/// part.
GgufFile open_gguf(const fs::path& path);

/// A metadata value to be written; the alternatives are GGUF's types.
using GgufField = std::variant<bool,
                               uint32_t,
                               int32_t,
                               uint64_t,
                               float,
                               std::string,
                               std::vector<std::string>,
                               std::vector<float>,
                               std::vector<int32_t>>;
using GgufFields = std::vector<std::pair<std::string, GgufField>>;

/// A tensor to be written.
struct GgufTensor {
  std::string name;
  BlockFormat format = BlockFormat::kF32;
  std::vector<int64_t> shape;  // row-major; the last size is a multiple of the block

  int64_t bytes() const;
};

/// Writes a version 3 file: the header at once, then the tensors' bytes in the order announced, so
/// that no more than one of them needs to be in memory.
///   GgufWriter writer(path, fields, tensors);
///   for (…) writer.write(bytes);
///   writer.commit();
class GgufWriter {
 public:
  /// Throws InvalidArgument for a name used twice or a shape that does not fit its format, Io.
  GgufWriter(fs::path path, const GgufFields& fields, std::vector<GgufTensor> tensors);

  /// The bytes of the next tensor.
  void write(std::span<const std::byte> bytes);
  /// Puts the file in place; every tensor must have been written.
  void commit();

 private:
  void pad();

  AtomicFile file_;
  std::vector<GgufTensor> tensors_;
  size_t next_ = 0;
};

}  // namespace tessera::io
