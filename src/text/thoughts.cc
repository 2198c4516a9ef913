// The marks of DeepSeek-R1, which Qwen 3 and others took over. Their templates close the thoughts
// of earlier turns, so that every template that knows them has the closing mark; some open them at
// the end of the prompt.
#include "text/thoughts.h"

#include "text/marks.h"

#include <algorithm>
#include <utility>

namespace tessera::text {
namespace {

constexpr std::string_view kOpen = kThoughtMarks[0];
constexpr std::string_view kClose = kThoughtMarks[1];

}  // namespace

bool knows_thoughts(std::string_view chat_template) {
  return chat_template.find(kClose) != std::string_view::npos;
}

bool inside_thoughts(std::string_view text) {
  const size_t open = text.rfind(kOpen);
  const size_t close = text.rfind(kClose);
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

bool opens_thoughts(std::string_view prompt) {
  const size_t last = prompt.find_last_not_of(kSpace);
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(kOpen);
}

ThoughtReader::Piece ThoughtReader::push(std::string_view piece) {
  Piece out;
  if (place_ == Place::kText) {
    out.text = piece;
    return out;
  }
  pending_ += piece;
  if (place_ == Place::kStart) {
    read_start();
  }
  if (place_ == Place::kThoughtStart && skip_space()) {
    place_ = Place::kThought;
  }
  if (place_ == Place::kThought) {
    read_thought(out);
  }
  if (place_ == Place::kAnswerStart && skip_space()) {
    place_ = Place::kText;
  }
  if (place_ == Place::kText) {
    out.text = std::exchange(pending_, {});
  }
  return out;
}

// Whether the reply begins with thoughts; models may open them although the prompt has.
void ThoughtReader::read_start() {
  blank_ = std::min(pending_.find_first_not_of(kSpace, blank_), pending_.size());
  const std::string_view words = std::string_view(pending_).substr(blank_);
  if (words.starts_with(kOpen)) {
    pending_.erase(0, blank_ + kOpen.size());
    place_ = Place::kThoughtStart;
  } else if (!kOpen.starts_with(words)) {
    place_ = opened_ ? Place::kThoughtStart : Place::kText;
  }
}

// False as long as there is nothing but white space, which is dropped.
bool ThoughtReader::skip_space() {
  pending_.erase(0, std::min(pending_.find_first_not_of(kSpace), pending_.size()));
  blank_ = 0;
  return !pending_.empty();
}

void ThoughtReader::read_thought(Piece& out) {
  const size_t at = pending_.find(kClose, blank_);
  if (at != std::string::npos) {
    const std::string_view before = std::string_view(pending_).substr(0, at);
    out.thought += before.substr(0, before.find_last_not_of(kSpace) + 1);
    pending_.erase(0, at + kClose.size());
    place_ = Place::kAnswerStart;
    return;
  }
  const size_t shown = pending_.size() - held_back(pending_, kClose, blank_);
  out.thought.append(pending_, 0, shown);
  pending_.erase(0, shown);
  blank_ = std::min(pending_.find_first_not_of(kSpace, shown > 0 ? 0 : blank_), pending_.size());
}

ThoughtReader::Piece ThoughtReader::finish() {
  Piece out;
  const bool thought = place_ == Place::kThought || (place_ == Place::kStart && opened_);
  if (thought) {
    pending_.erase(pending_.find_last_not_of(kSpace) + 1);
    pending_.erase(0, place_ == Place::kStart
                          ? std::min(pending_.find_first_not_of(kSpace), pending_.size())
                          : 0);
    out.thought = std::move(pending_);
  } else {
    out.text = std::move(pending_);
  }
  pending_.clear();
  place_ = Place::kText;
  return out;
}

}  // namespace tessera::text
