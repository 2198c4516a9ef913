// Subset construction over byte ranges and call labels. A subset holds only states that have edges
// or are final. When it costs more than the budget, the states stay single and only the empty edges
// are removed: the stacks of stacks.h run such an automaton too, with more of them at a time.
#include "text/constrain/nfa.h"

#include "core/error.h"
#include "core/random.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <utility>

namespace tessera::constrain {
namespace {

using Subset = std::vector<uint32_t>;

constexpr size_t kMaxStates = 200'000;         // of one automaton
constexpr uint64_t kSubsetBudget = 8'000'000;  // of one automaton

struct SubsetHash {
  size_t operator()(const Subset& subset) const {
    uint64_t hash = subset.size();
    for (const uint32_t state : subset) {
      hash = mix64(hash ^ state);
    }
    return hash;
  }
};

class Determinizer {
 public:
  Determinizer(const Nfa& nfa, uint64_t& budget)
      : nfa_(nfa), budget_(budget), mark_(nfa.size(), 0) {}

  /// False when over budget.
  bool subsets(Dfa& dfa);
  /// False when over budget.
  bool singles(Dfa& dfa);

 private:
  void close(Subset& subset);
  uint32_t intern(Dfa& dfa, Subset targets);
  void expand_bytes(Dfa& dfa, uint32_t state, const Subset& subset);
  void expand_calls(Dfa& dfa, uint32_t state, const Subset& subset);

  /// Takes the work so far off the budget; false when there is none left.
  bool settle(uint64_t limit) {
    const uint64_t before = budget_;
    total_ += work_;
    budget_ -= std::min(budget_, work_);
    return std::exchange(work_, 0) < before && total_ <= limit;
  }

  const Nfa& nfa_;
  uint64_t& budget_;
  uint64_t total_ = 0;
  std::vector<uint32_t> mark_;
  uint32_t epoch_ = 0;
  std::unordered_map<Subset, uint32_t, SubsetHash> known_;
  std::vector<const Subset*> subset_of_;  // keys of known_; [0] is the start
  uint64_t work_ = 0;
};

/// Follows empty edges; keeps what has edges or is final, sorted.
void Determinizer::close(Subset& subset) {
  ++epoch_;
  for (const uint32_t state : subset) {
    mark_[state] = epoch_;
  }
  for (size_t i = 0; i < subset.size(); ++i) {
    for (const uint32_t next : nfa_.state(subset[i]).empty) {
      if (mark_[next] != epoch_) {
        mark_[next] = epoch_;
        subset.push_back(next);
      }
    }
  }
  work_ += subset.size();
  std::erase_if(subset, [&](uint32_t state) {
    return state != nfa_.final_state() && nfa_.state(state).edges.empty() &&
           nfa_.state(state).calls.empty();
  });
  std::sort(subset.begin(), subset.end());
}

uint32_t Determinizer::intern(Dfa& dfa, Subset targets) {
  std::sort(targets.begin(), targets.end());
  targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  close(targets);
  const auto [it, added] =
      known_.try_emplace(std::move(targets), static_cast<uint32_t>(dfa.states.size()));
  if (added) {
    dfa.states.emplace_back().accepting =
        std::binary_search(it->first.begin(), it->first.end(), nfa_.final_state());
    subset_of_.push_back(&it->first);
  }
  return it->second;
}

void Determinizer::expand_bytes(Dfa& dfa, uint32_t state, const Subset& subset) {
  std::array<bool, 257> cut{};
  for (const uint32_t from : subset) {
    for (const Automaton::Edge& edge : nfa_.state(from).edges) {
      cut[edge.first] = true;
      cut[edge.last + 1U] = true;
    }
  }
  std::array<uint32_t, 256> piece_of{};
  std::vector<uint32_t> first_byte;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    if (cut[byte] || first_byte.empty()) {
      first_byte.push_back(byte);
    }
    piece_of[byte] = static_cast<uint32_t>(first_byte.size() - 1);
  }
  std::vector<Subset> targets(first_byte.size());
  for (const uint32_t from : subset) {
    for (const Automaton::Edge& edge : nfa_.state(from).edges) {
      for (uint32_t piece = piece_of[edge.first]; piece <= piece_of[edge.last]; ++piece) {
        targets[piece].push_back(edge.target);
        ++work_;
      }
    }
  }
  for (size_t piece = 0; piece < targets.size(); ++piece) {
    if (targets[piece].empty()) {
      continue;
    }
    const auto first = static_cast<uint8_t>(first_byte[piece]);
    const auto last =
        static_cast<uint8_t>(piece + 1 < first_byte.size() ? first_byte[piece + 1] - 1 : 255);
    const uint32_t target = intern(dfa, std::move(targets[piece]));
    auto& edges = dfa.states[state].edges;
    if (!edges.empty() && edges.back().target == target && edges.back().last + 1 == first) {
      edges.back().last = last;
    } else {
      edges.push_back({first, last, target});
    }
  }
}

void Determinizer::expand_calls(Dfa& dfa, uint32_t state, const Subset& subset) {
  std::map<uint32_t, Subset> targets;
  for (const uint32_t from : subset) {
    for (const Dfa::LabelledCall& call : nfa_.state(from).calls) {
      targets[call.label].push_back(call.target);
      ++work_;
    }
  }
  for (auto& [label, set] : targets) {
    const uint32_t target = intern(dfa, std::move(set));
    dfa.states[state].calls.push_back({label, target});
  }
}

bool Determinizer::subsets(Dfa& dfa) {
  dfa = {};
  Subset start = {0};
  close(start);
  dfa.nullable = std::binary_search(start.begin(), start.end(), nfa_.final_state());
  dfa.states.emplace_back();
  subset_of_.push_back(&start);
  for (uint32_t state = 0; state < dfa.states.size(); ++state) {
    const Subset& subset = *subset_of_[state];
    expand_bytes(dfa, state, subset);
    expand_calls(dfa, state, subset);
    if (!settle(kSubsetBudget) || dfa.states.size() > kMaxStates ||
        dfa.states.size() > 10'000 + 4 * nfa_.size()) {
      return false;
    }
  }
  return true;
}

bool Determinizer::singles(Dfa& dfa) {
  dfa = {};
  for (uint32_t state = 0; state < nfa_.size(); ++state) {
    Subset subset = {state};
    close(subset);
    Dfa::State& out = dfa.states.emplace_back();
    for (const uint32_t member : subset) {
      const Nfa::State& from = nfa_.state(member);
      out.edges.insert(out.edges.end(), from.edges.begin(), from.edges.end());
      out.calls.insert(out.calls.end(), from.calls.begin(), from.calls.end());
      out.accepting |= member == nfa_.final_state();
      work_ += from.edges.size() + from.calls.size();
    }
    if (!settle(budget_)) {
      return false;
    }
  }
  dfa.nullable = dfa.states[0].accepting;
  dfa.states[0].accepting = false;
  return true;
}

}  // namespace

uint32_t Nfa::add_state() {
  TESSERA_CHECK(
      states_.size() < max_states_, Unsupported,
      "the grammar is too large: one rule needs more than {} states; use fewer or shorter "
      "alternatives or repetitions",
      max_states_);
  states_.emplace_back();
  return static_cast<uint32_t>(states_.size() - 1);
}

Dfa determinize(const Nfa& nfa, bool must_be_deterministic, uint64_t& budget) {
  Dfa dfa;
  if (!Determinizer(nfa, budget).subsets(dfa)) {
    TESSERA_CHECK(
        !must_be_deterministic, Unsupported,
        "a pattern that is combined with another restriction has too many states; make it "
        "simpler");
    TESSERA_CHECK(Determinizer(nfa, budget).singles(dfa), Unsupported,
                  "the grammar is too large: a rule of {} states has too many alternatives",
                  nfa.size());
  }
  trim(dfa);
  return dfa;
}

}  // namespace tessera::constrain
