// The messages of a conversation, in OpenAI's form with our extensions, media decoded.
#pragma once

#include "serve/openai_requests.h"

#include <vector>

namespace tessera::serve {

/// Throws ApiError.
std::vector<Message> read_messages(const io::Json& list, const RequestContext& context);

}  // namespace tessera::serve
