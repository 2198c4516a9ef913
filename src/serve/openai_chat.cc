// /v1/chat/completions. Text goes through stop strings, through the reader of thoughts, then
// through the reader of calls. Pictures are {"type": "image_url", "image_url": {"url":
// "data:image/png;base64,…"}} in message.images (delta.images in streams), speech is message.audio
// as OpenAI has it, and music has the same form in message.music.
#include "core/base64.h"
#include "io/image.h"
#include "serve/openai_answer.h"
#include "serve/sound_output.h"
#include "serve/token_log.h"
#include "text/stop_strings.h"
#include "text/thoughts.h"
#include "text/tool_calls.h"

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
      if (call_.split_thoughts) {
        choices_.back().thoughts.emplace();
      }
      if (!call_.tool_names.empty()) {
        choices_.back().reader.emplace(*tools_.backend.card().tools, call_.tool_names,
                                       call_.must_call);
      }
    }
  }

  void begin() {
    std::vector<GenerationRequest> requests = {call_.request};
    call_.request.task = ChatTask{};  // media are not kept twice
    start(std::move(requests), choices_.size());
  }

 protected:
  void on_thoughts(size_t index) override {
    if (choices_[index].thoughts.has_value()) {
      choices_[index].thoughts->open();
    }
  }

  void on_token(size_t index, const TokenReport& token) override { choices_[index].log.add(token); }

  void on_text(size_t index, std::string_view piece) override {
    choices_[index].log.text(piece);
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
    if (choice.thoughts.has_value()) {
      show(index, choice.thoughts->finish());
    }
    if (choice.reader.has_value()) {
      show(index, choice.reader->finish());
    }
    choice.reason = reason == "stop" && !choice.calls.empty() ? "tool_calls" : reason;
    choice.ended = true;
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
      send_delta(index, Json::object(), Json(choice.reason));
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
    std::optional<text::ThoughtReader> thoughts;
    std::optional<text::ToolCallReader> reader;  // where there are tools
    TokenLog log;
    size_t bytes = 0;  // that stop strings let through
    std::string thought, text;
    std::vector<ToolCall> calls;
    Json images = Json::array();
    std::map<Modality, Sound> sounds;
    std::string reason;
    bool opened = false;  // its role was told
    bool ended = false;
  };

  void say(size_t index, std::string text) {
    Choice& choice = choices_[index];
    choice.bytes += text.size();
    if (choice.thoughts.has_value()) {
      show(index, choice.thoughts->push(text));
    } else {
      answer(index, std::move(text));
    }
  }

  void show(size_t index, text::ThoughtReader::Piece piece) {
    if (!piece.thought.empty()) {
      choices_[index].thought += piece.thought;
      if (call_.stream) {
        send_delta(index, {{"reasoning_content", std::move(piece.thought)}}, nullptr);
      }
    }
    answer(index, std::move(piece.text));
  }

  void answer(size_t index, std::string text) {
    Choice& choice = choices_[index];
    show(index, choice.reader.has_value() ? choice.reader->push(text)
                                          : text::ToolCallReader::Piece{std::move(text), {}});
  }

  void show(size_t index, text::ToolCallReader::Piece piece) {
    Choice& choice = choices_[index];
    if (!piece.text.empty()) {
      choice.text += piece.text;
      if (call_.stream) {
        send_delta(index, {{"content", std::move(piece.text)}}, nullptr);
      }
    }
    for (ToolCall& call : piece.calls) {
      if (call_.many_calls || choice.calls.empty()) {
        add_call(index, std::move(call));
      }
    }
    if (!call_.many_calls && !choice.calls.empty() && !choice.ended) {
      stop(index);  // nothing more of it is wanted
    }
  }

  static Json call_json(const ToolCall& call, std::string arguments) {
    return {{"id", call.id},
            {"type", "function"},
            {"function", {{"name", call.name}, {"arguments", std::move(arguments)}}}};
  }

  // In streams the name goes first, then the arguments.
  void add_call(size_t index, ToolCall call) {
    Choice& choice = choices_[index];
    call.id = make_id("call_");
    if (call_.stream) {
      Json first = {{"index", choice.calls.size()}};
      first.update(call_json(call, ""));
      Json second = {{"index", choice.calls.size()}, {"function", {{"arguments", call.arguments}}}};
      send_delta(index, {{"tool_calls", Json::array({std::move(first)})}}, nullptr);
      send_delta(index, {{"tool_calls", Json::array({std::move(second)})}}, nullptr);
    }
    choice.calls.push_back(std::move(call));
  }

  // Of the tokens that were not told of yet; null where none are asked for.
  Json logprobs(Choice& choice) const {
    if (!call_.request.top_logprobs.has_value()) {
      return nullptr;
    }
    return chat_logprobs(choice.ended && !choice.stops.stopped() ? choice.log.take_all()
                                                                 : choice.log.take(choice.bytes));
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
      send_chunk(index, std::move(first), nullptr, nullptr);
    }
    send_chunk(index, std::move(delta), logprobs(choices_[index]), std::move(reason));
  }

  void send_chunk(size_t index, Json delta, Json logprobs, Json reason) {
    Json chunk = frame("chat.completion.chunk");
    chunk["choices"] = Json::array({{{"index", index},
                                     {"delta", std::move(delta)},
                                     {"logprobs", std::move(logprobs)},
                                     {"finish_reason", std::move(reason)}}});
    if (call_.include_usage) {
      chunk["usage"] = nullptr;
    }
    send_event(chunk);
  }

  Json message_of(Choice& choice) {
    const bool mute = choice.text.empty() &&
                      (!choice.images.empty() || !choice.sounds.empty() || !choice.calls.empty());
    Json message = {{"role", "assistant"},
                    {"content", mute ? Json(nullptr) : Json(choice.text)},
                    {"refusal", nullptr}};
    if (!choice.thought.empty()) {
      message["reasoning_content"] = std::move(choice.thought);
    }
    for (const ToolCall& call : choice.calls) {
      message["tool_calls"].push_back(call_json(call, call.arguments));
    }
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
                                   {"logprobs", logprobs(choices_[i])},
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

}  // namespace

void answer_chat(const std::shared_ptr<Exchange>& exchange,
                 const AnswerTools& tools,
                 ChatCall call) {
  std::make_shared<ChatAnswer>(exchange, tools, std::move(call))->begin();
}

}  // namespace tessera::serve
