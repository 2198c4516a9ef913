// Buffers grow by doubling, so a token costs an amortised copy and no reallocation a step.
#include "nn/cache.h"

#include "core/error.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace tessera::nn {
namespace {

constexpr int64_t kFirstCapacity = 256;

// A buffer for at least `needed` tokens holding the first `length` of `old`.
Tensor grown(const Tensor& old, const Tensor& like, int64_t length, int64_t needed) {
  int64_t capacity = old.defined() ? old.size(2) : kFirstCapacity;
  while (capacity < needed) {
    capacity *= 2;
  }
  Tensor buffer = at::empty({like.size(0), like.size(1), capacity, like.size(3)}, like.options());
  if (old.defined() && length > 0) {
    buffer.narrow(2, 0, length).copy_(old.narrow(2, 0, length));
  }
  return buffer;
}

}  // namespace

std::pair<Tensor, Tensor> KVCache::append(int64_t layer, const Tensor& k, const Tensor& v) {
  Slot& slot = slots_[static_cast<size_t>(layer)];
  const int64_t total = length_ + k.size(2);
  if (!slot.k.defined() || slot.k.size(2) < total) {
    slot.k = grown(slot.k, k, length_, total);
    slot.v = grown(slot.v, v, length_, total);
  }
  slot.k.narrow(2, length_, k.size(2)).copy_(k);
  slot.v.narrow(2, length_, v.size(2)).copy_(v);
  return {slot.k.narrow(2, 0, total), slot.v.narrow(2, 0, total)};
}

void KVCache::select_rows(const Tensor& index) {
  for (Slot& slot : slots_) {
    if (slot.k.defined()) {
      slot.k = slot.k.index_select(0, index);
      slot.v = slot.v.index_select(0, index);
    }
  }
}

void KVCache::truncate(int64_t length) {
  TESSERA_CHECK(length >= 0 && length <= length_, InvalidArgument,
                "cache: it holds {} tokens, {} were to be kept", length_, length);
  length_ = length;
}

}  // namespace tessera::nn
