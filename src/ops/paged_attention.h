// Attention of many sequences of different lengths at once, over keys and values that lie in pages
// (arXiv 2309.06180): what continuous batching steps with. A page holds kPageTokens tokens of one
// layer, keys transposed so that the scores of all its tokens come from one pass over the head's
// dimensions.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace tessera::ops {

constexpr int64_t kPageTokens = 16;

/// How scores are made of queries and keys, and which keys count.
struct ScoreOptions {
  double scale = 1.0;
  double cap = 0.0;    // > 0: cap · tanh(score / cap), before the mask
  int64_t window = 0;  // > 0: a query sees that many keys at most, its own included
};

/// The same step as a GPU's kernels read it, all i32 on the device. Sequences with one query come
/// first, those with more behind them.
struct PagedDeviceBatch {
  at::Tensor tables = {};     // [S, most pages]
  at::Tensor lengths = {};    // [singles]; 0: there is no such sequence, its output is 0
  at::Tensor positions = {};  // [N]; below 0: no token
  at::Tensor sequences = {};  // [N]: rows of `tables`; undefined: token i is of row i
  int64_t singles = 0;
  // Of the others (M); keys of sequences that have some from earlier steps are gathered.
  at::Tensor query_ends = {};  // [M + 1]: cumulative queries, from 0
  at::Tensor key_ends = {};    // [M + 1]: cumulative keys
  at::Tensor key_slots = {};   // [keys]: page · kPageTokens + place; undefined: the step's are all
  int64_t most_queries = 0;
  int64_t most_keys = 0;
};

/// Where the sequences of one step are. Queries of sequence s are rows first_query[s] …
/// first_query[s + 1] − 1; they are its newest tokens. All on the host, i32, contiguous.
struct PagedBatch {
  at::Tensor tables;             // [S, most pages]: page of each kPageTokens tokens; rest unused
  at::Tensor lengths;            // [S]: tokens, those of this step included
  at::Tensor first_query;        // [S + 1]
  PagedDeviceBatch device = {};  // for paged_rotary_attention
};

/// What turns queries and keys (nn/rope.h).
struct RotaryTable {
  at::Tensor frequencies;  // fp32 [rotated / 2]
  double factor = 1.0;     // of sines and cosines
};

/// Shape of a pool of `pages` pages for keys (`values`: for values) on that kind of device: on the
/// CPU [pages, kv_heads, d, kPageTokens] and [pages, kv_heads, kPageTokens, d], on a GPU both
/// [pages, kPageTokens, kv_heads, d].
std::vector<int64_t> pool_shape(
    int64_t pages, int64_t kv_heads, int64_t dim, bool values, at::DeviceType device);

/// Whether paged_rotary_attention takes heads and pools like these.
bool has_paged_rotary_attention(const at::Tensor& key_pool, const ScoreOptions& scores);

/// On a GPU, for a step with batch.device: rotates q [N, heads, d] and k [N, kv_heads, d] in place,
/// writes k and v to the pools, and attends -> [N, heads · d]. One query a sequence runs in a
/// kernel of ours that reads each key once for all its queries, more in libtorch's flash attention.
at::Tensor paged_rotary_attention(const at::Tensor& q,
                                  const at::Tensor& k,
                                  const at::Tensor& v,
                                  const RotaryTable& rotary,
                                  const PagedDeviceBatch& batch,
                                  at::Tensor& key_pool,
                                  at::Tensor& value_pool,
                                  const ScoreOptions& scores);

/// Writes keys and values [N, kv_heads, d] of a step's tokens, which stand in the order of the
/// batch's queries, into the pages. Pools as pool_shape says, fp32 or bf16 (fp16 on a GPU). Throws
/// InvalidArgument for shapes that do not fit.
void paged_append(const at::Tensor& k,
                  const at::Tensor& v,
                  const PagedBatch& batch,
                  at::Tensor& key_pool,
                  at::Tensor& value_pool);

/// Causal attention of q [N, heads, d] over the pages -> [N, heads · d], fp32 on the CPU. Query row
/// i of sequence s stands at position lengths[s] − queries + i.
at::Tensor paged_attention(const at::Tensor& q,
                           const at::Tensor& key_pool,
                           const at::Tensor& value_pool,
                           const PagedBatch& batch,
                           const ScoreOptions& scores);

/// The same by plain tensor operations, on any device: oracle of the tests.
at::Tensor paged_attention_reference(const at::Tensor& q,
                                     const at::Tensor& key_pool,
                                     const at::Tensor& value_pool,
                                     const PagedBatch& batch,
                                     const ScoreOptions& scores);

}  // namespace tessera::ops
