// Parts that the two directions of the block formats share: packed scales, code tables.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace tessera::io {

/// Value of a type at an address of any alignment (little-endian hosts).
template <class T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <class T>
void store(uint8_t* bytes, T value) {
  std::memcpy(bytes, &value, sizeof(T));
}

/// Scale and min of one run of 32 in Q4_K and Q5_K, 6 bits each.
struct ScaleMin {
  int scale;
  int min;
};

/// Unpacks pair `run` (0-7) of the 12 bytes: the low 6 bits of bytes 0-3 and 4-7 are the first four
/// scales and mins; the others have 4 bits in bytes 8-11 and 2 bits on top of the former.
inline ScaleMin k_scale_min(const uint8_t* packed, int run) {
  if (run < 4) {
    return {packed[run] & 63, packed[run + 4] & 63};
  }
  return {(packed[run + 4] & 15) | (packed[run - 4] >> 6) << 4,
          (packed[run + 4] >> 4) | (packed[run] >> 6) << 4};
}

/// Scale `run` (0-15) of the 12 bytes of Q3_K, 6 bits, 32 too large: 4 bits in bytes 0-7 (low
/// nibbles first), 2 bits in bytes 8-11.
inline int q3_k_scale(const uint8_t* packed, int run) {
  const int low = run < 8 ? packed[run] & 15 : packed[run - 8] >> 4;
  return low | ((packed[8 + run % 4] >> (2 * (run / 4))) & 3) << 4;
}

/// 2^(exponent - 128): half of the power that an E8M0 byte names, as MXFP4's codes are doubled.
inline float half_power_of_two(uint8_t exponent) {
  const uint32_t bits =
      exponent < 2 ? 0x00200000U << exponent : static_cast<uint32_t>(exponent - 1) << 23;
  return std::bit_cast<float>(bits);
}

/// Twice the numbers of E2M1.
inline constexpr std::array<int8_t, 16> kDoubledE2M1 = {0, 1,  2,  3,  4,  6,  8,  12,
                                                        0, -1, -2, -3, -4, -6, -8, -12};
/// Code values of IQ4_NL and IQ4_XS.
inline constexpr std::array<int8_t, 16> kNonLinear4 = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                       1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace tessera::io
