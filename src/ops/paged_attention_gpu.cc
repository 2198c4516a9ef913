// On a GPU a step is one kernel for rotation and append (ops/cuda/rows.cu), one for all sequences
// with one query (ops/cuda/decode_attention.cu), and flash attention over the other sequences'
// keys: those of the step, or where there are earlier ones all of them, gathered. Nothing here
// waits for the device.
#include "core/error.h"
#include "ops/gpu.h"
#include "ops/paged_attention.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>

namespace tessera::ops {
namespace {

static_assert(kPageTokens == gpu::kPage);

// Blocks that keep an H200 busy: splits are made until there are so many.
constexpr int64_t kBlocks = 800;
constexpr int64_t kMostSplits = 32;
constexpr int64_t kLeastSplit = 32;  // tokens; that of the kernel
constexpr int64_t kCounters = int64_t{1} << 16;

// The kernel for single queries turns vectors of 8 dimensions.
bool turns_in_attention(const RotaryTable& rotary) {
  return rotary.frequencies.size(0) % 8 == 0;
}

// Zeros that every launch leaves as zeros, one set a device; never freed, since CUDA may be gone at
// exit. One thread drives a device, on one stream.
const at::Tensor& counters(at::Device device) {
  static auto* const sets = new std::array<at::Tensor, 64>();
  at::Tensor& own = sets->at(static_cast<size_t>(device.index()));
  if (!own.defined()) {
    own = at::zeros({kCounters}, at::TensorOptions().dtype(at::kInt).device(device));
  }
  return own;
}

// For the tokens from `first` on.
void rotate_and_append(const at::Tensor& q,
                       const at::Tensor& k,
                       const at::Tensor& v,
                       const RotaryTable& rotary,
                       const PagedDeviceBatch& batch,
                       int64_t first,
                       at::Tensor& key_pool,
                       at::Tensor& value_pool) {
  const int64_t tokens = q.size(0) - first;
  const at::Tensor new_q = q.narrow(0, first, tokens);
  const at::Tensor new_k = k.narrow(0, first, tokens);
  const at::Tensor new_v = v.narrow(0, first, tokens);
  gpu::RotaryJob job;
  job.q = new_q.mutable_data_ptr();
  job.k = new_k.mutable_data_ptr();
  job.v = new_v.const_data_ptr();
  job.q_stride = q.stride(0);
  job.k_stride = k.stride(0);
  job.v_stride = v.stride(0);
  job.tokens = tokens;
  job.heads = q.size(1);
  job.kv_heads = k.size(1);
  job.dim = q.size(2);
  job.rotated = 2 * rotary.frequencies.size(0);
  job.frequencies = rotary.frequencies.const_data_ptr<float>();
  job.factor = static_cast<float>(rotary.factor);
  job.positions = batch.positions.const_data_ptr<int32_t>() + first;
  if (batch.sequences.defined()) {
    job.sequences = batch.sequences.const_data_ptr<int32_t>() + first;
  }
  job.tables = batch.tables.const_data_ptr<int32_t>();
  job.table_stride = batch.tables.stride(0);
  job.keys = key_pool.mutable_data_ptr();
  job.values = value_pool.mutable_data_ptr();
  job.type = gpu_type(q.scalar_type());
  check_launch(gpu_kernels()->rotary_append(job), "rotary positions");
}

// What one kernel does for all sequences with one query, rotation and append included.
void attend_singles(const at::Tensor& q,
                    const at::Tensor& k,
                    const at::Tensor& v,
                    const RotaryTable& rotary,
                    const PagedDeviceBatch& batch,
                    at::Tensor& key_pool,
                    at::Tensor& value_pool,
                    const ScoreOptions& scores,
                    at::Tensor& out) {
  const int64_t kv_heads = key_pool.size(2);
  const int64_t blocks = batch.singles * kv_heads;
  const int64_t longest = batch.tables.size(1) * kPageTokens;
  const int64_t splits =
      std::clamp<int64_t>((kBlocks + blocks - 1) / blocks, 1,
                          std::min(kMostSplits, (longest + kLeastSplit - 1) / kLeastSplit));
  at::Tensor partials;
  if (splits > 1) {
    TESSERA_CHECK(batch.singles * q.size(1) <= kCounters, Internal, "{} rows of {} heads",
                  batch.singles, q.size(1));
    partials =
        at::empty({batch.singles, q.size(1), splits, q.size(2) + 2}, q.options().dtype(at::kFloat));
  }
  gpu::DecodeJob job;
  job.q = q.const_data_ptr();
  job.q_stride = q.stride(0);
  if (turns_in_attention(rotary) && k.stride(0) == v.stride(0)) {
    job.new_keys = k.const_data_ptr();
    job.new_values = v.const_data_ptr();
    job.new_stride = k.stride(0);
    job.rotated = 2 * rotary.frequencies.size(0);
    job.frequencies = rotary.frequencies.const_data_ptr<float>();
    job.factor = static_cast<float>(rotary.factor);
  }
  job.keys = key_pool.mutable_data_ptr();
  job.values = value_pool.mutable_data_ptr();
  job.tables = batch.tables.const_data_ptr<int32_t>();
  job.table_stride = batch.tables.stride(0);
  job.lengths = batch.lengths.const_data_ptr<int32_t>();
  job.out = out.mutable_data_ptr();
  job.partials = partials.defined() ? partials.mutable_data_ptr<float>() : nullptr;
  job.counters = counters(q.device()).mutable_data_ptr<int32_t>();
  job.rows = batch.singles;
  job.heads = q.size(1);
  job.kv_heads = kv_heads;
  job.dim = q.size(2);
  job.splits = splits;
  job.window = scores.window;
  job.scale = static_cast<float>(scores.scale);
  job.cap = static_cast<float>(scores.cap);
  job.type = gpu_type(q.scalar_type());
  check_launch(gpu_kernels()->decode_attention(job), "paged attention");
}

at::Tensor attend_others(const at::Tensor& q,
                         const at::Tensor& k,
                         const at::Tensor& v,
                         const PagedDeviceBatch& batch,
                         const at::Tensor& key_pool,
                         const at::Tensor& value_pool,
                         const ScoreOptions& scores) {
  at::Tensor keys = k;
  at::Tensor values = v;
  if (batch.key_slots.defined()) {
    const auto gathered = [&](const at::Tensor& pool) {
      return pool.flatten(0, 1).index_select(0, batch.key_slots);
    };
    keys = gathered(key_pool);
    values = gathered(value_pool);
  }
  const int64_t right = scores.window > 0 ? 0 : -1;
  return std::get<0>(at::_flash_attention_forward(
      q, keys, values, batch.query_ends, batch.key_ends, batch.most_queries, batch.most_keys, 0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, scores.scale, scores.window - 1, right));
}

}  // namespace

bool has_paged_rotary_attention(const at::Tensor& key_pool, const ScoreOptions& scores) {
  const int64_t dim = key_pool.size(3);
  return takes_gpu_kernels({key_pool}) && at::isReducedFloatingType(key_pool.scalar_type()) &&
         dim % 8 == 0 && dim <= 256 && scores.cap <= 0;
}

at::Tensor paged_rotary_attention(const at::Tensor& q,
                                  const at::Tensor& k,
                                  const at::Tensor& v,
                                  const RotaryTable& rotary,
                                  const PagedDeviceBatch& batch,
                                  at::Tensor& key_pool,
                                  at::Tensor& value_pool,
                                  const ScoreOptions& scores) {
  const int64_t tokens = q.size(0);
  const int64_t dim = q.size(2);
  const auto heads_lie_together = [&](const at::Tensor& x) {
    return x.dim() == 3 && x.size(0) == tokens && x.size(2) == dim && x.stride(1) == dim &&
           x.stride(2) == 1;
  };
  TESSERA_CHECK(heads_lie_together(q) && heads_lie_together(k) && heads_lie_together(v) &&
                    takes_gpu_kernels({q, k, v, key_pool, value_pool}),
                InvalidArgument,
                "paged attention: q, k and v must be [N, heads, d] of the pools' type on one GPU");
  const int64_t singles = batch.singles;
  const int64_t rest = tokens - singles;
  const int64_t first = turns_in_attention(rotary) && k.stride(0) == v.stride(0) ? singles : 0;
  if (first < tokens) {
    rotate_and_append(q, k, v, rotary, batch, first, key_pool, value_pool);
  }
  at::Tensor out = at::empty({tokens, q.size(1) * dim}, q.options());
  if (singles > 0) {
    attend_singles(q, k, v, rotary, batch, key_pool, value_pool, scores, out);
  }
  if (rest > 0) {
    const at::Tensor others =
        attend_others(q.narrow(0, singles, rest), k.narrow(0, singles, rest),
                      v.narrow(0, singles, rest), batch, key_pool, value_pool, scores)
            .reshape({rest, q.size(1) * dim});
    if (singles == 0) {
      return others;
    }
    out.narrow(0, singles, rest).copy_(others);
  }
  return out;
}

}  // namespace tessera::ops
