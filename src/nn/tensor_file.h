// Named tensors to and from files.
#pragma once

#include "io/safetensors.h"
#include "nn/module.h"

namespace tessera::nn {

/// Every tensor of a checkpoint (any container), copied to memory. Throws as Checkpoint::open.
NamedTensors read_tensors(const io::fs::path& path);

/// Writes one safetensors file; tensors may be on any device and of any layout.
void write_tensors(const io::fs::path& path,
                   const NamedTensors& tensors,
                   const io::TensorMetadata& metadata = {{"format", "pt"}});

}  // namespace tessera::nn
