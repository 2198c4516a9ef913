#include "pipelines/engine_plan.h"

#include "core/error.h"
#include "core/log.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace tessera::pipelines {
namespace {

constexpr int64_t kCacheTokens = 16384;

// Bytes that can be had without swapping; a huge number where the system does not say.
int64_t free_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string name; file >> name;) {
    if (int64_t kilobytes = 0; name == "MemAvailable:" && file >> kilobytes) {
      return kilobytes << 10;
    }
  }
  return INT64_MAX;
}

}  // namespace

std::optional<nn::EngineOptions> plan_engine(const nn::SequenceModel& model,
                                             const BatchOptions& options,
                                             int64_t request_tokens) {
  constexpr int64_t kPage = nn::PagedCache::kTokens;
  nn::EngineOptions plan;
  plan.sequences = options.sequences;
  int64_t page_bytes = 0;
  try {
    const bool host = model.device().is_cpu();
    page_bytes = model.make_paged_cache(1, host ? plan.cache_dtype : model.state_dtype())->bytes();
  } catch (const Unsupported& error) {
    log::debug("one request at a time: {}", error.what());
    return std::nullopt;
  }
  int64_t tokens = options.cache_tokens;
  if (tokens == 0) {
    const int64_t each = request_tokens > 0 ? std::min(request_tokens, kCacheTokens) : kCacheTokens;
    tokens = std::min(kCacheTokens, (each + kPage) * options.sequences);
    tokens = std::min(tokens, free_memory() / 4 / page_bytes * kPage);
  }
  plan.pages = std::max<int64_t>(2, (tokens + kPage - 1) / kPage);
  log::debug("a cache of {} tokens, {:.1f} MB", plan.pages * kPage,
             static_cast<double>(plan.pages * page_bytes) / 1e6);
  return plan;
}

}  // namespace tessera::pipelines
