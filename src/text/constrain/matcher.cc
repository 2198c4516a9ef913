// A mask is the union over the tops of the stacks: tokens that the top alone decides come from the
// cache of the constraint, the rests of the others are read on with the real frames. Counters of
// loops are cut to what a token can reach, so that most rounds of a long loop share one mask.
#include "text/constrain/matcher.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <utility>

namespace tessera::constrain {
namespace {

constexpr uint64_t kWorkLimit = TokenMasks::kWorkLimit;
constexpr size_t kStacksLimit = size_t{4} << 20;  // bytes before old stacks are thrown away
constexpr size_t kRecentMasks = 8;

void set_bit(std::span<uint32_t> bits, int32_t id) {
  bits[static_cast<size_t>(id) / 32] |= 1U << (static_cast<uint32_t>(id) % 32);
}

}  // namespace

Matcher::Matcher(std::shared_ptr<Constraint> constraint, size_t max_rollback)
    : constraint_(std::move(constraint)),
      max_rollback_(max_rollback),
      stacks_(std::make_unique<Stacks>(constraint_->grammar().automaton())),
      stacks_limit_(kStacksLimit),
      path_(constraint_->vocabulary().longest() + 1) {
  reset();
}

void Matcher::reset() {
  history_.clear();
  stacks_->limit_work(kWorkLimit);
  history_.push_back({stacks_->initial(), false});
}

Stacks::Set Matcher::walk(Stacks::Set at, std::string_view text) {
  for (const char c : text) {
    at = stacks_->step(at, static_cast<uint8_t>(c));
    if (at == Stacks::kDead) {
      break;
    }
  }
  return at;
}

void Matcher::push(Point point) {
  history_.push_back(point);
  if (history_.size() > max_rollback_ + 1) {
    history_.pop_front();
  }
}

/// Throws away what no remembered place needs, now and then.
void Matcher::tidy() {
  stacks_->limit_work(kWorkLimit);
  if (stacks_->memory() <= stacks_limit_) {
    return;
  }
  std::vector<Stacks::Set> roots;
  for (const Point& point : history_) {
    roots.push_back(point.at);
  }
  stacks_->keep_only(roots);
  for (size_t i = 0; i < roots.size(); ++i) {
    history_[i].at = roots[i];
  }
  recent_.clear();
  next_recent_ = 0;
  stacks_limit_ = std::max(kStacksLimit, 2 * stacks_->memory());
}

bool Matcher::accept(int32_t id) {
  const Vocabulary& vocabulary = constraint_->vocabulary();
  TESSERA_CHECK(id >= 0 && id < vocabulary.size(), InvalidArgument,
                "token id {} is not in the vocabulary of {} tokens", id, vocabulary.size());
  if (is_finished()) {
    return false;
  }
  if (vocabulary.is_end(id)) {
    if (!is_complete()) {
      return false;
    }
    push({history_.back().at, true});
    return true;
  }
  return !vocabulary.bytes(id).empty() && accept_bytes(vocabulary.bytes(id));
}

bool Matcher::accept_bytes(std::string_view text) {
  if (is_finished()) {
    return false;
  }
  tidy();
  const Stacks::Set next = walk(history_.back().at, text);
  if (next == Stacks::kDead) {
    return false;
  }
  push({next, false});
  return true;
}

bool Matcher::allows(int32_t id) {
  const Vocabulary& vocabulary = constraint_->vocabulary();
  if (id < 0 || id >= vocabulary.size() || is_finished()) {
    return false;
  }
  if (vocabulary.is_end(id)) {
    return is_complete();
  }
  tidy();
  return !vocabulary.bytes(id).empty() &&
         walk(history_.back().at, vocabulary.bytes(id)) != Stacks::kDead;
}

/// A count that a token cannot tell from `count`: no token has more bytes than the longest, so
/// bounds further away than that are all alike.
uint32_t Matcher::clamp(uint32_t frame_state, uint32_t count) const {
  const Automaton::Loop& loop =
      constraint_->grammar().automaton().loops[frame_state & ~Automaton::kLoop];
  const auto far = static_cast<uint32_t>(constraint_->vocabulary().longest() + 1);
  if (count < loop.min) {
    return loop.min - count > far ? loop.min - far : count;
  }
  const bool endless = loop.max == GrammarBuilder::kUnbounded || loop.max - count > far;
  return endless ? Stacks::kAnyCount : count;
}

/// Adds the tokens of the stacks with `node` on top. A loop with a small body right below belongs
/// to the known part, as a token may read many rounds of it.
void Matcher::add_top(uint32_t node, std::span<uint32_t> bits) {
  const Stacks::Node top = stacks_->node(node);
  const auto frames = stacks_->nodes_of(top.parents);
  std::vector<uint32_t> others;
  for (const uint32_t parent : std::vector<uint32_t>(frames.begin(), frames.end())) {
    const Stacks::Node frame = stacks_->node(parent);
    const bool is_loop = frame.state != Stacks::kEnd && (frame.state & Automaton::kLoop) != 0;
    if (is_loop &&
        constraint_->grammar().automaton().loops[frame.state & ~Automaton::kLoop].is_small) {
      const uint32_t count = clamp(frame.state, frame.count);
      add_mask(*constraint_->masks().find({{top.state, 0}, {frame.state, count}}, cold_work_),
               frame.parents, bits);
    } else {
      others.push_back(parent);
    }
  }
  if (!others.empty()) {
    add_mask(*constraint_->masks().find({{top.state, 0}}, cold_work_), stacks_->set_of(others),
             bits);
  }
}

void Matcher::add_mask(const TopMask& mask, Stacks::Set parents, std::span<uint32_t> bits) {
  for (size_t i = 0; i < mask.bits.size(); ++i) {
    bits[i] |= mask.bits[i];
  }
  for (const int32_t id : mask.ids) {
    set_bit(bits, id);
  }
  if (mask.rest_ids.empty()) {
    return;
  }
  path_[0] = stacks_->resume(parents);
  for (size_t i = 0; i + 1 < mask.rest.size();) {
    const Vocabulary::Node& node = mask.rest[i];
    const Stacks::Set next = stacks_->step(path_[node.depth - 1U], node.byte);
    if (next == Stacks::kDead) {
      i = node.skip;
      continue;
    }
    path_[node.depth] = next;
    for (uint32_t j = node.first_id; j < mask.rest[i + 1].first_id; ++j) {
      set_bit(bits, mask.rest_ids[j]);
    }
    ++i;
  }
}

bool Matcher::mask(std::span<uint32_t> bits) {
  const Vocabulary& vocabulary = constraint_->vocabulary();
  TESSERA_CHECK(bits.size() >= vocabulary.mask_words(), InvalidArgument,
                "a mask of {} words for {} tokens; expected at least {}", bits.size(),
                vocabulary.size(), vocabulary.mask_words());
  std::fill(bits.begin(), bits.end(), 0);
  if (is_finished()) {
    return false;
  }
  tidy();
  const Stacks::Set at = history_.back().at;
  const auto known = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const Remembered& recent) { return recent.at == at; });
  if (known != recent_.end()) {
    std::copy(known->bits.begin(), known->bits.end(), bits.begin());
    return std::any_of(known->bits.begin(), known->bits.end(), [](uint32_t w) { return w != 0; });
  }
  cold_work_ = kWorkLimit;
  const auto nodes = stacks_->nodes_of(at);
  for (const uint32_t node : std::vector<uint32_t>(nodes.begin(), nodes.end())) {
    if (stacks_->node(node).state == Stacks::kEnd) {
      for (const int32_t id : vocabulary.end_ids()) {
        set_bit(bits, id);
      }
    } else {
      add_top(node, bits);
    }
  }
  const auto words = bits.first(vocabulary.mask_words());
  Remembered remembered{at, {words.begin(), words.end()}};
  if (recent_.size() < kRecentMasks) {
    recent_.push_back(std::move(remembered));
  } else {
    recent_[next_recent_++ % kRecentMasks] = std::move(remembered);
  }
  return std::any_of(words.begin(), words.end(), [](uint32_t word) { return word != 0; });
}

bool Matcher::is_complete() const {
  return stacks_->can_end(history_.back().at);
}

bool Matcher::must_end() const {
  return is_complete() && stacks_->nodes_of(history_.back().at).size() == 1;
}

std::string Matcher::forced(size_t limit) {
  std::string out;
  if (is_finished()) {
    return out;
  }
  tidy();
  Stacks::Set at = history_.back().at;
  while (out.size() < limit && !stacks_->can_end(at)) {
    std::array<bool, 256> allowed{};
    stacks_->allowed_bytes(at, allowed);
    const auto first = std::find(allowed.begin(), allowed.end(), true);
    if (first == allowed.end() || std::find(first + 1, allowed.end(), true) != allowed.end()) {
      break;
    }
    const auto byte = static_cast<uint8_t>(first - allowed.begin());
    out.push_back(static_cast<char>(byte));
    at = stacks_->step(at, byte);
  }
  return out;
}

void Matcher::rollback(size_t count) {
  TESSERA_CHECK(count <= rollback_limit(), InvalidArgument,
                "cannot take back {} tokens: {} are remembered", count, rollback_limit());
  history_.resize(history_.size() - count);
}

Matcher Matcher::fork() const {
  Matcher copy(constraint_, max_rollback_);
  std::vector<Stacks::Set> places;
  for (const Point& point : history_) {
    places.push_back(point.at);
  }
  copy.stacks_->import(*stacks_, places);
  copy.history_ = history_;
  for (size_t i = 0; i < places.size(); ++i) {
    copy.history_[i].at = places[i];
  }
  return copy;
}

}  // namespace tessera::constrain
