// Graph-structured stacks. A set of nodes is the state of a nondeterministic pushdown automaton:
// one node for each state that can be on top, its parents the frames below. A byte moves the tops;
// then states that accept return to their frames (and maybe further), and calls push new frames.
// Because calls read at least one byte and nothing is left-recursive, one pass over returns and one
// over calls, callers first, closes the set; tops with the same state are merged, so that ambiguous
// grammars stay polynomial. The idea of hashing persistent stacks is in XGrammar (arXiv
// 2411.15100); merging them is Tomita's.
#include "text/constrain/stacks.h"

#include "core/error.h"
#include "core/random.h"

#include <algorithm>
#include <functional>
#include <memory>

namespace tessera::constrain {
namespace {

constexpr size_t kFirstSlots = 64;
constexpr uint8_t kStepsBeforeTable = 4;  // most sets are left through one or two bytes only
constexpr size_t kLinearArrivals = 24;    // up to here a scan finds duplicates

}  // namespace

template <class Equal>
uint32_t* Stacks::Index::find(uint64_t hash, Equal equal) {
  const size_t mask = slots.size() - 1;
  size_t at = hash & mask;
  while (slots[at] != 0 && !equal(slots[at] - 1)) {
    at = (at + 1) & mask;
  }
  return &slots[at];
}

template <class HashOf>
void Stacks::Index::grow(HashOf hash_of) {
  if (++used * 2 <= slots.size()) {
    return;
  }
  std::vector<uint32_t> old(slots.size() * 2, 0);
  old.swap(slots);
  for (const uint32_t slot : old) {
    if (slot != 0) {
      *find(hash_of(slot - 1), [](uint32_t) { return false; }) = slot;
    }
  }
}

Stacks::Stacks(const Automaton& automaton) : automaton_(&automaton) {
  node_index_ = {std::vector<uint32_t>(kFirstSlots, 0), 0};
  set_index_ = {std::vector<uint32_t>(kFirstSlots, 0), 0};
  tables_.push_back(std::make_unique<Table>());
  tables_.back()->fill(kUnknown);
  intern_set({});  // kDead
  table_of_[kDead] = 1;
  tables_.push_back(std::make_unique<Table>());
  tables_.back()->fill(kDead);
  end_ = intern_node({kEnd, 0, kDead});
}

uint64_t Stacks::hash_node(const Node& node) const {
  return mix64(mix64((uint64_t{node.state} << 32) | node.parents) ^ node.count);
}

uint64_t Stacks::hash_set(std::span<const uint32_t> sorted) const {
  uint64_t hash = sorted.size();
  for (const uint32_t member : sorted) {
    hash = mix64(hash ^ member);
  }
  return hash;
}

uint32_t Stacks::intern_node(const Node& node) {
  uint32_t* slot =
      node_index_.find(hash_node(node), [&](uint32_t index) { return nodes_[index] == node; });
  if (*slot != 0) {
    return *slot - 1;
  }
  nodes_.push_back(node);
  const auto index = static_cast<uint32_t>(nodes_.size() - 1);
  *slot = index + 1;
  node_index_.grow([&](uint32_t other) { return hash_node(nodes_[other]); });
  return index;
}

Stacks::Set Stacks::intern_set(std::span<const uint32_t> sorted) {
  uint32_t* slot = set_index_.find(
      hash_set(sorted), [&](uint32_t set) { return std::ranges::equal(nodes_of(set), sorted); });
  if (*slot != 0) {
    return *slot - 1;
  }
  const auto set = static_cast<Set>(sets_.size());
  sets_.push_back({static_cast<uint32_t>(members_.size()), static_cast<uint32_t>(sorted.size())});
  members_.insert(members_.end(), sorted.begin(), sorted.end());
  table_of_.push_back(0);
  steps_taken_.push_back(0);
  *slot = set + 1;
  set_index_.grow([&](uint32_t other) { return hash_set(nodes_of(other)); });
  return set;
}

void Stacks::spend(uint64_t amount) {
  TESSERA_CHECK(amount <= work_left_, Unsupported,
                "the grammar is too ambiguous here: too many ways to read the same text; make its "
                "alternatives and nested repetitions distinct");
  work_left_ -= amount;
}

void Stacks::arrive(uint32_t state, uint32_t parent) {
  const uint64_t key = (uint64_t{state} << 32) | parent;
  if (arrivals_.size() < kLinearArrivals) {
    if (std::find(arrivals_.begin(), arrivals_.end(), key) == arrivals_.end()) {
      arrivals_.push_back(key);
    }
    return;
  }
  const auto slot_of = [&](uint64_t wanted) {
    size_t at = mix64(wanted) & (seen_.size() - 1);
    while (seen_[at] != 0 && seen_[at] != wanted + 1) {
      at = (at + 1) & (seen_.size() - 1);
    }
    return at;
  };
  if (arrivals_.size() == kLinearArrivals || arrivals_.size() * 2 > seen_.size()) {
    seen_.assign(std::max<size_t>(128, arrivals_.size() * 4), 0);
    size_t power = 128;
    while (power < seen_.size()) {
      power *= 2;
    }
    seen_.assign(power, 0);
    for (const uint64_t known : arrivals_) {
      seen_[slot_of(known)] = known + 1;
    }
  }
  const size_t at = slot_of(key);
  if (seen_[at] == 0) {
    seen_[at] = key + 1;
    arrivals_.push_back(key);
  }
}

void Stacks::arrive_all(uint32_t state, Set parents) {
  spend(sets_[parents].size);
  for (const uint32_t parent : nodes_of(parents)) {
    arrive(state, parent);
  }
}

/// What was called through `frame` is complete.
void Stacks::leave(uint32_t frame) {
  const Node node = nodes_[frame];
  if (node.state == kEnd) {
    (frame == end_ ? ended_ : bottomed_) = true;
    return;
  }
  if ((node.state & Automaton::kLoop) == 0) {
    arrive_all(node.state, node.parents);
    return;
  }
  const Automaton::Loop& loop = automaton_->loops[node.state & ~Automaton::kLoop];
  if (node.count == kAnyCount) {
    arrive_all(loop.target, node.parents);
    push(loop.start, frame);
    return;
  }
  const uint32_t count = node.count + 1;
  if (count >= loop.min) {
    arrive_all(loop.target, node.parents);
  }
  if (count < loop.max) {
    const uint32_t kept =
        loop.max == GrammarBuilder::kUnbounded ? std::min(count, loop.min) : count;
    push(loop.start, intern_node({node.state, kept, node.parents}));
  }
}

void Stacks::push(uint32_t start, uint32_t frame) {
  pushes_.push_back({automaton_->rank[start], start, frame});
  std::push_heap(pushes_.begin(), pushes_.end(), std::greater<>());
}

/// Adds a top with all its parents to the result and follows its calls.
void Stacks::finish_state(uint32_t state, std::span<const uint32_t> parents) {
  spend(1 + parents.size());
  const auto calls = automaton_->calls_of(state);
  const bool has_edges = !automaton_->edges_of(state).empty();
  if (!has_edges && calls.empty()) {
    return;
  }
  const Set set = intern_set(parents);
  if (has_edges) {
    result_.push_back(intern_node({state, 0, set}));
  }
  for (const Automaton::Call& call : calls) {
    if (call.frame != Automaton::kTail) {
      push(call.start, intern_node({call.frame, 0, set}));
      continue;
    }
    for (const uint32_t parent : parents) {
      push(call.start, parent);
    }
  }
}

/// From arrivals_, pushes_ and ended_ to the set of tops.
Stacks::Set Stacks::close() {
  for (size_t i = 0; i < arrivals_.size(); ++i) {
    const auto state = static_cast<uint32_t>(arrivals_[i] >> 32);
    if (automaton_->accepting[state] != 0) {
      leave(static_cast<uint32_t>(arrivals_[i]));
    }
  }
  spend(arrivals_.size());
  result_.clear();
  std::vector<uint32_t> parents;
  std::sort(arrivals_.begin(), arrivals_.end());
  for (size_t i = 0; i < arrivals_.size();) {
    const auto state = static_cast<uint32_t>(arrivals_[i] >> 32);
    parents.clear();
    for (; i < arrivals_.size() && arrivals_[i] >> 32 == state; ++i) {
      parents.push_back(static_cast<uint32_t>(arrivals_[i]));
    }
    finish_state(state, parents);
  }
  while (!pushes_.empty()) {
    const uint32_t start = pushes_.front().start;
    parents.clear();
    while (!pushes_.empty() && pushes_.front().start == start) {
      const uint32_t frame = pushes_.front().frame;
      if (parents.empty() || parents.back() != frame) {
        parents.push_back(frame);
      }
      std::pop_heap(pushes_.begin(), pushes_.end(), std::greater<>());
      pushes_.pop_back();
    }
    finish_state(start, parents);
  }
  if (ended_) {
    result_.push_back(end_);
  }
  if (bottomed_) {
    result_.push_back(bottom_node());
  }
  std::sort(result_.begin(), result_.end());
  arrivals_.clear();
  ended_ = false;
  bottomed_ = false;
  return intern_set(result_);
}

Stacks::Set Stacks::initial() {
  arrivals_.clear();
  pushes_.clear();
  ended_ = automaton_->nullable;
  push(automaton_->root, end_);
  return close();
}

Stacks::Set Stacks::partial(std::span<const std::pair<uint32_t, uint32_t>> frames) {
  uint32_t node = end_;
  for (size_t i = frames.size(); i-- > 0;) {
    const Set parents = intern_set({&node, 1});
    node = intern_node({frames[i].first, frames[i].second, parents});
  }
  return intern_set({&node, 1});
}

Stacks::Set Stacks::resume(Set parents) {
  arrivals_.clear();
  pushes_.clear();
  ended_ = false;
  bottomed_ = false;
  for (const uint32_t frame : nodes_of(parents)) {
    leave(frame);
  }
  return close();
}

Stacks::Set Stacks::compute_step(Set at, uint8_t byte) {
  arrivals_.clear();
  pushes_.clear();
  ended_ = false;
  bottomed_ = false;
  spend(sets_[at].size);
  for (const uint32_t index : nodes_of(at)) {
    const Node node = nodes_[index];
    if (node.state == kEnd) {
      continue;
    }
    for (const Automaton::Edge& edge : automaton_->edges_of(node.state)) {
      if (edge.first <= byte && byte <= edge.last) {
        arrive_all(edge.target, node.parents);
      }
    }
  }
  const Set next = close();
  if (table_of_[at] == 0 && ++steps_taken_[at] < kStepsBeforeTable) {
    return next;
  }
  if (table_of_[at] == 0) {
    table_of_[at] = static_cast<uint32_t>(tables_.size());
    tables_.push_back(std::make_unique<Table>());
    tables_.back()->fill(kUnknown);
  }
  (*tables_[table_of_[at]])[byte] = next;
  return next;
}

void Stacks::allowed_bytes(Set at, std::array<bool, 256>& allowed) const {
  for (const uint32_t index : nodes_of(at)) {
    if (nodes_[index].state == kEnd) {
      continue;
    }
    for (const Automaton::Edge& edge : automaton_->edges_of(nodes_[index].state)) {
      std::fill(allowed.begin() + edge.first, allowed.begin() + edge.last + 1, true);
    }
  }
}

size_t Stacks::memory() const {
  return tables_.size() * sizeof(Table) + nodes_.size() * sizeof(Node) +
         members_.size() * sizeof(uint32_t) + sets_.size() * (sizeof(SetInfo) + sizeof(uint32_t)) +
         (node_index_.slots.size() + set_index_.slots.size()) * sizeof(uint32_t);
}

/// A set's nodes, and the sets below them, always have smaller numbers than what is made of them:
/// one pass down marks, one pass up copies.
void Stacks::import(const Stacks& from, std::span<Set> roots) {
  std::vector<bool> needed(from.sets_.size(), false);
  for (const Set root : roots) {
    needed[root] = true;
  }
  for (size_t set = needed.size(); set-- > 0;) {
    if (needed[set]) {
      for (const uint32_t member : from.nodes_of(static_cast<Set>(set))) {
        needed[from.nodes_[member].parents] = true;
      }
    }
  }
  std::vector<Set> moved(needed.size(), kDead);
  std::vector<uint32_t> list;
  for (size_t set = 0; set < needed.size(); ++set) {
    if (!needed[set]) {
      continue;
    }
    list.clear();
    for (const uint32_t member : from.nodes_of(static_cast<Set>(set))) {
      const Node& node = from.nodes_[member];
      list.push_back(intern_node({node.state, node.count, moved[node.parents]}));
    }
    std::sort(list.begin(), list.end());
    moved[set] = intern_set(list);
  }
  for (Set& root : roots) {
    root = moved[root];
  }
}

void Stacks::keep_only(std::span<Set> roots) {
  Stacks fresh(*automaton_);
  fresh.import(*this, roots);
  fresh.work_left_ = work_left_;
  *this = std::move(fresh);
}

}  // namespace tessera::constrain
