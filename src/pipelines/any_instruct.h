// Conversations as lines of AnyInstruct (data/AnyInstruct of OpenMOSS/AnyGPT): text in which media
// stand as their tokens.
#pragma once

#include "io/json.h"
#include "pipelines/converse.h"

#include <span>
#include <string>
#include <string_view>

namespace tessera::pipelines {

/// A message as text: parts one space apart, media as "<soim><👀12>…<eoim>".
std::string any_instruct_text(const AnyToAny& model, const Message& message);

/// {"id": id, "conversation": [[{"role": "user", "message": …}, {"role": "assistant", …}], …]}, a
/// list for each turn.
io::Json any_instruct(const AnyToAny& model,
                      std::string_view id,
                      std::span<const Message> conversation);

}  // namespace tessera::pipelines
