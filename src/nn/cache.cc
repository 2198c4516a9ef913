// Buffers grow by doubling, so a token costs an amortised copy and no reallocation a step.
#include "nn/cache.h"

#include "core/error.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

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

// What is hidden is multiplied by 0, so it must be finite: zeros.
void KVCache::join(const Cache& other, int64_t copies) {
  const auto& added = dynamic_cast<const KVCache&>(other);
  const int64_t total = std::max(length_, added.length_);
  const auto joined = [&](const Tensor& ours, const Tensor& theirs) {
    const int64_t rows = ours.size(0);
    Tensor out =
        at::zeros({rows + copies, ours.size(1), std::max(ours.size(2), 2 * total), ours.size(3)},
                  ours.options());
    out.narrow(0, 0, rows).narrow(2, total - length_, length_).copy_(ours.narrow(2, 0, length_));
    out.narrow(0, rows, copies)
        .narrow(2, total - added.length_, added.length_)
        .copy_(theirs.narrow(2, 0, added.length_));
    return out;
  };
  for (size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].k = joined(slots_[i].k, added.slots_[i].k);
    slots_[i].v = joined(slots_[i].v, added.slots_[i].v);
  }
  filled_ = total - length_;
  length_ = total;
}

void KVCache::part(int64_t rows) {
  const auto own = [&](const Tensor& buffer) {
    const int64_t room = buffer.size(2) - filled_;
    return buffer.narrow(0, 0, rows).narrow(2, filled_, room).contiguous();
  };
  for (Slot& slot : slots_) {
    slot.k = own(slot.k);
    slot.v = own(slot.v);
  }
  length_ -= filled_;
  filled_ = 0;
}

void KVCache::truncate(int64_t length) {
  TESSERA_CHECK(length >= 0 && length <= length_, InvalidArgument,
                "cache: it holds {} tokens, {} were to be kept", length_, length);
  length_ = length;
}

}  // namespace tessera::nn
