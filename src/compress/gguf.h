// A model folder as one GGUF file: weights rounded to nearest in block formats, metadata,
// tokenizer. llama.cpp's loader opens it.
#pragma once

#include "io/file.h"
#include "io/gguf.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::compress {

/// Names of the mixes that write_gguf knows: "F32", "F16", "BF16", "Q8_0", "Q4_K_M" …; "Q4_K" is
/// short for "Q4_K_M", as in llama.cpp.
std::vector<std::string> gguf_mixes();

/// What a mix depends on beside the tensor itself.
struct MixShape {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  bool tied = false;  // the head is the embedding table
};

/// Format of the tensor `name` (GGUF's name) with rows of `width` numbers in the mix `mix`: the
/// choice that llama.cpp's quantiser makes without an importance matrix. Tensors of one axis stay
/// F32. Throws InvalidArgument for a mix that is not known.
io::BlockFormat gguf_format(std::string_view mix,
                            std::string_view name,
                            const std::vector<int64_t>& shape,
                            const MixShape& model);

/// Called before each tensor: its name, its number, the number of tensors.
using GgufProgress = std::function<void(std::string_view name, int64_t index, int64_t count)>;

/// Reads the folder `in` (config.json, weights, tokenizer) and writes `out`. One tensor at a time
/// is in memory as floats. Throws Unsupported for architectures that GGUF files of this program do
/// not have, and whatever the readers throw.
void write_gguf(const io::fs::path& in,
                std::string_view mix,
                const io::fs::path& out,
                const GgufProgress& progress = {});

}  // namespace tessera::compress
