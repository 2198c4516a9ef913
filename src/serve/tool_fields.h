// `tools`, `tool_choice` and `parallel_tool_calls` of a conversation.
#pragma once

#include "serve/json_fields.h"
#include "serve/openai_requests.h"

namespace tessera::serve {

/// Reads them into the task. Throws ApiError.
void read_tools(const JsonFields& fields, const RequestContext& context, ChatTask& task);

}  // namespace tessera::serve
