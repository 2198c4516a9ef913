// The fields that chats and completions share: how tokens are drawn, what the text must be, where
// it stops. Names are OpenAI's, and for the rest those of vLLM and llama.cpp.
#pragma once

#include "serve/json_fields.h"
#include "serve/openai_requests.h"

namespace tessera::serve {

/// Most bytes of what is read with the order of its keys, which takes quadratic time.
inline constexpr size_t kMaxOrderedBytes = 256 << 10;

/// Largest number of tokens that may be asked for.
inline constexpr int64_t kMaxTokens = int64_t{1} << 30;
/// Largest `n`.
inline constexpr int64_t kMaxChoices = 16;
/// Log-probabilities of at most so many tokens at each place.
inline constexpr int64_t kMaxTopLogprobs = 20;

/// Whether a value is absent, or an empty array or object.
bool is_empty(const io::Json* value);
/// `seed`, or one that is drawn.
uint64_t read_seed(const JsonFields& fields);
/// The member `name` of the body with its keys in the order in which they came.
io::OrderedJson ordered_member(const JsonFields& fields,
                               const char* name,
                               const RequestContext& context);
/// Throws 501 unless the model takes what `name` asks for.
void need_controls(const JsonFields& fields, const char* name, const ModelCard& card);

/// All of them. Throws ApiError.
void read_common(const JsonFields& fields, const RequestContext& context, GenerationCall& call);

}  // namespace tessera::serve
