// llama.cpp's grammar syntax (GBNF).
#pragma once

#include "text/constrain/grammar.h"

#include <string_view>

namespace tessera::constrain {

/// Reads rules `name ::= alternatives`; the text is a word of the rule `root`. Elements: "literal",
/// [class], [^class], `.`, (group), rule names, each with * + ? {m} {m,} {,n} {m,n}; `#` begins a
/// comment; escapes \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH stand for characters. A rule ends
/// with its line, outside of parentheses and after `|` or `::=` it may go on. Throws
/// InvalidArgument naming line and column, also for undefined rules and left recursion; Unsupported
/// for llama.cpp's token elements (<name>).
Grammar parse_gbnf(std::string_view text);

}  // namespace tessera::constrain
