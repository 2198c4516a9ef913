// A page is in one of three states: in use (users > 0), remembered but unused (in idle_, the oldest
// is taken first), or free. Pools start as zeros: kernels multiply the unused places of a page by
// zero, which must not be NaN.
#include "nn/paged_cache.h"

#include "core/error.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <cstdlib>

namespace tessera::nn {
namespace {

// Zeros. On the CPU their memory is taken when it is first written, so that a large cache costs
// what is used of it.
Tensor zero_pool(at::IntArrayRef shape, const at::TensorOptions& type) {
  if (!type.device().is_cpu()) {
    return at::zeros(shape, type);
  }
  const auto count = static_cast<size_t>(c10::multiply_integers(shape));
  void* memory = std::calloc(count, type.dtype().itemsize());
  TESSERA_CHECK(memory != nullptr, OutOfMemory,
                "no memory for keys and values ({:.0f} MB); ask for a smaller cache",
                static_cast<double>(count * type.dtype().itemsize()) / 1e6);
  return at::from_blob(
      memory, shape, [](void* data) { std::free(data); }, type);
}

}  // namespace

PagedCache::PagedCache(const PagedCacheOptions& options) : options_(options) {
  TESSERA_CHECK(options.layers > 0 && options.kv_heads > 0 && options.head_dim > 0 &&
                    options.pages > 0 && options.pages <= INT32_MAX,
                InvalidArgument, "paged cache: {} layers, {} heads of {} and {} pages",
                options.layers, options.kv_heads, options.head_dim, options.pages);
  const auto type = at::TensorOptions().dtype(options.dtype).device(options.device);
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    const auto pool = [&](bool values) {
      return zero_pool(ops::pool_shape(options.pages, options.kv_heads, options.head_dim, values,
                                       options.device.type()),
                       type);
    };
    keys_.push_back(pool(false));
    values_.push_back(pool(true));
  }
  table_.resize(static_cast<size_t>(options.pages));
  for (auto page = static_cast<int32_t>(options.pages); page-- > 0;) {
    free_.push_back(page);
  }
}

int64_t PagedCache::bytes() const {
  return 2 * options_.layers * static_cast<int64_t>(keys_.front().nbytes());
}

int32_t PagedCache::take() {
  if (free_.empty()) {
    forget(idle_.front());
  }
  const int32_t page = free_.back();
  free_.pop_back();
  table_[static_cast<size_t>(page)].users = 1;
  return page;
}

void PagedCache::use(int32_t page) {
  Page& entry = table_[static_cast<size_t>(page)];
  if (entry.users++ == 0) {
    idle_.erase(entry.place);
  }
}

void PagedCache::drop(int32_t page) {
  Page& entry = table_[static_cast<size_t>(page)];
  if (--entry.users > 0) {
    return;
  }
  if (entry.number == 0) {
    free_.push_back(page);
  } else {
    entry.place = idle_.insert(idle_.end(), page);
  }
}

void PagedCache::forget(int32_t page) {
  Page& entry = table_[static_cast<size_t>(page)];
  remembered_.erase(entry.key);
  entry.number = 0;
  idle_.erase(entry.place);
  free_.push_back(page);
}

int64_t PagedCache::adopt(PagedSequence& sequence, std::span<const int64_t> ids) {
  TESSERA_CHECK(sequence.pages.empty(), InvalidArgument, "paged cache: the sequence is not empty");
  Key key;
  while (sequence.length + kTokens < static_cast<int64_t>(ids.size())) {
    std::copy_n(ids.begin() + sequence.length, kTokens, key.ids.begin());
    const auto found = remembered_.find(key);
    if (found == remembered_.end()) {
      break;
    }
    use(found->second);
    sequence.pages.push_back(found->second);
    sequence.length += kTokens;
    key.before = table_[static_cast<size_t>(found->second)].number;
    sequence.chain.push_back(key.before);
  }
  return sequence.length;
}

bool PagedCache::reserve(PagedSequence& sequence, int64_t length) {
  const auto needed = static_cast<size_t>((length + kTokens - 1) / kTokens);
  if (needed > sequence.pages.size() + static_cast<size_t>(available())) {
    return false;
  }
  while (sequence.pages.size() < needed) {
    sequence.pages.push_back(take());
  }
  return true;
}

void PagedCache::commit(PagedSequence& sequence, std::span<const int64_t> ids, int64_t length) {
  TESSERA_CHECK(length >= sequence.length && length <= static_cast<int64_t>(ids.size()) &&
                    length <= static_cast<int64_t>(sequence.pages.size()) * kTokens,
                InvalidArgument, "paged cache: {} of {} tokens in {} pages after {}", length,
                ids.size(), sequence.pages.size(), sequence.length);
  while (static_cast<int64_t>(sequence.chain.size() + 1) * kTokens <= length) {
    const size_t i = sequence.chain.size();
    Key key{.before = i == 0 ? 0 : sequence.chain.back(), .ids = {}};
    std::copy_n(ids.begin() + static_cast<int64_t>(i) * kTokens, kTokens, key.ids.begin());
    const auto [found, fresh] = remembered_.emplace(key, sequence.pages[i]);
    Page& page = table_[static_cast<size_t>(found->second)];
    if (fresh) {
      page.number = next_number_++;
      page.key = key;
    }
    sequence.chain.push_back(page.number);
  }
  sequence.length = length;
}

// The page that token `length` would be written to becomes the sequence's own.
bool PagedCache::copy_partial(PagedSequence& sequence, int64_t length) {
  if (length % kTokens == 0) {
    return true;
  }
  int32_t& last = sequence.pages[static_cast<size_t>(length / kTokens)];
  const Page& entry = table_[static_cast<size_t>(last)];
  if (entry.users == 1 && entry.number == 0) {
    return true;
  }
  if (available() == 0) {
    return false;
  }
  const int32_t own = take();
  for (size_t layer = 0; layer < keys_.size(); ++layer) {
    keys_[layer].select(0, own).copy_(keys_[layer].select(0, last));
    values_[layer].select(0, own).copy_(values_[layer].select(0, last));
  }
  drop(last);
  last = own;
  return true;
}

bool PagedCache::fork(const PagedSequence& from, PagedSequence& to) {
  TESSERA_CHECK(to.pages.empty(), InvalidArgument, "paged cache: the sequence is not empty");
  to.length = from.length;
  to.pages.assign(from.pages.begin(), from.pages.begin() + (from.length + kTokens - 1) / kTokens);
  to.chain = from.chain;
  for (const int32_t page : to.pages) {
    use(page);
  }
  if (!copy_partial(to, to.length)) {
    release(to);
    return false;
  }
  return true;
}

bool PagedCache::truncate(PagedSequence& sequence, int64_t length) {
  TESSERA_CHECK(length >= 0 && length <= sequence.length, InvalidArgument,
                "paged cache: it holds {} tokens, {} were to be kept", sequence.length, length);
  if (!copy_partial(sequence, length)) {
    return false;
  }
  const auto kept = static_cast<size_t>((length + kTokens - 1) / kTokens);
  while (sequence.pages.size() > kept) {
    drop(sequence.pages.back());
    sequence.pages.pop_back();
  }
  sequence.length = length;
  sequence.chain.resize(std::min(sequence.chain.size(), static_cast<size_t>(length / kTokens)));
  return true;
}

void PagedCache::release(PagedSequence& sequence) {
  // The last page first: of a remembered sequence its end is forgotten before its beginning.
  for (; !sequence.pages.empty(); sequence.pages.pop_back()) {
    drop(sequence.pages.back());
  }
  sequence.length = 0;
  sequence.chain.clear();
}

void PagedCache::clear() {
  while (!idle_.empty()) {
    forget(idle_.front());
  }
}

}  // namespace tessera::nn
