// Requests of OpenAI's protocol, from JSON text to typed requests: the first byte chooses the
// route and whether the model is a language model, the rest is the body. Nothing but ApiError may
// leave.
#include "serve/json_fields.h"
#include "serve/multipart.h"
#include "serve/openai_requests.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

namespace serve = tessera::serve;
using tessera::Modality;

void parse(uint8_t route, std::string_view text, const serve::RequestContext& context) {
  const tessera::io::Json body = serve::JsonFields::parse_body(text);
  switch (route % 5) {
    case 0:
      serve::parse_chat(body, context);
      break;
    case 1:
      serve::parse_completion(body, context);
      break;
    case 2:
      serve::parse_speech(body, context);
      break;
    case 3:
      serve::parse_template(body, context);
      break;
    default:
      if (context.card.embeddings) {
        serve::parse_embedding(body, context);
      } else {
        serve::parse_image(body, context);
      }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) {
    return 0;
  }
  serve::ModelCard card;
  card.chat = true;
  card.completion = true;
  card.input = {Modality::kText, Modality::kImage, Modality::kSpeech, Modality::kMusic};
  card.output = card.input;
  card.voices = {"Sally"};
  if (data[0] >= 128) {
    card.controls = card.system = card.chat_template = card.thinks = card.embeddings = true;
    card.tools = tessera::text::ToolSyntax::kHermes;
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const serve::RequestContext context{card,
                                      {.pixels = 1 << 16, .seconds = 2, .items = 8, .folder = {}},
                                      [](const std::string&) { return std::nullopt; },
                                      text};
  try {
    parse(data[0], text, context);
  } catch (const serve::ApiError& error) {
    error.body();
  }
  return 0;
}
