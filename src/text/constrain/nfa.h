// Thompson automata on the way from expressions to a Dfa.
#pragma once

#include "text/constrain/automaton.h"

#include <cstdint>
#include <vector>

namespace tessera::constrain {

/// States with edges for byte ranges, for calls (by label) and for nothing. State 0 is the start.
class Nfa {
 public:
  explicit Nfa(size_t max_states) : max_states_(max_states) {
    add_state();
    final_ = add_state();
  }

  uint32_t final_state() const { return final_; }
  /// Throws Unsupported beyond the limit.
  uint32_t add_state();
  size_t size() const { return states_.size(); }
  void add_empty(uint32_t from, uint32_t to) { states_[from].empty.push_back(to); }
  void add_bytes(uint32_t from, uint8_t first, uint8_t last, uint32_t to) {
    states_[from].edges.push_back({first, last, to});
  }
  void add_call(uint32_t from, uint32_t label, uint32_t to) {
    states_[from].calls.push_back({label, to});
  }

  struct State {
    std::vector<uint32_t> empty;
    std::vector<Automaton::Edge> edges;
    std::vector<Dfa::LabelledCall> calls;
  };
  const State& state(uint32_t index) const { return states_[index]; }

 private:
  size_t max_states_;
  uint32_t final_;
  std::vector<State> states_;
};

/// Subset construction; the nondeterministic automaton without empty edges where that grows too
/// large (or Unsupported, with `must_be_deterministic`). Trimmed. `budget`: work that is left for
/// the whole grammar, in members of subsets; what is used is taken off.
Dfa determinize(const Nfa& nfa, bool must_be_deterministic, uint64_t& budget);

}  // namespace tessera::constrain
