// Calls of functions as a grammar.
#pragma once

#include "text/constrain/grammar.h"
#include "text/tool_calls.h"

#include <span>

namespace tessera::constrain {

/// Replies that call one of `tools`, or with `many` one or more of them, with arguments that fit
/// their schemas; what follows text::call_opening. Throws as parse_json_schema does, naming the
/// function, and InvalidArgument for no tools.
Grammar tool_call_grammar(text::ToolSyntax syntax, std::span<const text::Tool> tools, bool many);

}  // namespace tessera::constrain
