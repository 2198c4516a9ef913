// Grammars for constrained decoding, built from expressions or read by a front end:
//   parse_gbnf (gbnf.h), parse_regex (regex_grammar.h), json_grammar and json_schema_grammar
//   (json_schema.h).
#pragma once

#include "text/constrain/char_set.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::constrain {

struct Automaton;
struct Dfa;

/// A compiled context-free grammar over bytes. Immutable, cheap to copy, thread-safe.
class Grammar {
 public:
  explicit Grammar(std::shared_ptr<const Automaton> automaton) : automaton_(std::move(automaton)) {}
  const Automaton& automaton() const { return *automaton_; }
  /// States of its automata: what it costs.
  size_t state_count() const;
  /// Whether the whole of `text` is a word of the language. For tests and small checks.
  bool matches(std::string_view text) const;

 private:
  std::shared_ptr<const Automaton> automaton_;
};

/// Makes a grammar bottom-up: expressions from smaller ones, rules for recursion and for parts that
/// are used in several places.
///
///   GrammarBuilder b;
///   const auto list = b.declare("list");
///   b.define(list, b.sequence({b.bytes("["), b.repeat(b.call(list), 0), b.bytes("]")}));
///   const Grammar grammar = b.build(b.call(list));
class GrammarBuilder {
 public:
  using Expr = uint32_t;
  using Rule = uint32_t;
  static constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();

  GrammarBuilder();
  ~GrammarBuilder();
  GrammarBuilder(const GrammarBuilder&) = delete;
  GrammarBuilder& operator=(const GrammarBuilder&) = delete;

  /// The empty text.
  Expr empty();
  /// No text at all; what needs it disappears from the grammar.
  Expr never();
  Expr bytes(std::string_view text);
  /// One character, in UTF-8.
  Expr chars(const CharSet& set);
  Expr sequence(std::vector<Expr> parts);
  Expr choice(std::vector<Expr> alternatives);
  /// `min` to `max` times; large counts cost no more than small ones. Throws InvalidArgument when
  /// `min` > `max`.
  Expr repeat(Expr part, uint32_t min, uint32_t max = kUnbounded);
  Expr optional(Expr part) { return repeat(part, 0, 1); }

  /// A rule to be defined later; `name` appears in errors.
  Rule declare(std::string name);
  void define(Rule rule, Expr expr);
  Expr call(Rule rule);

  /// Texts of both, and those of `a` that are not in `b`. Both must be regular (no recursion) and
  /// small enough to be expanded: throws Unsupported otherwise.
  Expr intersect(Expr a, Expr b);
  Expr subtract(Expr a, Expr b);
  /// Whether a regular expression has no text.
  bool is_never(Expr expr);

  /// Compiles. Throws InvalidArgument for an undefined rule, left recursion, or a grammar without
  /// any text; Unsupported for one that is too large.
  Grammar build(Expr root);

  /// What the compiler reads.
  enum class Kind : uint8_t {
    kEmpty,
    kNever,
    kBytes,
    kChars,
    kSequence,
    kChoice,
    kRepeat,
    kCall,
    kDfa
  };
  struct Node {
    Kind kind = Kind::kEmpty;
    uint32_t min = 0;               // kRepeat
    uint32_t max = 0;               // kRepeat
    uint32_t index = 0;             // kCall: rule; kDfa: automaton
    uint32_t depth = 0;             // of the tree below, rules not followed
    std::vector<Expr> items{};      // kSequence, kChoice, kRepeat; they have smaller numbers
    std::string text{};             // kBytes
    std::vector<Utf8Range> utf8{};  // kChars
  };
  struct RuleInfo {
    std::string name;
    Expr expr = 0;
    bool defined = false;
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<RuleInfo>& rules() const { return rules_; }
  const Dfa& dfa(uint32_t index) const { return *dfas_[index]; }

 private:
  Expr add(Node node);
  Expr combine(Expr a, Expr b, bool subtract);

  std::vector<Node> nodes_;
  std::vector<RuleInfo> rules_;
  std::vector<std::unique_ptr<Dfa>> dfas_;
  uint64_t budget_ = 50'000'000;  // work of the compiler, against hostile grammars
};

}  // namespace tessera::constrain
