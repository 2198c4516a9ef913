// The CPU kernels of ops/paged_attention.h and ops/decode_attention.h; only plain pointers cross
// this border.
#pragma once

#include "ops/cpu/dispatch.h"

#include <cstdint>

namespace tessera::ops::cpu {

constexpr int64_t kPage = 16;      // tokens of a page
constexpr int64_t kMostDim = 256;  // largest dimension of a head
constexpr int64_t kTileRows = 64;  // query rows (token × head of the group) that one item has

/// One step's attention. Pools: keys [pages, kv_heads, dim, kPage], values [pages, kv_heads, kPage,
/// dim], both fp32 or both bf16 bits.
struct PagedAttention {
  const float* q;  // [N, heads, dim]
  float* out;      // [N, heads, dim]
  const void* keys;
  const void* values;
  const int32_t* table;  // pages of this sequence
  int64_t length;        // keys of this sequence
  int64_t first;         // row of q of its first query
  int64_t queries;       // its newest tokens
  int64_t heads;
  int64_t kv_heads;
  int64_t dim;
  float scale;
  float cap;       // 0: none
  int64_t window;  // 0: none
};

/// Rows [begin, end) of one key/value head: row r is query r / group, head r % group of the group.
using PagedAttentionTile = void (*)(const PagedAttention& job,
                                    int64_t kv_head,
                                    int64_t begin,
                                    int64_t end);

/// One head of one new token over keys and values that lie in a row. fp32.
struct DecodeAttention {
  const float* q;             // [dim]
  float* out;                 // [dim]
  const float* keys;          // [length, dim]
  const float* values;        // [length, dim]
  const unsigned char* seen;  // [length], 0: hidden; null: all are seen
  int64_t length;
  int64_t dim;
  float scale;
};

using DecodeAttentionHead = void (*)(const DecodeAttention& job);

struct AttentionKernels {
  PagedAttentionTile paged_fp32;  // of fp32 pools
  PagedAttentionTile paged_bf16;  // of bf16 pools
  DecodeAttentionHead decode;
};

// Defined in attention_<isa>.cc.
extern const AttentionKernels kPortableAttention;
extern const AttentionKernels kAvx2Attention;
extern const AttentionKernels kAvx512Attention;

}  // namespace tessera::ops::cpu
