// safetensors files: a JSON header that names slices of one data block. Format:
// github.com/huggingface/safetensors.
#pragma once

#include "io/tensor_table.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace tessera::io {

/// Tensors of a safetensors file; they point into `source`. Throws CorruptFile for whatever the
/// official reader refuses (gaps, overlaps, bytes left over, sizes that do not agree) and for
/// duplicate names; Unsupported for element types below one byte.
TensorTable read_safetensors(const FileBytes& source);

/// A tensor to be written: row-major little-endian `bytes`, not copied.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

using TensorMetadata = std::map<std::string, std::string>;

/// Writes one file, byte for byte as the official serialiser does (element types by alignment, then
/// names). Throws InvalidArgument for a size that does not fit the shape or a name used twice, Io.
void write_safetensors(const fs::path& path,
                       std::span<const TensorView> tensors,
                       const TensorMetadata& metadata = {{"format", "pt"}});

/// Writes `folder`/model.safetensors or, when the tensors exceed `max_shard_bytes`,
/// model-00001-of-0000N.safetensors … and model.safetensors.index.json. Tensors are dealt in the
/// order given, as huggingface_hub does. Files of an earlier model that
/// would hide or outlive the new one are removed. Returns the files written.
std::vector<fs::path> write_safetensors_shards(const fs::path& folder,
                                               std::span<const TensorView> tensors,
                                               uint64_t max_shard_bytes,
                                               const TensorMetadata& metadata = {{"format", "pt"}});

}  // namespace tessera::io
