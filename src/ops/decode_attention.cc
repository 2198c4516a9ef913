// One item is one head of one sequence; a small step is done by the calling thread, since waking
// others takes longer than the work.
#include "ops/decode_attention.h"

#include "core/error.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/dispatch.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>

namespace tessera::ops {
namespace {

constexpr int64_t kNumbersPerThread = 1 << 16;  // keys that make a thread worth its waking

// Rows of a head one after another, heads and sequences anywhere.
at::Tensor with_rows(const at::Tensor& x) {
  return x.stride(3) == 1 && x.stride(2) == x.size(3) ? x : x.contiguous();
}

}  // namespace

bool has_decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto fits = [](const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4;
  };
  return fits(q) && fits(k) && fits(v) && q.size(2) == 1 && k.size(2) > 0 &&
         q.size(3) <= cpu::kMostDim && v.size(3) == q.size(3) &&
         !(at::GradMode::is_enabled() &&
           (q.requires_grad() || k.requires_grad() || v.requires_grad()));
}

at::Tensor decode_attention(const at::Tensor& q,
                            const at::Tensor& k,
                            const at::Tensor& v,
                            const at::Tensor& mask,
                            double scale) {
  TESSERA_CHECK(has_decode_attention(q, k, v) && k.sizes() == v.sizes() && k.size(0) == q.size(0) &&
                    k.size(3) == q.size(3) && q.size(1) % k.size(1) == 0,
                InvalidArgument,
                "decode attention: q must be fp32 [B, heads, 1, d], k and v [B, kv_heads, length, "
                "d] with heads a multiple of kv_heads");
  const int64_t batch = q.size(0);
  const int64_t heads = q.size(1);
  const int64_t dim = q.size(3);
  const int64_t length = k.size(2);
  TESSERA_CHECK(!mask.defined() || (mask.scalar_type() == at::kBool && mask.dim() == 4 &&
                                    mask.size(1) == 1 && mask.size(2) == 1),
                InvalidArgument, "decode attention: the mask must be bool [1 or B, 1, 1, length]");
  const at::Tensor seen =
      mask.defined() ? mask.expand({batch, 1, 1, length}).contiguous() : at::Tensor();
  const at::Tensor queries = q.contiguous();
  const at::Tensor keys = with_rows(k);
  const at::Tensor values = with_rows(v);
  const at::Tensor out = at::empty({batch, 1, heads * dim}, q.options());
  const auto head = [&](const at::Tensor& x, int64_t b, int64_t h) {
    return x.const_data_ptr<float>() + b * x.stride(0) + h * x.stride(1);
  };
  const auto run = cpu::kernels().attention->decode;
  const int64_t group = heads / k.size(1);
  const auto work = [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / heads;
      const int64_t h = item % heads / group;
      run({.q = queries.const_data_ptr<float>() + item * dim,
           .out = out.mutable_data_ptr<float>() + item * dim,
           .keys = head(keys, b, h),
           .values = head(values, b, h),
           .seen = seen.defined() ? reinterpret_cast<const unsigned char*>(
                                        seen.const_data_ptr<bool>() + b * length)
                                  : nullptr,
           .length = length,
           .dim = dim,
           .scale = static_cast<float>(scale)});
    }
  };
  at::parallel_for(0, batch * heads, std::max<int64_t>(1, kNumbersPerThread / (length * dim)),
                   work);
  return out;
}

}  // namespace tessera::ops
