// Named tensors on disk, whatever the container: safetensors (one file, shards with an index),
// torch zip pickles (.bin, .pt, .pth, .ckpt, single or sharded with an index). Nothing is read
// until it is used: entries point into memory maps. libtorch is not needed here; nn/weights.h turns
// entries into tensors.
#pragma once

#include "io/file.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

enum class DType { kF64, kF32, kF16, kBF16, kF8E4M3, kF8E5M2, kI64, kI32, kI16, kI8, kU8, kBool };

/// safetensors spelling: "F32", "BF16", "I64", "BOOL" …
std::string_view dtype_name(DType dtype);
size_t dtype_size(DType dtype);

struct TensorEntry {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;       // in elements; row-major for safetensors, any for pickles
  std::byte* data = nullptr;          // first element; may be unaligned
  std::shared_ptr<const void> owner;  // keeps the map (or the decoded copy) alive
  std::string file;                   // where it is, for messages

  int64_t count() const;  // number of elements
  bool is_contiguous() const;
};

/// All tensors of a checkpoint, by name.
class Checkpoint {
 public:
  /// `path` is a file or a folder. In a folder the first of these is taken: model.safetensors,
  /// model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json, then the only
  /// *.safetensors / *.pt / *.bin file there. Throws NotFound, CorruptFile, Unsupported.
  static Checkpoint open(const fs::path& path);

  const std::map<std::string, TensorEntry>& tensors() const { return tensors_; }
  const TensorEntry* find(std::string_view name) const;
  /// safetensors `__metadata__`, empty for pickles.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The file or index that was opened, for messages.
  const fs::path& path() const { return path_; }

 private:
  friend class CheckpointBuilder;
  fs::path path_;
  std::map<std::string, TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace tessera::io
