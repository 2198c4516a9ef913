#include "serve/stop_strings.h"

#include <algorithm>

namespace tessera::serve {

std::string StopStrings::push(std::string_view piece) {
  if (stopped_) {
    return {};
  }
  held_ += piece;
  size_t first = std::string::npos;  // of a whole stop string
  size_t keep = 0;                   // bytes at the end that may begin one
  for (const std::string& stop : stops_) {
    first = std::min(first, held_.find(stop));
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.ends_with(std::string_view(stop).substr(0, n))) {
        keep = n;
      }
    }
  }
  stopped_ = first != std::string::npos;
  std::string out = held_.substr(0, stopped_ ? first : held_.size() - keep);
  held_.erase(0, stopped_ ? held_.size() : out.size());
  return out;
}

std::string StopStrings::finish() {
  std::string out;
  out.swap(held_);
  return out;
}

}  // namespace tessera::serve
