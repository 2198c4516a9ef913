// Named tensors on disk, whatever the container: safetensors (one file, shards with an index),
// torch.save files (.bin, .pt, .pth, .ckpt, single or sharded with an index), GGUF. Nothing is read
// until it is used: entries point into memory maps. libtorch is not needed here; nn/weights.h turns
// entries into tensors.
#pragma once

#include "io/tensor_table.h"

#include <map>
#include <string>
#include <string_view>

namespace tessera::io {

/// All tensors of a checkpoint, by name. Example:
///   const auto checkpoint = Checkpoint::open("model/");
///   if (const TensorEntry* entry = checkpoint.find("lm_head.weight")) { … }
class Checkpoint {
 public:
  /// `path` is a file or a folder. In a folder the first of these is taken: model.safetensors,
  /// model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json, then the only
  /// *.safetensors file, then the only *.pt, *.pth, *.ckpt or *.bin file there. A file is known by
  /// its content, not by its name; only an index must be called *.index.json. Throws NotFound,
  /// CorruptFile, Unsupported.
  static Checkpoint open(const fs::path& path);
  /// Tensors that were opened otherwise; `path` is their file, for messages.
  static Checkpoint from_table(fs::path path, TensorTable table);

  const std::map<std::string, TensorEntry>& tensors() const { return table_.tensors; }
  const TensorEntry* find(std::string_view name) const;
  /// safetensors `__metadata__`, empty for torch files.
  const std::map<std::string, std::string>& metadata() const { return table_.metadata; }
  /// Numbers, texts and lists that a torch file holds beside its tensors, by dotted name.
  const std::map<std::string, Json>& values() const { return table_.values; }
  /// The file or index that was opened, for messages.
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  TensorTable table_;
};

}  // namespace tessera::io
