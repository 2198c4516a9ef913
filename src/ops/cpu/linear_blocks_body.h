// Body of the block kernels for x86, compiled once an instruction set over a vector type V:
//   V::kRuns runs of 32 numbers in a register (1 or 2); a lane of V::Floats and V::Ints stands for
//   four numbers. V::activations(p) loads codes; V::scales(p) spreads a scale for each run.
//   V::codes<F>(block, run), V::heads<F>(block), V::lanes<F>(head, run): of kRuns runs, the second
//   one out of the next block where a block is one run.
//   V::dot<kWide>(start, codes, xs): start + sums of four products. V::dot_constant(c, xs): c · sum
//   of four.
//   V::Tail: the vector type for what is left of an odd number of runs.
// The products of a run are added as integers, exactly; scales, minimums and the sum over runs are
// fp32. Included only by linear_blocks_<isa>.cc, in an anonymous namespace.

/// Scales and minimums of a block (of kRuns blocks of one run).
template <class V>
struct Heads {
  typename V::Floats scale[2];
  typename V::Floats min[2];
};

/// One run in 256 bits: the vector type of AVX2, and AVX-512's for the last of an odd number.
struct Single {
  using Bytes = __m256i;
  using Ints = __m256i;
  using Floats = __m256;
  using Tail = Single;
  static constexpr int kRuns = 1;
  static constexpr int kOut = 4;  // of a tile: sixteen registers hold no more
  static constexpr int kRows = 1;

  static Floats zero() { return _mm256_setzero_ps(); }
  static Ints no_ints() { return _mm256_setzero_si256(); }
  static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats floats(Ints a) { return _mm256_cvtepi32_ps(a); }
  static Ints minus(Ints a) { return _mm256_sub_epi32(_mm256_setzero_si256(), a); }
  static float sum(Floats a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
  static Bytes activations(const int8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Floats scales(const float* p) { return _mm256_set1_ps(*p); }

  template <class F>
  static void read_heads(const uint8_t* block, Heads<Single>& heads) {
    const typename F::Head head = F::head(block);
    if constexpr (F::kFine) {
      heads.scale[0] = head.scale[0];
      heads.scale[1] = head.scale[1];
    } else {
      heads.scale[0] = head.scale;
    }
    if constexpr (F::kMins && F::kFine) {
      heads.min[0] = head.min[0];
      heads.min[1] = head.min[1];
    } else if constexpr (F::kMins) {
      heads.min[0] = head.min;
    }
  }
  template <class F>
  static Floats lanes(const Floats (&head)[2], int run) {
    if constexpr (F::kElements == 32) {
      return head[0];
    } else if constexpr (F::kFine) {
      const __m256i order = _mm256_add_epi32(_mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1),
                                             _mm256_set1_epi32(2 * (run % 4)));
      return _mm256_permutevar8x32_ps(head[run / 4], order);
    } else {
      return _mm256_permutevar8x32_ps(head[0], _mm256_set1_epi32(run));
    }
  }
  template <class F>
  static Floats add_mins(const Floats (&min)[2], const float* x_sums, Floats sum) {
    if constexpr (F::kElements == 32) {
      return fma(min[0], scales(x_sums), sum);
    } else {
      sum = fma(min[0], _mm256_loadu_ps(x_sums), sum);
      return F::kFine ? fma(min[1], _mm256_loadu_ps(x_sums + 8), sum) : sum;
    }
  }
  template <class F>
  static Bytes codes(const uint8_t* block, int run) {
    return F::codes(block, run);
  }

#ifdef __AVX512VNNI__
  template <bool kWide>
  static Ints dot(Ints start, Bytes codes, Bytes xs) {
    return _mm256_dpbusd_epi32(start, codes, xs);
  }
#else
  template <bool kWide>
  static Ints dot(Ints start, Bytes codes, Bytes xs) {
    if constexpr (kWide) {  // pairs of products would saturate: even and odd bytes apart
      const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(255)),
                                             _mm256_srai_epi16(_mm256_slli_epi16(xs, 8), 8));
      const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(xs, 8));
      return _mm256_add_epi32(start, _mm256_add_epi32(even, odd));
    } else {
      const __m256i pairs = _mm256_maddubs_epi16(codes, xs);
      return _mm256_add_epi32(start, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
#endif
  static Ints dot_constant(int constant, Bytes xs) {
    return dot<true>(no_ints(), _mm256_set1_epi8(static_cast<char>(constant)), xs);
  }
};

template <class V, int kOut, int kRows>
struct DotSums {
  typename V::Floats of[kOut][kRows];
  typename V::Floats mins[kOut][kRows];  // minimum · −scale·Σ of the activations' codes
};

/// Where a tile of kOut weight rows × kRows activation rows is.
struct DotPlace {
  const int8_t* x;        // of the first activation row
  const float* x_scales;  // the same
  const float* x_sums;    // the same: BlockKernels' corrections, in formats with minimums
  int64_t in;
  const uint8_t* w;  // first weight row
  int64_t row_bytes;
};

/// Adds the products of V::kRuns runs, `number` numbers from the start of the rows, `run` of the
/// blocks `bytes` from the start of the weight rows.
template <class V, class F, int kOut, int kRows>
__attribute__((always_inline)) inline void dot_runs(const DotPlace& at,
                                                    int64_t number,
                                                    int64_t bytes,
                                                    int run,
                                                    const Heads<V> (&heads)[kOut],
                                                    DotSums<V, kOut, kRows>& sums) {
  typename V::Bytes xs[kRows];
  typename V::Floats x_scale[kRows];
  typename V::Ints start[kRows];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    xs[r] = V::activations(at.x + r * at.in + number);
    x_scale[r] = V::scales(at.x_scales + (r * at.in + number) / 32);
    start[r] = V::no_ints();
    if constexpr (F::kOffset != 0) {
      start[r] = V::minus(V::dot_constant(F::kOffset, xs[r]));
    }
  }
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
    const auto codes = V::template codes<F>(at.w + o * at.row_bytes + bytes, run);
    const auto scale = V::template lanes<F>(heads[o].scale, run);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto product = V::floats(V::template dot<F::kWide>(start[r], codes, xs[r]));
      sums.of[o][r] = V::fma(product, V::mul(scale, x_scale[r]), sums.of[o][r]);
    }
  }
}

/// Asks for the lines that begin in bytes [begin, end) from `next`.
__attribute__((always_inline)) inline void prefetch_lines(const char* next, int begin, int end) {
#pragma GCC unroll 16
  for (int line = (begin + 63) / 64 * 64; line < end; line += 64) {
    _mm_prefetch(next + line, _MM_HINT_T0);
  }
}

/// A block of each weight row (kRuns blocks of one run). Meanwhile as many bytes are asked for from
/// `next` on, evenly: the processor's own prefetching stops at every page.
template <class V, class F, int kOut, int kRows>
__attribute__((always_inline)) inline void dot_block(const DotPlace& at,
                                                     int64_t number,
                                                     int64_t bytes,
                                                     const char* next,
                                                     DotSums<V, kOut, kRows>& sums) {
  Heads<V> heads[kOut];
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
    V::template read_heads<F>(at.w + o * at.row_bytes + bytes, heads[o]);
    if constexpr (F::kMins) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const float* x_sums = at.x_sums + (r * at.in + number) / (F::kFine ? 16 : 32);
        sums.mins[o][r] = V::template add_mins<F>(heads[o].min, x_sums, sums.mins[o][r]);
      }
    }
  }
  if constexpr (F::kElements == 32) {
    prefetch_lines(next, 0, kOut * V::kRuns * F::kBytes);
    dot_runs<V, F, kOut, kRows>(at, number, bytes, 0, heads, sums);
  } else {
#pragma GCC unroll 8
    for (int run = 0; run < 8; run += V::kRuns) {
      prefetch_lines(next, kOut * F::kBytes * run / 8, kOut * F::kBytes * (run + V::kRuns) / 8);
      dot_runs<V, F, kOut, kRows>(at, number + 32 * run, bytes, run, heads, sums);
    }
  }
}

template <class V, int kOut, int kRows>
__attribute__((always_inline)) inline void clear(DotSums<V, kOut, kRows>& sums) {
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      sums.of[o][r] = V::zero();
      sums.mins[o][r] = V::zero();
    }
  }
}

/// The outputs of a tile. A minimum of a 32-element block is in eight lanes.
template <class V, class F, int kOut, int kRows>
__attribute__((always_inline)) inline void add_totals(const DotSums<V, kOut, kRows>& sums,
                                                      float (&totals)[kOut][kRows]) {
#pragma GCC unroll 4
  for (int o = 0; o < kOut; ++o) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      totals[o][r] += V::sum(sums.of[o][r]);
      if constexpr (F::kMins) {
        totals[o][r] += V::sum(sums.mins[o][r]) * (F::kElements == 32 ? 0.125F : 1.0F);
      }
    }
  }
}

template <class V, class F, int kOut, int kRows>
void dot_tile(const DotPlace& at, float* y, int64_t y_stride) {
  constexpr int64_t kStep = F::kElements == 32 ? 32 * V::kRuns : 256;
  constexpr int64_t kStepBytes = F::kElements == 32 ? F::kBytes * V::kRuns : F::kBytes;
  DotSums<V, kOut, kRows> sums;
  clear(sums);
  // The weight rows of the next tile follow in memory; the lead makes up for the time of a request.
  constexpr int64_t kLead = 1024;
  const char* next = reinterpret_cast<const char*>(at.w + kOut * at.row_bytes + kLead);
  int64_t number = 0;
  int64_t bytes = 0;
  for (; number + kStep <= at.in; number += kStep, bytes += kStepBytes) {
    dot_block<V, F, kOut, kRows>(at, number, bytes, next, sums);
    next += kOut * kStepBytes;
  }
  float totals[kOut][kRows] = {};
  add_totals<V, F, kOut, kRows>(sums, totals);
  if constexpr (V::kRuns == 2 && F::kElements == 32) {
    if (number < at.in) {
      DotSums<typename V::Tail, kOut, kRows> rest;
      clear(rest);
      dot_block<typename V::Tail, F, kOut, kRows>(at, number, bytes, next, rest);
      add_totals<typename V::Tail, F, kOut, kRows>(rest, totals);
    }
  }
  for (int o = 0; o < kOut; ++o) {
    for (int r = 0; r < kRows; ++r) {
      y[r * y_stride + o] = totals[o][r];
    }
  }
}

template <class V, class F, int kRows>
void dot_rows(const BlockActivations& x,
              const void* corrections,
              int64_t row,
              const BlockOutput& out) {
  const auto* x_sums = static_cast<const float*>(corrections);
  DotPlace at{x.codes + row * x.in,
              x.scales + row * x.in / 32,
              F::kMins ? x_sums + row * x.in / (F::kFine ? 16 : 32) : nullptr,
              x.in,
              nullptr,
              out.row_bytes};
  float* y = out.y + row * out.y_stride;
  int64_t o = out.begin;
  for (; o + V::kOut <= out.end; o += V::kOut) {
    at.w = out.w + o * out.row_bytes;
    dot_tile<V, F, V::kOut, kRows>(at, y + o, out.y_stride);
  }
  for (; o < out.end; ++o) {
    at.w = out.w + o * out.row_bytes;
    dot_tile<V, F, 1, kRows>(at, y + o, out.y_stride);
  }
}

/// Weight rows are taken in blocks that stay in the cache while all activation rows pass over them.
template <class V, class F>
void dot_linear(const BlockActivations& x, const void* corrections, const BlockOutput& out) {
  const int64_t block = x.rows <= V::kRows ? out.end - out.begin : 16;
  for (int64_t o = out.begin; o < out.end; o += block) {
    BlockOutput part = out;
    part.begin = o;
    part.end = o + block < out.end ? o + block : out.end;
    int64_t r = 0;
    if constexpr (V::kRows >= 3) {
      for (; r + 3 <= x.rows; r += 3) {
        dot_rows<V, F, 3>(x, corrections, r, part);
      }
    }
    if constexpr (V::kRows >= 2) {
      for (; r + 2 <= x.rows; r += 2) {
        dot_rows<V, F, 2>(x, corrections, r, part);
      }
    }
    for (; r < x.rows; ++r) {
      dot_rows<V, F, 1>(x, corrections, r, part);
    }
  }
}

/// The numbers of a row, bit for bit those of io::dequantize: products and differences are rounded
/// one by one in the same order.
template <class F>
void dequantize_row(const uint8_t* w, int64_t count, float* out) {
  for (int64_t number = 0; number < count; number += F::kElements, w += F::kBytes) {
    Heads<Single> heads;
    Single::read_heads<F>(w, heads);
#pragma GCC unroll 8
    for (int run = 0; run < F::kElements / 32; ++run) {
      alignas(32) uint8_t codes[32];
      _mm256_store_si256(reinterpret_cast<__m256i*>(codes), F::codes(w, run));
#pragma GCC unroll 4
      for (int part = 0; part < 4; ++part) {
        __m256 scale = heads.scale[0];
        __m256 min = heads.min[0];
        if constexpr (F::kElements > 32) {
          const int lane = F::kFine ? 2 * (run % 4) + part / 2 : run;
          const int half = F::kFine ? run / 4 : 0;
          scale = _mm256_permutevar8x32_ps(heads.scale[half], _mm256_set1_epi32(lane));
          if constexpr (F::kMins) {
            min = _mm256_permutevar8x32_ps(heads.min[half], _mm256_set1_epi32(lane));
          }
        }
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * part));
        const __m256i whole =
            _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(F::kOffset));
        __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(whole), scale);
        if constexpr (F::kMins) {
          value = _mm256_sub_ps(value, min);
        }
        _mm256_storeu_ps(out + number + 32 * run + 8 * part, value);
      }
    }
  }
}

/// Rounds rows of fp32 to int8 codes with a scale for each 32 (largest magnitude / 127), and adds
/// up the codes of each 16. A NaN makes its run's scale NaN.
inline void quantize_activations(
    const float* x, int64_t count, int8_t* codes, float* scales, int32_t* sums) {
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  for (int64_t i = 0; i < count; i += 32) {
    __m256 v[4];
    __m256 largest = _mm256_setzero_ps();
    __m256 odd = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      v[p] = _mm256_loadu_ps(x + i + 8 * p);
      largest = _mm256_max_ps(largest, _mm256_and_ps(v[p], no_sign));
      odd = _mm256_or_ps(odd, _mm256_cmp_ps(v[p], v[p], _CMP_UNORD_Q));
    }
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    half = _mm_max_ss(half, _mm_shuffle_ps(half, half, 1));
    const float top = _mm_cvtss_f32(half);
    const __m256 factor = _mm256_set1_ps(top > 1e-36F ? 127.0F / top : 0.0F);
    __m256i whole[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; ++p) {
      whole[p] = _mm256_cvtps_epi32(_mm256_mul_ps(v[p], factor));
    }
    // Packing works within 128-bit halves; the last permutation restores the order.
    const __m256i low = _mm256_packs_epi32(whole[0], whole[1]);
    const __m256i high = _mm256_packs_epi32(whole[2], whole[3]);
    const __m256i packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                                       _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i), packed);
    scales[i / 32] = _mm256_movemask_ps(odd) != 0 ? __builtin_nanf("") : top / 127.0F;
    // 128 is added for the sum of absolute differences, and taken off again.
    const __m256i shifted = _mm256_xor_si256(packed, _mm256_set1_epi8(static_cast<char>(0x80)));
    const __m256i eights = _mm256_sad_epu8(shifted, _mm256_setzero_si256());
    sums[i / 16] =
        static_cast<int32_t>(_mm256_extract_epi64(eights, 0) + _mm256_extract_epi64(eights, 1)) -
        2048;
    sums[i / 16 + 1] =
        static_cast<int32_t>(_mm256_extract_epi64(eights, 2) + _mm256_extract_epi64(eights, 3)) -
        2048;
  }
}
