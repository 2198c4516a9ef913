// Conversions between fp32 and the two 16-bit float formats, for code without libtorch.
#pragma once

#include <bit>
#include <cstdint>

namespace tessera {

/// IEEE 754 binary16 to fp32, exact; the payload of a NaN is kept.
inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t rest = half & 0x7fffU;
  if (rest >= 0x7c00U) {  // infinity, NaN
    return std::bit_cast<float>(sign | 0x7f800000U | ((rest & 0x3ffU) << 13));
  }
  // The exponent's bias differs by 112; the product renormalises subnormals.
  const float magnitude = std::bit_cast<float>(rest << 13) * 0x1p112F;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

/// fp32 to IEEE 754 binary16, to nearest even; too large gives infinity, NaN stays (quiet) NaN.
inline uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000U);
  const uint32_t rest = bits & 0x7fffffffU;
  if (rest > 0x7f800000U) {
    return static_cast<uint16_t>(sign | 0x7e00U | ((rest >> 13) & 0x3ffU));
  }
  if (rest >= 0x477ff000U) {  // 65520 and above round to infinity
    return static_cast<uint16_t>(sign | 0x7c00U);
  }
  if (rest < 0x38800000U) {  // below 2^-14: units of 2^-24, rounded by the adder
    const float shifted = std::bit_cast<float>(rest) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
  }
  const uint32_t even = (rest >> 13) & 1U;
  return static_cast<uint16_t>(sign | ((rest - 0x38000000U + 0xfffU + even) >> 13));
}

/// bfloat16 to fp32, exact.
inline float bfloat16_to_float(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

/// fp32 to bfloat16, to nearest even; NaN stays (quiet) NaN.
inline uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) {
    return static_cast<uint16_t>((bits >> 16) | 0x40U);
  }
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace tessera
