// Requests become the pipelines' calls. Errors of libtorch leave as ours, without backtraces.
#include "serve/tensor/engines.h"

#include "core/log.h"
#include "core/strings.h"
#include "pipelines/constrain.h"
#include "pipelines/converse.h"
#include "pipelines/text_batcher.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <deque>

namespace tessera::serve {
namespace {

std::string name_of(const io::fs::path& folder, const std::string& name) {
  if (!name.empty()) {
    return name;
  }
  const io::fs::path whole = io::fs::weakly_canonical(folder);
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

template <class Body>
auto translated(const Body& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    log::debug("{}", error.what());
    throw OutOfMemory("{}", split(error.what_without_backtrace(), '\n').front());
  } catch (const c10::Error& error) {
    log::debug("{}", error.what());
    throw Internal("{}", split(error.what_without_backtrace(), '\n').front());
  }
}

std::optional<Error> error_of(const std::exception_ptr& wrong) {
  if (wrong == nullptr) {
    return std::nullopt;
  }
  try {
    std::rethrow_exception(wrong);
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Internal("{}", error.what());
  }
}

CacheLoad load_of(const nn::EngineStats& stats) {
  return {.usage = stats.cache_usage,
          .queued = static_cast<size_t>(stats.waiting),
          .prompt_tokens = stats.prompt_tokens + stats.cached_tokens,
          .found_tokens = stats.cached_tokens,
          .preemptions = stats.preemptions};
}

class AnyEngine : public Engine {
 public:
  AnyEngine(const std::string& folder,
            const std::string& name,
            const nn::LoadOptions& load,
            const pipelines::BatchOptions& batch)
      : model_(folder, load, batch) {
    card_.id = name_of(model_.folder(), name);
    card_.kind = "any-to-any";
    for (const Modality modality :
         {Modality::kText, Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
      if (model_.has(modality)) {
        card_.input.push_back(modality);
        card_.output.push_back(modality);
      }
    }
    card_.chat = true;
    card_.context = model_.language_model().max_positions();
    if (const auto voices = model_.config().find("voices");
        voices != model_.config().end() && voices->is_array()) {
      for (const io::Json& voice : *voices) {
        if (voice.is_string()) {
          card_.voices.push_back(voice.get<std::string>());
        }
      }
    }
  }

  const ModelCard& card() const override { return card_; }

  size_t width() const override { return model_.width(); }

  uint64_t begin(EngineJob job) override {
    const auto* chat = std::get_if<ChatTask>(&job.request.task);
    TESSERA_CHECK(chat != nullptr, Unsupported, "this model answers conversations");
    const Sampling& sampling = job.request.sampling;
    pipelines::ConverseRequest request;
    request.conversation = chat->messages;
    request.options = {.to = chat->to,
                       .seed = sampling.seed,
                       .max_new_tokens = job.request.max_new_tokens,
                       .greedy = false,
                       .temperature = sampling.temperature,
                       .top_p = sampling.top_p,
                       .top_k = sampling.top_k,
                       .guidance = sampling.guidance};
    GenerationListener& listener = job.listener;
    request.events.on_text = [&](size_t, std::string_view piece) { listener.on_text(piece); };
    request.events.on_part = [&](size_t, const Part& part) { listener.on_part(part); };
    if (job.request.stream_sound) {
      request.events.on_audio = [&](size_t, Modality modality, const Audio& chunk) {
        listener.on_sound(modality, chunk);
      };
    }
    request.events.go_on = std::move(job.go_on);
    request.on_done = [done = std::move(job.done)](const pipelines::Reply& reply,
                                                   const std::exception_ptr& error) {
      done(outcome_of(reply, error));
    };
    return translated([&] { return model_.submit(std::move(request)); });
  }

  void step() override {
    translated([&] { return model_.step(); });
  }

  void cancel(uint64_t number) override { model_.cancel(number); }

  std::optional<CacheLoad> cache_load() const override { return load_of(model_.stats()); }

  std::vector<int32_t> tokenize(std::string_view text, bool add_special) const override {
    return model_.tokenizer().encode(text, add_special);
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    return model_.tokenizer().decode(ids);
  }

 private:
  static Outcome outcome_of(const pipelines::Reply& reply, const std::exception_ptr& error) {
    Outcome outcome{.error = std::nullopt,
                    .reason = reply.reason,
                    .prompt_tokens = reply.prompt_tokens,
                    .cached_tokens = reply.cached_tokens,
                    .new_tokens = reply.new_tokens,
                    .forgotten = reply.forgotten,
                    .prefill_seconds = reply.prefill_seconds,
                    .decode_seconds = reply.decode_seconds};
    outcome.error = error_of(error);
    return outcome;
  }

  pipelines::AnyToAny model_;
  ModelCard card_;
};

pipelines::ConstraintSpec constraint_spec(const Constraint& constraint) {
  using Kind = pipelines::ConstraintSpec::Kind;
  switch (constraint.kind) {
    case Constraint::Kind::kJsonObject:
      return {Kind::kJsonObject};
    case Constraint::Kind::kJsonSchema:
      return {Kind::kJsonSchema, constraint.text};
    case Constraint::Kind::kGrammar:
      return {Kind::kGrammar, constraint.text};
    case Constraint::Kind::kRegex:
      return {Kind::kRegex, constraint.text};
    case Constraint::Kind::kNone:
      break;
  }
  return {};
}

// What is made of a request before its turn.
struct PreparedText : PreparedRequest {
  std::vector<std::vector<int32_t>> inputs;  // of an EmbeddingTask, which has nothing else
  std::vector<int32_t> prompt;
  bool inside_thoughts = false;
  nn::GenerationOptions options;
};

class TextEngine : public Engine {
 public:
  TextEngine(const std::string& folder,
             const std::string& name,
             const nn::LoadOptions& load,
             const pipelines::BatchOptions& batch)
      : model_(folder, load, batch),
        constraints_(model_.tokenizer(), model_.defaults(/*chat=*/true).end_ids) {
    card_.id = name_of(folder, name);
    card_.kind = "text";
    card_.input = {Modality::kText};
    card_.output = {Modality::kText};
    card_.chat = model_.chat() != nullptr;
    card_.system = card_.chat_template = card_.chat;
    card_.thinks = card_.chat && model_.chat()->thinks();
    card_.completion = true;
    card_.embeddings = true;
    card_.controls = true;
    card_.tools = card_.chat ? model_.chat()->tool_syntax() : std::nullopt;
    card_.context = model_.room();
  }

  const ModelCard& card() const override { return card_; }

  size_t width() const override { return model_.width(); }

  std::unique_ptr<PreparedRequest> prepare(const GenerationRequest& request) const override {
    auto prepared = std::make_unique<PreparedText>();
    if (const auto* embeddings = std::get_if<EmbeddingTask>(&request.task)) {
      for (const CompletionTask& input : embeddings->inputs) {
        prepared->inputs.push_back(ids_of(input));
        model_.check(prepared->inputs.back(), {});
      }
      return prepared;
    }
    read_prompt(request, *prepared);
    prepared->options = options_of(request);
    model_.check(prepared->prompt, prepared->options);
    return prepared;
  }

  uint64_t begin(EngineJob job) override {
    const std::unique_ptr<PreparedRequest> own =
        job.prepared == nullptr ? prepare(job.request) : nullptr;
    const auto& prepared = dynamic_cast<const PreparedText&>(own ? *own : *job.prepared);
    if (!prepared.inputs.empty()) {
      embeddings_.push_back({.inputs = prepared.inputs, .job = std::move(job), .outcome = {}});
      return 0;  // go_on ends it
    }
    pipelines::TextRequest request;
    request.prompt = prepared.prompt;
    request.options = prepared.options;
    request.options.seed = job.request.sampling.seed;
    request.shown = shown_ids(job.request);
    if (prepared.inside_thoughts) {
      job.listener.on_thoughts();
    }
    if (job.request.top_logprobs.has_value()) {
      request.on_logprobs = [this, &listener = job.listener](const nn::TokenLogprobs& token) {
        listener.on_token(report_of(token));
      };
    }
    request.on_text = [&listener = job.listener,
                       go_on = std::move(job.go_on)](std::string_view piece) {
      if (!piece.empty()) {
        listener.on_text(piece);
      }
      return go_on();
    };
    request.on_done = [done = std::move(job.done)](const pipelines::TextResult& result) {
      done(outcome_of(result));
    };
    return translated([&] { return model_.submit(std::move(request)); });
  }

  void step() override {
    try {
      if (!embeddings_.empty()) {
        embed_next();
      }
      translated([&] { return model_.step(); });
    } catch (...) {
      embeddings_.clear();
      throw;
    }
  }

  void cancel(uint64_t number) override { model_.cancel(number); }

  std::optional<CacheLoad> cache_load() const override {
    if (!model_.together()) {
      return std::nullopt;
    }
    return load_of(model_.stats());
  }

  std::vector<int32_t> tokenize(std::string_view text, bool add_special) const override {
    return model_.tokenizer().encode(text, add_special);
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    return model_.tokenizer().decode(ids);
  }

  std::string prompt_text(const ChatTask& task) const override {
    TESSERA_CHECK(model_.chat() != nullptr, Unsupported, "this model continues text alone");
    return model_.chat()->text(task.messages, settings_of(task)).text;
  }

 private:
  static pipelines::PromptSettings settings_of(const ChatTask& task) {
    return {.tools = task.tools,
            .call = !task.must_call.empty(),
            .ask = task.ask,
            .go_on = task.go_on,
            .variables = task.variables};
  }

  void read_prompt(const GenerationRequest& request, PreparedText& prepared) const {
    if (const auto* chat = std::get_if<ChatTask>(&request.task)) {
      TESSERA_CHECK(model_.chat() != nullptr, Unsupported, "this model continues text alone");
      pipelines::PromptSettings settings = settings_of(*chat);
      settings.think = request.constraint.kind == Constraint::Kind::kNone;  // it is of the answer
      const auto prompt = model_.chat()->text(chat->messages, settings);
      prepared.prompt = model_.chat()->encode(prompt.text);
      prepared.inside_thoughts = prompt.inside_thoughts;
      return;
    }
    prepared.prompt = ids_of(std::get<CompletionTask>(request.task));
  }

  std::vector<int32_t> ids_of(const CompletionTask& prompt) const {
    return prompt.ids.empty() ? tokenize(prompt.text, true) : prompt.ids;
  }

  // One input of the first request; others that generate come in between.
  void embed_next() {
    Embeddings& first = embeddings_.front();
    Outcome& outcome = first.outcome;
    const std::vector<int32_t>& input = first.inputs[first.done++];
    const auto begun = std::chrono::steady_clock::now();
    try {
      const std::vector<float> values = translated([&] { return model_.embed(input); });
      first.job.listener.on_embedding(values);
      outcome.prompt_tokens += static_cast<int64_t>(input.size());
      outcome.reason = !first.job.go_on()                  ? "interrupted"
                       : first.done == first.inputs.size() ? "stop"
                                                           : "";
    } catch (const Error& error) {
      outcome.error = error;
    }
    outcome.prefill_seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (outcome.error.has_value() || !outcome.reason.empty()) {
      const Embeddings over = std::move(first);
      embeddings_.pop_front();
      over.job.done(over.outcome);
    }
  }

  std::vector<int32_t> shown_ids(const GenerationRequest& request) const {
    const auto* chat = std::get_if<ChatTask>(&request.task);
    if (chat == nullptr) {
      return {};
    }
    std::vector<int32_t> ids = model_.chat()->thought_ids();
    if (!chat->tools.empty()) {
      const std::vector<int32_t>& calls = model_.chat()->call_ids();
      ids.insert(ids.end(), calls.begin(), calls.end());
    }
    return ids;
  }

  nn::GenerationOptions options_of(const GenerationRequest& request) const {
    const Sampling& wanted = request.sampling;
    nn::GenerationOptions options = model_.defaults(std::holds_alternative<ChatTask>(request.task));
    nn::SamplingParams& sampling = options.sampling;
    const bool chosen =
        wanted.temperature || wanted.top_p || wanted.top_k || wanted.min_p || wanted.typical_p;
    sampling.greedy = sampling.greedy && !chosen;
    sampling.temperature = wanted.temperature.value_or(sampling.temperature);
    sampling.top_p = wanted.top_p.value_or(sampling.top_p);
    sampling.top_k = wanted.top_k.value_or(sampling.top_k);
    sampling.min_p = wanted.min_p.value_or(sampling.min_p);
    sampling.repetition_penalty = wanted.repetition_penalty.value_or(sampling.repetition_penalty);
    sampling.typical_p = wanted.typical_p.value_or(sampling.typical_p);
    sampling.frequency_penalty = wanted.frequency_penalty.value_or(0);
    sampling.presence_penalty = wanted.presence_penalty.value_or(0);
    sampling.logit_bias = wanted.logit_bias;
    if (sampling.temperature == 0) {
      sampling.greedy = true;
      sampling.temperature = 1;
    }
    options.max_new_tokens = request.max_new_tokens;
    options.seed = wanted.seed;
    options.top_logprobs = request.top_logprobs.value_or(0);
    options.constraint = constraints_.get(spec_of(request));
    return options;
  }

  pipelines::ConstraintSpec spec_of(const GenerationRequest& request) const {
    const auto* chat = std::get_if<ChatTask>(&request.task);
    if (chat == nullptr || chat->must_call.empty()) {
      return constraint_spec(request.constraint);
    }
    TESSERA_CHECK(card_.tools.has_value(), Unsupported, "this model calls no tools");
    pipelines::ConstraintSpec spec{.kind = pipelines::ConstraintSpec::Kind::kToolCalls,
                                   .syntax = *card_.tools,
                                   .many = chat->many_calls};
    for (const text::Tool& tool : chat->tools) {
      if (std::find(chat->must_call.begin(), chat->must_call.end(), tool.name) !=
          chat->must_call.end()) {
        spec.tools.push_back(tool);
      }
    }
    return spec;
  }

  TokenReport report_of(const nn::TokenLogprobs& token) const {
    const auto choice = [&](int64_t id, float logprob) {
      return TokenChoice{model_.tokenizer().token_bytes(static_cast<int32_t>(id)), logprob};
    };
    TokenReport report{choice(token.id, token.logprob)};
    for (const auto& [id, logprob] : token.top) {
      report.top.push_back(choice(id, logprob));
    }
    return report;
  }

  static Outcome outcome_of(const pipelines::TextResult& result) {
    Outcome outcome{.error = std::nullopt,
                    .reason = result.reason,
                    .prompt_tokens = result.prompt_tokens,
                    .cached_tokens = result.cached_tokens,
                    .new_tokens = result.new_tokens,
                    .forgotten = 0,
                    .prefill_seconds = result.prefill_seconds,
                    .decode_seconds = result.decode_seconds};
    outcome.error = error_of(result.error);
    return outcome;
  }

  struct Embeddings {
    std::vector<std::vector<int32_t>> inputs;
    EngineJob job;
    Outcome outcome;
    size_t done = 0;  // of inputs
  };

  pipelines::TextBatcher model_;
  std::deque<Embeddings> embeddings_;
  mutable pipelines::ConstraintCache constraints_;
  ModelCard card_;
};

}  // namespace

std::unique_ptr<Engine> open_engine(const std::string& model,
                                    const std::string& name,
                                    const nn::LoadOptions& load,
                                    const EngineLimits& limits) {
  const pipelines::BatchOptions batch{.sequences = limits.requests,
                                      .cache_tokens = limits.cache_tokens};
  if (io::fs::exists(models::open_folder(model).path / "any_to_any.json")) {
    return std::make_unique<AnyEngine>(model, name, load, batch);
  }
  return std::make_unique<TextEngine>(model, name, load, batch);
}

}  // namespace tessera::serve
