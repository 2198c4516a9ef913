// Attention of one query a sequence over pages of keys and values (flash-decoding: the keys are cut
// into splits, whose sums the last block to end puts together). A block takes one split of one
// key/value head with up to kHeads of the query heads that share it. In a block, teams of lanes
// take tokens in turn, kAhead at a time; every lane holds 8 neighbouring dimensions, so that a row
// of keys is read in vectors of 16 bytes, and every team has sums of its own until the end.
#include "ops/cuda/common.cuh"

namespace tessera::ops::gpu {
namespace {

constexpr int kThreads = 128;
constexpr int kDims = 8;         // of a lane
constexpr int kAhead = 2;        // tokens of a team that are under way together
constexpr int kLeastSplit = 32;  // tokens
constexpr float kLog2e = 1.4426950408889634F;

// Lanes: of a team, a power of two, at least dim / kDims.
template <class T, int kLanes, int kHeads>
struct Team {
  float most[kHeads], sum[kHeads], sums[kHeads][kDims];

  __device__ Team() {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      most[h] = -INFINITY;
      sum[h] = 0;
#pragma unroll
      for (int i = 0; i < kDims; ++i) {
        sums[h][i] = 0;
      }
    }
  }

  // Takes kCount tokens in; those that are not `there` count for nothing.
  template <int kCount>
  __device__ void take(const DecodeJob& job,
                       const float (&q)[kHeads][kDims],
                       const Vector<T, kDims> (&k)[kCount],
                       const Vector<T, kDims> (&v)[kCount],
                       const bool (&there)[kCount]) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float scores[kCount];
      float largest = most[h];
#pragma unroll
      for (int u = 0; u < kCount; ++u) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < kDims; ++i) {
          score = fmaf(q[h][i], to_float(k[u].at[i]), score);
        }
#pragma unroll
        for (int apart = kLanes / 2; apart > 0; apart /= 2) {
          score += __shfl_xor_sync(0xffffffffU, score, apart);
        }
        if (job.cap > 0) {
          score = job.cap * tanhf(score / job.cap) * kLog2e;
        }
        scores[u] = there[u] ? score : -INFINITY;
        largest = fmaxf(largest, scores[u]);
      }
      if (largest == -INFINITY) {
        continue;  // this team has had no token yet
      }
      const float keep = exp2f(most[h] - largest);
      most[h] = largest;
      sum[h] *= keep;
#pragma unroll
      for (int i = 0; i < kDims; ++i) {
        sums[h][i] *= keep;
      }
#pragma unroll
      for (int u = 0; u < kCount; ++u) {
        const float p = exp2f(scores[u] - largest);
        sum[h] += p;
#pragma unroll
        for (int i = 0; i < kDims; ++i) {
          sums[h][i] = fmaf(p, to_float(v[u].at[i]), sums[h][i]);
        }
      }
    }
  }
};

// The sines of a lane's dimensions at one position; pairs are half of the rotated width apart.
struct Turn {
  float cosine[kDims], sine[kDims];
  int apart;  // from a dimension to the other of its pair

  __device__ Turn(const DecodeJob& job, int at, int position) {
    const auto half = static_cast<int>(job.rotated) / 2;
    apart = at >= job.rotated ? 0 : at < half ? half : -half;
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      sine[i] = 0;
      cosine[i] = 1;
      if (apart != 0) {
        sine_cosine(static_cast<float>(position) * job.frequencies[at % half + i], &sine[i],
                    &cosine[i]);
        cosine[i] *= job.factor;
        sine[i] *= apart > 0 ? -job.factor : job.factor;
      }
    }
  }

  // 8 numbers of a head, turned; `from` points to the first of them.
  template <class T>
  __device__ Vector<T, kDims> of(const T* from) const {
    const auto own = load<T, kDims>(from);
    const auto other = load<T, kDims>(from + apart);
    Vector<T, kDims> turned;
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      turned.at[i] =
          from_float<T>(to_float(own.at[i]) * cosine[i] + to_float(other.at[i]) * sine[i]);
    }
    return turned;
  }
};

// kNew: the newest tokens come with the queries, see DecodeJob::new_keys.
template <class T, int kLanes, int kHeads, bool kNew>
__global__ void __launch_bounds__(kThreads, kHeads == 1 ? 8 : 1) decode_kernel(DecodeJob job) {
  constexpr int kTeams = kThreads / kLanes;
  extern __shared__ float shared[];  // [kHeads, kTeams, dim + 2]
  __shared__ bool last;
  let_next_start();
  wait_for_previous();
  const auto dim = static_cast<int>(job.dim);
  const int group = static_cast<int>(job.heads / job.kv_heads);  // query heads of a key head
  const int chunks = (group + kHeads - 1) / kHeads;
  const int kv_head = static_cast<int>(blockIdx.y) / chunks;
  const int in_group = static_cast<int>(blockIdx.y) % chunks * kHeads;
  const int heads = min(kHeads, group - in_group);
  const int64_t head = static_cast<int64_t>(kv_head) * group + in_group;  // the first
  const int64_t row = blockIdx.z;
  T* out = static_cast<T*>(job.out) + (row * job.heads + head) * dim;
  const int length = job.lengths[row];
  if (length <= 0) {
    for (int i = threadIdx.x; blockIdx.x == 0 && i < heads * dim; i += kThreads) {
      out[i] = from_float<T>(0);
    }
    return;
  }
  const int begin_all =
      job.window > 0 && length > job.window ? length - static_cast<int>(job.window) : 0;
  const int tokens = length - begin_all;
  const auto most_splits = static_cast<int>(job.splits);
  const int split = max(kLeastSplit, (tokens + most_splits - 1) / most_splits);
  const int splits = (tokens + split - 1) / split;
  const int begin = begin_all + static_cast<int>(blockIdx.x) * split;
  int end = min(length, begin + split);
  if (begin >= end) {
    return;
  }

  const int team = static_cast<int>(threadIdx.x) / kLanes;
  const int at = static_cast<int>(threadIdx.x) % kLanes * kDims;
  const bool inside = at < dim;
  const int32_t* table = job.tables + row * job.table_stride;
  const int64_t token_numbers = job.kv_heads * dim;
  T* keys = static_cast<T*>(job.keys) + kv_head * dim + at;
  T* values = static_cast<T*>(job.values) + kv_head * dim + at;
  const T* q = static_cast<const T*>(job.q) + row * job.q_stride + head * dim + at;
  const float to_score = job.cap > 0 ? job.scale : job.scale * kLog2e;
  float qs[kHeads][kDims];
  Team<T, kLanes, kHeads> sums;
  const auto take_query = [&](int h, const Vector<T, kDims>& part) {
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      qs[h][i] = inside && h < heads ? to_float(part.at[i]) * to_score : 0;
    }
  };
  if constexpr (!kNew) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      Vector<T, kDims> part = {};
      if (inside && h < heads) {
        part = load<T, kDims>(q + h * dim);
      }
      take_query(h, part);
    }
  } else {
    const Turn turn(job, at, length - 1);
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      Vector<T, kDims> part = {};
      if (inside && h < heads) {
        part = turn.of(q + h * dim);
      }
      take_query(h, part);
    }
    if (end == length) {  // the newest token is in no page yet
      --end;
      Vector<T, kDims> k[1] = {}, v[1] = {};
      const bool there[1] = {team == 0};
      if (inside) {
        k[0] = turn.of(static_cast<const T*>(job.new_keys) + row * job.new_stride + kv_head * dim +
                       at);
        v[0] = load<T, kDims>(static_cast<const T*>(job.new_values) + row * job.new_stride +
                              kv_head * dim + at);
        if (team == 0 && in_group == 0) {
          const int64_t place = (int64_t{table[end / kPage]} * kPage + end % kPage) * token_numbers;
          store<T, kDims>(keys + place, k[0]);
          store<T, kDims>(values + place, v[0]);
        }
      }
      sums.template take<1>(job, qs, k, v, there);
    }
  }

  int pages[kAhead];
  const auto find = [&](int first) {
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      const int token = first + u * kTeams;
      pages[u] = token < end ? table[token / kPage] : 0;
    }
  };
  find(begin + team);
  for (int first = begin + team; first - team < end; first += kTeams * kAhead) {
    Vector<T, kDims> k[kAhead], v[kAhead];
    bool there[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      const int token = first + u * kTeams;
      there[u] = token < end;
      k[u] = v[u] = {};
      if (inside && there[u]) {
        const int64_t place = (int64_t{pages[u]} * kPage + token % kPage) * token_numbers;
        k[u] = load<T, kDims>(keys + place);
        v[u] = load<T, kDims>(values + place);
      }
    }
    find(first + kTeams * kAhead);
    sums.template take<kAhead>(job, qs, k, v, there);
  }

  // The teams' sums become the block's.
  const int width = dim + 2;
  if (inside) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float* to = shared + (h * kTeams + team) * width;
#pragma unroll
      for (int i = 0; i < kDims; ++i) {
        to[at + i] = sums.sums[h][i];
      }
      if (at == 0) {
        to[dim] = sums.most[h];
        to[dim + 1] = sums.sum[h];
      }
    }
  }
  __syncthreads();
  const bool alone = splits == 1;
  float* partial = job.partials + ((row * job.heads + head) * job.splits + blockIdx.x) * width;
  for (int i = threadIdx.x; i < heads * dim; i += kThreads) {
    const float* from = shared + i / dim * kTeams * width;
    const int d = i % dim;
    float largest = -INFINITY;
    for (int t = 0; t < kTeams; ++t) {
      largest = fmaxf(largest, from[t * width + dim]);
    }
    float total = 0, weights = 0;
    for (int t = 0; t < kTeams; ++t) {
      const float factor = exp2f(from[t * width + dim] - largest);
      total += factor * from[t * width + d];
      weights += factor * from[t * width + dim + 1];
    }
    if (alone) {
      out[i] = from_float<T>(total / weights);
    } else {
      float* to = partial + i / dim * job.splits * width;
      to[d] = total;
      if (d == 0) {
        to[dim] = largest;
        to[dim + 1] = weights;
      }
    }
  }
  if (alone) {
    return;
  }

  // The last block of the splits to come here puts them together.
  __threadfence();
  __syncthreads();
  int32_t* counter = job.counters + row * gridDim.y + blockIdx.y;
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1) == splits - 1;
    if (last) {
      *counter = 0;
    }
  }
  __syncthreads();
  if (!last) {
    return;
  }
  __threadfence();
  const float* all = job.partials + (row * job.heads + head) * job.splits * width;
  for (int i = threadIdx.x; i < heads * dim; i += kThreads) {
    const float* from = all + i / dim * job.splits * width;
    const int d = i % dim;
    float largest = -INFINITY;
#pragma unroll 8
    for (int s = 0; s < splits; ++s) {
      largest = fmaxf(largest, __ldcg(from + s * width + dim));
    }
    float total = 0, weights = 0;
#pragma unroll 8
    for (int s = 0; s < splits; ++s) {
      const float factor = exp2f(__ldcg(from + s * width + dim) - largest);
      total += factor * __ldcg(from + s * width + d);
      weights += factor * __ldcg(from + s * width + dim + 1);
    }
    out[i] = from_float<T>(total / weights);
  }
}

template <class T, int kLanes, int kHeads>
const char* decode_of(const DecodeJob& job, void* stream) {
  const int64_t group = job.heads / job.kv_heads;
  const dim3 grid(static_cast<unsigned>(job.splits),
                  static_cast<unsigned>(job.kv_heads * ((group + kHeads - 1) / kHeads)),
                  static_cast<unsigned>(job.rows));
  const auto shared = static_cast<unsigned>(kHeads * (kThreads / kLanes) * (job.dim + 2) *
                                            static_cast<int64_t>(sizeof(float)));
  if (job.new_keys != nullptr) {
    return launch(decode_kernel<T, kLanes, kHeads, true>, grid, kThreads, shared, stream, job);
  }
  return launch(decode_kernel<T, kLanes, kHeads, false>, grid, kThreads, shared, stream, job);
}

template <class T, int kLanes>
const char* decode_heads(const DecodeJob& job, void* stream) {
  const int64_t group = job.heads / job.kv_heads;
  if (group == 1) {
    return decode_of<T, kLanes, 1>(job, stream);
  }
  return group <= 4 ? decode_of<T, kLanes, 4>(job, stream) : decode_of<T, kLanes, 8>(job, stream);
}

template <class T>
const char* decode_dims(const DecodeJob& job, void* stream) {
  if (job.dim <= 16 * 4) {
    return decode_heads<T, 8>(job, stream);
  }
  return job.dim <= 128 ? decode_heads<T, 16>(job, stream) : decode_heads<T, 32>(job, stream);
}

}  // namespace

const char* run_decode_attention(const DecodeJob& job, void* stream) {
  if (job.rows == 0) {
    return nullptr;
  }
  if (job.dim % kDims != 0 || job.dim > 256) {
    return "paged attention: heads must be a multiple of 8 wide, at most 256";
  }
  if (job.new_keys != nullptr && job.rotated % (2 * kDims) != 0) {
    return "paged attention: the rotated width must be a multiple of 16";
  }
  switch (job.type) {
    case Type::kFloat:
      return decode_dims<float>(job, stream);
    case Type::kHalf:
      return decode_dims<__half>(job, stream);
    case Type::kBFloat16:
      return decode_dims<__nv_bfloat16>(job, stream);
  }
  return "unknown type";
}

}  // namespace tessera::ops::gpu
