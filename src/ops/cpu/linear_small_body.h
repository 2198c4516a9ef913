// Body of the small-batch linear kernels, compiled once an instruction set over a vector type V:
//   V::kWidth lanes; V::zero(), V::load(const float*), V::load(const W*) (widens to fp32),
//   V::fma(a, b, c) = a·b + c, V::sum(v).
// Tiling: kTileOut weight rows × kTileRows activation rows share their loads in registers; a weight
// byte is read from memory once for every kTileRows rows of x, and x (≤ 16 rows) stays in the L2
// cache. Bytes: out·in·sizeof(W); flops: 2·rows·out·in. Included only by linear_small_<isa>.cc, in
// an anonymous namespace so that no instruction set's code is shared with another's.

template <class V, class W, int kTileOut, int kTileRows>
void tile(const float* x,
          int64_t x_stride,
          const W* w,
          const float* scale,
          float* y,
          int64_t y_stride,
          int64_t in,
          int64_t out_index) {
  typename V::Register sum[kTileOut][kTileRows];
  for (auto& row : sum) {
    for (auto& cell : row) {
      cell = V::zero();
    }
  }
  int64_t i = 0;
  for (; i + V::kWidth <= in; i += V::kWidth) {
    typename V::Register xs[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      xs[r] = V::load(x + r * x_stride + i);
    }
    for (int o = 0; o < kTileOut; ++o) {
      const auto ws = V::load(w + (out_index + o) * in + i);
      for (int r = 0; r < kTileRows; ++r) {
        sum[o][r] = V::fma(xs[r], ws, sum[o][r]);
      }
    }
  }
  for (int o = 0; o < kTileOut; ++o) {
    const float factor = scale == nullptr ? 1.0F : scale[out_index + o];
    for (int r = 0; r < kTileRows; ++r) {
      float total = V::sum(sum[o][r]);
      for (int64_t j = i; j < in; ++j) {
        total += x[r * x_stride + j] * widen(w[(out_index + o) * in + j]);
      }
      y[r * y_stride + out_index + o] = total * factor;
    }
  }
}

template <class V, class W, int kTileRows>
void rows_block(const float* x,
                int64_t x_stride,
                const W* w,
                const float* scale,
                float* y,
                int64_t y_stride,
                int64_t in,
                int64_t begin,
                int64_t end) {
  int64_t o = begin;
  for (; o + 4 <= end; o += 4) {
    tile<V, W, 4, kTileRows>(x, x_stride, w, scale, y, y_stride, in, o);
  }
  for (; o < end; ++o) {
    tile<V, W, 1, kTileRows>(x, x_stride, w, scale, y, y_stride, in, o);
  }
}

// Weight rows are taken in blocks that stay in the L1/L2 cache while all row tiles of x pass over
// them.
template <class V, class W>
void small_linear(const float* x,
                  int64_t x_stride,
                  const W* w,
                  const float* scale,
                  float* y,
                  int64_t y_stride,
                  int64_t rows,
                  int64_t in,
                  int64_t begin,
                  int64_t end) {
  constexpr int64_t kBlock = 16;
  for (int64_t o = begin; o < end; o += kBlock) {
    const int64_t stop = o + kBlock < end ? o + kBlock : end;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
      rows_block<V, W, 4>(x + r * x_stride, x_stride, w, scale, y + r * y_stride, y_stride, in, o,
                          stop);
    }
    for (; r + 2 <= rows; r += 2) {
      rows_block<V, W, 2>(x + r * x_stride, x_stride, w, scale, y + r * y_stride, y_stride, in, o,
                          stop);
    }
    for (; r < rows; ++r) {
      rows_block<V, W, 1>(x + r * x_stride, x_stride, w, scale, y + r * y_stride, y_stride, in, o,
                          stop);
    }
  }
}
