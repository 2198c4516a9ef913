// From expressions to automata. Rules that cannot produce any text are dropped; rules that can
// produce the empty text lose it, and their callers may step over them. Short rules without
// recursion are copied into their callers; a call at the end of a rule becomes a jump to a copy of
// the called rule (one copy for each automaton), so right recursion is a loop. A repetition is
// written out when that is small and becomes a counted loop otherwise.
#include "core/error.h"
#include "text/constrain/automaton.h"
#include "text/constrain/nfa.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

namespace tessera::constrain {
namespace {

using Builder = GrammarBuilder;
using Kind = Builder::Kind;
using Expr = Builder::Expr;

constexpr uint64_t kInlineSize = 24;          // a rule this small is copied into its callers
constexpr uint64_t kUnrollSize = 2048;        // a repetition this small is written out
constexpr size_t kMaxRuleStates = 1'000'000;  // nondeterministic ones of one automaton
constexpr size_t kMaxTailStates = 4096;  // of one automaton: beyond, calls at its end stay calls
constexpr size_t kMaxAllTailStates = 300'000;  // of all automata that have such copies
constexpr size_t kMaxTotalStates = 2'000'000;
constexpr uint32_t kNoAutomaton = 0xFFFFFFFF;

uint64_t saturating(uint64_t a, uint64_t b) {
  return std::min<uint64_t>(a + b, uint64_t{1} << 40);
}

/// Facts about the expressions that a root reaches, and about all rules. Expressions are renumbered
/// densely, parts still before what is made of them.
class Facts {
 public:
  Facts(const Builder& grammar, Expr root) : grammar_(grammar) {
    reach(root);
    nullable_ = propagate(nullable_base);
    productive_ = propagate(productive_base);
    find_sizes();
  }

  bool nullable(Expr expr) const { return nullable_[local_[expr]]; }
  bool productive(Expr expr) const { return productive_[local_[expr]]; }
  uint64_t size(Expr expr) const { return size_[local_[expr]]; }
  bool is_inline(uint32_t rule) const { return inline_[rule]; }

 private:
  using Base = int (*)(const Builder::Node&, const Builder&);
  // -1: false whatever the parts are, 1: true, 0: the parts decide.
  static int nullable_base(const Builder::Node& node, const Builder& grammar);
  static int productive_base(const Builder::Node& node, const Builder& grammar);

  void reach(Expr root);
  std::vector<bool> propagate(Base base) const;
  void find_sizes();
  uint64_t size_of(const Builder::Node& node) const;
  const Builder::Node& node(size_t index) const { return grammar_.nodes()[exprs_[index]]; }

  const Builder& grammar_;
  std::vector<Expr> exprs_;      // reached, ascending
  std::vector<uint32_t> local_;  // [nodes] place in exprs_
  std::vector<uint32_t> rules_;  // reached
  std::vector<bool> nullable_;
  std::vector<bool> productive_;
  std::vector<uint64_t> size_;  // with short rules copied in
  std::vector<bool> inline_;    // [all rules]
};

int Facts::nullable_base(const Builder::Node& node, const Builder& grammar) {
  switch (node.kind) {
    case Kind::kEmpty:
      return 1;
    case Kind::kBytes:
      return node.text.empty() ? 1 : -1;
    case Kind::kNever:
    case Kind::kChars:
      return -1;
    case Kind::kRepeat:
      return node.min == 0 ? 1 : 0;
    case Kind::kDfa:
      return grammar.dfa(node.index).nullable ? 1 : -1;
    default:
      return 0;
  }
}

int Facts::productive_base(const Builder::Node& node, const Builder& grammar) {
  switch (node.kind) {
    case Kind::kEmpty:
    case Kind::kBytes:
      return 1;
    case Kind::kNever:
      return -1;
    case Kind::kChars:
      return node.utf8.empty() ? -1 : 1;
    case Kind::kRepeat:
      return node.min == 0 ? 1 : 0;
    case Kind::kDfa: {
      const Dfa& dfa = grammar.dfa(node.index);
      return dfa.nullable || !dfa.states[0].edges.empty() ? 1 : -1;
    }
    default:
      return 0;
  }
}

void Facts::reach(Expr root) {
  constexpr uint32_t kNew = 0xFFFFFFFF;
  local_.assign(grammar_.nodes().size(), kNew);
  std::vector<bool> seen_rule(grammar_.rules().size(), false);
  const auto visit = [&](Expr expr) {
    if (local_[expr] == kNew) {
      local_[expr] = 0;
      exprs_.push_back(expr);
    }
  };
  visit(root);
  for (size_t i = 0; i < exprs_.size(); ++i) {
    const Builder::Node& reached = grammar_.nodes()[exprs_[i]];
    for (const Expr item : reached.items) {
      visit(item);
    }
    if (reached.kind == Kind::kCall && !seen_rule[reached.index]) {
      seen_rule[reached.index] = true;
      rules_.push_back(reached.index);
      visit(grammar_.rules()[reached.index].expr);
    }
  }
  std::sort(exprs_.begin(), exprs_.end());
  for (size_t i = 0; i < exprs_.size(); ++i) {
    local_[exprs_[i]] = static_cast<uint32_t>(i);
  }
}

/// Least fixed point: a sequence holds when all parts do, a choice when one does, a call when the
/// rule does. Linear in the grammar.
std::vector<bool> Facts::propagate(Base base) const {
  std::vector<bool> holds(exprs_.size(), false);
  std::vector<uint32_t> missing(exprs_.size(), 1);  // parts that must still come true
  std::vector<std::vector<uint32_t>> users(exprs_.size());
  std::vector<uint32_t> todo;
  for (uint32_t i = 0; i < exprs_.size(); ++i) {
    const int known = base(node(i), grammar_);
    if (node(i).kind == Kind::kSequence) {
      missing[i] = static_cast<uint32_t>(node(i).items.size());
    }
    if (known > 0 || missing[i] == 0) {
      holds[i] = true;
      todo.push_back(i);
    } else if (known == 0) {
      for (const Expr item : node(i).items) {
        users[local_[item]].push_back(i);
      }
      if (node(i).kind == Kind::kCall) {
        users[local_[grammar_.rules()[node(i).index].expr]].push_back(i);
      }
    }
  }
  while (!todo.empty()) {
    const uint32_t done = todo.back();
    todo.pop_back();
    for (const uint32_t user : users[done]) {
      if (!holds[user] && --missing[user] == 0) {
        holds[user] = true;
        todo.push_back(user);
      }
    }
  }
  return holds;
}

uint64_t Facts::size_of(const Builder::Node& node) const {
  uint64_t size = 0;
  switch (node.kind) {
    case Kind::kBytes:
      return node.text.size();
    case Kind::kChars:
      for (const Utf8Range& range : node.utf8) {
        size = saturating(size, static_cast<uint64_t>(range.size));
      }
      return size;
    case Kind::kCall:
      return inline_[node.index] ? size_[local_[grammar_.rules()[node.index].expr]] : 1;
    case Kind::kDfa:
      return grammar_.dfa(node.index).states.size();
    case Kind::kRepeat: {
      const uint64_t copies = node.max == Builder::kUnbounded ? node.min + 1ULL : node.max;
      const uint64_t part = size_[local_[node.items[0]]];
      return part == 0 || copies <= kUnrollSize / part ? part * copies : 1;
    }
    default:
      for (const Expr item : node.items) {
        size = saturating(size, size_[local_[item]]);
      }
      return size;
  }
}

/// A rule that is copied into its callers calls nothing itself but such rules; other calls count 1.
/// Parts come before what is made of them, so a pass gives all sizes for the rules known so far,
/// and a few passes find the chains of short rules that matter.
void Facts::find_sizes() {
  constexpr int kPasses = 4;
  inline_.assign(grammar_.rules().size(), false);
  size_.assign(exprs_.size(), 0);
  for (int pass = 0; pass < kPasses; ++pass) {
    std::vector<bool> calls(exprs_.size(), false);  // reaches a call that stays
    for (size_t i = 0; i < exprs_.size(); ++i) {
      size_[i] = size_of(node(i));
      calls[i] = node(i).kind == Kind::kCall && !inline_[node(i).index];
      for (const Expr item : node(i).items) {
        calls[i] = calls[i] || calls[local_[item]];
      }
    }
    for (const uint32_t rule : rules_) {
      const uint32_t expr = local_[grammar_.rules()[rule].expr];
      inline_[rule] =
          pass + 1 < kPasses ? !calls[expr] && size_[expr] <= kInlineSize : inline_[rule];
    }
  }
}

/// Builds the automaton of one rule or loop body.
class RuleCompiler {
 public:
  /// Where calls get their labels; null where calls are errors.
  struct Labels {
    virtual ~Labels() = default;
    virtual uint32_t call(uint32_t rule) = 0;
    virtual uint32_t loop(Expr body, uint32_t min, uint32_t max) = 0;
    size_t tail_states_left = kMaxAllTailStates;
  };

  RuleCompiler(const Builder& grammar, const Facts& facts, Labels* labels)
      : grammar_(grammar), facts_(facts), labels_(labels), nfa_(kMaxRuleStates) {}

  Dfa compile(Expr expr, uint32_t rule, uint64_t& budget) {
    // The start state must not be entered again.
    const uint32_t entry = nfa_.add_state();
    nfa_.add_empty(0, entry);
    if (rule != kNoAutomaton) {
      tails_[rule] = entry;
    }
    build(expr, entry, nfa_.final_state());
    while (!pending_.empty()) {
      const auto [tail, from] = pending_.back();
      pending_.pop_back();
      build(grammar_.rules()[tail].expr, from, nfa_.final_state());
    }
    if (tails_.size() > 1) {
      labels_->tail_states_left -= std::min(labels_->tail_states_left, nfa_.size());
    }
    return determinize(nfa_, labels_ == nullptr, budget);
  }

 private:
  void build(Expr expr, uint32_t from, uint32_t to);
  void build_bytes(std::string_view text, uint32_t from, uint32_t to);
  void build_chars(const Builder::Node& node, uint32_t from, uint32_t to);
  void build_repeat(const Builder::Node& node, uint32_t from, uint32_t to);
  void build_call(uint32_t rule, uint32_t from, uint32_t to);
  void build_dfa(const Dfa& dfa, uint32_t from, uint32_t to);

  const Builder& grammar_;
  const Facts& facts_;
  Labels* labels_;
  Nfa nfa_;
  std::unordered_map<uint32_t, uint32_t> tails_;        // rule -> state where its copy begins
  std::vector<std::pair<uint32_t, uint32_t>> pending_;  // copies to be built: rule, state
  std::vector<uint32_t> open_;                          // rules being expanded, without labels
};

void RuleCompiler::build(Expr expr, uint32_t from, uint32_t to) {
  if (!facts_.productive(expr)) {
    return;
  }
  const Builder::Node& node = grammar_.nodes()[expr];
  switch (node.kind) {
    case Kind::kEmpty:
      nfa_.add_empty(from, to);
      return;
    case Kind::kNever:
      return;
    case Kind::kBytes:
      build_bytes(node.text, from, to);
      return;
    case Kind::kChars:
      build_chars(node, from, to);
      return;
    case Kind::kSequence:
      for (size_t i = 0; i < node.items.size(); ++i) {
        const uint32_t next = i + 1 == node.items.size() ? to : nfa_.add_state();
        build(node.items[i], from, next);
        from = next;
      }
      if (node.items.empty()) {
        nfa_.add_empty(from, to);
      }
      return;
    case Kind::kChoice:
      for (const Expr item : node.items) {
        // An own state: edges that leave `from` must not be those of a loop that enters it.
        const uint32_t branch = nfa_.add_state();
        nfa_.add_empty(from, branch);
        build(item, branch, to);
      }
      return;
    case Kind::kRepeat:
      build_repeat(node, from, to);
      return;
    case Kind::kCall:
      build_call(node.index, from, to);
      return;
    case Kind::kDfa:
      build_dfa(grammar_.dfa(node.index), from, to);
      return;
  }
}

void RuleCompiler::build_bytes(std::string_view text, uint32_t from, uint32_t to) {
  if (text.empty()) {
    nfa_.add_empty(from, to);
  }
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint32_t next = i + 1 == text.size() ? to : nfa_.add_state();
    nfa_.add_bytes(from, byte, byte, next);
    from = next;
  }
}

/// Shared endings keep big classes small: the state after `k` bytes is found by the byte ranges
/// that are left.
void RuleCompiler::build_chars(const Builder::Node& node, uint32_t from, uint32_t to) {
  std::map<std::string, uint32_t> rest_of;
  for (const Utf8Range& range : node.utf8) {
    const auto size = static_cast<size_t>(range.size);
    uint32_t at = to;
    std::string rest;
    for (size_t i = size; i-- > 0;) {
      if (i == 0) {
        nfa_.add_bytes(from, range.first[0], range.last[0], at);
        break;
      }
      rest.push_back(static_cast<char>(range.first[i]));
      rest.push_back(static_cast<char>(range.last[i]));
      const auto [it, added] = rest_of.try_emplace(rest, 0);
      if (added) {
        it->second = nfa_.add_state();
        nfa_.add_bytes(it->second, range.first[i], range.last[i], at);
      }
      at = it->second;
    }
  }
}

void RuleCompiler::build_repeat(const Builder::Node& node, uint32_t from, uint32_t to) {
  const Expr body = node.items[0];
  if (node.max == 0 || !facts_.productive(body)) {
    nfa_.add_empty(from, to);
    return;
  }
  const bool endless = node.max == Builder::kUnbounded;
  // A body that may be empty counts as often as one likes.
  const uint32_t min = facts_.nullable(body) ? 0 : node.min;
  const uint64_t copies = endless ? min + 1ULL : node.max;
  if (labels_ != nullptr && facts_.size(body) * copies > kUnrollSize && copies > 1) {
    if (min == 0) {
      nfa_.add_empty(from, to);
    }
    nfa_.add_call(from, labels_->loop(body, std::max(min, 1U), node.max), to);
    return;
  }
  uint32_t at = nfa_.add_state();
  nfa_.add_empty(from, at);
  for (uint32_t i = 0; i < (endless ? min : node.max); ++i) {
    if (i >= min) {
      nfa_.add_empty(at, to);
    }
    const uint32_t next = nfa_.add_state();
    build(body, at, next);
    at = next;
  }
  if (endless) {
    const uint32_t last = nfa_.add_state();
    build(body, at, last);
    nfa_.add_empty(last, at);
  }
  nfa_.add_empty(at, to);
}

void RuleCompiler::build_call(uint32_t rule, uint32_t from, uint32_t to) {
  const Builder::RuleInfo& info = grammar_.rules()[rule];
  if (labels_ == nullptr) {
    TESSERA_CHECK(
        std::find(open_.begin(), open_.end(), rule) == open_.end(), Unsupported,
        "rule '{}' is recursive, but is combined with a pattern; only regular rules can be",
        info.name);
    open_.push_back(rule);
    build(info.expr, from, to);
    open_.pop_back();
    return;
  }
  if (facts_.is_inline(rule)) {
    build(info.expr, from, to);
    return;
  }
  if (to == nfa_.final_state() &&
      (tails_.contains(rule) ||
       nfa_.size() < std::min(kMaxTailStates, labels_->tail_states_left))) {
    const auto [it, added] = tails_.try_emplace(rule, 0);
    if (added) {
      it->second = nfa_.add_state();
      pending_.emplace_back(rule, it->second);
    }
    nfa_.add_empty(from, it->second);
    return;
  }
  if (facts_.nullable(info.expr)) {
    nfa_.add_empty(from, to);
  }
  nfa_.add_call(from, labels_->call(rule), to);
}

void RuleCompiler::build_dfa(const Dfa& dfa, uint32_t from, uint32_t to) {
  std::vector<uint32_t> number(dfa.states.size());
  for (uint32_t& state : number) {
    state = nfa_.add_state();
  }
  nfa_.add_empty(from, number[0]);
  if (dfa.nullable) {
    nfa_.add_empty(from, to);
  }
  for (size_t i = 0; i < dfa.states.size(); ++i) {
    for (const Automaton::Edge& edge : dfa.states[i].edges) {
      nfa_.add_bytes(number[i], edge.first, edge.last, number[edge.target]);
    }
    if (dfa.states[i].accepting) {
      nfa_.add_empty(number[i], to);
    }
  }
}

bool is_small(const Dfa& body) {
  constexpr size_t kSmallBody = 64;
  return body.states.size() <= kSmallBody &&
         std::all_of(body.states.begin(), body.states.end(),
                     [](const Dfa::State& state) { return state.calls.empty(); });
}

/// Compiles every automaton that the root reaches, and joins them.
class Assembler : RuleCompiler::Labels {
 public:
  Assembler(const Builder& grammar, const Facts& facts) : grammar_(grammar), facts_(facts) {}

  Automaton assemble(Expr root, uint64_t& budget);

 private:
  /// A label is a call of an automaton, counted or not.
  struct Label {
    uint32_t automaton;
    uint32_t min;  // 0: a plain call
    uint32_t max;
  };
  uint32_t call(uint32_t rule) override;
  uint32_t loop(Expr body, uint32_t min, uint32_t max) override;
  uint32_t add_automaton(Expr expr, uint32_t rule);
  uint32_t label(uint32_t automaton, uint32_t min, uint32_t max);

  void emit(Automaton& out) const;
  uint32_t frame_of(Automaton& out,
                    std::map<std::pair<uint32_t, uint32_t>, uint32_t>& loops,
                    const Dfa::LabelledCall& call,
                    uint32_t base,
                    const Dfa& dfa) const;
  void find_ranks(Automaton& out) const;

  const Builder& grammar_;
  const Facts& facts_;
  struct Part {
    Expr expr;
    uint32_t rule;
    Dfa dfa;
    uint32_t base = 0;
  };
  std::vector<Part> parts_;
  std::map<uint32_t, uint32_t> rule_part_;
  std::map<Expr, uint32_t> body_part_;
  std::vector<Label> labels_;
  std::map<std::tuple<uint32_t, uint32_t, uint32_t>, uint32_t> label_of_;
};

uint32_t Assembler::add_automaton(Expr expr, uint32_t rule) {
  parts_.push_back({expr, rule, {}, 0});
  return static_cast<uint32_t>(parts_.size() - 1);
}

uint32_t Assembler::label(uint32_t automaton, uint32_t min, uint32_t max) {
  const auto [it, added] =
      label_of_.try_emplace({automaton, min, max}, static_cast<uint32_t>(labels_.size()));
  if (added) {
    labels_.push_back({automaton, min, max});
  }
  return it->second;
}

uint32_t Assembler::call(uint32_t rule) {
  const auto [it, added] = rule_part_.try_emplace(rule, 0);
  if (added) {
    it->second = add_automaton(grammar_.rules()[rule].expr, rule);
  }
  return label(it->second, 0, 0);
}

uint32_t Assembler::loop(Expr body, uint32_t min, uint32_t max) {
  const auto [it, added] = body_part_.try_emplace(body, 0);
  if (added) {
    it->second = add_automaton(body, kNoAutomaton);
  }
  return label(it->second, min, max);
}

uint32_t Assembler::frame_of(Automaton& out,
                             std::map<std::pair<uint32_t, uint32_t>, uint32_t>& loops,
                             const Dfa::LabelledCall& call,
                             uint32_t base,
                             const Dfa& dfa) const {
  const Label& label = labels_[call.label];
  const uint32_t target = base + call.target;
  if (label.min > 0) {
    const auto [it, added] =
        loops.try_emplace({call.label, target}, static_cast<uint32_t>(out.loops.size()));
    if (added) {
      const Part& body = parts_[label.automaton];
      out.loops.push_back({body.base, label.min, label.max, target, is_small(body.dfa)});
    }
    return Automaton::kLoop | it->second;
  }
  const Dfa::State& state = dfa.states[call.target];
  return state.accepting && state.edges.empty() && state.calls.empty() ? Automaton::kTail : target;
}

void Assembler::emit(Automaton& out) const {
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> loops;
  for (const Part& part : parts_) {
    for (const Dfa::State& state : part.dfa.states) {
      out.edge_begin.push_back(static_cast<uint32_t>(out.edges.size()));
      out.call_begin.push_back(static_cast<uint32_t>(out.calls.size()));
      out.accepting.push_back(state.accepting ? 1 : 0);
      out.start_of.push_back(part.base);
      for (Automaton::Edge edge : state.edges) {
        edge.target += part.base;
        out.edges.push_back(edge);
      }
      for (const Dfa::LabelledCall& call : state.calls) {
        const uint32_t start = parts_[labels_[call.label].automaton].base;
        out.calls.push_back({start, frame_of(out, loops, call, part.base, part.dfa)});
      }
    }
  }
  out.edge_begin.push_back(static_cast<uint32_t>(out.edges.size()));
  out.call_begin.push_back(static_cast<uint32_t>(out.calls.size()));
}

/// Numbers the parts so that one that begins with a call of another comes before it. A circle is
/// left recursion.
void Assembler::find_ranks(Automaton& out) const {
  out.rank.assign(out.accepting.size(), 0);
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> mark(parts_.size(), kNew);
  auto next_rank = static_cast<uint32_t>(parts_.size());
  struct Frame {
    uint32_t part;
    size_t call;
  };
  for (uint32_t first = 0; first < parts_.size(); ++first) {
    std::vector<Frame> stack;
    if (mark[first] == kNew) {
      mark[first] = kOpen;
      stack.push_back({first, 0});
    }
    while (!stack.empty()) {
      Frame& frame = stack.back();
      const auto& calls = parts_[frame.part].dfa.states[0].calls;
      if (frame.call == calls.size()) {
        mark[frame.part] = kDone;
        out.rank[parts_[frame.part].base] = next_rank--;
        stack.pop_back();
        continue;
      }
      const uint32_t callee = labels_[calls[frame.call++].label].automaton;
      const uint32_t rule = parts_[callee].rule;
      TESSERA_CHECK(
          mark[callee] != kOpen, InvalidArgument,
          "rule '{}' is left-recursive: it can begin with itself before anything is read; "
          "write it as a repetition",
          rule == kNoAutomaton ? "(repetition)" : grammar_.rules()[rule].name);
      if (mark[callee] == kNew) {
        mark[callee] = kOpen;
        stack.push_back({callee, 0});
      }
    }
  }
}

Automaton Assembler::assemble(Expr root, uint64_t& budget) {
  TESSERA_CHECK(
      facts_.productive(root), InvalidArgument,
      "the grammar matches no text at all; its restrictions contradict each other or every "
      "rule calls itself without end");
  const Builder::Node& node = grammar_.nodes()[root];
  const uint32_t rule = node.kind == Kind::kCall ? node.index : kNoAutomaton;
  if (rule == kNoAutomaton) {
    add_automaton(root, rule);
  } else {
    call(rule);
  }
  uint32_t base = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {  // grows
    Dfa dfa = RuleCompiler(grammar_, facts_, this).compile(parts_[i].expr, parts_[i].rule, budget);
    parts_[i].dfa = std::move(dfa);
    parts_[i].base = base;
    base += static_cast<uint32_t>(parts_[i].dfa.states.size());
    TESSERA_CHECK(base <= kMaxTotalStates, Unsupported,
                  "the grammar is too large: more than {} states", kMaxTotalStates);
  }
  Automaton out;
  out.nullable = facts_.nullable(root);
  emit(out);
  find_ranks(out);
  return out;
}

}  // namespace

Dfa compile_regular(const Builder& grammar, Expr expr, uint64_t& budget) {
  const Facts facts(grammar, expr);
  return RuleCompiler(grammar, facts, nullptr).compile(expr, kNoAutomaton, budget);
}

Automaton compile(const Builder& grammar, Expr root, uint64_t& budget) {
  const Facts facts(grammar, root);
  return Assembler(grammar, facts).assemble(root, budget);
}

}  // namespace tessera::constrain
