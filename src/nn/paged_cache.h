// Keys and values of many sequences in pages that are shared where sequences begin alike (arXiv
// 2309.06180; sharing by content as in vLLM's automatic prefix caching). Bookkeeping is on the
// host; the pools are one pair of tensors a layer.
#pragma once

#include "nn/module.h"
#include "ops/paged_attention.h"

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <vector>

namespace tessera::nn {

struct PagedCacheOptions {
  int64_t layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t pages = 0;  // of ops::kPageTokens tokens each
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
};

/// The pages of one sequence. Belongs to the cache that filled it; give it back with `release`.
struct PagedSequence {
  std::vector<int32_t> pages;
  int64_t length = 0;           // tokens whose keys and values are written
  std::vector<uint64_t> chain;  // of each full page: the number that its content is remembered by
};

/// Not thread-safe: one thread drives a device.
class PagedCache {
 public:
  static constexpr int64_t kTokens = ops::kPageTokens;

  /// Throws InvalidArgument for sizes below 1.
  explicit PagedCache(const PagedCacheOptions& options);

  int64_t pages() const { return options_.pages; }
  /// Pages that a sequence could get now, remembered ones that nobody uses included.
  int64_t available() const { return static_cast<int64_t>(free_.size() + idle_.size()); }
  at::Device device() const { return options_.device; }
  /// Bytes of all pools.
  int64_t bytes() const;
  Tensor& keys(int64_t layer) { return keys_[static_cast<size_t>(layer)]; }
  Tensor& values(int64_t layer) { return values_[static_cast<size_t>(layer)]; }

  /// Gives an empty sequence the remembered pages that begin `ids`, whole pages and at most
  /// ids.size() − 1 tokens (the last one must be run to get logits). Returns its new length.
  int64_t adopt(PagedSequence& sequence, std::span<const int64_t> ids);
  /// Makes room for tokens up to `length`; false, with nothing changed, when pages lack.
  bool reserve(PagedSequence& sequence, int64_t length);
  /// The keys and values of the first `length` of `ids` are written; full pages are remembered.
  void commit(PagedSequence& sequence, std::span<const int64_t> ids, int64_t length);
  /// Another sequence with the same tokens: full pages are shared, a partial one is copied. False,
  /// with nothing changed, when a page lacks.
  bool fork(const PagedSequence& from, PagedSequence& to);
  /// Forgets all but the first `length` tokens. Shared pages stay as they are: a partial page that
  /// others use, or that is remembered, is copied. False, with nothing changed, when a page lacks.
  bool truncate(PagedSequence& sequence, int64_t length);
  /// Gives the pages back; remembered ones stay until their room is needed.
  void release(PagedSequence& sequence);
  /// Forgets what is remembered and unused.
  void clear();

 private:
  // A remembered page: its tokens, and the page before it (by its number, which is never reused).
  struct Key {
    uint64_t before = 0;
    std::array<int64_t, kTokens> ids = {};
    auto operator<=>(const Key&) const = default;
  };
  struct Page {
    int32_t users = 0;
    uint64_t number = 0;  // when remembered, else 0
    Key key = {};
    std::list<int32_t>::iterator place = {};  // in idle_, when remembered and unused
  };

  int32_t take();
  void use(int32_t page);
  void drop(int32_t page);
  void forget(int32_t page);
  bool copy_partial(PagedSequence& sequence, int64_t length);

  PagedCacheOptions options_;
  std::vector<Tensor> keys_, values_;
  std::vector<Page> table_;
  std::vector<int32_t> free_;
  std::list<int32_t> idle_;  // least recently used first
  std::map<Key, int32_t> remembered_;
  uint64_t next_number_ = 1;
};

}  // namespace tessera::nn
