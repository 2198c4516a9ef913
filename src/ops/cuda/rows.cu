// Norm, silu product, and rotary positions with the append to the cache: what lies between the
// linears. One block a row, vectors of 16 bytes where widths and addresses allow it. The sums and
// angles are fp32.
#include "ops/cuda/common.cuh"

namespace tessera::ops::gpu {
namespace {

template <class T, int N>
__global__ void rms_norm_kernel(NormJob job) {
  let_next_start();
  wait_for_previous();
  const T* x = static_cast<const T*>(job.x) + blockIdx.x * job.x_stride;
  const T* weight = static_cast<const T*>(job.weight);
  T* out = static_cast<T*>(job.out) + blockIdx.x * job.width;
  float sum = 0;
  for (int64_t i = threadIdx.x * N; i < job.width; i += blockDim.x * N) {
    const auto part = load<T, N>(x + i);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float value = to_float(part.at[j]);
      sum += value * value;
    }
  }
  __shared__ float sums[32];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) {
    sums[threadIdx.x / 32] = sum;
  }
  __syncthreads();
  sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) {
    sum += sums[warp];
  }
  const float factor = rsqrtf(sum / static_cast<float>(job.width) + job.epsilon);
  for (int64_t i = threadIdx.x * N; i < job.width; i += blockDim.x * N) {
    const auto part = load<T, N>(x + i);
    const auto scale = load<T, N>(weight + i);
    Vector<T, N> result;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float value = to_float(part.at[j]) * factor;
      const float own = to_float(scale.at[j]);
      result.at[j] = job.unit_offset ? from_float<T>(value * (1.0F + own))
                                     : from_float<T>(to_float(from_float<T>(value)) * own);
    }
    store<T, N>(out + i, result);
  }
}

template <class T, int N>
__global__ void silu_kernel(SiluJob job) {
  let_next_start();
  wait_for_previous();
  const T* gate = static_cast<const T*>(job.gate) + blockIdx.x * job.gate_stride;
  const T* up = static_cast<const T*>(job.up) + blockIdx.x * job.up_stride;
  T* out = static_cast<T*>(job.out) + blockIdx.x * job.width;
  const int64_t i = (static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x) * N;
  if (i >= job.width) {
    return;
  }
  const auto a = load<T, N>(gate + i);
  const auto b = load<T, N>(up + i);
  Vector<T, N> result;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    // Rounded in between, as two operations would.
    result.at[j] =
        from_float<T>(to_float(from_float<T>(silu(to_float(a.at[j])))) * to_float(b.at[j]));
  }
  store<T, N>(out + i, result);
}

constexpr int kRotaryThreads = 256;

// A thread turns the same N pairs of several heads: their sines are computed once. Threads of one
// head lie side by side.
template <class T, int N>
__global__ void rotary_kernel(RotaryJob job) {
  let_next_start();
  wait_for_previous();
  const int64_t token = blockIdx.x;
  const int position = job.positions[token];
  if (position < 0) {
    return;
  }
  const int64_t sequence = job.sequences != nullptr ? job.sequences[token] : token;
  const int64_t page = job.tables[sequence * job.table_stride + position / kPage];
  const int half = static_cast<int>(job.rotated) / 2;
  const int pairs = half / N;                                    // vectors of pairs of a head
  const int rest = static_cast<int>(job.dim - job.rotated) / N;  // vectors that are not turned
  const int each = pairs + rest;
  T* q = static_cast<T*>(job.q) + token * job.q_stride;
  T* k = static_cast<T*>(job.k) + token * job.k_stride;
  const T* v = static_cast<const T*>(job.v) + token * job.v_stride;
  const auto place = [&](int64_t head) {
    return ((page * kPage + position % kPage) * job.kv_heads + head) * job.dim;
  };
  T* keys = static_cast<T*>(job.keys);
  T* values = static_cast<T*>(job.values);
  const int vector = static_cast<int>(threadIdx.x) % each;
  const int heads_at_once = kRotaryThreads / each;
  const int first_head = static_cast<int>(threadIdx.x) / each;
  const int heads = static_cast<int>(job.heads + job.kv_heads);
  if (first_head < heads_at_once && vector < pairs) {
    float sine[N], cosine[N];
#pragma unroll
    for (int j = 0; j < N; ++j) {
      sine_cosine(static_cast<float>(position) * job.frequencies[vector * N + j], &sine[j],
                  &cosine[j]);
      sine[j] *= job.factor;
      cosine[j] *= job.factor;
    }
    for (int head = first_head; head < heads; head += heads_at_once) {
      const int64_t key_head = head - job.heads;
      T* from = (key_head < 0 ? q + head * job.dim : k + key_head * job.dim) + vector * N;
      const auto a = load<T, N>(from);
      const auto b = load<T, N>(from + half);
      Vector<T, N> first, second;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const float x = to_float(a.at[j]);
        const float y = to_float(b.at[j]);
        first.at[j] = from_float<T>(x * cosine[j] - y * sine[j]);
        second.at[j] = from_float<T>(y * cosine[j] + x * sine[j]);
      }
      store<T, N>(from, first);
      store<T, N>(from + half, second);
      if (key_head >= 0) {
        T* to = keys + place(key_head) + vector * N;
        store<T, N>(to, first);
        store<T, N>(to + half, second);
      }
    }
  } else if (first_head < heads_at_once) {
    const int at = static_cast<int>(job.rotated) + (vector - pairs) * N;
    for (int64_t head = first_head; head < job.kv_heads; head += heads_at_once) {
      store<T, N>(keys + place(head) + at, load<T, N>(k + head * job.dim + at));
    }
  }
  const int vectors = static_cast<int>(job.dim) / N;
  for (int i = threadIdx.x; i < job.kv_heads * vectors; i += kRotaryThreads) {
    const int head = i / vectors;
    const int at = i % vectors * N;
    store<T, N>(values + place(head) + at, load<T, N>(v + head * job.dim + at));
  }
}

// Whether numbers that are so far apart, from this address on, are N at a time.
bool fits(const void* address, int64_t apart, int n, int bytes) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(n * bytes) == 0 &&
         apart % n == 0;
}

int bytes_of(Type type) {
  return type == Type::kFloat ? 4 : 2;
}

template <class T, int N>
const char* rms_norm_of(const NormJob& job, void* stream) {
  const int64_t vectors = (job.width + N - 1) / N;
  const auto threads = static_cast<unsigned>(vectors >= 512 ? 512 : (vectors + 31) / 32 * 32);
  return launch(rms_norm_kernel<T, N>, dim3(static_cast<unsigned>(job.rows)), threads, 0, stream,
                job);
}

template <class T, int N>
const char* silu_of(const SiluJob& job, void* stream) {
  constexpr unsigned kThreads = 128;
  const dim3 grid(static_cast<unsigned>(job.rows),
                  static_cast<unsigned>((job.width / N + kThreads - 1) / kThreads));
  return launch(silu_kernel<T, N>, grid, kThreads, 0, stream, job);
}

template <class T, int N>
const char* rotary_of(const RotaryJob& job, void* stream) {
  if ((job.dim - job.rotated / 2) / N > kRotaryThreads) {
    return "rotary positions: heads are too wide";
  }
  return launch(rotary_kernel<T, N>, dim3(static_cast<unsigned>(job.tokens)), kRotaryThreads, 0,
                stream, job);
}

}  // namespace

const char* run_rms_norm(const NormJob& job, void* stream) {
  if (job.rows == 0) {
    return nullptr;
  }
  const int most = 16 / bytes_of(job.type);
  const bool wide = job.width % most == 0 && fits(job.x, job.x_stride, most, bytes_of(job.type)) &&
                    fits(job.weight, 0, most, bytes_of(job.type));
  switch (job.type) {
    case Type::kFloat:
      return wide ? rms_norm_of<float, 4>(job, stream) : rms_norm_of<float, 1>(job, stream);
    case Type::kHalf:
      return wide ? rms_norm_of<__half, 8>(job, stream) : rms_norm_of<__half, 1>(job, stream);
    case Type::kBFloat16:
      return wide ? rms_norm_of<__nv_bfloat16, 8>(job, stream)
                  : rms_norm_of<__nv_bfloat16, 1>(job, stream);
  }
  return "unknown type";
}

const char* run_silu_product(const SiluJob& job, void* stream) {
  if (job.rows == 0 || job.width == 0) {
    return nullptr;
  }
  const int most = 16 / bytes_of(job.type);
  const bool wide = job.width % most == 0 &&
                    fits(job.gate, job.gate_stride, most, bytes_of(job.type)) &&
                    fits(job.up, job.up_stride, most, bytes_of(job.type));
  switch (job.type) {
    case Type::kFloat:
      return wide ? silu_of<float, 4>(job, stream) : silu_of<float, 1>(job, stream);
    case Type::kHalf:
      return wide ? silu_of<__half, 8>(job, stream) : silu_of<__half, 1>(job, stream);
    case Type::kBFloat16:
      return wide ? silu_of<__nv_bfloat16, 8>(job, stream) : silu_of<__nv_bfloat16, 1>(job, stream);
  }
  return "unknown type";
}

const char* run_rotary_append(const RotaryJob& job, void* stream) {
  if (job.tokens == 0) {
    return nullptr;
  }
  const int most = 16 / bytes_of(job.type);
  const bool wide = job.rotated / 2 % most == 0 && job.dim % most == 0 &&
                    fits(job.q, job.q_stride, most, bytes_of(job.type)) &&
                    fits(job.k, job.k_stride, most, bytes_of(job.type)) &&
                    fits(job.v, job.v_stride, most, bytes_of(job.type));
  switch (job.type) {
    case Type::kFloat:
      return wide ? rotary_of<float, 4>(job, stream) : rotary_of<float, 1>(job, stream);
    case Type::kHalf:
      return wide ? rotary_of<__half, 8>(job, stream) : rotary_of<__half, 1>(job, stream);
    case Type::kBFloat16:
      return wide ? rotary_of<__nv_bfloat16, 8>(job, stream)
                  : rotary_of<__nv_bfloat16, 1>(job, stream);
  }
  return "unknown type";
}

}  // namespace tessera::ops::gpu
