// The tail that is held back is the longest one that begins some stop string; a match can therefore
// never begin in text that was shown.
#include "text/stop_strings.h"

#include "core/error.h"

#include <algorithm>
#include <utility>

namespace tessera::text {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_) {
    TESSERA_CHECK(!string.empty(), InvalidArgument, "a stop string is empty");
  }
}

// Bytes of the longest stop string that ends at `end` of what is pending.
size_t StopStrings::matched(size_t end) const {
  const std::string_view text = std::string_view(pending_).substr(0, end);
  size_t longest = 0;
  for (const std::string& string : strings_) {
    longest = text.ends_with(string) ? std::max(longest, string.size()) : longest;
  }
  return longest;
}

// Bytes of the longest tail that begins a stop string.
size_t StopStrings::held() const {
  size_t longest = 0;
  for (const std::string& string : strings_) {
    const size_t most = std::min(string.size() - 1, pending_.size());
    for (size_t size = most; size > longest; --size) {
      if (pending_.ends_with(std::string_view(string).substr(0, size))) {
        longest = size;
      }
    }
  }
  return longest;
}

std::string StopStrings::push(std::string_view piece) {
  if (stopped_) {
    return {};
  }
  const size_t before = pending_.size();
  pending_ += piece;
  for (size_t end = before + 1; end <= pending_.size(); ++end) {
    if (const size_t size = matched(end); size > 0) {
      stopped_ = true;
      pending_.resize(end - size);
      return std::exchange(pending_, {});
    }
  }
  const size_t shown = pending_.size() - held();
  std::string text = pending_.substr(0, shown);
  pending_.erase(0, shown);
  return text;
}

std::string StopStrings::finish() {
  return std::exchange(pending_, {});
}

}  // namespace tessera::text
