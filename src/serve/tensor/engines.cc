// Requests become the pipelines' calls. Errors of libtorch leave as ours, without backtraces.
#include "serve/tensor/engines.h"

#include "core/log.h"
#include "core/strings.h"
#include "pipelines/complete.h"
#include "pipelines/converse.h"

#include <c10/util/Exception.h>

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
Outcome translated(const Body& body) {
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

class AnyEngine : public Engine {
 public:
  AnyEngine(const std::string& folder, const std::string& name, const nn::LoadOptions& load)
      : model_(folder, load) {
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

  Outcome run(const GenerationRequest& request,
              GenerationListener& listener,
              const std::function<bool()>& go_on) override {
    const auto* chat = std::get_if<ChatTask>(&request.task);
    TESSERA_CHECK(chat != nullptr, Unsupported, "this model answers conversations");
    const Sampling& sampling = request.sampling;
    const pipelines::ConverseOptions options{.to = chat->to,
                                             .seed = sampling.seed,
                                             .max_new_tokens = request.max_new_tokens,
                                             .greedy = false,
                                             .temperature = sampling.temperature,
                                             .top_p = sampling.top_p,
                                             .top_k = sampling.top_k,
                                             .guidance = sampling.guidance};
    pipelines::ConverseEvents events;
    events.on_text = [&](size_t, std::string_view piece) { listener.on_text(piece); };
    events.on_part = [&](size_t, const Part& part) { listener.on_part(part); };
    if (request.stream_sound) {
      events.on_audio = [&](size_t, Modality modality, const Audio& chunk) {
        listener.on_sound(modality, chunk);
      };
    }
    events.go_on = go_on;
    return translated([&] {
      const pipelines::Reply reply = model_.reply(chat->messages, options, events);
      return Outcome{.error = std::nullopt,
                     .reason = reply.reason,
                     .prompt_tokens = reply.prompt_tokens,
                     .new_tokens = reply.new_tokens,
                     .forgotten = reply.forgotten,
                     .prefill_seconds = reply.prefill_seconds,
                     .decode_seconds = reply.decode_seconds};
    });
  }

  std::vector<int32_t> tokenize(std::string_view text, bool add_special) const override {
    return model_.tokenizer().encode(text, add_special);
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    return model_.tokenizer().decode(ids);
  }

 private:
  pipelines::AnyToAny model_;
  ModelCard card_;
};

class TextEngine : public Engine {
 public:
  TextEngine(const std::string& folder, const std::string& name, const nn::LoadOptions& load)
      : model_(folder, load) {
    card_.id = name_of(folder, name);
    card_.kind = "text";
    card_.input = {Modality::kText};
    card_.output = {Modality::kText};
    card_.completion = true;
    card_.min_p = true;
    card_.repetition = true;
    card_.context = model_.context();
  }

  const ModelCard& card() const override { return card_; }

  Outcome run(const GenerationRequest& request,
              GenerationListener& listener,
              const std::function<bool()>& go_on) override {
    const auto* prompt = std::get_if<CompletionTask>(&request.task);
    TESSERA_CHECK(prompt != nullptr, Unsupported, "this model continues text alone");
    std::vector<int32_t> ids = prompt->ids.empty() ? tokenize(prompt->text, true) : prompt->ids;
    bool going = true;
    return translated([&] {
      const pipelines::Completion result = model_.complete(
          std::move(ids), options_of(request),
          [&](std::string_view piece) {
            if (!piece.empty()) {
              listener.on_text(piece);
            }
            return true;
          },
          [&] { return going = go_on(); });
      return Outcome{.error = std::nullopt,
                     .reason = going || result.reason == "stop" ? result.reason : "interrupted",
                     .prompt_tokens = result.prompt_tokens,
                     .new_tokens = static_cast<int64_t>(result.ids.size()),
                     .forgotten = 0,
                     .prefill_seconds = result.prefill_seconds,
                     .decode_seconds = result.decode_seconds};
    });
  }

  std::vector<int32_t> tokenize(std::string_view text, bool add_special) const override {
    return model_.tokenizer().encode(text, add_special);
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    return model_.tokenizer().decode(ids);
  }

 private:
  nn::GenerationOptions options_of(const GenerationRequest& request) const {
    const Sampling& wanted = request.sampling;
    nn::GenerationOptions options = model_.defaults();
    nn::SamplingParams& sampling = options.sampling;
    const bool chosen = wanted.temperature || wanted.top_p || wanted.top_k || wanted.min_p;
    sampling.greedy = sampling.greedy && !chosen;
    sampling.temperature = wanted.temperature.value_or(sampling.temperature);
    sampling.top_p = wanted.top_p.value_or(sampling.top_p);
    sampling.top_k = wanted.top_k.value_or(sampling.top_k);
    sampling.min_p = wanted.min_p.value_or(sampling.min_p);
    sampling.repetition_penalty = wanted.repetition_penalty.value_or(sampling.repetition_penalty);
    if (sampling.temperature == 0) {
      sampling.greedy = true;
      sampling.temperature = 1;
    }
    options.max_new_tokens = request.max_new_tokens;
    options.seed = wanted.seed;
    return options;
  }

  pipelines::TextCompleter model_;
  ModelCard card_;
};

}  // namespace

std::unique_ptr<Engine> open_engine(const std::string& model,
                                    const std::string& name,
                                    const nn::LoadOptions& load) {
  if (io::fs::exists(models::open_folder(model).path / "any_to_any.json")) {
    return std::make_unique<AnyEngine>(model, name, load);
  }
  return std::make_unique<TextEngine>(model, name, load);
}

}  // namespace tessera::serve
