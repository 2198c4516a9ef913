// Reads the outermost bytes that every entry of a table may refer to, so that a range outside the
// file is seen by AddressSanitizer.
#pragma once

#include "io/tensor_table.h"

#include <cstdlib>

namespace tessera::io {

inline void touch_tensors(const TensorTable& table) {
  for (const auto& [name, entry] : table.tensors) {
    const auto count = shape_count(entry.shape);
    if (!count || entry.strides.size() != entry.shape.size()) {
      std::abort();
    }
    if (*count == 0) {
      continue;
    }
    if (entry.blocks) {
      const volatile std::byte* blocks = entry.data;
      static_cast<void>(blocks[0]);
      static_cast<void>(blocks[entry.bytes() - 1]);
      continue;
    }
    int64_t last = 0;
    for (size_t i = 0; i < entry.shape.size(); ++i) {
      last += (entry.shape[i] - 1) * entry.strides[i];
    }
    const size_t size = dtype_size(entry.dtype);
    const volatile std::byte* data = entry.data;
    static_cast<void>(data[0]);
    static_cast<void>(data[static_cast<size_t>(last) * size + size - 1]);
    static_cast<void>(entry.is_contiguous());
  }
  for (const auto& [name, value] : table.values) {
    static_cast<void>(value.dump());
  }
}

}  // namespace tessera::io
