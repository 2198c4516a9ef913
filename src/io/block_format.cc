// Layouts of ggml's block formats and the scalar dequantisation. d, m and dmin are fp16; nibbles:
// low ones are the first half of a run, high ones the second. Each product and difference is one
// rounded fp32 operation in the order of the gguf package, so that results agree bit for bit.
#include "io/block_format.h"

#include "core/error.h"
#include "core/half.h"
#include "io/block_parts.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace tessera::io {
namespace {

constexpr std::array<std::pair<BlockFormat, BlockLayout>, 16> kLayouts = {{
    {BlockFormat::kF32, {"F32", 1, 4}},
    {BlockFormat::kF16, {"F16", 1, 2}},
    {BlockFormat::kQ4_0, {"Q4_0", 32, 18}},
    {BlockFormat::kQ4_1, {"Q4_1", 32, 20}},
    {BlockFormat::kQ5_0, {"Q5_0", 32, 22}},
    {BlockFormat::kQ5_1, {"Q5_1", 32, 24}},
    {BlockFormat::kQ8_0, {"Q8_0", 32, 34}},
    {BlockFormat::kQ2_K, {"Q2_K", 256, 84}},
    {BlockFormat::kQ3_K, {"Q3_K", 256, 110}},
    {BlockFormat::kQ4_K, {"Q4_K", 256, 144}},
    {BlockFormat::kQ5_K, {"Q5_K", 256, 176}},
    {BlockFormat::kQ6_K, {"Q6_K", 256, 210}},
    {BlockFormat::kIQ4_NL, {"IQ4_NL", 32, 18}},
    {BlockFormat::kIQ4_XS, {"IQ4_XS", 256, 136}},
    {BlockFormat::kBF16, {"BF16", 1, 2}},
    {BlockFormat::kMXFP4, {"MXFP4", 32, 17}},
}};

using Bytes = const uint8_t*;

float half_at(Bytes bytes) {
  return half_to_float(load<uint16_t>(bytes));
}

void f32_block(Bytes in, float* out) {
  *out = load<float>(in);
}

void f16_block(Bytes in, float* out) {
  *out = half_at(in);
}

void bf16_block(Bytes in, float* out) {
  *out = bfloat16_to_float(load<uint16_t>(in));
}

/// 16 bytes of nibbles; `value(nibble, element)` gives the number.
template <class Value>
void nibbles_32(Bytes codes, float* out, Value value) {
  for (int i = 0; i < 16; ++i) {
    out[i] = value(codes[i] & 15, i);
    out[i + 16] = value(codes[i] >> 4, i + 16);
  }
}

void q4_0_block(Bytes in, float* out) {
  const float d = half_at(in);
  nibbles_32(in + 2, out, [d](int q, int) { return d * static_cast<float>(q - 8); });
}

void q4_1_block(Bytes in, float* out) {
  const float d = half_at(in);
  const float m = half_at(in + 2);
  nibbles_32(in + 4, out, [d, m](int q, int) { return d * static_cast<float>(q) + m; });
}

void q5_0_block(Bytes in, float* out) {
  const float d = half_at(in);
  const auto high = load<uint32_t>(in + 2);
  nibbles_32(in + 6, out, [d, high](int q, int i) {
    const int code = q | static_cast<int>((high >> i) & 1U) << 4;
    return d * static_cast<float>(code - 16);
  });
}

void q5_1_block(Bytes in, float* out) {
  const float d = half_at(in);
  const float m = half_at(in + 2);
  const auto high = load<uint32_t>(in + 4);
  nibbles_32(in + 8, out, [d, m, high](int q, int i) {
    const int code = q | static_cast<int>((high >> i) & 1U) << 4;
    return d * static_cast<float>(code) + m;
  });
}

void q8_0_block(Bytes in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * d;
  }
}

// 16 runs of 16; run r of the 2-bit codes: bytes 32 (r/8) + 16 (r%2) and on, shift 2 ((r%8)/2).
int two_bits(Bytes codes, int run, int i) {
  return (codes[32 * (run / 8) + 16 * (run % 2) + i] >> (2 * (run % 8 / 2))) & 3;
}

void q2_k_block(Bytes in, float* out) {
  const Bytes scales = in;
  const Bytes codes = in + 16;
  const float d = half_at(in + 80);
  const float dmin = half_at(in + 82);
  for (int run = 0; run < 16; ++run) {
    const float scale = d * static_cast<float>(scales[run] & 15);
    const float min = dmin * static_cast<float>(scales[run] >> 4);
    for (int i = 0; i < 16; ++i) {
      *out++ = scale * static_cast<float>(two_bits(codes, run, i)) - min;
    }
  }
}

void q3_k_block(Bytes in, float* out) {
  const Bytes high = in;
  const Bytes codes = in + 32;
  const Bytes scales = in + 96;
  const float d = half_at(in + 108);
  for (int run = 0; run < 16; ++run) {
    const float scale = d * static_cast<float>(q3_k_scale(scales, run) - 32);
    for (int i = 0; i < 16; ++i) {
      const int bit = (high[16 * (run % 2) + i] >> (run / 2)) & 1;
      *out++ = scale * static_cast<float>(two_bits(codes, run, i) - (bit != 0 ? 0 : 4));
    }
  }
}

void q4_k_block(Bytes in, float* out) {
  const float d = half_at(in);
  const float dmin = half_at(in + 2);
  for (int run = 0; run < 8; ++run) {
    const ScaleMin pair = k_scale_min(in + 4, run);
    const float scale = d * static_cast<float>(pair.scale);
    const float min = dmin * static_cast<float>(pair.min);
    const Bytes codes = in + 16 + 32 * (run / 2);
    for (int i = 0; i < 32; ++i) {
      *out++ = scale * static_cast<float>((codes[i] >> (4 * (run % 2))) & 15) - min;
    }
  }
}

void q5_k_block(Bytes in, float* out) {
  const float d = half_at(in);
  const float dmin = half_at(in + 2);
  const Bytes high = in + 16;
  for (int run = 0; run < 8; ++run) {
    const ScaleMin pair = k_scale_min(in + 4, run);
    const float scale = d * static_cast<float>(pair.scale);
    const float min = dmin * static_cast<float>(pair.min);
    const Bytes codes = in + 48 + 32 * (run / 2);
    for (int i = 0; i < 32; ++i) {
      const int code = ((codes[i] >> (4 * (run % 2))) & 15) | ((high[i] >> run) & 1) << 4;
      *out++ = scale * static_cast<float>(code) - min;
    }
  }
}

void q6_k_block(Bytes in, float* out) {
  const Bytes scales = in + 192;
  const float d = half_at(in + 208);
  for (int run = 0; run < 8; ++run) {  // 32 numbers: half run/4, quarter run%4 of it
    const Bytes low = in + 64 * (run / 4) + 32 * (run % 2);
    const Bytes high = in + 128 + 32 * (run / 4);
    const int low_shift = 4 * (run % 4 / 2);
    const int high_shift = 2 * (run % 4);
    for (int i = 0; i < 32; ++i) {
      const auto scale = static_cast<int8_t>(scales[2 * run + i / 16]);
      const int code = ((low[i] >> low_shift) & 15) | ((high[i] >> high_shift) & 3) << 4;
      *out++ = d * static_cast<float>(scale) * static_cast<float>(code - 32);
    }
  }
}

void iq4_nl_block(Bytes in, float* out) {
  const float d = half_at(in);
  nibbles_32(in + 2, out, [d](int q, int) {
    return d * static_cast<float>(kNonLinear4[static_cast<size_t>(q)]);
  });
}

void iq4_xs_block(Bytes in, float* out) {
  const float d = half_at(in);
  const auto high = load<uint16_t>(in + 2);
  for (int run = 0; run < 8; ++run) {
    const int low = (in[4 + run / 2] >> (4 * (run % 2))) & 15;
    const int scale = (low | ((high >> (2 * run)) & 3) << 4) - 32;
    const float step = d * static_cast<float>(scale);
    nibbles_32(in + 8 + 16 * run, out + 32 * run, [step](int q, int) {
      return step * static_cast<float>(kNonLinear4[static_cast<size_t>(q)]);
    });
  }
}

void mxfp4_block(Bytes in, float* out) {
  const float d = half_power_of_two(in[0]);
  nibbles_32(in + 1, out, [d](int q, int) {
    return d * static_cast<float>(kDoubledE2M1[static_cast<size_t>(q)]);
  });
}

using Decode = void (*)(Bytes, float*);

Decode decoder_of(BlockFormat format) {
  switch (format) {
    case BlockFormat::kF32:
      return f32_block;
    case BlockFormat::kF16:
      return f16_block;
    case BlockFormat::kQ4_0:
      return q4_0_block;
    case BlockFormat::kQ4_1:
      return q4_1_block;
    case BlockFormat::kQ5_0:
      return q5_0_block;
    case BlockFormat::kQ5_1:
      return q5_1_block;
    case BlockFormat::kQ8_0:
      return q8_0_block;
    case BlockFormat::kQ2_K:
      return q2_k_block;
    case BlockFormat::kQ3_K:
      return q3_k_block;
    case BlockFormat::kQ4_K:
      return q4_k_block;
    case BlockFormat::kQ5_K:
      return q5_k_block;
    case BlockFormat::kQ6_K:
      return q6_k_block;
    case BlockFormat::kIQ4_NL:
      return iq4_nl_block;
    case BlockFormat::kIQ4_XS:
      return iq4_xs_block;
    case BlockFormat::kBF16:
      return bf16_block;
    case BlockFormat::kMXFP4:
      return mxfp4_block;
  }
  throw Internal("block format {} has no layout", static_cast<uint32_t>(format));
}

}  // namespace

const BlockLayout& block_layout(BlockFormat format) {
  for (const auto& [known, layout] : kLayouts) {
    if (known == format) {
      return layout;
    }
  }
  throw Internal("block format {} has no layout", static_cast<uint32_t>(format));
}

std::optional<BlockFormat> block_format_from_id(uint32_t id) {
  for (const auto& [format, layout] : kLayouts) {
    if (static_cast<uint32_t>(format) == id) {
      return format;
    }
  }
  return std::nullopt;
}

std::optional<BlockFormat> block_format_from_name(std::string_view name) {
  for (const auto& [format, layout] : kLayouts) {
    if (layout.name == name) {
      return format;
    }
  }
  return std::nullopt;
}

int64_t block_bytes(BlockFormat format, int64_t elements) {
  const BlockLayout& layout = block_layout(format);
  TESSERA_CHECK(elements >= 0 && elements % layout.elements == 0, InvalidArgument,
                "{} numbers in the block format {}; expected a multiple of {}", elements,
                layout.name, layout.elements);
  return elements / layout.elements * layout.bytes;
}

void dequantize(BlockFormat format, const std::byte* blocks, int64_t elements, float* out) {
  const int64_t bytes = block_bytes(format, elements);
  const BlockLayout& layout = block_layout(format);
  const Decode decode = decoder_of(format);
  const auto* in = reinterpret_cast<Bytes>(blocks);
  for (int64_t at = 0; at < bytes; at += layout.bytes) {
    decode(in + at, out);
    out += layout.elements;
  }
}

}  // namespace tessera::io
