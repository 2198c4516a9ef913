// Block formats of quantised weights, as GGUF files hold them: a row is a sequence of blocks of 32
// or 256 numbers, each with its own scales. Here are their layouts and the scalar reference that
// every kernel is compared with. Layouts: ggml (github.com/ggml-org/ggml), the gguf package.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tessera::io {

/// Formats by ggml's type ids. Plain floats are formats with one element a block.
enum class BlockFormat : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
  kMXFP4 = 39,
};

/// One block.
struct BlockLayout {
  std::string_view name;  // "Q4_K"
  int64_t elements;       // numbers in a block
  int64_t bytes;          // bytes of a block
};

/// Layout of `format`.
const BlockLayout& block_layout(BlockFormat format);
/// Format with ggml's type id; nothing for an id that is not known here.
std::optional<BlockFormat> block_format_from_id(uint32_t id);
/// Inverse of block_layout().name; nothing for a name that is not known.
std::optional<BlockFormat> block_format_from_name(std::string_view name);
/// Bytes of `elements` numbers, a multiple of the block.
int64_t block_bytes(BlockFormat format, int64_t elements);

/// The numbers that `blocks` stand for, bit for bit those of the gguf package. `elements` is a
/// multiple of the block, else InvalidArgument; `blocks` holds block_bytes(format, elements) bytes
/// and needs no alignment. The other way is quantize().
void dequantize(BlockFormat format, const std::byte* blocks, int64_t elements, float* out);

/// Rounds `values` to blocks, without an importance matrix: bit for bit what ggml writes (the gguf
/// package for MXFP4). `elements` is a multiple of the block. Throws InvalidArgument for a NaN or
/// an infinity in a format with scales, Unsupported for IQ4_NL and IQ4_XS, which are only read.
void quantize(BlockFormat format, const float* values, int64_t elements, std::byte* out);
/// Whether quantize() knows `format`.
bool can_quantize(BlockFormat format);

}  // namespace tessera::io
