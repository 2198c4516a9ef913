// Log-probabilities of an answer's tokens, given out with the text that they belong to.
#pragma once

#include "io/json.h"
#include "serve/backend.h"

#include <deque>
#include <string_view>
#include <vector>

namespace tessera::serve {

/// Of one choice. A token belongs to the text that comes after it; what a stop string hides takes
/// its tokens along.
class TokenLog {
 public:
  void add(const TokenReport& token) { waiting_.push_back({token, bytes_, characters_}); }
  /// The text that came with the last token, before stop strings are looked for.
  void text(std::string_view piece);

  struct Entry {
    TokenReport token;
    size_t byte = 0;       // where its text begins in the answer
    size_t character = 0;  // the same in code points
  };
  /// The tokens, not given out before, whose text begins in the first `shown` bytes.
  std::vector<Entry> take(size_t shown);
  /// All of them.
  std::vector<Entry> take_all();

 private:
  std::deque<Entry> waiting_;
  size_t bytes_ = 0, characters_ = 0;
};

/// {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal": null}
io::OrderedJson chat_logprobs(const std::vector<TokenLog::Entry>& entries);
/// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}; `top`: whether others were asked
/// for.
io::OrderedJson completion_logprobs(const std::vector<TokenLog::Entry>& entries, bool top);

}  // namespace tessera::serve
