// Operations on one automaton (trim, product), and the small public functions of Grammar.
#include "text/constrain/automaton.h"

#include "core/error.h"
#include "text/constrain/stacks.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace tessera::constrain {
namespace {

constexpr uint32_t kNone = 0xFFFFFFFF;
constexpr size_t kMaxProductStates = 200'000;

/// States that can reach an accepting one.
std::vector<bool> useful_states(const Dfa& dfa) {
  std::vector<std::vector<uint32_t>> before(dfa.states.size());
  std::vector<uint32_t> todo;
  std::vector<bool> useful(dfa.states.size(), false);
  for (uint32_t state = 0; state < dfa.states.size(); ++state) {
    for (const auto& edge : dfa.states[state].edges) {
      before[edge.target].push_back(state);
    }
    for (const auto& call : dfa.states[state].calls) {
      before[call.target].push_back(state);
    }
    if (dfa.states[state].accepting) {
      useful[state] = true;
      todo.push_back(state);
    }
  }
  while (!todo.empty()) {
    const uint32_t state = todo.back();
    todo.pop_back();
    for (const uint32_t from : before[state]) {
      if (!useful[from]) {
        useful[from] = true;
        todo.push_back(from);
      }
    }
  }
  return useful;
}

}  // namespace

void trim(Dfa& dfa) {
  std::vector<bool> keep = useful_states(dfa);
  // Only what the start reaches is kept.
  std::vector<bool> reached(dfa.states.size(), false);
  std::vector<uint32_t> todo = {0};
  reached[0] = true;
  while (!todo.empty()) {
    const uint32_t state = todo.back();
    todo.pop_back();
    const auto reach = [&](uint32_t target) {
      if (keep[target] && !reached[target]) {
        reached[target] = true;
        todo.push_back(target);
      }
    };
    for (const auto& edge : dfa.states[state].edges) {
      reach(edge.target);
    }
    for (const auto& call : dfa.states[state].calls) {
      reach(call.target);
    }
  }
  std::vector<uint32_t> number(dfa.states.size(), kNone);
  uint32_t count = 0;
  for (uint32_t state = 0; state < dfa.states.size(); ++state) {
    if (state == 0 || (keep[state] && reached[state])) {
      number[state] = count++;
    }
  }
  std::vector<Dfa::State> states(count);
  for (uint32_t state = 0; state < dfa.states.size(); ++state) {
    if (number[state] == kNone) {
      continue;
    }
    Dfa::State& out = states[number[state]];
    out.accepting = dfa.states[state].accepting;
    for (const auto& edge : dfa.states[state].edges) {
      if (keep[edge.target]) {
        out.edges.push_back({edge.first, edge.last, number[edge.target]});
      }
    }
    for (const auto& call : dfa.states[state].calls) {
      if (keep[call.target]) {
        out.calls.push_back({call.label, number[call.target]});
      }
    }
  }
  dfa.states = std::move(states);
}

Dfa product(const Dfa& a, const Dfa& b, bool subtract) {
  const auto accepts = [&](uint32_t x, uint32_t y) {
    const bool right = y != kNone && b.states[y].accepting;
    return a.states[x].accepting && right != subtract;
  };
  Dfa out;
  out.nullable = a.nullable && b.nullable != subtract;
  out.states.emplace_back();
  std::vector<std::pair<uint32_t, uint32_t>> pairs = {{0, 0}};
  std::unordered_map<uint64_t, uint32_t> known;
  const auto intern = [&](uint32_t x, uint32_t y) {
    const uint64_t key = (uint64_t{x} << 32) | y;
    const auto [it, added] = known.try_emplace(key, static_cast<uint32_t>(pairs.size()));
    if (added) {
      TESSERA_CHECK(pairs.size() < kMaxProductStates, Unsupported,
                    "a combination of patterns needs more than {} states; make them simpler",
                    kMaxProductStates);
      pairs.emplace_back(x, y);
      out.states.emplace_back().accepting = accepts(x, y);
    }
    return it->second;
  };
  for (uint32_t state = 0; state < pairs.size(); ++state) {
    const auto [x, y] = pairs[state];
    for (const auto& edge : a.states[x].edges) {
      uint32_t from = edge.first;
      const auto emit = [&](uint32_t first, uint32_t last, uint32_t target) {
        if (first <= last && (subtract || target != kNone)) {
          const uint32_t to = intern(edge.target, target);
          out.states[state].edges.push_back(
              {static_cast<uint8_t>(first), static_cast<uint8_t>(last), to});
        }
      };
      if (y != kNone) {
        for (const auto& other : b.states[y].edges) {  // sorted and disjoint
          const uint32_t first = std::max<uint32_t>(from, other.first);
          const uint32_t last = std::min(edge.last, other.last);
          if (first > last) {
            continue;
          }
          if (first > from) {
            emit(from, first - 1, kNone);
          }
          emit(first, last, other.target);
          from = last + 1;
        }
      }
      emit(from, edge.last, kNone);
    }
  }
  trim(out);
  return out;
}

size_t Grammar::state_count() const {
  return automaton_->state_count();
}

bool Grammar::matches(std::string_view text) const {
  Stacks stacks(*automaton_);
  Stacks::Set at = stacks.initial();
  for (const char c : text) {
    at = stacks.step(at, static_cast<uint8_t>(c));
  }
  return stacks.can_end(at);
}

}  // namespace tessera::constrain
