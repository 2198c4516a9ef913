// Attention of many sequences of different lengths at once, over keys and values that lie in pages
// (arXiv 2309.06180): what continuous batching steps with. A page holds kPageTokens tokens of one
// layer, keys transposed so that the scores of all its tokens come from one pass over the head's
// dimensions.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::ops {

constexpr int64_t kPageTokens = 16;

/// How scores are made of queries and keys, and which keys count.
struct ScoreOptions {
  double scale = 1.0;
  double cap = 0.0;    // > 0: cap · tanh(score / cap), before the mask
  int64_t window = 0;  // > 0: a query sees that many keys at most, its own included
};

/// Where the sequences of one step are. Queries of sequence s are rows first_query[s] …
/// first_query[s + 1] − 1; they are its newest tokens. All on the host, i32, contiguous.
struct PagedBatch {
  at::Tensor tables;       // [S, most pages]: page of each kPageTokens tokens; rest unused
  at::Tensor lengths;      // [S]: tokens, those of this step included
  at::Tensor first_query;  // [S + 1]
};

/// Writes keys and values [N, kv_heads, d] of a step's tokens, which stand in the order of the
/// batch's queries, into the pages. Pools: keys [pages, kv_heads, d, kPageTokens], values [pages,
/// kv_heads, kPageTokens, d], fp32 or bf16. Throws InvalidArgument for shapes that do not fit.
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
