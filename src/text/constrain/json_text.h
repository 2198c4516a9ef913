// The pieces of JSON texts as grammar expressions.
#pragma once

#include "io/json.h"
#include "text/constrain/grammar.h"

#include <optional>
#include <string>
#include <string_view>

namespace tessera::constrain {

/// How freely a JSON text may be laid out.
struct JsonLayout {
  /// Between tokens: nothing, one space, or a line break and up to `max_indent` blanks. Off: no
  /// white space anywhere.
  bool white_space = true;
  uint32_t max_indent = 16;
};

/// A bound of a number.
struct JsonBound {
  io::OrderedJson value;  // a number
  bool exclusive = false;
};

/// Expressions of one builder. Rules that are used often are made once.
class JsonText {
 public:
  using Expr = GrammarBuilder::Expr;

  JsonText(GrammarBuilder& builder, const JsonLayout& layout);

  GrammarBuilder& builder() { return builder_; }
  /// White space after an opening bracket or a comma, and before a closing bracket.
  Expr space();
  Expr comma() { return builder_.sequence({builder_.bytes(","), space()}); }
  Expr colon();
  /// Any value; any object.
  Expr value();
  Expr object();
  Expr array();

  /// Any string with its quotes; all escapes.
  Expr string();
  /// A string of `min` to `max` characters.
  Expr string(uint32_t min, uint32_t max);
  /// Characters in the one spelling that serialisers use: escaped only where JSON demands it.
  Expr canonical_chars(const CharSet& set);
  /// Any one of them, as a small automaton that can be repeated often.
  Expr canonical_char();
  Expr quoted(Expr content);
  /// The content of a string that a pattern matches somewhere, canonical.
  Expr pattern(std::string_view pattern);
  /// The same of a `format`; nothing for one that is not known.
  std::optional<Expr> format(std::string_view name);

  /// Numbers without bounds have at most 18 digits before the point.
  Expr integer(const std::optional<JsonBound>& low, const std::optional<JsonBound>& high);
  Expr number(const std::optional<JsonBound>& low, const std::optional<JsonBound>& high);

  /// Exactly this value, members in this order.
  Expr literal(const io::OrderedJson& json);

 private:
  GrammarBuilder& builder_;
  JsonLayout layout_;
  std::optional<GrammarBuilder::Rule> value_;
  std::optional<GrammarBuilder::Rule> string_;
  std::optional<Expr> canonical_char_;
};

}  // namespace tessera::constrain
