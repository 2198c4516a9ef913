// Incremental detokenisation by difference of two decodes over a short window: a leading space
// depends on the token before, so single tokens are never decoded alone.
#include "text/tokenizer.h"

#include <algorithm>

namespace tessera::text {
namespace {

constexpr size_t kContext = 5;  // prompt ids kept before the first generated one
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer,
                             std::span<const int32_t> context,
                             bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {
  const auto tail = context.last(std::min(context.size(), kContext));
  ids_.assign(tail.begin(), tail.end());
  read_ = ids_.size();
}

std::string StreamDecoder::push(int32_t id) {
  if (id < 0 || id >= tokenizer_.vocab_size()) {
    return {};
  }
  ids_.push_back(id);
  const std::span<const int32_t> all(ids_);
  const std::string before =
      tokenizer_.decode(all.subspan(prefix_, read_ - prefix_), skip_special_);
  const std::string after = tokenizer_.decode(all.subspan(prefix_), skip_special_);
  if (after.size() <= before.size() || after.ends_with(kReplacement)) {
    return {};
  }
  prefix_ = read_;
  read_ = ids_.size();
  return after.substr(before.size());
}

std::string StreamDecoder::finish() {
  const std::span<const int32_t> all(ids_);
  const std::string before =
      tokenizer_.decode(all.subspan(prefix_, read_ - prefix_), skip_special_);
  const std::string after = tokenizer_.decode(all.subspan(prefix_), skip_special_);
  prefix_ = read_ = ids_.size();
  return after.size() > before.size() ? after.substr(before.size()) : std::string();
}

}  // namespace tessera::text
