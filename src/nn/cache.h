// State that a sequence model keeps between steps. The base is what samplers and batching need;
// attention keeps keys and values, later models convolution and recurrent state behind the same
// interface.
#pragma once

#include "nn/module.h"

#include <utility>
#include <vector>

namespace tessera::nn {

class Cache {
 public:
  virtual ~Cache() = default;
  /// Tokens seen so far, padding included.
  virtual int64_t length() const = 0;
  /// Keeps rows `index` i64 [B'] of the batch, in that order (beams, finished rows leaving).
  virtual void select_rows(const Tensor& index) = 0;
  /// Forgets all but the first `length` tokens, length <= length().
  virtual void truncate(int64_t length) = 0;
};

/// Keys and values for a static batch: one pair of [B, kv_heads, capacity, head_dim] buffers a
/// layer, grown by doubling.
class KVCache : public Cache {
 public:
  explicit KVCache(int64_t layers) : slots_(static_cast<size_t>(layers)) {}

  int64_t length() const override { return length_; }
  void select_rows(const Tensor& index) override;
  void truncate(int64_t length) override;

  /// Appends k, v [B, kv_heads, T, head_dim] to `layer` and returns views over all stored tokens.
  std::pair<Tensor, Tensor> append(int64_t layer, const Tensor& k, const Tensor& v);
  /// Call once a step, after all layers have appended `tokens`.
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  struct Slot {
    Tensor k;
    Tensor v;
  };
  std::vector<Slot> slots_;
  int64_t length_ = 0;
};

}  // namespace tessera::nn
