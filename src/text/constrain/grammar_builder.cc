// Expressions are nodes of one vector, parts before what is made of them, so that passes over a
// grammar need no recursion.
#include "core/error.h"
#include "text/constrain/automaton.h"
#include "text/constrain/grammar.h"

#include <algorithm>

namespace tessera::constrain {
namespace {

constexpr uint32_t kMaxDepth = 1000;
constexpr size_t kMaxNodes = 4'000'000;

}  // namespace

GrammarBuilder::GrammarBuilder() = default;
GrammarBuilder::~GrammarBuilder() = default;

GrammarBuilder::Expr GrammarBuilder::add(Node node) {
  for (const Expr item : node.items) {
    node.depth = std::max(node.depth, nodes_[item].depth + 1);
  }
  TESSERA_CHECK(node.depth <= kMaxDepth, Unsupported, "the grammar is nested deeper than {} levels",
                kMaxDepth);
  TESSERA_CHECK(nodes_.size() < kMaxNodes, Unsupported, "the grammar has more than {} parts",
                kMaxNodes);
  nodes_.push_back(std::move(node));
  return static_cast<Expr>(nodes_.size() - 1);
}

GrammarBuilder::Expr GrammarBuilder::empty() {
  return add({.kind = Kind::kEmpty});
}
GrammarBuilder::Expr GrammarBuilder::never() {
  return add({.kind = Kind::kNever});
}

GrammarBuilder::Expr GrammarBuilder::bytes(std::string_view text) {
  Node node{.kind = Kind::kBytes};
  node.text = text;
  return add(std::move(node));
}

GrammarBuilder::Expr GrammarBuilder::chars(const CharSet& set) {
  Node node{.kind = Kind::kChars};
  node.utf8 = utf8_ranges(set);
  return add(std::move(node));
}

GrammarBuilder::Expr GrammarBuilder::sequence(std::vector<Expr> parts) {
  if (parts.size() == 1) {
    return parts[0];
  }
  Node node{.kind = Kind::kSequence};
  node.items = std::move(parts);
  return add(std::move(node));
}

GrammarBuilder::Expr GrammarBuilder::choice(std::vector<Expr> alternatives) {
  if (alternatives.size() == 1) {
    return alternatives[0];
  }
  Node node{.kind = alternatives.empty() ? Kind::kNever : Kind::kChoice};
  node.items = std::move(alternatives);
  return add(std::move(node));
}

GrammarBuilder::Expr GrammarBuilder::repeat(Expr part, uint32_t min, uint32_t max) {
  TESSERA_CHECK(min <= max, InvalidArgument,
                "repetition {{{},{}}}: the minimum is above the maximum", min, max);
  Node node{.kind = Kind::kRepeat, .min = min, .max = max};
  node.items = {part};
  return add(std::move(node));
}

GrammarBuilder::Rule GrammarBuilder::declare(std::string name) {
  rules_.push_back({std::move(name), 0, false});
  return static_cast<Rule>(rules_.size() - 1);
}

void GrammarBuilder::define(Rule rule, Expr expr) {
  rules_[rule].expr = expr;
  rules_[rule].defined = true;
}

GrammarBuilder::Expr GrammarBuilder::call(Rule rule) {
  return add({.kind = Kind::kCall, .index = rule});
}

GrammarBuilder::Expr GrammarBuilder::combine(Expr a, Expr b, bool subtract) {
  Dfa dfa =
      product(compile_regular(*this, a, budget_), compile_regular(*this, b, budget_), subtract);
  dfas_.push_back(std::make_unique<Dfa>(std::move(dfa)));
  return add({.kind = Kind::kDfa, .index = static_cast<uint32_t>(dfas_.size() - 1)});
}

GrammarBuilder::Expr GrammarBuilder::intersect(Expr a, Expr b) {
  return combine(a, b, false);
}
GrammarBuilder::Expr GrammarBuilder::subtract(Expr a, Expr b) {
  return combine(a, b, true);
}

bool GrammarBuilder::is_never(Expr expr) {
  const Dfa dfa = compile_regular(*this, expr, budget_);
  return !dfa.nullable && dfa.states[0].edges.empty();
}

Grammar GrammarBuilder::build(Expr root) {
  for (const RuleInfo& rule : rules_) {
    TESSERA_CHECK(rule.defined, InvalidArgument, "rule '{}' is used but not defined", rule.name);
  }
  return Grammar(std::make_shared<const Automaton>(compile(*this, root, budget_)));
}

}  // namespace tessera::constrain
