// On the CPU fp32 queries go to ops/cpu/attention_*: an item is a tile of query rows of one
// key/value head of one sequence, and threads take items as they become free. Heads wider than
// cpu::kMostDim, and other devices, gather the pages and use plain operations.
#include "ops/paged_attention.h"

#include "core/error.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <span>
#include <vector>

namespace tessera::ops {
namespace {

static_assert(kPageTokens == cpu::kPage);

struct Layout {
  std::span<const int32_t> lengths;
  std::span<const int32_t> first_query;
  const int32_t* tables;
  int64_t most_pages;

  size_t sequences() const { return lengths.size(); }
  const int32_t* table(size_t s) const { return tables + static_cast<int64_t>(s) * most_pages; }
};

std::span<const int32_t> ints(const at::Tensor& t) {
  return {t.const_data_ptr<int32_t>(), static_cast<size_t>(t.numel())};
}

// Checks all that a kernel relies on.
Layout read_layout(const PagedBatch& batch, int64_t tokens, int64_t pages) {
  const auto host = [](const at::Tensor& t, int64_t axes) {
    return t.defined() && t.is_cpu() && t.scalar_type() == at::kInt && t.is_contiguous() &&
           t.dim() == axes;
  };
  TESSERA_CHECK(host(batch.tables, 2) && host(batch.lengths, 1) && host(batch.first_query, 1),
                InvalidArgument,
                "paged attention: tables [S, pages], lengths [S] and first_query "
                "[S + 1] must be contiguous i32 on the host");
  const Layout layout{.lengths = ints(batch.lengths),
                      .first_query = ints(batch.first_query),
                      .tables = batch.tables.const_data_ptr<int32_t>(),
                      .most_pages = batch.tables.size(1)};
  const size_t count = layout.sequences();
  TESSERA_CHECK(batch.tables.size(0) == static_cast<int64_t>(count) &&
                    layout.first_query.size() == count + 1 && layout.first_query.front() == 0 &&
                    layout.first_query.back() == tokens,
                InvalidArgument,
                "paged attention: {} sequences, {} tables, first_query up to {} of {}", count,
                batch.tables.size(0), layout.first_query.back(), tokens);
  for (size_t s = 0; s < count; ++s) {
    const int64_t queries = layout.first_query[s + 1] - layout.first_query[s];
    const int64_t length = layout.lengths[s];
    const int64_t used = (length + kPageTokens - 1) / kPageTokens;
    TESSERA_CHECK(queries >= 0 && queries <= length && used <= layout.most_pages, InvalidArgument,
                  "paged attention: sequence {} has {} queries, {} tokens and room for {} pages", s,
                  queries, length, layout.most_pages);
    for (int64_t page = 0; page < used; ++page) {
      TESSERA_CHECK(layout.table(s)[page] >= 0 && layout.table(s)[page] < pages, InvalidArgument,
                    "paged attention: page {} of {}", layout.table(s)[page], pages);
    }
  }
  return layout;
}

void check_pools(const at::Tensor& keys, const at::Tensor& values, int64_t kv_heads, int64_t dim) {
  const at::ScalarType type = keys.scalar_type();
  const at::DeviceType device = keys.device().type();
  TESSERA_CHECK(
      keys.sizes() == pool_shape(keys.size(0), kv_heads, dim, false, device) &&
          values.sizes() == pool_shape(keys.size(0), kv_heads, dim, true, device) &&
          keys.is_contiguous() && values.is_contiguous() && values.scalar_type() == type &&
          (type == at::kFloat || type == at::kBFloat16 || !keys.is_cpu()),
      InvalidArgument,
      "paged attention: pools of {} heads {} wide must be as pool_shape says, fp32 or bf16",
      kv_heads, dim);
}

int64_t pool_heads(const at::Tensor& pool) {
  return pool.size(pool.is_cpu() ? 1 : 2);
}

// Page · kPageTokens + place of every token of the step.
std::vector<int64_t> slots(const Layout& layout) {
  std::vector<int64_t> out;
  for (size_t s = 0; s < layout.sequences(); ++s) {
    const int64_t queries = layout.first_query[s + 1] - layout.first_query[s];
    for (int64_t at = layout.lengths[s] - queries; at < layout.lengths[s]; ++at) {
      out.push_back(int64_t{layout.table(s)[at / kPageTokens]} * kPageTokens + at % kPageTokens);
    }
  }
  return out;
}

template <class T>
void append(const at::Tensor& k,
            const at::Tensor& v,
            std::span<const int64_t> places,
            at::Tensor& key_pool,
            at::Tensor& value_pool) {
  const int64_t heads = k.size(1);
  const int64_t dim = k.size(2);
  const T* from_k = k.const_data_ptr<T>();
  const T* from_v = v.const_data_ptr<T>();
  for (const int64_t slot : places) {
    const int64_t place = slot % kPageTokens;
    for (int64_t h = 0; h < heads; ++h, from_k += dim, from_v += dim) {
      const int64_t head = (slot / kPageTokens * heads + h) * dim * kPageTokens;
      T* keys = key_pool.mutable_data_ptr<T>() + head + place;
      for (int64_t i = 0; i < dim; ++i) {
        keys[i * kPageTokens] = from_k[i];
      }
      std::copy(from_v, from_v + dim, value_pool.mutable_data_ptr<T>() + head + place * dim);
    }
  }
}

}  // namespace

std::vector<int64_t> pool_shape(
    int64_t pages, int64_t kv_heads, int64_t dim, bool values, at::DeviceType device) {
  if (device != at::kCPU) {
    return {pages, kPageTokens, kv_heads, dim};
  }
  return values ? std::vector<int64_t>{pages, kv_heads, kPageTokens, dim}
                : std::vector<int64_t>{pages, kv_heads, dim, kPageTokens};
}

void paged_append(const at::Tensor& k,
                  const at::Tensor& v,
                  const PagedBatch& batch,
                  at::Tensor& key_pool,
                  at::Tensor& value_pool) {
  TESSERA_CHECK(k.dim() == 3 && k.sizes() == v.sizes(), InvalidArgument,
                "paged attention: keys and values must be [N, kv_heads, d] alike");
  check_pools(key_pool, value_pool, k.size(1), k.size(2));
  const Layout layout = read_layout(batch, k.size(0), key_pool.size(0));
  const std::vector<int64_t> places = slots(layout);
  if (!k.is_cpu()) {
    const at::Tensor index = at::tensor(places, at::kLong).to(k.device());
    const at::Tensor page = index.div(kPageTokens, "floor");
    const at::Tensor place = index.remainder(kPageTokens);
    key_pool.index_put_({page, place}, k.to(key_pool.scalar_type()));
    value_pool.index_put_({page, place}, v.to(value_pool.scalar_type()));
    return;
  }
  const at::Tensor keys = k.to(key_pool.scalar_type()).contiguous();
  const at::Tensor values = v.to(value_pool.scalar_type()).contiguous();
  if (key_pool.scalar_type() == at::kFloat) {
    append<float>(keys, values, places, key_pool, value_pool);
  } else {
    append<c10::BFloat16>(keys, values, places, key_pool, value_pool);
  }
}

at::Tensor paged_attention(const at::Tensor& q,
                           const at::Tensor& key_pool,
                           const at::Tensor& value_pool,
                           const PagedBatch& batch,
                           const ScoreOptions& scores) {
  TESSERA_CHECK(q.dim() == 3 && key_pool.dim() == 4 && pool_heads(key_pool) > 0 &&
                    q.size(1) % pool_heads(key_pool) == 0,
                InvalidArgument,
                "paged attention: q must be [N, heads, d], a multiple of the pools' heads");
  const int64_t heads = q.size(1);
  const int64_t kv_heads = pool_heads(key_pool);
  const int64_t dim = q.size(2);
  if (!q.is_cpu() || q.scalar_type() != at::kFloat || dim > cpu::kMostDim) {
    return paged_attention_reference(q, key_pool, value_pool, batch, scores);
  }
  check_pools(key_pool, value_pool, kv_heads, dim);
  const Layout layout = read_layout(batch, q.size(0), key_pool.size(0));
  const at::Tensor rows = q.contiguous();
  const at::Tensor out = at::empty({q.size(0), heads * dim}, q.options());

  struct Item {
    size_t sequence;
    int64_t kv_head, begin, end;
  };
  std::vector<Item> items;
  for (size_t s = 0; s < layout.sequences(); ++s) {
    const int64_t queries = layout.first_query[s + 1] - layout.first_query[s];
    const int64_t tile_rows = queries * (heads / kv_heads);
    for (int64_t head = 0; head < kv_heads; ++head) {
      for (int64_t begin = 0; begin < tile_rows; begin += cpu::kTileRows) {
        items.push_back({s, head, begin, std::min(begin + cpu::kTileRows, tile_rows)});
      }
    }
  }
  const cpu::AttentionKernels& kernels = *cpu::kernels().attention;
  const cpu::PagedAttentionTile tile =
      key_pool.scalar_type() == at::kFloat ? kernels.paged_fp32 : kernels.paged_bf16;
  std::atomic<size_t> next{0};
  const auto work = [&](int64_t, int64_t) {
    for (size_t i = next++; i < items.size(); i = next++) {
      const Item& item = items[i];
      const int64_t first = layout.first_query[item.sequence];
      const cpu::PagedAttention job{.q = rows.const_data_ptr<float>(),
                                    .out = out.mutable_data_ptr<float>(),
                                    .keys = key_pool.const_data_ptr(),
                                    .values = value_pool.const_data_ptr(),
                                    .table = layout.table(item.sequence),
                                    .length = layout.lengths[item.sequence],
                                    .first = first,
                                    .queries = layout.first_query[item.sequence + 1] - first,
                                    .heads = heads,
                                    .kv_heads = kv_heads,
                                    .dim = dim,
                                    .scale = static_cast<float>(scores.scale),
                                    .cap = static_cast<float>(scores.cap),
                                    .window = scores.window};
      tile(job, item.kv_head, item.begin, item.end);
    }
  };
  const auto threads = std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(items.size()));
  at::parallel_for(0, threads, 1, work);
  return out;
}

at::Tensor paged_attention_reference(const at::Tensor& q,
                                     const at::Tensor& key_pool,
                                     const at::Tensor& value_pool,
                                     const PagedBatch& batch,
                                     const ScoreOptions& scores) {
  const Layout layout = read_layout(batch, q.size(0), key_pool.size(0));
  const int64_t groups = q.size(1) / pool_heads(key_pool);
  std::vector<at::Tensor> outs;
  for (size_t s = 0; s < layout.sequences(); ++s) {
    const int64_t first = layout.first_query[s];
    const int64_t queries = layout.first_query[s + 1] - first;
    const int64_t length = layout.lengths[s];
    const int64_t used = (length + kPageTokens - 1) / kPageTokens;
    const at::Tensor pages =
        batch.tables[static_cast<int64_t>(s)].narrow(0, 0, used).to(q.device(), at::kLong);
    const auto gathered = [&](const at::Tensor& found) {  // [pages, kv_heads, 16, d]
      const at::Tensor by_page = q.is_cpu() ? found : found.transpose(1, 2);
      return by_page.transpose(0, 1)
          .reshape({by_page.size(1), -1, by_page.size(3)})
          .narrow(1, 0, length)
          .to(at::kFloat)
          .repeat_interleave(groups, 0);  // [heads, length, d]
    };
    const at::Tensor found = key_pool.index_select(0, pages);
    const at::Tensor k = gathered(q.is_cpu() ? found.transpose(2, 3) : found);
    const at::Tensor v = gathered(value_pool.index_select(0, pages));
    const at::Tensor x = q.narrow(0, first, queries).to(at::kFloat).transpose(0, 1);
    at::Tensor score = at::matmul(x, k.transpose(1, 2)) * scores.scale;  // [heads, queries, length]
    if (scores.cap > 0) {
      score = (score / scores.cap).tanh() * scores.cap;
    }
    const at::Tensor key = at::arange(length, q.options().dtype(at::kLong));
    const at::Tensor position = (key.narrow(0, length - queries, queries)).unsqueeze(1);
    at::Tensor hidden = key > position;
    if (scores.window > 0) {
      hidden = hidden.logical_or(key <= position - scores.window);
    }
    score = score.masked_fill(hidden, -std::numeric_limits<float>::infinity()).softmax(-1);
    outs.push_back(at::matmul(score, v).transpose(0, 1).reshape({queries, q.size(1) * q.size(2)}));
  }
  return at::cat(outs).to(q.scalar_type());
}

}  // namespace tessera::ops
