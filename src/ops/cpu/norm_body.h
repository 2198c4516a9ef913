// Body of the row kernels, compiled once an instruction set over the vector type of
// linear_small_body.h and V::store(float*, v), V::mul(a, b), V::sigmoid(v). Included only by
// linear_small_<isa>.cc, in an anonymous namespace.

/// y = x · factor · weight with factor = 1 / √(mean(x²) + epsilon); weight may be null. The product
/// with the factor is rounded before that with the weight, as the Llama reference does.
template <class V>
void rms_norm_row(const float* x, const float* weight, float* y, int64_t width, float epsilon) {
  auto a = V::zero();
  auto b = V::zero();
  int64_t i = 0;
  for (; i + 2 * V::kWidth <= width; i += 2 * V::kWidth) {
    const auto low = V::load(x + i);
    const auto high = V::load(x + i + V::kWidth);
    a = V::fma(low, low, a);
    b = V::fma(high, high, b);
  }
  float total = V::sum(a) + V::sum(b);
  for (; i < width; ++i) {
    total += x[i] * x[i];
  }
  const float factor = 1.0F / __builtin_sqrtf(total / static_cast<float>(width) + epsilon);
  const auto factors = V::spread(factor);
  i = 0;
  for (; i + V::kWidth <= width; i += V::kWidth) {
    auto v = V::mul(V::load(x + i), factors);
    if (weight != nullptr) {
      v = V::mul(v, V::load(weight + i));
    }
    V::store(y + i, v);
  }
  for (; i < width; ++i) {
    const float v = x[i] * factor;
    y[i] = weight != nullptr ? v * weight[i] : v;
  }
}

/// y = gate · σ(gate) · up.
template <class V>
void silu_product(const float* gate, const float* up, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + V::kWidth <= count; i += V::kWidth) {
    const auto g = V::load(gate + i);
    V::store(y + i, V::mul(V::mul(g, V::sigmoid(g)), V::load(up + i)));
  }
  if (i < count) {  // the rest goes through the same code, so that a place does not change a number
    float g[V::kWidth] = {};
    float u[V::kWidth] = {};
    const auto rest = static_cast<unsigned>(count - i);
    __builtin_memcpy(g, gate + i, rest * sizeof(float));
    __builtin_memcpy(u, up + i, rest * sizeof(float));
    const auto v = V::load(g);
    V::store(g, V::mul(V::mul(v, V::sigmoid(v)), V::load(u)));
    __builtin_memcpy(y + i, g, rest * sizeof(float));
  }
}
