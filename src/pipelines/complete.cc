#include "pipelines/complete.h"

#include "core/error.h"
#include "nn/engine.h"
#include "text/stop_strings.h"

#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <span>

namespace tessera::pipelines {
namespace {

bool is_end(int64_t id, const nn::GenerationOptions& options) {
  return std::find(options.end_ids.begin(), options.end_ids.end(), id) != options.end_ids.end();
}

std::string reason_of(bool stopped, bool cut) {
  return stopped ? "stop" : cut ? "context" : "length";
}

// A reply while its tokens come: text, stop strings, times.
class Continuation {
 public:
  Continuation(const text::Tokenizer& tokenizer,
               std::span<const int32_t> prompt,
               const CompletionOptions& extra,
               TextCallback on_text)
      : decoder_(tokenizer, prompt, /*skip_special=*/true),
        stop_(extra.stop),
        top_logprobs_(extra.top_logprobs),
        on_text_(std::move(on_text)),
        start_(Clock::now()),
        first_(start_) {
    result_.prompt_tokens = static_cast<int64_t>(prompt.size());
  }

  /// Asks for what the reply needs beside ids; it must stay where it is from then on.
  void ask(nn::GenerationOptions& options) {
    if (top_logprobs_.has_value()) {
      options.top_logprobs = *top_logprobs_;
      options.on_logprobs = [this](int64_t, const nn::TokenLogprobs& token) {
        result_.logprobs.push_back(token);
      };
    }
  }

  /// False when the reply is to end here.
  bool push(int64_t id) {
    if (result_.ids.empty()) {
      first_ = Clock::now();
    }
    result_.ids.push_back(id);
    return show(stop_.push(decoder_.push(static_cast<int32_t>(id)))) && !stop_.stopped();
  }

  Completion finish(nn::Finish finish, bool cut) {
    const auto end = Clock::now();
    show(stop_.push(decoder_.finish()));
    show(stop_.finish());
    result_.reason = reason_of(stop_.stopped() || finish == nn::Finish::kEnd, cut);
    result_.prefill_seconds = std::chrono::duration<double>(first_ - start_).count();
    result_.decode_seconds = std::chrono::duration<double>(end - first_).count();
    return std::move(result_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool show(const std::string& piece) {
    result_.text += piece;
    return piece.empty() || !on_text_ || on_text_(piece);
  }

  Completion result_;
  text::StreamDecoder decoder_;
  text::StopStrings stop_;
  std::optional<int64_t> top_logprobs_;
  TextCallback on_text_;
  Clock::time_point start_, first_;
};

}  // namespace

TextCompleter::TextCompleter(std::string_view model, const nn::LoadOptions& load)
    : folder_(models::open_folder(model)), tokenizer_(text::load_tokenizer(folder_.path)) {
  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder_, load));
  TESSERA_CHECK(model_ != nullptr, Unsupported, "{}: this model does not generate text",
                folder_.path.string());
}

nn::GenerationOptions TextCompleter::defaults() const {
  return nn::GenerationOptions::from_configs(folder_.config, folder_.generation_config, true);
}

nn::ConstraintFactory TextCompleter::constraint(const ConstraintSpec& spec) const {
  if (spec.kind == ConstraintSpec::Kind::kNone) {
    return {};
  }
  return ConstraintMaker(*tokenizer_, defaults().end_ids).make(spec);
}

std::shared_ptr<nn::SequenceModel> TextCompleter::load_draft(std::string_view model,
                                                             const nn::LoadOptions& load) const {
  TextCompleter draft(model, load);
  const text::Tokenizer& other = draft.tokenizer();
  TESSERA_CHECK(other.vocab_size() == tokenizer_->vocab_size(), InvalidArgument,
                "{}: a draft model needs the model's tokens; it has {}, the model {}", model,
                other.vocab_size(), tokenizer_->vocab_size());
  for (int32_t id = 0; id < other.vocab_size(); ++id) {
    TESSERA_CHECK(other.id_to_token(id) == tokenizer_->id_to_token(id), InvalidArgument,
                  "{}: a draft model needs the model's tokens; its token {} is '{}', the model's "
                  "'{}'",
                  model, id, other.id_to_token(id), tokenizer_->id_to_token(id));
  }
  return draft.model_;
}

TextCompleter::Prompt TextCompleter::prepare(std::vector<int32_t> prompt,
                                             nn::GenerationOptions& options) const {
  Prompt result{.encoded = std::move(prompt), .ids = {}, .cut = false};
  const std::vector<int64_t> ids(result.encoded.begin(), result.encoded.end());
  for (const int64_t id : ids) {
    TESSERA_CHECK(id >= 0 && id < model_->vocab_size(), InvalidArgument,
                  "the prompt has the id {}, the model {} ids", id, model_->vocab_size());
  }
  TESSERA_CHECK(!ids.empty(), InvalidArgument, "the prompt is empty; give some text");
  const int64_t context = model_->max_positions();
  const auto length = static_cast<int64_t>(ids.size());
  TESSERA_CHECK(context == 0 || length < context, InvalidArgument,
                "the prompt has {} tokens, the model's context is {}; shorten the prompt", length,
                context);
  result.cut = context > 0 && options.max_new_tokens > context - length;
  if (result.cut) {
    options.max_new_tokens = context - length;
  }
  result.ids = at::tensor(ids, at::kLong).unsqueeze(0).to(model_->device());
  return result;
}

Completion TextCompleter::complete(std::string_view prompt,
                                   nn::GenerationOptions options,
                                   const TextCallback& on_text,
                                   const CompletionOptions& extra) {
  return complete(tokenizer_->encode(prompt), std::move(options), on_text, {}, extra);
}

Completion TextCompleter::complete(std::vector<int32_t> prompt,
                                   nn::GenerationOptions options,
                                   const TextCallback& on_text,
                                   const std::function<bool()>& go_on,
                                   const CompletionOptions& extra) {
  const Prompt input = prepare(std::move(prompt), options);
  Continuation reply(*tokenizer_, input.encoded, extra, on_text);
  reply.ask(options);
  const auto on_token = [&](int64_t, int64_t id) { return reply.push(id) && (!go_on || go_on()); };
  const c10::InferenceMode inference;
  if (extra.speculation.has_value()) {
    nn::SpeculativeStats stats;
    nn::generate_speculative(*model_, {input.encoded.begin(), input.encoded.end()}, options,
                             *extra.speculation, on_token, &stats);
    Completion result = reply.finish(stats.finish, input.cut);
    result.speculation = stats;
    return result;
  }
  std::vector<nn::Finish> finishes;
  nn::generate(*model_, input.ids, at::ones_like(input.ids), options, on_token, &finishes);
  return reply.finish(finishes.front(), input.cut);
}

void TextCompleter::complete_all(std::span<const std::string> prompts,
                                 const nn::GenerationOptions& options,
                                 const CompletionOptions& extra,
                                 int64_t batch,
                                 const std::function<void(size_t place, Completion)>& done) {
  TESSERA_CHECK(!extra.speculation.has_value(), InvalidArgument,
                "speculation is for one prompt at a time; leave the batch at 1");
  struct Job {
    Prompt input;
    nn::GenerationOptions options;
    Continuation reply;
  };
  std::vector<std::unique_ptr<Job>> jobs;
  int64_t longest = 0;
  for (const std::string& prompt : prompts) {
    nn::GenerationOptions own = options;
    Prompt input = prepare(tokenizer_->encode(prompt), own);
    longest = std::max(longest, input.ids.size(1) + own.max_new_tokens);
    std::vector<int32_t> encoded = input.encoded;
    jobs.push_back(std::make_unique<Job>(
        Job{std::move(input), std::move(own), Continuation(*tokenizer_, encoded, extra, {})}));
  }
  constexpr int64_t kPage = nn::PagedCache::kTokens;
  nn::Engine engine(model_, {.pages = std::max<int64_t>(1, batch * ((longest + kPage) / kPage)),
                             .sequences = batch});
  std::exception_ptr error;
  for (size_t i = 0; i < jobs.size(); ++i) {
    Job& job = *jobs[i];
    job.reply.ask(job.options);
    engine.submit(
        {.prompt = {job.input.encoded.begin(), job.input.encoded.end()},
         .options = job.options,
         .on_token = [&job](int64_t id) { return job.reply.push(id); },
         .on_finish = [&job, &done,
                       i](nn::Finish finish) { done(i, job.reply.finish(finish, job.input.cut)); },
         .on_error =
             [&error](const std::exception_ptr& found) {
               error = error ? error : found;  // the others go on
             }});
  }
  engine.run();
  if (error) {
    std::rethrow_exception(error);
  }
}

std::vector<Completion> TextCompleter::search(std::string_view prompt,
                                              nn::GenerationOptions options,
                                              const nn::BeamOptions& beams,
                                              const CompletionOptions& extra) {
  const Prompt input = prepare(tokenizer_->encode(prompt), options);
  const c10::InferenceMode inference;
  const auto start = std::chrono::steady_clock::now();
  const nn::BeamResult found = nn::beam_search(*model_, input.ids, {}, options, beams);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const Tensor outputs = found.sequences.cpu().narrow(1, input.ids.size(1),
                                                      found.sequences.size(1) - input.ids.size(1));
  std::vector<Completion> results;
  for (int64_t i = 0; i < outputs.size(0); ++i) {
    Completion result;
    result.prompt_tokens = input.ids.size(1);
    result.score = found.scores[static_cast<size_t>(i)];
    result.decode_seconds = time.count();
    text::StreamDecoder decoder(*tokenizer_, input.encoded, /*skip_special=*/true);
    text::StopStrings stop(extra.stop);
    const Tensor row = outputs[i].contiguous();
    for (const int64_t id :
         std::span(row.const_data_ptr<int64_t>(), static_cast<size_t>(row.numel()))) {
      result.ids.push_back(id);
      result.text += stop.push(decoder.push(static_cast<int32_t>(id)));
      if (stop.stopped() || is_end(id, options)) {  // what follows is filling
        break;
      }
    }
    result.text += stop.push(decoder.finish());
    result.text += stop.finish();
    const bool ended = !result.ids.empty() && is_end(result.ids.back(), options);
    result.reason = reason_of(stop.stopped() || ended, input.cut);
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace tessera::pipelines
