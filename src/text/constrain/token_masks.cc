// A walk over the vocabulary's trie with a stack of which only the top is known. Where the walk
// leaves the known part, the rest of the token depends on the frames below: these rests are kept as
// a trie of their own, in which equal rests of different tokens are one path. Rests that fit none
// of the places from which the grammar calls the rule are dropped at once. XGrammar (arXiv
// 2411.15100) has the division into tokens that the top decides and tokens that it does not.
#include "text/constrain/token_masks.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

namespace tessera::constrain {
namespace {

constexpr int kKnownFrames = 3;          // levels of callers that rests are checked with
constexpr size_t kMaxFrames = 64;        // with more callers, one level must do
constexpr size_t kLoopBranch = 2;        // nodes of a branch for which the loop is looked at
constexpr size_t kBigBranch = 256;       // the same where no loop was seen yet
constexpr size_t kMaxRests = 8'000'000;  // bytes of rests of one mask
constexpr size_t kCacheLimit = size_t{64} << 20;   // bytes of masks
constexpr size_t kStacksLimit = size_t{32} << 20;  // bytes of stacks
constexpr size_t kListLimit = 8;                   // list up to vocabulary / 8 / 32 tokens

/// Rests of tokens under construction.
class RestTrie {
 public:
  uint32_t child(uint32_t parent, uint8_t byte) {
    const uint64_t key = (uint64_t{parent} << 8) | byte;
    const auto [it, added] = children_.try_emplace(key, static_cast<uint32_t>(ids_.size()));
    if (added) {
      TESSERA_CHECK(ids_.size() < kMaxRests, Unsupported,
                    "the grammar is too ambiguous: too many tokens reach over the end of a rule");
      ids_.emplace_back();
    }
    return it->second;
  }
  void add(uint32_t node, std::span<const int32_t> ids) {
    ids_[node].insert(ids_[node].end(), ids.begin(), ids.end());
  }

  /// Writes the list form. A child always has a larger number than its parent, but a walk in
  /// preorder needs them by parent.
  void write(TopMask& out) const {
    std::vector<std::array<uint32_t, 3>> edges;  // parent, byte, child
    edges.reserve(children_.size());
    for (const auto& [key, child] : children_) {
      edges.push_back({static_cast<uint32_t>(key >> 8), static_cast<uint32_t>(key & 0xFF), child});
    }
    std::sort(edges.begin(), edges.end());
    std::vector<uint32_t> first(ids_.size() + 1, 0);
    for (const auto& edge : edges) {
      ++first[edge[0] + 1];
    }
    for (size_t i = 1; i < first.size(); ++i) {
      first[i] += first[i - 1];
    }
    struct Frame {
      uint32_t trie_node;
      uint32_t next;  // edge
      uint32_t listed;
    };
    std::vector<Frame> path = {{0, first[0], 0}};
    while (!path.empty()) {
      Frame& top = path.back();
      if (top.next == first[top.trie_node + 1]) {
        if (path.size() > 1) {
          out.rest[top.listed].skip = static_cast<uint32_t>(out.rest.size());
        }
        path.pop_back();
        continue;
      }
      const auto& edge = edges[top.next++];
      const auto listed = static_cast<uint32_t>(out.rest.size());
      out.rest.push_back({0, static_cast<uint32_t>(out.rest_ids.size()),
                          static_cast<uint16_t>(path.size()), static_cast<uint8_t>(edge[1])});
      const auto& ids = ids_[edge[2]];
      out.rest_ids.insert(out.rest_ids.end(), ids.begin(), ids.end());
      path.push_back({edge[2], first[edge[2]], listed});
    }
    out.rest.push_back({0, static_cast<uint32_t>(out.rest_ids.size()), 0, 0});
  }

 private:
  std::unordered_map<uint64_t, uint32_t> children_;
  std::vector<std::vector<int32_t>> ids_ = {{}};  // [nodes]; 0 is the root
};

}  // namespace

size_t TopMask::memory() const {
  return sizeof(TopMask) + bits.size() * sizeof(uint32_t) + ids.size() * sizeof(int32_t) +
         rest.size() * sizeof(Vocabulary::Node) + rest_ids.size() * sizeof(int32_t);
}

TokenMasks::TokenMasks(Grammar grammar, std::shared_ptr<const Vocabulary> vocabulary)
    : grammar_(std::move(grammar)),
      vocabulary_(std::move(vocabulary)),
      stacks_(grammar_.automaton()) {
  const Automaton& automaton = grammar_.automaton();
  for (uint32_t state = 0; state < automaton.state_count(); ++state) {
    const uint32_t caller = automaton.start_of[state];
    for (const Automaton::Call& call : automaton.calls_of(state)) {
      callers_[call.start].push_back({call.frame, caller});
    }
  }
}

/// All frames that can be below a state of the automaton, `depth` levels of them; what is deeper is
/// unknown.
std::vector<uint32_t> TokenMasks::frames_below(uint32_t start, int depth) {
  if (depth == 0) {
    return {stacks_.end_node()};
  }
  std::vector<uint32_t> frames;
  std::set<uint32_t> same_frame = {start};  // automata whose frame is also the frame of this one
  std::vector<uint32_t> todo = {start};
  std::map<uint32_t, Stacks::Set> below;
  while (!todo.empty()) {
    const uint32_t callee = todo.back();
    todo.pop_back();
    const auto callers = callers_.find(callee);
    for (const Caller& caller :
         callers == callers_.end() ? std::vector<Caller>() : callers->second) {
      if (caller.frame == Automaton::kTail) {
        if (same_frame.insert(caller.start).second) {
          todo.push_back(caller.start);
        }
        continue;
      }
      const auto [it, added] = below.try_emplace(caller.start, Stacks::kDead);
      if (added) {
        it->second = stacks_.set_of(frames_below(caller.start, depth - 1));
      }
      const bool is_loop = (caller.frame & Automaton::kLoop) != 0;
      frames.push_back(
          stacks_.make_node({caller.frame, is_loop ? Stacks::kAnyCount : 0, it->second}));
    }
  }
  if (same_frame.contains(grammar_.automaton().root)) {
    frames.push_back(stacks_.bottom_node());
  }
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  return frames;
}

/// Everything that can follow, anywhere, when the automaton is left.
Stacks::Set TokenMasks::outside(uint32_t start) {
  const auto known = outside_.find(start);
  if (known != outside_.end()) {
    return known->second;
  }
  std::vector<uint32_t> frames = frames_below(start, 1);
  if (frames.size() <= kMaxFrames) {
    frames = frames_below(start, kKnownFrames);
  }
  const Stacks::Set all = stacks_.resume(stacks_.set_of(frames));
  return outside_[start] = all;
}

/// Classes of bytes of which every one leads from the set to itself, as bits (Vocabulary).
uint64_t TokenMasks::loop_classes(Stacks::Set set) {
  const auto [it, added] = loops_.try_emplace(set, 0);
  if (added) {
    uint64_t leave = 0;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (stacks_.step(set, static_cast<uint8_t>(byte)) != set) {
        leave |= uint64_t{1} << Vocabulary::byte_class(static_cast<uint8_t>(byte));
      }
    }
    it->second = ~leave;
  }
  return it->second;
}

std::shared_ptr<const TopMask> TokenMasks::make(const Top& top) {
  ++made_;
  if (stacks_.memory() > kStacksLimit) {
    stacks_.keep_only({});
    outside_.clear();
    loops_.clear();
  }
  const auto nodes = vocabulary_->nodes().first(vocabulary_->nodes().size() - 1);
  const auto ids_of = [&](size_t node) {
    const uint32_t begin = vocabulary_->nodes()[node].first_id;
    return vocabulary_->ids().subspan(begin, vocabulary_->nodes()[node + 1].first_id - begin);
  };
  auto mask = std::make_shared<TopMask>();
  RestTrie rests;
  std::vector<Stacks::Set> at(vocabulary_->longest() + 1);  // [depth]
  std::vector<uint32_t> path(vocabulary_->longest() + 1);
  at[0] = stacks_.partial(top);
  const Automaton& automaton = grammar_.automaton();
  const uint32_t last = top.back().first;
  const Stacks::Set left =
      outside(automaton.start_of[(last & Automaton::kLoop) != 0
                                     ? automaton.loops[last & ~Automaton::kLoop].target
                                     : last]);
  std::vector<Stacks::Set> beyond(vocabulary_->longest() + 1);  // [depth] after leaving the top
  for (size_t i = 0; i < nodes.size();) {
    const Vocabulary::Node& node = nodes[i];
    const Stacks::Set next = stacks_.step(at[node.depth - 1U], node.byte);
    if (next == Stacks::kDead) {
      i = node.skip;
      continue;
    }
    at[node.depth] = next;
    // In a loop (the middle of a string) whole branches of the trie are allowed.
    const bool may_loop = !stacks_.can_end(next) &&
                          node.skip - i > (next == at[node.depth - 1U] ? kLoopBranch : kBigBranch);
    if (may_loop && (vocabulary_->classes_below()[i] & ~loop_classes(next)) == 0) {
      const uint32_t begin = node.first_id;
      const auto branch =
          vocabulary_->ids().subspan(begin, vocabulary_->nodes()[node.skip].first_id - begin);
      mask->ids.insert(mask->ids.end(), branch.begin(), branch.end());
      i = node.skip;
      continue;
    }
    const auto ids = ids_of(i);
    mask->ids.insert(mask->ids.end(), ids.begin(), ids.end());
    if (stacks_.can_end(next)) {
      path[node.depth] = 0;
      beyond[node.depth] = left;
      for (size_t j = i + 1; j < node.skip;) {
        const size_t depth = nodes[j].depth;
        // Below the frames that are known, anything may follow.
        const Stacks::Set before = beyond[depth - 1];
        beyond[depth] = stacks_.can_end(before) ? before : stacks_.step(before, nodes[j].byte);
        if (beyond[depth] == Stacks::kDead) {
          j = nodes[j].skip;
          continue;
        }
        path[depth] = rests.child(path[depth - 1], nodes[j].byte);
        rests.add(path[depth], ids_of(j));
        ++j;
      }
    }
    ++i;
  }
  rests.write(*mask);
  if (mask->ids.size() * kListLimit > vocabulary_->mask_words()) {
    mask->bits.assign(vocabulary_->mask_words(), 0);
    for (const int32_t id : mask->ids) {
      mask->bits[static_cast<size_t>(id) / 32] |= 1U << (static_cast<uint32_t>(id) % 32);
    }
    mask->ids.clear();
  }
  mask->ids.shrink_to_fit();
  return mask;
}

std::shared_ptr<const TopMask> TokenMasks::find(const Top& top, uint64_t& work_left) {
  const std::lock_guard lock(mutex_);
  const auto known = cache_.find(top);
  if (known != cache_.end()) {
    return known->second;
  }
  stacks_.limit_work(work_left);
  work_left = 0;  // unless it returns
  auto mask = make(top);
  work_left = stacks_.work_left();
  if (cache_memory_ > kCacheLimit) {
    cache_.clear();
    cache_memory_ = 0;
  }
  cache_memory_ += mask->memory();
  cache_.emplace(top, mask);
  return mask;
}

void TokenMasks::prepare() {
  const Automaton& automaton = grammar_.automaton();
  for (uint32_t state = 0; state < automaton.state_count(); ++state) {
    if (!automaton.edges_of(state).empty()) {
      const std::lock_guard lock(mutex_);
      if (cache_memory_ > kCacheLimit) {
        return;
      }
    }
    if (!automaton.edges_of(state).empty()) {
      uint64_t work = kWorkLimit;
      find({{state, 0}}, work);
    }
  }
}

size_t TokenMasks::made() const {
  const std::lock_guard lock(mutex_);
  return made_;
}

}  // namespace tessera::constrain
