// /v1/chat/completions and /v1/completions. Pictures are {"type": "image_url", "image_url": {"url":
// "data:image/png;base64,…"}} in message.images (delta.images in streams), speech is message.audio
// as OpenAI has it, and music has the same form in message.music.
#include "core/base64.h"
#include "io/image.h"
#include "serve/openai_answer.h"
#include "serve/sound_output.h"
#include "text/stop_strings.h"

#include <map>

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

constexpr int64_t kSoundExpires = 3600;  // seconds; it may be forgotten earlier

const char* sound_key(Modality modality) {
  return modality == Modality::kMusic ? "music" : "audio";
}

Json picture_json(const Image& image) {
  return {{"type", "image_url"},
          {"image_url", {{"url", "data:image/png;base64," + base64(io::encode_png(image))}}}};
}

class ChatAnswer : public Answer {
 public:
  ChatAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, ChatCall call)
      : Answer(std::move(exchange), std::move(tools)),
        call_(std::move(call)),
        model_(tools_.backend.card().id) {
    for (int64_t i = 0; i < call_.choices; ++i) {
      choices_.emplace_back(call_.stop);
    }
  }

  void begin() {
    std::vector<GenerationRequest> requests(choices_.size(), call_.request);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].sampling.seed += i;
    }
    call_.request.task = ChatTask{};  // media are not kept twice
    start(std::move(requests));
  }

 protected:
  void on_text(size_t index, std::string_view piece) override {
    say(index, choices_[index].stops.push(piece));
    if (choices_[index].stops.stopped()) {
      stop(index);
    }
  }

  void on_sound(size_t index, Modality modality, const Audio& chunk) override {
    if (!call_.stream || !call_.modalities.contains(modality)) {
      return;
    }
    Sound& sound = choices_[index].sounds[modality];
    if (!sound.stream.has_value()) {
      sound.stream.emplace(call_.sound_format);
      sound.id = make_id("audio_");
    }
    send_sound(index, modality, sound.stream->push(chunk));
  }

  void on_part(size_t index, const Part& part) override {
    Choice& choice = choices_[index];
    if (!call_.modalities.contains(part.modality)) {
      return;
    }
    if (const auto* image = std::get_if<Image>(&part.content)) {
      Json picture = picture_json(*image);
      if (call_.stream) {
        send_delta(index, {{"images", Json::array({std::move(picture)})}}, nullptr);
      } else {
        choice.images.push_back(std::move(picture));
      }
    } else if (const auto* audio = std::get_if<Audio>(&part.content)) {
      Sound& sound = choice.sounds[part.modality];
      sound.whole.sample_rate = audio->sample_rate;
      sound.whole.samples.insert(sound.whole.samples.end(), audio->samples.begin(),
                                 audio->samples.end());
      tools_.metrics.add("audio_seconds_total", {{"model_name", model_}, {"direction", "out"}},
                         audio->seconds());
    }
  }

  void on_end(size_t index, const Outcome&, const std::string& reason) override {
    Choice& choice = choices_[index];
    say(index, choice.stops.finish());
    choice.reason = reason;
    for (auto& [modality, sound] : choice.sounds) {
      if (sound.stream.has_value()) {
        send_sound(index, modality, sound.stream->finish());
      }
      if (sound.id.empty()) {
        sound.id = make_id("audio_");
      }
    }
    if (call_.stream) {
      remember(choice);
      send_delta(index, Json::object(), Json(reason));
    }
  }

  void on_all_ended() override {
    if (!call_.stream) {
      return exchange_->respond({.body = dump(whole())});
    }
    if (call_.include_usage) {
      Json chunk = frame("chat.completion.chunk");
      chunk["choices"] = Json::array();
      chunk["usage"] = usage();
      chunk["timings"] = timings();
      send_event(chunk);
    }
    send("data: [DONE]\n\n");
    exchange_->end();
  }

 private:
  struct Sound {
    std::string id;
    Audio whole;
    std::optional<SoundStream> stream;
  };
  struct Choice {
    explicit Choice(const std::vector<std::string>& stop) : stops(stop) {}
    text::StopStrings stops;
    std::string text;
    Json images = Json::array();
    std::map<Modality, Sound> sounds;
    std::string reason;
    bool opened = false;  // its role was told
  };

  void say(size_t index, std::string text) {
    if (text.empty()) {
      return;
    }
    choices_[index].text += text;
    if (call_.stream) {
      send_delta(index, {{"content", std::move(text)}}, nullptr);
    }
  }

  void send_sound(size_t index, Modality modality, const std::string& bytes) {
    if (bytes.empty()) {
      return;
    }
    const Json piece = {{"id", choices_[index].sounds[modality].id}, {"data", base64(bytes)}};
    send_delta(index, {{sound_key(modality), piece}}, nullptr);
  }

  void remember(Choice& choice) {
    for (auto& [modality, sound] : choice.sounds) {
      if (!sound.whole.samples.empty()) {
        tools_.sounds.put(sound.id, std::move(sound.whole));
      }
    }
  }

  Json frame(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
  }

  void send_delta(size_t index, Json delta, Json reason) {
    if (!std::exchange(choices_[index].opened, true)) {
      Json first = {{"role", "assistant"}, {"content", ""}};
      send_chunk(index, std::move(first), nullptr);
    }
    send_chunk(index, std::move(delta), std::move(reason));
  }

  void send_chunk(size_t index, Json delta, Json reason) {
    Json chunk = frame("chat.completion.chunk");
    chunk["choices"] = Json::array({{{"index", index},
                                     {"delta", std::move(delta)},
                                     {"logprobs", nullptr},
                                     {"finish_reason", std::move(reason)}}});
    if (call_.include_usage) {
      chunk["usage"] = nullptr;
    }
    send_event(chunk);
  }

  Json message_of(Choice& choice) {
    const bool mute = choice.text.empty() && (!choice.images.empty() || !choice.sounds.empty());
    Json message = {{"role", "assistant"},
                    {"content", mute ? Json(nullptr) : Json(choice.text)},
                    {"refusal", nullptr}};
    if (!choice.images.empty()) {
      message["images"] = std::move(choice.images);
    }
    for (auto& [modality, sound] : choice.sounds) {
      message[sound_key(modality)] = {
          {"id", sound.id},
          {"data", base64(encode_sound(sound.whole, call_.sound_format))},
          {"transcript", choice.text},
          {"expires_at", created_ + kSoundExpires}};
    }
    remember(choice);
    return message;
  }

  Json whole() {
    Json answer = frame("chat.completion");
    answer["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      answer["choices"].push_back({{"index", i},
                                   {"message", message_of(choices_[i])},
                                   {"logprobs", nullptr},
                                   {"finish_reason", choices_[i].reason}});
    }
    answer["usage"] = usage();
    answer["timings"] = timings();
    return answer;
  }

  ChatCall call_;
  const std::string model_;
  const std::string id_ = make_id("chatcmpl-");
  const int64_t created_ = unix_time();
  std::vector<Choice> choices_;
};

class CompletionAnswer : public Answer {
 public:
  CompletionAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, CompletionCall call)
      : Answer(std::move(exchange), std::move(tools)),
        call_(std::move(call)),
        model_(tools_.backend.card().id) {}

  void begin() {
    std::vector<GenerationRequest> requests;
    for (const CompletionTask& prompt : call_.prompts) {
      for (int64_t i = 0; i < call_.choices; ++i) {
        GenerationRequest request = call_.request;
        request.task = prompt;
        request.sampling.seed += static_cast<uint64_t>(i);
        requests.push_back(std::move(request));
        choices_.emplace_back(call_.stop);
        if (call_.echo) {
          choices_.back().text =
              prompt.ids.empty() ? prompt.text : tools_.backend.detokenize(prompt.ids);
        }
      }
    }
    prompt_tokens_.resize(call_.prompts.size());
    start(std::move(requests));
  }

 protected:
  void on_text(size_t index, std::string_view piece) override {
    say(index, choices_[index].stops.push(piece));
    if (choices_[index].stops.stopped()) {
      stop(index);
    }
  }
  void on_part(size_t, const Part&) override {}

  void on_end(size_t index, const Outcome& outcome, const std::string& reason) override {
    say(index, choices_[index].stops.finish());
    choices_[index].reason = reason;
    prompt_tokens_[index / static_cast<size_t>(call_.choices)] = outcome.prompt_tokens;
    new_tokens_ += outcome.new_tokens;
    if (call_.stream) {
      send_choice(index, "", Json(reason));
    }
  }

  void on_all_ended() override {
    Json answer = frame();
    if (!call_.stream) {
      for (size_t i = 0; i < choices_.size(); ++i) {
        answer["choices"].push_back(choice_json(i, choices_[i].text, Json(choices_[i].reason)));
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
    std::string text;
    std::string reason;
    bool opened = false;  // the echo was sent
  };

  void say(size_t index, const std::string& text) {
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
    chunk["choices"].push_back(choice_json(index, text, std::move(reason)));
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

  static Json choice_json(size_t index, const std::string& text, Json reason) {
    return {{"index", index},
            {"text", text},
            {"logprobs", nullptr},
            {"finish_reason", std::move(reason)}};
  }

  Json all_usage() const {
    int64_t prompts = 0;
    for (const int64_t tokens : prompt_tokens_) {
      prompts += tokens;
    }
    return {{"prompt_tokens", prompts},
            {"completion_tokens", new_tokens_},
            {"total_tokens", prompts + new_tokens_}};
  }

  CompletionCall call_;
  const std::string model_;
  const std::string id_ = make_id("cmpl-");
  const int64_t created_ = unix_time();
  std::vector<Choice> choices_;
  std::vector<int64_t> prompt_tokens_;  // of each prompt
  int64_t new_tokens_ = 0;
};

}  // namespace

void answer_chat(const std::shared_ptr<Exchange>& exchange,
                 const AnswerTools& tools,
                 ChatCall call) {
  std::make_shared<ChatAnswer>(exchange, tools, std::move(call))->begin();
}

void answer_completion(const std::shared_ptr<Exchange>& exchange,
                       const AnswerTools& tools,
                       CompletionCall call) {
  std::make_shared<CompletionAnswer>(exchange, tools, std::move(call))->begin();
}

}  // namespace tessera::serve
