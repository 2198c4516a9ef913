// Regular expressions as grammars: the common subset of Python's `re`, ECMA-262 (JSON Schema) and
// what servers accept.
#pragma once

#include "text/constrain/grammar.h"

#include <functional>
#include <string_view>

namespace tessera::constrain {

/// How a pattern becomes an expression.
struct RegexOptions {
  /// The pattern may match anywhere in the text unless ^ and $ say otherwise (JSON Schema); off: it
  /// matches the whole text.
  bool search = false;
  /// What `.` does not match.
  CharSet line_ends{'\n', '\n'};
  /// All characters that a text can have.
  CharSet alphabet = CharSet::all();
  /// How a character is written in the text; by default as itself. It is called for each class.
  std::function<GrammarBuilder::Expr(const CharSet&)> write;
};

/// Adds a pattern to a grammar. Syntax: classes with ranges and \d \w \s \D \W \S (of ASCII), `.`,
/// escapes \n \t \r \f \v \0 \xHH \uHHHH \u{H…} \cX, \p{L} and the other general categories, groups
/// (…) (?:…) (?<name>…) (?P<name>…), |, * + ? {m} {m,} {m,n} with lazy and possessive marks
/// ignored, ^ and $ at the ends of the pattern or of its alternatives. Throws InvalidArgument with
/// the position for a malformed pattern, Unsupported for look-around, back references, \b, inline
/// flags and anchors elsewhere.
GrammarBuilder::Expr add_regex(GrammarBuilder& builder,
                               std::string_view pattern,
                               const RegexOptions& options);

/// The texts that the whole pattern matches.
Grammar parse_regex(std::string_view pattern);

/// Characters of a Unicode general category ("L", "Lu", "Nd"); empty for an unknown name.
CharSet unicode_category(std::string_view name);

}  // namespace tessera::constrain
