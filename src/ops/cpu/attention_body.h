// Bodies of paged and decode attention, compiled once an instruction set over a vector type V of
// kWidth lanes (zero, load of fp32 or bf16 bits, store, broadcast, fma, mul, sub, max, exp, sum,
// max_lane).
// Flash attention (arXiv 2205.14135) with pages as key tiles: a page's keys [dim][16] give the
// scores of 16 keys for up to 4 rows from one pass over dim, its values [16][dim] are added
// weighted by them. Bytes: every page of the head once for each tile of rows. Included in an
// anonymous namespace.

constexpr float kNever = -1e30F;
constexpr float kHidden = -1e29F;  // by a mask: still more than what is not there at all

// Own, since a function of the standard library compiled here could be the one that another
// instruction set's code is linked to.
inline int64_t within_page(int64_t key) {
  return key < 0 ? 0 : key > kPage ? kPage : key;
}

// What a tile keeps between pages. Rows beyond a vector's width are handled one dimension at a
// time.
struct TileState {
  float q[kTileRows * kMostDim];
  float acc[kTileRows * kMostDim];
  float weights[4 * kPage];
  float most[kTileRows];
  float total[kTileRows];
};

// Scores of 16 keys for kRows rows.
template <class V, class T, int kRows>
void score_page(const float* q, int64_t dim, const T* keys, float* scores) {
  constexpr int kParts = static_cast<int>(kPage / V::kWidth);
  typename V::Register sum[kRows][kParts];
  for (auto& row : sum) {
    for (auto& part : row) {
      part = V::zero();
    }
  }
  for (int64_t i = 0; i < dim; ++i) {
    typename V::Register k[kParts];
    for (int p = 0; p < kParts; ++p) {
      k[p] = V::load(keys + i * kPage + p * V::kWidth);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto x = V::broadcast(q[r * dim + i]);
      for (int p = 0; p < kParts; ++p) {
        sum[r][p] = V::fma(x, k[p], sum[r][p]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kParts; ++p) {
      V::store(scores + r * kPage + p * V::kWidth, sum[r][p]);
    }
  }
}

// acc[r] += Σ_key weight[r][key] · value[key], over the first `keys` ≤ kPage.
template <class V, class T, int kRows>
void add_values(const float* weights, const T* values, int64_t keys, int64_t dim, float* acc) {
  int64_t i = 0;
  for (; i + V::kWidth <= dim; i += V::kWidth) {
    typename V::Register sum[kRows];
    for (int r = 0; r < kRows; ++r) {
      sum[r] = V::load(acc + r * dim + i);
    }
    for (int64_t key = 0; key < keys; ++key) {
      const auto v = V::load(values + key * dim + i);
      for (int r = 0; r < kRows; ++r) {
        sum[r] = V::fma(V::broadcast(weights[r * kPage + key]), v, sum[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      V::store(acc + r * dim + i, sum[r]);
    }
  }
  for (; i < dim; ++i) {
    for (int r = 0; r < kRows; ++r) {
      float sum = acc[r * dim + i];
      for (int64_t key = 0; key < keys; ++key) {
        sum += weights[r * kPage + key] * widen(values[key * dim + i]);
      }
      acc[r * dim + i] = sum;
    }
  }
}

// Scores of one row -> weights, with the running maximum moved along. Keys [low, high) of the page
// count.
template <class V>
void soften(float* scores,
            int64_t low,
            int64_t high,
            int64_t dim,
            float cap,
            float* acc,
            float* most,
            float* total) {
  if (cap > 0) {
    for (int64_t key = 0; key < kPage; ++key) {
      scores[key] = cap * tanhf(scores[key] / cap);
    }
  }
  for (int64_t key = 0; key < low; ++key) {
    scores[key] = kNever;
  }
  for (int64_t key = high; key < kPage; ++key) {
    scores[key] = kNever;
  }
  float top = *most;
  for (int64_t p = 0; p < kPage; p += V::kWidth) {
    const float here = V::max_lane(V::load(scores + p));
    top = here > top ? here : top;
  }
  if (top > *most) {
    const float shrink = expf(*most - top);
    const auto factor = V::broadcast(shrink);
    int64_t i = 0;
    for (; i + V::kWidth <= dim; i += V::kWidth) {
      V::store(acc + i, V::mul(V::load(acc + i), factor));
    }
    for (; i < dim; ++i) {
      acc[i] *= shrink;
    }
    *total *= shrink;
    *most = top;
  }
  const auto base = V::broadcast(top);
  for (int64_t p = 0; p < kPage; p += V::kWidth) {
    const auto weight = V::exp(V::sub(V::load(scores + p), base));
    V::store(scores + p, weight);
    *total += V::sum(weight);
  }
}

template <class V, class T, int kRows>
void rows_of_page(const PagedAttention& job,
                  int64_t row,
                  int64_t begin,
                  int64_t page,
                  const T* keys,
                  const T* values,
                  TileState& state) {
  const int64_t group = job.heads / job.kv_heads;
  const int64_t local = row - begin;
  float* acc = state.acc + local * job.dim;
  score_page<V, T, kRows>(state.q + local * job.dim, job.dim, keys, state.weights);
  for (int r = 0; r < kRows; ++r) {
    const int64_t position = job.length - job.queries + (row + r) / group;
    const int64_t from = job.window > 0 ? position - job.window + 1 : 0;
    const int64_t low = within_page(from - page * kPage);
    const int64_t high = within_page(position + 1 - page * kPage);
    float* weights = state.weights + r * kPage;
    if (low >= high) {
      for (int64_t key = 0; key < kPage; ++key) {
        weights[key] = 0;
      }
    } else {
      soften<V>(weights, low, high, job.dim, job.cap, acc + r * job.dim, &state.most[local + r],
                &state.total[local + r]);
    }
  }
  add_values<V, T, kRows>(state.weights, values, kPage, job.dim, acc);
}

template <class V, class T>
void paged_attention_tile(const PagedAttention& job, int64_t kv_head, int64_t begin, int64_t end) {
  static thread_local TileState state;
  const int64_t group = job.heads / job.kv_heads;
  const int64_t dim = job.dim;
  const int64_t rows = end - begin;
  const auto place = [&](int64_t row) {  // of the row in q and out
    return ((job.first + row / group) * job.heads + kv_head * group + row % group) * dim;
  };
  for (int64_t r = 0; r < rows; ++r) {
    const float* q = job.q + place(begin + r);
    for (int64_t i = 0; i < dim; ++i) {
      state.q[r * dim + i] = q[i] * job.scale;
      state.acc[r * dim + i] = 0;
    }
    state.most[r] = kNever;
    state.total[r] = 0;
  }
  const int64_t oldest = job.length - job.queries + begin / group;
  const int64_t newest = job.length - job.queries + (end - 1) / group;
  const int64_t from = job.window > 0 ? oldest - job.window + 1 : 0;
  const int64_t first_page = from > 0 ? from / kPage : 0;
  for (int64_t page = first_page; page <= newest / kPage; ++page) {
    const int64_t head = int64_t{job.table[page]} * job.kv_heads + kv_head;
    const T* keys = static_cast<const T*>(job.keys) + head * dim * kPage;
    const T* values = static_cast<const T*>(job.values) + head * dim * kPage;
    int64_t row = begin;
    for (; row + 4 <= end; row += 4) {
      rows_of_page<V, T, 4>(job, row, begin, page, keys, values, state);
    }
    for (; row + 2 <= end; row += 2) {
      rows_of_page<V, T, 2>(job, row, begin, page, keys, values, state);
    }
    for (; row < end; ++row) {
      rows_of_page<V, T, 1>(job, row, begin, page, keys, values, state);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* out = job.out + place(begin + r);
    const float scale = 1.0F / state.total[r];
    for (int64_t i = 0; i < dim; ++i) {
      out[i] = state.acc[r * dim + i] * scale;
    }
  }
}

// A new token's head, kPage keys at a time. A row of hidden keys alone weighs them alike, as an
// additive mask would.
template <class V>
void decode_attention_head(const DecodeAttention& job) {
  float q[kMostDim];
  float acc[kMostDim];
  const int64_t dim = job.dim;
  for (int64_t i = 0; i < dim; ++i) {
    q[i] = job.q[i] * job.scale;
    acc[i] = 0;
  }
  float most = kNever;
  float total = 0;
  for (int64_t from = 0; from < job.length; from += kPage) {
    const int64_t keys = within_page(job.length - from);
    float scores[kPage];
    for (int64_t key = 0; key < keys; ++key) {
      const float* k = job.keys + (from + key) * dim;
      auto sum = V::zero();
      int64_t i = 0;
      for (; i + V::kWidth <= dim; i += V::kWidth) {
        sum = V::fma(V::load(q + i), V::load(k + i), sum);
      }
      float score = V::sum(sum);
      for (; i < dim; ++i) {
        score += q[i] * k[i];
      }
      scores[key] = job.seen != nullptr && job.seen[from + key] == 0 ? kHidden : score;
    }
    soften<V>(scores, 0, keys, dim, 0, acc, &most, &total);
    add_values<V, float, 1>(scores, job.values + from * dim, keys, dim, acc);
  }
  for (int64_t i = 0; i < dim; ++i) {
    job.out[i] = acc[i] / total;
  }
}
