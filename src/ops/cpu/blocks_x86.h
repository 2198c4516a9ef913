// How each block format is unpacked by 256-bit registers, shared by the AVX2 and the AVX-512
// objects (included in their anonymous namespaces). A run is 32 numbers; a block has one or eight.
// A format F gives
//   kElements, kBytes     of a block
//   kOffset               what is taken from the unsigned codes (0 where there are minimums)
//   kMins                 a number is scale · code − min
//   kFine                 one scale for 16 numbers; otherwise for 32
//   kWide                 codes above 127
//   Head head(block)      the scales (and minimums) of a block, decoded to fp32
//   codes(block, run)     32 unsigned bytes
// Layouts: io/block_format.cc.

inline uint16_t load16(const uint8_t* p) {
  uint16_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

inline uint32_t load32(const uint8_t* p) {
  uint32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

inline __m128i load128(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

inline __m256i load256(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

/// fp16 at p in all lanes.
inline __m256 half_at(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(load16(p))));
}

/// 16 bytes to 32 codes: low nibbles, then high nibbles.
inline __m256i nibbles(const uint8_t* p) {
  const __m256i both = _mm256_broadcastsi128_si256(load128(p));
  const __m256i shifted = _mm256_srlv_epi32(both, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

/// Adds 16 to the codes whose bit is set.
inline __m256i add_fifth_bits(__m256i codes, uint32_t bits) {
#ifdef __AVX512BW__
  return _mm256_mask_add_epi8(codes, bits, codes, _mm256_set1_epi8(16));
#else
  const __m256i order = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                           0x0303030303030303);  // byte i / 8 for code i
  const __m256i own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201U));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), order);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, own), own);
  return _mm256_add_epi8(codes, _mm256_and_si256(set, _mm256_set1_epi8(16)));
#endif
}

/// Eight bytes to fp32.
inline __m256 floats_of_bytes(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
inline __m256 floats_of_signed_bytes(__m128i bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/// (bytes >> shift) & mask of each byte; mask has only bits that the shift brings from the byte.
inline __m256i field(__m256i bytes, int shift, int mask) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, shift),
                          _mm256_set1_epi8(static_cast<char>(mask)));
}

/// Heads: 32-element blocks have their scale in all lanes; K formats have that of run (or half run)
/// i in lane i.
struct ScaleHead {
  __m256 scale;
};
struct ScaleMinHead {
  __m256 scale, min;
};
struct FineHead {
  __m256 scale[2];
};
struct FineMinHead {
  __m256 scale[2], min[2];
};

template <int kBlockBytes, int kCodeOffset, bool kHasMins, bool kWideCodes = false>
struct SmallBlock {
  static constexpr int kElements = 32;
  static constexpr int kBytes = kBlockBytes;
  static constexpr int kOffset = kCodeOffset;
  static constexpr bool kMins = kHasMins;
  static constexpr bool kFine = false;
  static constexpr bool kWide = kWideCodes;
};

template <int kBlockBytes,
          int kCodeOffset,
          bool kHasMins,
          bool kFineScales,
          bool kWideCodes = false>
struct LargeBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = kBlockBytes;
  static constexpr int kOffset = kCodeOffset;
  static constexpr bool kMins = kHasMins;
  static constexpr bool kFine = kFineScales;
  static constexpr bool kWide = kWideCodes;
};

struct Q4_0 : SmallBlock<18, 8, false> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) { return {half_at(block)}; }
  static __m256i codes(const uint8_t* block, int) { return nibbles(block + 2); }
};

/// The minimum of these two is added in the file: m = −min.
inline __m256 minus_half_at(const uint8_t* p) {
  return _mm256_xor_ps(half_at(p), _mm256_set1_ps(-0.0F));
}

struct Q4_1 : SmallBlock<20, 0, true> {
  using Head = ScaleMinHead;
  static Head head(const uint8_t* block) { return {half_at(block), minus_half_at(block + 2)}; }
  static __m256i codes(const uint8_t* block, int) { return nibbles(block + 4); }
};

struct Q5_0 : SmallBlock<22, 16, false> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) { return {half_at(block)}; }
  static __m256i codes(const uint8_t* block, int) {
    return add_fifth_bits(nibbles(block + 6), load32(block + 2));
  }
};

struct Q5_1 : SmallBlock<24, 0, true> {
  using Head = ScaleMinHead;
  static Head head(const uint8_t* block) { return {half_at(block), minus_half_at(block + 2)}; }
  static __m256i codes(const uint8_t* block, int) {
    return add_fifth_bits(nibbles(block + 8), load32(block + 4));
  }
};

struct Q8_0 : SmallBlock<34, 128, false, true> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) { return {half_at(block)}; }
  static __m256i codes(const uint8_t* block, int) {
    return _mm256_xor_si256(load256(block + 2), _mm256_set1_epi8(static_cast<char>(0x80)));
  }
};

/// 16 values, 128 added, that nibbles point to.
inline __m256i look_up(__m256i codes, const std::array<int8_t, 16>& values) {
  const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values.data()));
  const __m256i unsigned_table =
      _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(static_cast<char>(0x80))));
  return _mm256_shuffle_epi8(unsigned_table, codes);
}

struct IQ4_NL : SmallBlock<18, 128, false, true> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) { return {half_at(block)}; }
  static __m256i codes(const uint8_t* block, int) {
    return look_up(nibbles(block + 2), io::kNonLinear4);
  }
};

struct MXFP4 : SmallBlock<17, 128, false, true> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) {
    return {_mm256_set1_ps(io::half_power_of_two(block[0]))};
  }
  static __m256i codes(const uint8_t* block, int) {
    return look_up(nibbles(block + 1), io::kDoubledE2M1);
  }
};

/// 2-bit codes of a run: 32 bytes hold four runs, from the lowest bits up.
inline __m256i two_bit_run(const uint8_t* bytes, int run) {
  return field(load256(bytes + 32 * (run / 4)), 2 * (run % 4), 3);
}

struct Q2_K : LargeBlock<84, 0, true, true> {
  using Head = FineMinHead;
  static Head head(const uint8_t* block) {
    const __m128i packed = load128(block);
    const __m128i scales = _mm_and_si128(packed, _mm_set1_epi8(15));
    const __m128i mins = _mm_and_si128(_mm_srli_epi16(packed, 4), _mm_set1_epi8(15));
    const __m256 d = half_at(block + 80);
    const __m256 dmin = half_at(block + 82);
    return {{_mm256_mul_ps(d, floats_of_bytes(scales)),
             _mm256_mul_ps(d, floats_of_bytes(_mm_srli_si128(scales, 8)))},
            {_mm256_mul_ps(dmin, floats_of_bytes(mins)),
             _mm256_mul_ps(dmin, floats_of_bytes(_mm_srli_si128(mins, 8)))}};
  }
  static __m256i codes(const uint8_t* block, int run) { return two_bit_run(block + 16, run); }
};

struct Q3_K : LargeBlock<110, 4, false, true> {
  using Head = FineHead;
  static Head head(const uint8_t* block) {
    const uint32_t a = load32(block + 96);
    const uint32_t b = load32(block + 100);
    const uint32_t top = load32(block + 104);
    const __m128i packed = _mm_setr_epi32(
        static_cast<int>((a & 0x0F0F0F0FU) | (top & 0x03030303U) << 4),
        static_cast<int>((b & 0x0F0F0F0FU) | ((top >> 2) & 0x03030303U) << 4),
        static_cast<int>(((a >> 4) & 0x0F0F0F0FU) | ((top >> 4) & 0x03030303U) << 4),
        static_cast<int>(((b >> 4) & 0x0F0F0F0FU) | ((top >> 6) & 0x03030303U) << 4));
    const __m128i scales = _mm_sub_epi8(packed, _mm_set1_epi8(32));
    const __m256 d = half_at(block + 108);
    return {{_mm256_mul_ps(d, floats_of_signed_bytes(scales)),
             _mm256_mul_ps(d, floats_of_signed_bytes(_mm_srli_si128(scales, 8)))}};
  }
  static __m256i codes(const uint8_t* block, int run) {
    const __m256i high = field(load256(block), run, 1);
    return _mm256_or_si256(two_bit_run(block + 32, run), _mm256_slli_epi16(high, 2));
  }
};

/// d, dmin, then 12 bytes of eight 6-bit scales and eight 6-bit minimums: the low 6 bits of bytes
/// 0-3 and 4-7 are the first four of each; the others have 4 bits in bytes 8-11 (scales low,
/// minimums high) and 2 bits on top of the former.
inline ScaleMinHead six_bit_head(const uint8_t* block) {
  const __m128i bytes = load128(block);
  const __m128i low = _mm_shuffle_epi8(
      bytes, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m128i high = _mm_shuffle_epi8(
      bytes, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
  const __m128i low_bits =
      _mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4)),
                    _mm_setr_epi32(0x3F3F3F3F, 0x0F0F0F0F, 0x3F3F3F3F, 0x0F0F0F0F));
  const __m128i high_bits = _mm_and_si128(_mm_srli_epi32(high, 2), _mm_set1_epi8(0x30));
  const __m128i packed = _mm_or_si128(low_bits, high_bits);  // eight scales, eight minimums
  return {_mm256_mul_ps(half_at(block), floats_of_bytes(packed)),
          _mm256_mul_ps(half_at(block + 2), floats_of_bytes(_mm_srli_si128(packed, 8)))};
}

struct Q4_K : LargeBlock<144, 0, true, false> {
  using Head = ScaleMinHead;
  static Head head(const uint8_t* block) { return six_bit_head(block); }
  static __m256i codes(const uint8_t* block, int run) {
    return field(load256(block + 16 + 32 * (run / 2)), 4 * (run % 2), 15);
  }
};

struct Q5_K : LargeBlock<176, 0, true, false> {
  using Head = ScaleMinHead;
  static Head head(const uint8_t* block) { return six_bit_head(block); }
  static __m256i codes(const uint8_t* block, int run) {
    const __m256i low = field(load256(block + 48 + 32 * (run / 2)), 4 * (run % 2), 15);
    const __m256i high = field(load256(block + 16), run, 1);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
  }
};

struct Q6_K : LargeBlock<210, 32, false, true> {
  using Head = FineHead;
  static Head head(const uint8_t* block) {
    const __m128i scales = load128(block + 192);
    const __m256 d = half_at(block + 208);
    return {{_mm256_mul_ps(d, floats_of_signed_bytes(scales)),
             _mm256_mul_ps(d, floats_of_signed_bytes(_mm_srli_si128(scales, 8)))}};
  }
  static __m256i codes(const uint8_t* block, int run) {
    const uint8_t* low_bytes = block + 64 * (run / 4) + 32 * (run % 2);
    const __m256i low = field(load256(low_bytes), 4 * (run % 4 / 2), 15);
    const __m256i high = field(load256(block + 128 + 32 * (run / 4)), 2 * (run % 4), 3);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
  }
};

struct IQ4_XS : LargeBlock<136, 128, false, false, true> {
  using Head = ScaleHead;
  static Head head(const uint8_t* block) {
    const uint32_t low = load32(block + 4);
    const uint32_t high = load16(block + 2);
    const __m256i low_bits =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(low)),
                                           _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)),
                         _mm256_set1_epi32(15));
    const __m256i high_bits =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(high)),
                                           _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)),
                         _mm256_set1_epi32(3));
    const __m256i scales = _mm256_sub_epi32(
        _mm256_or_si256(low_bits, _mm256_slli_epi32(high_bits, 4)), _mm256_set1_epi32(32));
    return {_mm256_mul_ps(half_at(block), _mm256_cvtepi32_ps(scales))};
  }
  static __m256i codes(const uint8_t* block, int run) {
    return look_up(nibbles(block + 8 + 16 * run), io::kNonLinear4);
  }
};
