// /v1/completions: several prompts, several choices of each.
#include "serve/openai_answer.h"
#include "serve/token_log.h"
#include "text/stop_strings.h"

#include <algorithm>

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

class CompletionAnswer : public Answer {
 public:
  CompletionAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, CompletionCall call)
      : Answer(std::move(exchange), std::move(tools)),
        call_(std::move(call)),
        model_(tools_.backend.card().id) {}

  void begin() {
    std::vector<GenerationRequest> requests;
    for (const CompletionTask& prompt : call_.prompts) {
      requests.push_back(call_.request);
      requests.back().task = prompt;
      for (int64_t i = 0; i < call_.choices; ++i) {
        choices_.emplace_back(call_.stop);
        if (call_.echo) {
          choices_.back().text =
              prompt.ids.empty() ? prompt.text : tools_.backend.detokenize(prompt.ids);
        }
      }
    }
    prompts_.resize(call_.prompts.size());
    start(std::move(requests), static_cast<size_t>(call_.choices));
  }

 protected:
  void on_token(size_t index, const TokenReport& token) override { choices_[index].log.add(token); }

  void on_text(size_t index, std::string_view piece) override {
    choices_[index].log.text(piece);
    say(index, choices_[index].stops.push(piece));
    if (choices_[index].stops.stopped()) {
      stop(index);
    }
  }
  void on_part(size_t, const Part&) override {}

  void on_end(size_t index, const Outcome& outcome, const std::string& reason) override {
    say(index, choices_[index].stops.finish());
    choices_[index].reason = reason;
    choices_[index].ended = true;
    Prompt& prompt = prompts_[index / static_cast<size_t>(call_.choices)];
    prompt.tokens = outcome.prompt_tokens;
    prompt.cached = std::min(prompt.cached, outcome.cached_tokens);
    new_tokens_ += outcome.new_tokens;
    if (call_.stream) {
      send_choice(index, "", Json(reason));
    }
  }

  void on_all_ended() override {
    Json answer = frame();
    if (!call_.stream) {
      for (size_t i = 0; i < choices_.size(); ++i) {
        answer["choices"].push_back(
            choice_json(i, choices_[i].text, logprobs(choices_[i]), Json(choices_[i].reason)));
      }
      answer["usage"] = all_usage();
      answer["timings"] = timings();
      return exchange_->respond({.body = dump(answer)});
    }
    if (call_.include_usage) {
      answer["usage"] = all_usage();
      answer["timings"] = timings();
      send_event(answer);
    }
    send("data: [DONE]\n\n");
    exchange_->end();
  }

 private:
  struct Choice {
    explicit Choice(const std::vector<std::string>& stop) : stops(stop) {}
    text::StopStrings stops;
    TokenLog log;
    size_t bytes = 0;  // that stop strings let through
    std::string text;
    std::string reason;
    bool opened = false;  // the echo was sent
    bool ended = false;
  };
  struct Prompt {
    int64_t tokens = 0;
    int64_t cached = INT64_MAX;  // the least of its choices
  };

  // Of the tokens that were not told of yet; null where none are asked for.
  Json logprobs(Choice& choice) const {
    if (!call_.request.top_logprobs.has_value()) {
      return nullptr;
    }
    return completion_logprobs(choice.ended && !choice.stops.stopped()
                                   ? choice.log.take_all()
                                   : choice.log.take(choice.bytes),
                               *call_.request.top_logprobs > 0);
  }

  void say(size_t index, const std::string& text) {
    choices_[index].bytes += text.size();
    if (!call_.stream) {
      choices_[index].text += text;
    } else if (!text.empty()) {
      send_choice(index, text, nullptr);
    }
  }

  void send_choice(size_t index, std::string text, Json reason) {
    if (!std::exchange(choices_[index].opened, true)) {
      text.insert(0, choices_[index].text);
    }
    Json chunk = frame();
    chunk["choices"].push_back(
        choice_json(index, text, logprobs(choices_[index]), std::move(reason)));
    if (call_.include_usage) {
      chunk["usage"] = nullptr;
    }
    send_event(chunk);
  }

  Json frame() const {
    return {{"id", id_},
            {"object", "text_completion"},
            {"created", created_},
            {"model", model_},
            {"choices", Json::array()}};
  }

  static Json choice_json(size_t index, const std::string& text, Json logprobs, Json reason) {
    return {{"index", index},
            {"text", text},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(reason)}};
  }

  Json all_usage() const {
    int64_t tokens = 0;
    int64_t cached = 0;
    for (const Prompt& prompt : prompts_) {
      tokens += prompt.tokens;
      cached += prompt.cached;
    }
    return usage_json(tokens, cached, new_tokens_);
  }

  CompletionCall call_;
  const std::string model_;
  const std::string id_ = make_id("cmpl-");
  const int64_t created_ = unix_time();
  std::vector<Choice> choices_;
  std::vector<Prompt> prompts_;
  int64_t new_tokens_ = 0;
};

}  // namespace

void answer_completion(const std::shared_ptr<Exchange>& exchange,
                       const AnswerTools& tools,
                       CompletionCall call) {
  std::make_shared<CompletionAnswer>(exchange, tools, std::move(call))->begin();
}

}  // namespace tessera::serve
