#include "pipelines/engine_plan.h"

#include "core/error.h"
#include "core/log.h"
#include "ops/device.h"

#include <algorithm>

namespace tessera::pipelines {
namespace {

constexpr int64_t kCacheTokens = 16384;  // of a request, and of all on the CPU

}  // namespace

std::optional<nn::EngineOptions> plan_engine(const nn::SequenceModel& model,
                                             const BatchOptions& options,
                                             int64_t request_tokens) {
  constexpr int64_t kPage = nn::PagedCache::kTokens;
  const bool host = model.device().is_cpu();
  nn::EngineOptions plan;
  plan.sequences = options.sequences;
  int64_t page_bytes = 0;
  try {
    page_bytes = model.make_paged_cache(1, host ? plan.cache_dtype : model.state_dtype())->bytes();
  } catch (const Unsupported& error) {
    log::debug("one request at a time: {}", error.what());
    return std::nullopt;
  }
  int64_t tokens = options.cache_tokens;
  if (tokens == 0) {
    const int64_t each = request_tokens > 0 ? std::min(request_tokens, kCacheTokens) : kCacheTokens;
    tokens = (each + kPage) * options.sequences;
    if (host) {
      tokens = std::min(tokens, kCacheTokens);
    }
    const int64_t share = ops::free_memory(model.device()) / (host ? 4 : 2);
    tokens = std::min(tokens, share / page_bytes * kPage);
  }
  plan.pages = std::max<int64_t>(2, (tokens + kPage - 1) / kPage);
  log::debug("a cache of {} tokens, {:.1f} MB", plan.pages * kPage,
             static_cast<double>(plan.pages * page_bytes) / 1e6);
  return plan;
}

}  // namespace tessera::pipelines
