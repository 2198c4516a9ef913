// Attention of one new token a sequence over keys and values that lie in a row: what a static batch
// steps with.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::ops {

/// Whether decode_attention takes these: fp32 on the CPU, one token, heads of at most 256, no
/// gradient asked for.
bool has_decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// softmax(scale · q kᵀ) v of q [B, heads, 1, d] over k, v [B, kv_heads, length, d] (a head's rows
/// one after another, as in a buffer with room for more) -> [B, 1, heads · d]. `mask` bool
/// [1 or B, 1, 1, length], false hides a key; undefined: all are seen. Throws InvalidArgument for
/// shapes that do not fit.
at::Tensor decode_attention(const at::Tensor& q,
                            const at::Tensor& k,
                            const at::Tensor& v,
                            const at::Tensor& mask,
                            double scale);

}  // namespace tessera::ops
