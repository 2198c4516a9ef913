// Body of the kernels for bitsandbytes' 4-bit table entries, compiled once an instruction set over
// a vector type V. A lane has a 32-bit word of one weight row, eight numbers; eight times its next
// four bits choose a float of the table, which is multiplied with x and added within the word, and
// then the sums are multiplied with the factor of their block.
//   x  [word register][nibble][lane] fp32: nibble n of lane l has number 8 l + (n ^ 1), since the
//      first of two numbers is in the high half of a byte; zeros follow the end of the row
// Bytes: those of the weight, once for every kRows rows of x (blocks of weight rows stay in cache);
// operations: 2 · rows · out · in in fp32.
// V: kWidth lanes, Floats; Table, lookup<nibble>(table, words), load_words(p, lanes),
// factors(p) (of 64 numbers each). Included only by linear_packed_<isa>.cc, in an anonymous
// namespace.

// Numbers that a factor stands for here: blocks are a multiple of it.
constexpr int64_t kPiece = 64;

template <class V>
int64_t table_padded(const io::TableRows& w) {
  constexpr int64_t kStep = 8 * V::kWidth;
  return (w.in + kStep - 1) / kStep * kStep;
}

template <class V>
int64_t table_room(const io::TableRows& w) {
  const bool whole = w.in > 0 && w.block % kPiece == 0 && w.in % w.block == 0;
  return whole ? table_padded<V>(w) * 4 : 0;
}

template <class V>
void table_prepare(const io::TableRows& w, const float* x, std::byte* out) {
  auto* to = reinterpret_cast<float*>(out);
  for (int64_t i = 0; i < table_padded<V>(w); i += 8 * V::kWidth) {
    for (int64_t nibble = 0; nibble < 8; ++nibble) {
      for (int64_t lane = 0; lane < V::kWidth; ++lane) {
        const int64_t from = i + 8 * lane + (nibble ^ 1);
        *to++ = from < w.in ? x[from] : 0.0F;
      }
    }
  }
}

/// The factors of a row's pieces.
inline void fill_factors(const io::TableRows& w, int64_t row, float* factors) {
  const int64_t pieces = w.block / kPiece;
  const int64_t blocks = w.in / w.block;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t block = row * blocks + b;
    float factor;
    if (w.nested_codes == nullptr) {
      factor = read<float>(w.absmax + block * 4);
    } else {
      const auto code = std::to_integer<int64_t>(w.nested_codes[block]);
      factor = read<float>(w.nested_table + code * 4) *
                   read<float>(w.absmax + block / w.nested_block * 4) +
               w.nested_offset;
    }
    for (int64_t p = 0; p < pieces; ++p) {
      *factors++ = factor;
    }
  }
}

/// kOut weight rows and kRows rows of x.
struct TablePlace {
  const std::byte* codes;
  int64_t row_bytes;
  const float* factors;
  int64_t factors_stride;
  const float* x;
  int64_t x_stride;
  int64_t in;
  float* y;
  int64_t y_stride;
};

template <class V, int kOut, int kRows>
void table_tile(const TablePlace& at, const typename V::Table& table) {
  typename V::Floats total[kOut][kRows];
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      total[o][r] = V::zero();
    }
  }
  // The weight rows of the next tile follow in memory.
  const char* next = reinterpret_cast<const char*>(at.codes + kOut * at.row_bytes + 1024);
  for (int64_t i = 0; i < at.in; i += 8 * V::kWidth, next += kOut * V::kWidth * 4) {
    typename V::Words words[kOut];
    typename V::Floats sum[kOut][kRows];
#pragma GCC unroll 4
    for (int o = 0; o < kOut; ++o) {
      words[o] = V::load_words(at.codes + o * at.row_bytes + i / 2, (at.in - i) / 8);
      _mm_prefetch(next + o * V::kWidth * 4, _MM_HINT_T0);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sum[o][r] = V::zero();
      }
    }
    const auto add = [&](auto nibble) __attribute__((always_inline)) {
      typename V::Floats numbers[kOut];
#pragma GCC unroll 4
      for (int o = 0; o < kOut; ++o) {
        numbers[o] = V::template lookup<nibble>(table, words[o]);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const auto x = V::load(at.x + r * at.x_stride + i + nibble * V::kWidth);
#pragma GCC unroll 4
        for (int o = 0; o < kOut; ++o) {
          sum[o][r] = V::fma(numbers[o], x, sum[o][r]);
        }
      }
    };
    [&]<int... kNibble>(std::integer_sequence<int, kNibble...>) __attribute__((always_inline)) {
      (add(std::integral_constant<int, kNibble>()), ...);
    }
    (std::make_integer_sequence<int, 8>());
#pragma GCC unroll 4
    for (int o = 0; o < kOut; ++o) {
      const auto factor = V::factors(at.factors + o * at.factors_stride + i / kPiece);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        total[o][r] = V::fma(sum[o][r], factor, total[o][r]);
      }
    }
  }
  for (int o = 0; o < kOut; ++o) {
    for (int r = 0; r < kRows; ++r) {
      at.y[r * at.y_stride + o] = V::sum(total[o][r]);
    }
  }
}

/// kOut weight rows and all rows of x.
template <class V, int kOut>
void table_rows(TablePlace at, const typename V::Table& table, int64_t rows) {
  const auto pass = [&](auto height) {
    table_tile<V, kOut, height>(at, table);
    at.x += height * at.x_stride;
    at.y += height * at.y_stride;
  };
  int64_t r = 0;
  for (; r + V::kRows <= rows; r += V::kRows) {
    pass(std::integral_constant<int, V::kRows>());
  }
  for (; r < rows; ++r) {
    pass(std::integral_constant<int, 1>());
  }
}

template <class V>
void table_multiply(const io::TableRows& w,
                    const std::byte* xs,
                    int64_t rows,
                    int64_t begin,
                    int64_t end,
                    float* y,
                    int64_t y_stride) {
  constexpr int kOut = V::kOut;
  const int64_t stride = w.in / kPiece + 1;  // the last register of a row may reach for two
  const std::unique_ptr<float[]> factors(new float[static_cast<size_t>(kOut * stride)]());
  const auto table = V::table(w.table);
  TablePlace at{nullptr,
                w.in / 2,
                factors.get(),
                stride,
                reinterpret_cast<const float*>(xs),
                table_padded<V>(w),
                w.in,
                nullptr,
                y_stride};
  for (int64_t o = begin; o < end;) {
    const int64_t count = end - o >= kOut ? kOut : 1;
    for (int64_t i = 0; i < count; ++i) {
      fill_factors(w, o + i, factors.get() + i * stride);
    }
    at.codes = w.codes + o * at.row_bytes;
    at.y = y + o;
    if (count == kOut) {
      table_rows<V, kOut>(at, table, rows);
    } else {
      table_rows<V, 1>(at, table, rows);
    }
    o += count;
  }
}
