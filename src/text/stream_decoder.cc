// Incremental detokenisation by difference of two decodes over a short window: a leading space
// depends on the token before, so single tokens are never decoded alone.
#include "text/tokenizer.h"

#include <algorithm>

namespace tessera::text {
namespace {

constexpr size_t kContext = 5;  // prompt ids kept before the first generated one
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Models have rows for ids that their tokenizer does not know (padding, holes): they say nothing.
bool known(const Tokenizer& tokenizer, int32_t id) {
  return id >= 0 && id < tokenizer.vocab_size() && !tokenizer.id_to_token(id).empty();
}

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer,
                             std::span<const int32_t> context,
                             bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {
  for (const int32_t id : context.last(std::min(context.size(), kContext))) {
    if (known(tokenizer, id)) {
      ids_.push_back(id);
    }
  }
  read_ = ids_.size();
}

std::string StreamDecoder::push(int32_t id) {
  if (!known(tokenizer_, id)) {
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
