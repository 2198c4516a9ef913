// The compiled form of a grammar: one deterministic byte automaton for each rule (where that does
// not blow up), joined by calls.
#pragma once

#include "text/constrain/grammar.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera::constrain {

/// Automata of all rules, their states numbered together. A rule's language has the empty text
/// taken out (the callers step over it instead), so every call reads at least one byte before it
/// returns. A start state is never the target of an edge.
struct Automaton {
  static constexpr uint32_t kTail = 0xFFFFFFFF;  // a call after which nothing is left to do
  static constexpr uint32_t kLoop = 0x80000000;  // flag: the frame is loops[frame & ~kLoop]

  struct Edge {
    uint8_t first;
    uint8_t last;  // inclusive
    uint32_t target;
  };
  struct Call {
    uint32_t start;  // first state of what is called
    uint32_t frame;  // state to go on with, or kLoop | loop, or kTail
  };
  /// A body that is read `min` to `max` times, then `target` goes on.
  struct Loop {
    uint32_t start;
    uint32_t min;  // >= 1
    uint32_t max;  // kUnbounded: any number
    uint32_t target;
    bool is_small;  // the body is a few states without calls: one token may read several rounds
  };

  std::span<const Edge> edges_of(uint32_t state) const {
    return {edges.data() + edge_begin[state], edges.data() + edge_begin[state + 1]};
  }
  std::span<const Call> calls_of(uint32_t state) const {
    return {calls.data() + call_begin[state], calls.data() + call_begin[state + 1]};
  }
  uint32_t state_count() const { return static_cast<uint32_t>(accepting.size()); }

  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<uint32_t> edge_begin;  // [states + 1]
  std::vector<uint32_t> call_begin;  // [states + 1]
  std::vector<uint8_t> accepting;    // [states]
  std::vector<uint32_t> rank;        // [states] of start states: callers at the front come first
  std::vector<uint32_t> start_of;    // [states] start of the automaton that a state belongs to
  std::vector<Loop> loops;
  uint32_t root = 0;
  bool nullable = false;  // the empty text is in the language
};

/// An automaton alone. State 0 is the start, which no edge enters; `calls` have labels instead of
/// states. Not always deterministic.
struct Dfa {
  struct LabelledCall {
    uint32_t label;
    uint32_t target;
  };
  struct State {
    std::vector<Automaton::Edge> edges;
    std::vector<LabelledCall> calls;
    bool accepting = false;
  };
  std::vector<State> states;
  bool nullable = false;  // state 0 itself never accepts
};

/// Removes the states from which no text ends.
void trim(Dfa& dfa);

/// Product of two automata without calls: both accept, or (`subtract`) only the first does.
Dfa product(const Dfa& a, const Dfa& b, bool subtract);

/// The automaton of a regular expression; throws Unsupported when it is recursive or too large.
/// `budget`: see determinize.
Dfa compile_regular(const GrammarBuilder& grammar, GrammarBuilder::Expr expr, uint64_t& budget);

Automaton compile(const GrammarBuilder& grammar, GrammarBuilder::Expr root, uint64_t& budget);

}  // namespace tessera::constrain
