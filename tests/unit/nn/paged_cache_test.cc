#include "nn/paged_cache.h"

#include "core/error.h"
#include "core/random.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace tessera::nn {
namespace {

constexpr int64_t kT = PagedCache::kTokens;

PagedCache small(int64_t pages) {
  return PagedCache({.layers = 2, .kv_heads = 1, .head_dim = 3, .pages = pages});
}

std::vector<int64_t> ids_from(int64_t first, int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

// What is stored at a token, taken from its id.
void write(PagedCache& cache,
           const PagedSequence& sequence,
           const std::vector<int64_t>& ids,
           int64_t from) {
  for (int64_t t = from; t < static_cast<int64_t>(ids.size()); ++t) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      cache.keys(layer)
          .select(0, sequence.pages[static_cast<size_t>(t / kT)])
          .select(2, t % kT)
          .fill_(static_cast<double>(ids[static_cast<size_t>(t)] + layer));
    }
  }
}

void expect_holds(PagedCache& cache,
                  const PagedSequence& sequence,
                  const std::vector<int64_t>& ids) {
  for (int64_t t = 0; t < sequence.length; ++t) {
    const at::Tensor stored =
        cache.keys(1).select(0, sequence.pages[static_cast<size_t>(t / kT)]).select(2, t % kT);
    ASSERT_EQ(stored.flatten()[0].item<float>(),
              static_cast<float>(ids[static_cast<size_t>(t)] + 1));
  }
}

TEST(PagedCache, PrefixesAreShared) {
  PagedCache cache = small(10);
  const std::vector<int64_t> ids = ids_from(100, 3 * kT + 5);
  PagedSequence a;
  EXPECT_EQ(cache.adopt(a, ids), 0);
  ASSERT_TRUE(cache.reserve(a, static_cast<int64_t>(ids.size())));
  EXPECT_EQ(a.pages.size(), 4U);
  write(cache, a, ids, 0);
  cache.commit(a, ids, static_cast<int64_t>(ids.size()));

  PagedSequence b;
  std::vector<int64_t> other = ids;
  other[static_cast<size_t>(2 * kT)] = 7;  // the third page differs
  EXPECT_EQ(cache.adopt(b, other), 2 * kT);
  EXPECT_EQ(std::set(b.pages.begin(), b.pages.end()),
            std::set(a.pages.begin(), a.pages.begin() + 2));
  expect_holds(cache, b, other);
  // A prompt of whole pages keeps one token to be run.
  PagedSequence c;
  EXPECT_EQ(cache.adopt(c, std::span(ids).first(static_cast<size_t>(3 * kT))), 2 * kT);
  cache.release(a);
  cache.release(b);
  cache.release(c);
  EXPECT_EQ(cache.available(), 10);
  // Released pages are still found.
  PagedSequence d;
  EXPECT_EQ(cache.adopt(d, ids), 3 * kT);
  expect_holds(cache, d, ids);
  cache.release(d);
  cache.clear();
  EXPECT_EQ(cache.adopt(d, ids), 0);
}

TEST(PagedCache, EqualPagesOfTwoSequencesChain) {
  PagedCache cache = small(8);
  const std::vector<int64_t> ids = ids_from(0, 2 * kT + 1);
  PagedSequence a, b;
  for (PagedSequence* s : {&a, &b}) {  // both run the same prompt at the same time
    ASSERT_TRUE(cache.reserve(*s, 2 * kT + 1));
    write(cache, *s, ids, 0);
  }
  cache.commit(a, ids, kT);
  cache.commit(b, ids, 2 * kT);  // goes further than the first
  cache.release(a);
  PagedSequence c;
  EXPECT_EQ(cache.adopt(c, ids), 2 * kT);
  expect_holds(cache, c, ids);
}

TEST(PagedCache, ForksAndCutsLeaveOthersAlone) {
  PagedCache cache = small(6);
  const std::vector<int64_t> ids = ids_from(50, kT + 4);
  PagedSequence a, b;
  ASSERT_TRUE(cache.reserve(a, kT + 4));
  write(cache, a, ids, 0);
  cache.commit(a, ids, kT + 4);
  ASSERT_TRUE(cache.fork(a, b));
  EXPECT_EQ(a.pages[0], b.pages[0]);
  EXPECT_NE(a.pages[1], b.pages[1]);
  std::vector<int64_t> changed = ids;
  changed.back() = 9;
  write(cache, b, changed, kT + 3);
  expect_holds(cache, a, ids);
  expect_holds(cache, b, changed);
  // Cutting into a shared, remembered page copies it.
  ASSERT_TRUE(cache.truncate(b, 3));
  EXPECT_NE(a.pages[0], b.pages[0]);
  changed[2] = 11;
  write(cache, b, {changed.begin(), changed.begin() + 3}, 2);
  expect_holds(cache, a, ids);
  PagedSequence c;
  EXPECT_EQ(cache.adopt(c, ids), kT);
  expect_holds(cache, c, ids);
}

TEST(PagedCache, WithoutRoomNothingChanges) {
  PagedCache cache = small(3);
  PagedSequence a, b;
  ASSERT_TRUE(cache.reserve(a, 2 * kT));
  EXPECT_FALSE(cache.reserve(b, kT + 1));
  EXPECT_TRUE(b.pages.empty());
  ASSERT_TRUE(cache.reserve(b, 1));
  EXPECT_FALSE(cache.reserve(a, 2 * kT + 1));
  const std::vector<int64_t> ids = ids_from(0, 5);
  cache.commit(b, ids, 1);
  PagedSequence c;
  EXPECT_FALSE(cache.fork(b, c));
  EXPECT_TRUE(c.pages.empty());
  cache.release(a);
  EXPECT_TRUE(cache.fork(b, c));
  EXPECT_THROW(cache.commit(b, ids, 6), InvalidArgument);
  EXPECT_THROW(cache.commit(b, ids, 0), InvalidArgument);
  EXPECT_THROW(cache.truncate(b, 2), InvalidArgument);
  EXPECT_THROW(PagedCache({.layers = 1, .kv_heads = 1, .head_dim = 1, .pages = 0}),
               InvalidArgument);
}

// Random sequences over a small alphabet: what adopt gives always holds the right tokens, and no
// page is lost.
TEST(PagedCache, RandomUse) {
  PagedCache cache = small(12);
  Rng rng(3);
  struct Run {
    PagedSequence sequence;
    std::vector<int64_t> ids;
  };
  std::vector<Run> runs;
  for (int round = 0; round < 600; ++round) {
    if (runs.size() > 3 || (!runs.empty() && rng.below(3) == 0)) {
      const size_t i = rng.below(runs.size());
      expect_holds(cache, runs[i].sequence, runs[i].ids);
      cache.release(runs[i].sequence);
      runs.erase(runs.begin() + static_cast<long>(i));
      continue;
    }
    Run run;
    const auto length = static_cast<int64_t>(1 + rng.below(3 * kT));
    for (int64_t t = 0; t < length; ++t) {
      run.ids.push_back(t % kT == 3 ? static_cast<int64_t>(rng.below(2)) : 5);
    }
    const int64_t shared = cache.adopt(run.sequence, run.ids);
    expect_holds(cache, run.sequence, run.ids);
    if (!cache.reserve(run.sequence, length)) {
      cache.release(run.sequence);
      continue;
    }
    write(cache, run.sequence, run.ids, shared);
    cache.commit(run.sequence, run.ids, length);
    runs.push_back(std::move(run));
  }
  for (Run& run : runs) {
    cache.release(run.sequence);
  }
  EXPECT_EQ(cache.available(), 12);
}

}  // namespace
}  // namespace tessera::nn
