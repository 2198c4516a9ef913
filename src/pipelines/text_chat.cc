// Each conversation is one request of the batcher; its pages of keys and values stay remembered, so
// that the next turn runs what is new.
#include "pipelines/text_chat.h"

#include "core/error.h"
#include "pipelines/sampling_choice.h"

namespace tessera::pipelines {

nn::GenerationOptions text_options(const ConverseOptions& options, nn::GenerationOptions defaults) {
  const SamplingChoice choice{.greedy = options.greedy ? std::optional(true) : std::nullopt,
                              .temperature = options.temperature,
                              .top_k = options.top_k,
                              .top_p = options.top_p};
  choice.lay_over(defaults.sampling);
  defaults.max_new_tokens = options.max_new_tokens;
  defaults.seed = options.seed;
  return defaults;
}

namespace {

// Checked before weights are read.
std::string_view with_template(std::string_view model) {
  const io::fs::path folder = models::open_folder(model).path;
  TESSERA_CHECK(text::has_chat_template(folder), NotFound,
                "{}: no chat template; use `tessera generate`", folder.string());
  return model;
}

}  // namespace

TextChat::TextChat(std::string_view model, const nn::LoadOptions& load, int64_t conversations)
    : batcher_(with_template(model), load, {.sequences = conversations}) {
  TESSERA_CHECK(batcher_.chat() != nullptr, Unsupported,
                "{}: its chat template cannot be used; use `tessera generate`", model);
}

std::vector<Reply> TextChat::reply(std::span<const std::vector<Message>> conversations,
                                   const ConverseOptions& options,
                                   const ConverseEvents& events) {
  TESSERA_CHECK(options.to.value_or(Modality::kText) == Modality::kText, InvalidArgument,
                "this model makes no {}", modality_name(*options.to));
  TESSERA_CHECK(!options.guidance.has_value(), InvalidArgument,
                "guidance is of media; this model makes text alone");
  const nn::GenerationOptions generation = text_options(options, batcher_.defaults(true));
  std::vector<TextRequest> requests;
  for (const std::vector<Message>& messages : conversations) {
    requests.push_back({.prompt = batcher_.chat()->prompt(messages), .options = generation});
  }
  std::vector<Reply> replies(conversations.size());
  std::vector<uint64_t> numbers;
  std::exception_ptr error;
  for (size_t row = 0; row < requests.size(); ++row) {
    std::string& text =
        replies[row].message.parts.emplace_back(Part::text("")).content.emplace<std::string>();
    requests[row].on_text = [&, row](std::string_view piece) {
      text += piece;
      if (events.on_text && !piece.empty()) {
        events.on_text(row, piece);
      }
      return !events.go_on || events.go_on();
    };
    requests[row].on_done = [&, row](const TextResult& result) {
      Reply& reply = replies[row];
      error = result.error ? result.error : error;
      reply.reason = result.reason;
      reply.prompt_tokens = result.prompt_tokens;
      reply.new_tokens = result.new_tokens;
      reply.prefill_seconds = result.prefill_seconds;
      reply.decode_seconds = result.decode_seconds;
    };
  }
  try {
    for (TextRequest& request : requests) {
      numbers.push_back(batcher_.submit(std::move(request)));
    }
  } catch (...) {  // one of them is refused: none is run
    for (const uint64_t number : numbers) {
      batcher_.cancel(number);
    }
    error = std::current_exception();
  }
  while (batcher_.step()) {
  }
  if (error) {
    std::rethrow_exception(error);
  }
  for (Reply& reply : replies) {
    reply.message.role = Role::kAssistant;
  }
  return replies;
}

}  // namespace tessera::pipelines
