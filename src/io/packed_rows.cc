// Rows are unpacked in two steps: codes to one byte each (by words for the common widths, number by
// number otherwise), then bytes to floats a run of equal scale at a time. Four-bit words become
// eight bytes by spreading their nibbles in a 64-bit register.
#include "io/packed_rows.h"

#include "core/half.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace tessera::io {

static_assert(std::endian::native == std::endian::little);

namespace {

// Rows that are unpacked together: a cache line of 32-bit words along the outputs.
constexpr int64_t kTile = 16;
// Rows of a power of two would share the few lines of one set of the L1 cache.
constexpr int64_t kPadding = 64;
// Place in a word of each of eight outputs in AWQ's order.
constexpr int64_t kAwqPlace[8] = {0, 4, 1, 5, 2, 6, 3, 7};

template <class T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return value;
}

/// Eight nibbles to eight bytes, the lowest first.
uint64_t spread(uint32_t word) {
  uint64_t value = word;
  value = (value | (value << 16)) & 0x0000FFFF0000FFFFULL;
  value = (value | (value << 8)) & 0x00FF00FF00FF00FFULL;
  return (value | (value << 4)) & 0x0F0F0F0F0F0F0F0FULL;
}

void store(uint64_t bytes, uint8_t* out) {
  std::memcpy(out, &bytes, sizeof(bytes));
}

/// Turns row i of eight into column i, bytes being the elements.
void transpose(uint64_t rows[8]) {
  constexpr uint64_t kMasks[3] = {0x00000000FFFFFFFFULL, 0x0000FFFF0000FFFFULL,
                                  0x00FF00FF00FF00FFULL};
  for (int step = 0; step < 3; ++step) {
    const int distance = 4 >> step;
    const int shift = 8 * distance;
    for (int i = 0; i < 8; ++i) {
      if ((i & distance) == 0) {
        const uint64_t swap = ((rows[i] >> shift) ^ rows[i + distance]) & kMasks[step];
        rows[i + distance] ^= swap;
        rows[i] ^= swap << shift;
      }
    }
  }
}

/// Where unpacked codes go: a byte each, rows `stride` bytes apart.
struct CodeTile {
  int64_t begin;
  int64_t end;
  int64_t width;
  int64_t stride;
  uint8_t* bytes;

  uint8_t* row(int64_t out) const { return bytes + (out - begin) * stride; }
};

void unpack_bytes(const PackedIntegers& codes, const CodeTile& tile) {
  const uint8_t flip = codes.is_signed ? 0x80 : 0;
  for (int64_t o = tile.begin; o < tile.end; ++o) {
    const auto* line = reinterpret_cast<const uint8_t*>(codes.data + o * codes.line_stride);
    uint8_t* row = tile.row(o);
    for (int64_t i = 0; i < tile.width; ++i) {
      row[i] = static_cast<uint8_t>(line[i] ^ flip);
    }
  }
}

/// Four bits along the inputs; what follows the last whole word is left. Returns how many columns
/// are done. Words that are neighbours in memory are read one after the other.
int64_t unpack_nibbles(const PackedIntegers& codes, const CodeTile& tile) {
  const int64_t words = tile.width / 8;
  if (codes.word_stride == 4) {
    for (int64_t o = tile.begin; o < tile.end; ++o) {
      const std::byte* line = codes.data + o * codes.line_stride;
      for (int64_t word = 0; word < words; ++word) {
        store(spread(load<uint32_t>(line + word * 4)), tile.row(o) + word * 8);
      }
    }
    return words * 8;
  }
  for (int64_t word = 0; word < words; ++word) {
    const std::byte* column = codes.data + word * codes.word_stride;
    for (int64_t o = tile.begin; o < tile.end; ++o) {
      store(spread(load<uint32_t>(column + o * codes.line_stride)), tile.row(o) + word * 8);
    }
  }
  return words * 8;
}

/// AWQ gemm by squares of eight inputs and eight outputs; returns how many columns are done.
int64_t unpack_awq(const PackedIntegers& codes, const CodeTile& tile) {
  const int64_t whole = tile.width / 8 * 8;
  for (int64_t i = 0; i < whole; i += 8) {
    for (int64_t o = tile.begin; o < tile.end; o += 8) {
      uint64_t square[8];
      for (int64_t k = 0; k < 8; ++k) {
        const std::byte* line = codes.data + (i + k) * codes.line_stride;
        square[k] = spread(load<uint32_t>(line + o / 8 * codes.word_stride));
      }
      transpose(square);
      for (int64_t k = 0; k < 8; ++k) {
        store(square[kAwqPlace[k]], tile.row(o + k) + i);
      }
    }
  }
  return whole;
}

/// A dense stream of any width along the inputs.
void unpack_streams(const PackedIntegers& codes, const CodeTile& tile) {
  const uint64_t mask = (1U << codes.bits) - 1U;
  for (int64_t o = tile.begin; o < tile.end; ++o) {
    const std::byte* word = codes.data + o * codes.line_stride;
    uint8_t* row = tile.row(o);
    uint64_t buffer = 0;
    int have = 0;  // bits in the buffer
    for (int64_t i = 0; i < tile.width; ++i) {
      if (have < codes.bits) {
        buffer |= static_cast<uint64_t>(load<uint32_t>(word)) << have;
        word += codes.word_stride;
        have += 32;
      }
      row[i] = static_cast<uint8_t>(buffer & mask);
      buffer >>= codes.bits;
      have -= codes.bits;
    }
  }
}

void unpack(const PackedIntegers& codes, const CodeTile& tile) {
  const bool nibbles = codes.bits == 4 && (codes.per_word == 0 || codes.per_word == 8);
  int64_t done = 0;
  if (!codes.along_out && codes.bits == 8 && codes.word_stride == 4) {
    unpack_bytes(codes, tile);
    return;
  }
  if (!codes.along_out && nibbles) {
    done = unpack_nibbles(codes, tile);
  } else if (nibbles && codes.awq_order && tile.begin % 8 == 0 && tile.end % 8 == 0) {
    done = unpack_awq(codes, tile);
  } else if (!codes.along_out && codes.per_word == 0) {
    unpack_streams(codes, tile);
    return;
  }
  for (int64_t o = tile.begin; o < tile.end; ++o) {
    for (int64_t i = done; i < tile.width; ++i) {
      tile.row(o)[i] = static_cast<uint8_t>(codes.at(o, i));
    }
  }
}

void scale_run(const uint8_t* codes, int64_t count, float zero, float scale, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = (static_cast<float>(codes[i]) - zero) * scale;
  }
}

void dequantize_tile(const GroupedRows& rows,
                     int64_t begin,
                     int64_t end,
                     std::vector<uint8_t>& codes,
                     std::vector<float>& factors,
                     float* out) {
  const CodeTile tile{begin, end, rows.in, rows.in + kPadding, codes.data()};
  unpack(rows.codes, tile);
  const uint32_t mask = (1U << rows.zeros.bits) - 1U;
  float* scales = factors.data();
  float* zeros = scales + rows.groups;
  for (int64_t o = begin; o < end; ++o) {
    for (int64_t g = 0; g < rows.groups; ++g) {
      scales[g] = rows.scales.at(o, g);
      zeros[g] = static_cast<float>(rows.has_zeros ? (rows.zeros.at(o, g) + rows.zero_add) & mask
                                                   : rows.zero);
    }
    const uint8_t* from = tile.row(o);
    float* to = out + (o - begin) * rows.in;
    if (rows.group_of != nullptr) {
      for (int64_t i = 0; i < rows.in; ++i) {
        const int32_t g = rows.group_of[i];
        to[i] = (static_cast<float>(from[i]) - zeros[g]) * scales[g];
      }
      continue;
    }
    for (int64_t g = 0, i = 0; i < rows.in; ++g, i += rows.group_size) {
      scale_run(from + i, std::min(rows.group_size, rows.in - i), zeros[g], scales[g], to + i);
    }
  }
}

float block_factor(const TableRows& rows, int64_t block) {
  if (rows.nested_codes == nullptr) {
    return load<float>(rows.absmax + block * 4);
  }
  const auto code = std::to_integer<int64_t>(rows.nested_codes[block]);
  const float outer = load<float>(rows.absmax + block / rows.nested_block * 4);
  return load<float>(rows.nested_table + code * 4) * outer + rows.nested_offset;
}

}  // namespace

uint32_t PackedIntegers::at(int64_t out, int64_t column) const {
  int64_t place = along_out ? out : column;
  const std::byte* line = data + (along_out ? column : out) * line_stride;
  if (awq_order) {
    place = place / 8 * 8 + kAwqPlace[place % 8];
  }
  const uint32_t mask = (1U << bits) - 1U;
  if (bits == 8) {  // whole bytes: a line may end inside a word
    const auto value = std::to_integer<uint32_t>(line[place / 4 * word_stride + place % 4]);
    return is_signed ? value ^ 0x80U : value;
  }
  if (per_word > 0) {
    return (load<uint32_t>(line + place / per_word * word_stride) >> (place % per_word * bits)) &
           mask;
  }
  const int64_t bit = place * bits;
  const std::byte* word = line + bit / 32 * word_stride;
  const int64_t shift = bit % 32;
  uint32_t value = load<uint32_t>(word) >> shift;
  if (shift + bits > 32) {
    value |= load<uint32_t>(word + word_stride) << (32 - shift);
  }
  return value & mask;
}

float StridedFloats::at(int64_t out, int64_t group) const {
  const int64_t index = out * out_stride + group * group_stride;
  if (type == Type::kF32) {
    return load<float>(data + index * 4);
  }
  const auto bits = load<uint16_t>(data + index * 2);
  return type == Type::kF16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

void dequantize_rows(const GroupedRows& rows, int64_t begin, int64_t end, float* out) {
  std::vector<uint8_t> codes(static_cast<size_t>(kTile * (rows.in + kPadding)));
  std::vector<float> factors(static_cast<size_t>(2 * rows.groups));
  for (int64_t o = begin; o < end;) {
    const int64_t stop = std::min(end, o / kTile * kTile + kTile);
    dequantize_tile(rows, o, stop, codes, factors, out + (o - begin) * rows.in);
    o = stop;
  }
}

void dequantize_rows(const TableRows& rows, int64_t begin, int64_t end, float* out) {
  const int64_t last = end * rows.in;
  const auto* bytes = reinterpret_cast<const uint8_t*>(rows.codes);
  for (int64_t k = begin * rows.in; k < last;) {
    const int64_t block = k / rows.block;
    const int64_t stop = std::min(last, (block + 1) * rows.block);
    const float factor = block_factor(rows, block);
    float scaled[16];
    for (int q = 0; q < 16; ++q) {
      scaled[q] = rows.table[q] * factor;
    }
    if (k % 2 == 1 && k < stop) {
      *out++ = scaled[bytes[k / 2] & 15];
      ++k;
    }
    for (; k + 2 <= stop; k += 2) {
      const uint8_t pair = bytes[k / 2];
      *out++ = scaled[pair >> 4];
      *out++ = scaled[pair & 15];
    }
    if (k < stop) {
      *out++ = scaled[bytes[k / 2] >> 4];
      ++k;
    }
  }
}

}  // namespace tessera::io
