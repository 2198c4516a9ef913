// Files of torch.save: the zip format (torch >= 1.6), the older stream of pickles, and TorchScript
// archives. Nothing in them is run; see pickle.h.
#pragma once

#include "io/tensor_table.h"

#include <string_view>

namespace tessera::io {

/// Tensors and plain values of a torch.save file. Tensors of the zip format point into `source`,
/// with their strides; shared storages stay shared. Nested dictionaries, lists and objects become
/// dotted names ("state_dict.encoder.weight", "optimizer.state.0.step"); a tensor that is the whole
/// content is called "tensor". Throws CorruptFile; Unsupported for names outside the allow-list,
/// big-endian files, element types without a safetensors name, tar files of torch < 0.4.
TensorTable read_torch(const FileBytes& source);

/// True when `bytes` begin as a file of torch.save does (either format).
bool looks_like_torch(std::string_view bytes);

}  // namespace tessera::io
