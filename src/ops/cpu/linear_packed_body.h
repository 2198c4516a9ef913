// Body of the kernels for packed integers with scales for groups of inputs, compiled once an
// instruction set over a vector type V. Sums are exact integers within a run of at most 128 inputs
// of one group: an activation is a 24-bit fixed-point number, scaled by a power of two for its run
// and row, in three signed bytes (limbs), each multiplied with the unsigned codes of the weight.
// Limbs are put together, and runs added, in fp32. An activation is off by 2^-24 of the largest in
// its run, so that the result is as good as a product in fp32 unless outliers of some thousand
// times the rest meet weights near zero.
//   word   32 / bits numbers of one output that follow each other along the inputs, the first in
//          the lowest bits; a lane of a register is the word of one output
//   tile   words [≤ 32][128 outputs], in the L1 cache. Words along columns (GPTQ) are multiplied
//          where they are; rows (compressed-tensors) and AWQ's words are turned into a tile
//   limbs  [limb][part][word][4]: part p of a word has the numbers p, p + 8/bits, …, one a byte
// Bytes: those of the weight, once; operations: 3 · 2 · rows · out · in on bytes.
// V: kWidth lanes; Ints, Floats; load, codes<bits>(word, part), dot(sums, codes, four bytes of x),
// multiply, subtract, floats, fma; kRows rows of x share registers; stage_rows, stage_awq.
// Included only by linear_packed_<isa>.cc, in an anonymous namespace.

constexpr int64_t kRun = 128;
constexpr int64_t kBlock = 128;  // outputs
constexpr int kLimbs = 3;
// Sums of a strip of outputs stay in the L2 cache.
constexpr int64_t kStripSums = 32768;

/// A run of one row of x.
struct alignas(64) RunOfX {
  int8_t limbs[kLimbs][kRun];
  float scale;           // of the lowest limb
  int32_t sums[kLimbs];  // of the limbs
};

struct Tile {
  alignas(64) uint32_t words[32 * kBlock];
};

/// Factors of a block of outputs in one group.
struct Heads {
  alignas(64) float scales[kBlock];
  alignas(64) int32_t zeros[kBlock];
};

enum class Order { kNone, kColumns, kRows, kAwq };

inline Order order_of(const io::GroupedRows& w) {
  const io::PackedIntegers& codes = w.codes;
  const bool words = (codes.bits == 4 && (codes.per_word == 0 || codes.per_word == 8)) ||
                     (codes.bits == 8 && codes.per_word == 0);
  const int64_t per_word = 32 / codes.bits;
  if (!words || w.group_of != nullptr || w.in == 0 ||
      (w.group_size % per_word != 0 && w.group_size < w.in)) {
    return Order::kNone;
  }
  if (codes.along_out) {
    const bool squares = w.out % 8 == 0 && w.in % 8 == 0 && codes.word_stride == 4;
    return codes.awq_order && codes.bits == 4 && squares ? Order::kAwq : Order::kNone;
  }
  if (codes.awq_order) {
    return Order::kNone;
  }
  if (codes.word_stride == 4) {  // a row of bytes may end inside a word
    return codes.bits == 8 && w.in % 4 != 0 ? Order::kNone : Order::kRows;
  }
  return codes.line_stride == 4 && !codes.is_signed && w.in % per_word == 0 ? Order::kColumns
                                                                            : Order::kNone;
}

struct Run {
  int64_t first;
  int64_t count;
  int64_t group;
};

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

inline int64_t runs_per_group(const io::GroupedRows& w) {
  return (least(w.group_size, w.in) + kRun - 1) / kRun;
}

inline int64_t run_count(const io::GroupedRows& w) {
  return w.in / w.group_size * runs_per_group(w) + (w.in % w.group_size + kRun - 1) / kRun;
}

inline Run run_at(const io::GroupedRows& w, int64_t index) {
  const int64_t runs = runs_per_group(w);
  const int64_t group = index / runs;
  const int64_t first = group * w.group_size + index % runs * kRun;
  const int64_t end = least(least(first + kRun, (group + 1) * w.group_size), w.in);
  return {first, end - first, group};
}

inline int64_t grouped_room(const io::GroupedRows& w) {
  return order_of(w) == Order::kNone ? 0 : run_count(w) * static_cast<int64_t>(sizeof(RunOfX));
}

/// Splits `count` numbers; `parts` codes are in a byte of the weight.
inline void split_run(const float* x, int64_t count, int64_t parts, RunOfX& run) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof(bits));
    bits &= 0x7FFFFFFFU;
    largest = largest > bits ? largest : bits;
  }
  const bool finite = largest < 0x7F800000U;
  float top;
  __builtin_memcpy(&top, &largest, sizeof(top));
  top *= 129.0F / 128.0F;  // limbs reach 127, not 128
  uint32_t bits;
  __builtin_memcpy(&bits, &top, sizeof(bits));
  const int power = static_cast<int>(bits >> 23);  // 127 + ⌊log2 top⌋
  const auto up = static_cast<uint32_t>(276 - (power < 23 ? 23 : power));
  const uint32_t factor_bits = up << 23;  // |x| · factor < 2^23
  const uint32_t scale_bits = (254U - up) << 23;
  float factor;
  __builtin_memcpy(&factor, &factor_bits, sizeof(factor));
  __builtin_memcpy(&run.scale, &scale_bits, sizeof(run.scale));
  alignas(32) int32_t whole[kRun] = {};
  if (!finite) {
    run.scale = __builtin_nanf("");
  } else {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
      const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor));
      _mm256_store_si256(reinterpret_cast<__m256i*>(whole + i), _mm256_cvtps_epi32(scaled));
    }
    for (; i < count; ++i) {
      whole[i] = _mm_cvtss_si32(_mm_set_ss(x[i] * factor));
    }
  }
  int8_t bytes[kLimbs][kRun];
  for (int64_t i = 0; i < kRun; ++i) {
    const auto low = static_cast<int8_t>(whole[i]);
    const int32_t rest = (whole[i] - low) >> 8;
    const auto middle = static_cast<int8_t>(rest);
    bytes[2][i] = low;
    bytes[1][i] = middle;
    bytes[0][i] = static_cast<int8_t>((rest - middle) >> 8);
  }
  for (int limb = 0; limb < kLimbs; ++limb) {
    int32_t sum = 0;
    for (int64_t i = 0; i < kRun; ++i) {
      sum += bytes[limb][i];
    }
    run.sums[limb] = sum;
    for (int64_t part = 0; part < parts; ++part) {
      int8_t* to = run.limbs[limb] + part * (kRun / parts);
      for (int64_t i = 0; i < kRun / parts; ++i) {
        to[i] = bytes[limb][i * parts + part];
      }
    }
  }
}

inline void grouped_prepare(const io::GroupedRows& w, const float* x, std::byte* out) {
  auto* runs = reinterpret_cast<RunOfX*>(out);
  const int64_t count = run_count(w);
  for (int64_t i = 0; i < count; ++i) {
    const Run run = run_at(w, i);
    split_run(x + run.first, run.count, 8 / w.codes.bits, runs[i]);
  }
}

template <class T>
T read(const std::byte* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

inline void fill_scales(
    const io::StridedFloats& from, int64_t o, int64_t count, int64_t group, float* scales) {
  using Type = io::StridedFloats::Type;
  const int64_t size = from.type == Type::kF32 ? 4 : 2;
  const std::byte* first = from.data + (o * from.out_stride + group * from.group_stride) * size;
  const int64_t stride = from.out_stride * size;
  if (size == 4) {
    for (int64_t i = 0; i < count; ++i) {
      scales[i] = read<float>(first + i * stride);
    }
    return;
  }
  alignas(64) uint16_t halves[kBlock] = {};
  if (stride == 2) {
    __builtin_memcpy(halves, first, static_cast<size_t>(count * 2));
  } else {
    for (int64_t i = 0; i < count; ++i) {
      halves[i] = read<uint16_t>(first + i * stride);
    }
  }
  for (int64_t i = 0; i < kBlock; i += 8) {
    const __m128i eight = _mm_load_si128(reinterpret_cast<const __m128i*>(halves + i));
    const __m256 wide =
        from.type == Type::kF16
            ? _mm256_cvtph_ps(eight)
            : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
    _mm256_store_ps(scales + i, wide);
  }
}

inline void fill_zeros(
    const io::GroupedRows& w, int64_t o, int64_t count, int64_t group, int32_t* zeros) {
  const io::PackedIntegers& from = w.zeros;
  const uint32_t mask = (1U << from.bits) - 1U;
  if (!w.has_zeros) {
    for (int64_t i = 0; i < kBlock; ++i) {
      zeros[i] = static_cast<int32_t>(w.zero);
    }
    return;
  }
  if (!from.along_out || from.bits != 4 || from.per_word != 0) {
    for (int64_t i = 0; i < count; ++i) {
      zeros[i] = static_cast<int32_t>((from.at(o + i, group) + w.zero_add) & mask);
    }
    return;
  }
  const __m256i shifts = from.awq_order ? _mm256_setr_epi32(0, 16, 4, 20, 8, 24, 12, 28)
                                        : _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  const std::byte* word = from.data + group * from.line_stride + o / 8 * from.word_stride;
  const __m256i add = _mm256_set1_epi32(static_cast<int>(w.zero_add));
  for (int64_t i = 0; i < count; i += 8, word += from.word_stride) {
    const __m256i eight = _mm256_srlv_epi32(_mm256_set1_epi32(read<int32_t>(word)), shifts);
    _mm256_store_si256(reinterpret_cast<__m256i*>(zeros + i),
                       _mm256_and_si256(_mm256_add_epi32(eight, add), _mm256_set1_epi32(15)));
  }
}

/// Outputs of a block whose words are turned into a tile, and what is asked for meanwhile.
struct StagePlace {
  const std::byte* from;  // first output's first word; AWQ: first input's word of the outputs
  int64_t stride;         // rows: from an output to the next; AWQ: from an input to the next
  int64_t outputs;        // ≤ 128
  int64_t words;          // of an output, ≤ 32
  uint32_t flip;          // turns signed bytes into unsigned ones
  const char* next;
};

/// Any layout of words, one after the other.
inline void stage_plain(const StagePlace& at, int64_t word_stride, Tile& tile) {
  for (int64_t i = 0; i < at.words; ++i) {
    for (int64_t o = 0; o < kBlock; ++o) {
      tile.words[i * kBlock + o] =
          o < at.outputs ? read<uint32_t>(at.from + o * at.stride + i * word_stride) ^ at.flip : 0;
    }
  }
}

/// Squares of eight inputs (rows of words) and eight outputs (nibbles): turned by swapping blocks
/// of 4, 2, 1 nibbles, all words of a row at once.
[[maybe_unused]] inline void stage_awq_plain(const StagePlace& at, Tile& tile) {
  constexpr int kPlaceToOutput[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  constexpr uint32_t kMasks[3] = {0x0000FFFFU, 0x00FF00FFU, 0x0F0F0F0FU};
  const int64_t across = at.outputs / 8;
  for (int64_t i = 0; i < at.words; ++i) {
    uint32_t square[8][kBlock / 8] = {};
    for (int64_t k = 0; k < 8; ++k) {
      __builtin_memcpy(square[k], at.from + (i * 8 + k) * at.stride,
                       static_cast<size_t>(across * 4));
    }
    for (int step = 0; step < 3; ++step) {
      const int distance = 4 >> step;
      for (int k = 0; k < 8; ++k) {
        if ((k & distance) != 0) {
          continue;
        }
        for (int64_t c = 0; c < kBlock / 8; ++c) {
          const uint32_t swap =
              ((square[k][c] >> (4 * distance)) ^ square[k + distance][c]) & kMasks[step];
          square[k + distance][c] ^= swap;
          square[k][c] ^= swap << (4 * distance);
        }
      }
    }
    for (int place = 0; place < 8; ++place) {
      for (int64_t c = 0; c < kBlock / 8; ++c) {
        tile.words[i * kBlock + 8 * c + kPlaceToOutput[place]] = square[place][c];
      }
    }
  }
}

/// 2 · V::kWidth outputs of a run, and rows of x.
struct TilePlace {
  const std::byte* words;
  int64_t stride;  // bytes from a word of an output to its next
  int64_t count;   // words of an output
  const RunOfX* x;
  int64_t x_stride;  // runs from a row to the next
  const float* scales;
  const int32_t* zeros;
  float* sums;
  int64_t sums_stride;
  const char* next;  // what is asked for meanwhile, laid out as `words`; or null
};

template <class V, int kBits, int kRows>
void multiply_tile(const TilePlace& at) {
  constexpr int kParts = 8 / kBits;
  typename V::Ints sums[kRows][kLimbs][2];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
    for (int limb = 0; limb < kLimbs; ++limb) {
      const auto x_sum = V::spread(-at.x[r * at.x_stride].sums[limb]);
      sums[r][limb][0] = V::multiply(V::load(at.zeros), x_sum);
      sums[r][limb][1] = V::multiply(V::load(at.zeros + V::kWidth), x_sum);
    }
  }
  const std::byte* words = at.words;
  for (int64_t i = 0; i < at.count; ++i, words += at.stride) {
    if (at.next != nullptr) {
      _mm_prefetch(at.next + i * at.stride, _MM_HINT_T0);
      if constexpr (V::kWidth == 16) {
        _mm_prefetch(at.next + i * at.stride + 64, _MM_HINT_T0);
      }
    }
    const auto first = V::load(words);
    const auto second = V::load(words + V::kWidth * 4);
#pragma GCC unroll 2
    for (int part = 0; part < kParts; ++part) {
      const auto low = V::template codes<kBits>(first, part);
      const auto high = V::template codes<kBits>(second, part);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 3
        for (int limb = 0; limb < kLimbs; ++limb) {
          int32_t bytes;
          __builtin_memcpy(&bytes,
                           at.x[r * at.x_stride].limbs[limb] + part * (kRun / kParts) + i * 4,
                           sizeof(bytes));
          const auto four = V::spread(bytes);
          sums[r][limb][0] = V::template dot<kBits>(sums[r][limb][0], low, four);
          sums[r][limb][1] = V::template dot<kBits>(sums[r][limb][1], high, four);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      auto total =
          V::fma(V::floats(sums[r][1][half]), V::spread(256.0F), V::floats(sums[r][2][half]));
      total = V::fma(V::floats(sums[r][0][half]), V::spread(65536.0F), total);
      float* to = at.sums + r * at.sums_stride + half * V::kWidth;
      const auto scale = V::multiply(V::load(at.scales + half * V::kWidth),
                                     V::spread(at.x[r * at.x_stride].scale));
      V::store(to, V::fma(total, scale, V::load(to)));
    }
  }
}

/// All rows of x with a block of outputs.
template <class V, int kBits>
void multiply_block(TilePlace at, int64_t outputs, int64_t rows) {
  constexpr int64_t kStep = 2 * V::kWidth;
  const TilePlace start = at;
  for (int64_t o = 0; o < outputs; o += kStep) {
    at = start;
    at.words += o * 4;
    at.scales += o;
    at.zeros += o;
    at.sums += o;
    at.next = start.next == nullptr ? nullptr : start.next + o * 4;
    const auto pass = [&](auto height) {
      multiply_tile<V, kBits, height>(at);
      at.x += height * at.x_stride;
      at.sums += height * at.sums_stride;
      at.next = nullptr;
    };
    int64_t r = 0;
    if constexpr (V::kRows >= 4) {
      for (; r + 4 <= rows; r += 4) {
        pass(std::integral_constant<int, 4>());
      }
    }
    if constexpr (V::kRows >= 2) {
      for (; r + 2 <= rows; r += 2) {
        pass(std::integral_constant<int, 2>());
      }
    }
    for (; r < rows; ++r) {
      pass(std::integral_constant<int, 1>());
    }
  }
}

template <class V, int kBits>
class GroupedLinear {
 public:
  GroupedLinear(const io::GroupedRows& w, const RunOfX* xs, int64_t rows)
      : w_(w), order_(order_of(w)), xs_(xs), rows_(rows), runs_(run_count(w)) {}

  void run(int64_t begin, int64_t end, float* y, int64_t y_stride) {
    const int64_t wide = kStripSums / rows_ / kBlock * kBlock;
    const int64_t strip = order_ == Order::kRows ? kBlock : wide;
    const int64_t room = (least(strip, end - begin) + kBlock - 1) / kBlock * kBlock;
    const std::unique_ptr<float[]> sums(new float[static_cast<size_t>(rows_ * room)]);
    for (int64_t o = begin; o < end; o += strip) {
      const int64_t width = least(strip, end - o);
      for (int64_t i = 0; i < rows_ * room; ++i) {
        sums[static_cast<size_t>(i)] = 0;
      }
      for (int64_t i = 0; i < runs_; ++i) {
        for (int64_t b = 0; b < width; b += kBlock) {
          int64_t next_run = i;
          int64_t next = o + b + kBlock;
          if (b + kBlock >= width) {
            next_run = i + 1 < runs_ ? i + 1 : 0;
            next = i + 1 < runs_ ? o : o + strip;
          }
          block(i, o + b, least(kBlock, width - b), sums.get() + b, room,
                words_at(run_at(w_, next_run), next));
        }
      }
      for (int64_t r = 0; r < rows_; ++r) {
        __builtin_memcpy(y + r * y_stride + o, sums.get() + r * room,
                         static_cast<size_t>(width) * sizeof(float));
      }
    }
  }

 private:
  /// The first word of output o in a run.
  const std::byte* words_at(const Run& run, int64_t o) const {
    const io::PackedIntegers& codes = w_.codes;
    const int64_t word = run.first * kBits / 32;
    return order_ == Order::kAwq ? codes.data + run.first * codes.line_stride + o / 2
                                 : codes.data + o * codes.line_stride + word * codes.word_stride;
  }

  void block(int64_t index,
             int64_t o,
             int64_t outputs,
             float* sums,
             int64_t sums_stride,
             const std::byte* next) {
    const Run run = run_at(w_, index);
    const io::PackedIntegers& codes = w_.codes;
    fill_scales(w_.scales, o, outputs, run.group, heads_.scales);
    fill_zeros(w_, o, outputs, run.group, heads_.zeros);
    TilePlace at{words_at(run, o),
                 codes.word_stride,
                 (run.count * kBits + 31) / 32,
                 xs_ + index,
                 runs_,
                 heads_.scales,
                 heads_.zeros,
                 sums,
                 sums_stride,
                 nullptr};
    const auto* ask = reinterpret_cast<const char*>(next);
    const StagePlace stage{at.words,
                           order_ == Order::kColumns ? 4 : codes.line_stride,
                           outputs,
                           at.count,
                           codes.is_signed ? 0x80808080U : 0U,
                           ask};
    if (order_ == Order::kColumns && outputs == kBlock) {
      at.next = ask;
      multiply_block<V, kBits>(at, outputs, rows_);
      return;
    }
    if (order_ == Order::kColumns) {
      stage_plain(stage, codes.word_stride, tile_);
    } else if (order_ == Order::kRows) {
      V::stage_rows(stage, tile_);
    } else {
      V::stage_awq(stage, tile_);
    }
    at.words = reinterpret_cast<const std::byte*>(tile_.words);
    at.stride = kBlock * 4;
    multiply_block<V, kBits>(at, outputs, rows_);
  }

  const io::GroupedRows& w_;
  Order order_;
  const RunOfX* xs_;
  int64_t rows_;
  int64_t runs_;
  Tile tile_;
  Heads heads_ = {};
};

template <class V>
void grouped_multiply(const io::GroupedRows& w,
                      const std::byte* xs,
                      int64_t rows,
                      int64_t begin,
                      int64_t end,
                      float* y,
                      int64_t y_stride) {
  const auto* runs = reinterpret_cast<const RunOfX*>(xs);
  if (w.codes.bits == 4) {
    GroupedLinear<V, 4>(w, runs, rows).run(begin, end, y, y_stride);
  } else {
    GroupedLinear<V, 8>(w, runs, rows).run(begin, end, y, y_stride);
  }
}
