// How a model calls functions, as its chat template shows it.
#pragma once

#include "text/chat_template.h"
#include "text/tool_calls.h"

#include <optional>

namespace tessera::text {

/// The syntax that the templates of a model teach; nothing when they show no tools, refuse them, or
/// write calls in another way. What the text of the template suggests is tried: a tool must be
/// printed, and a call of an earlier turn written in that syntax, if it is written at all.
std::optional<ToolSyntax> tool_syntax_of(const ChatTemplate& chat);

}  // namespace tessera::text
