// /v1/audio/speech, /v1/audio/transcriptions and /v1/images/generations: each is a conversation of
// one message with the model.
#include "core/base64.h"
#include "core/strings.h"
#include "io/image.h"
#include "serve/openai_answer.h"
#include "serve/sound_output.h"

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

class SpeechAnswer : public Answer {
 public:
  SpeechAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, SpeechCall call)
      : Answer(std::move(exchange), std::move(tools)),
        call_(std::move(call)),
        stream_(call_.format) {
    stream_type(call_.events ? "text/event-stream" : sound_type(call_.format));
  }

  void begin() { start({std::move(call_.request)}); }

 protected:
  void on_text(size_t, std::string_view) override {}

  void on_sound(size_t, Modality modality, const Audio& chunk) override {
    if (modality == Modality::kSpeech) {
      put(stream_.push(chunk));
    }
  }

  void on_part(size_t, const Part& part) override {
    const auto* audio = std::get_if<Audio>(&part.content);
    if (audio == nullptr || part.modality != Modality::kSpeech) {
      return;
    }
    tools_.metrics.add("audio_seconds_total",
                       {{"model_name", tools_.backend.card().id}, {"direction", "out"}},
                       audio->seconds());
    if (!streams(call_.format)) {
      whole_.sample_rate = audio->sample_rate;
      whole_.samples.insert(whole_.samples.end(), audio->samples.begin(), audio->samples.end());
    }
  }

  void on_end(size_t, const Outcome&, const std::string&) override {}

  void on_all_ended() override {
    if (streams(call_.format)) {
      put(stream_.finish());
    } else if (!whole_.samples.empty()) {
      try {
        const std::string file = encode_sound(whole_, call_.format);
        if (!call_.events) {
          return exchange_->respond({.type = std::string(sound_type(call_.format)), .body = file});
        }
        put(file);
      } catch (const Error& error) {
        return fail(api_error_of(error));
      }
    }
    if (!streaming()) {
      return fail(ApiError(500, "the model made no speech", {}, "no_speech"));
    }
    if (call_.events) {
      Json usage_of = usage();
      send_event({{"type", "speech.audio.done"},
                  {"usage",
                   {{"input_tokens", usage_of["prompt_tokens"]},
                    {"output_tokens", usage_of["completion_tokens"]},
                    {"total_tokens", usage_of["total_tokens"]}}}});
    }
    exchange_->end();
  }

 private:
  void put(const std::string& bytes) {
    if (bytes.empty()) {
      return;
    }
    if (call_.events) {
      send_event({{"type", "speech.audio.delta"}, {"audio", base64(bytes)}});
    } else {
      send(bytes);
    }
  }

  SpeechCall call_;
  SoundStream stream_;
  Audio whole_;
};

class ImageAnswer : public Answer {
 public:
  ImageAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, ImageCall call)
      : Answer(std::move(exchange), std::move(tools)), call_(std::move(call)) {}

  void begin() {
    pictures_.resize(static_cast<size_t>(call_.count));
    start({call_.request}, pictures_.size());
  }

 protected:
  void on_text(size_t, std::string_view) override {}

  void on_part(size_t index, const Part& part) override {
    const auto* image = std::get_if<Image>(&part.content);
    if (image != nullptr && pictures_[index].empty()) {
      pictures_[index] = base64(io::encode_png(*image));
      stop(index);  // one picture is enough
    }
  }

  void on_end(size_t, const Outcome&, const std::string&) override {}

  void on_all_ended() override {
    Json data = Json::array();
    for (std::string& picture : pictures_) {
      if (!picture.empty()) {
        data.push_back({{"b64_json", std::move(picture)}});
      }
    }
    if (data.empty()) {
      return fail(ApiError(500, "the model made no picture", {}, "no_picture"));
    }
    Json usage_of = usage();
    exchange_->respond({.body = dump({{"created", unix_time()},
                                      {"data", std::move(data)},
                                      {"output_format", "png"},
                                      {"usage",
                                       {{"input_tokens", usage_of["prompt_tokens"]},
                                        {"output_tokens", usage_of["completion_tokens"]},
                                        {"total_tokens", usage_of["total_tokens"]}}}})});
  }

 private:
  ImageCall call_;
  std::vector<std::string> pictures_;  // base64 of PNG
};

class TranscriptionAnswer : public Answer {
 public:
  TranscriptionAnswer(std::shared_ptr<Exchange> exchange, AnswerTools tools, TranscriptionCall call)
      : Answer(std::move(exchange), std::move(tools)), call_(std::move(call)) {
    tools_.metrics.add("audio_seconds_total",
                       {{"model_name", tools_.backend.card().id}, {"direction", "in"}},
                       call_.seconds);
  }

  void begin() { start({std::move(call_.request)}); }

 protected:
  void on_text(size_t, std::string_view piece) override {
    text_ += piece;
    if (call_.stream) {
      send_event({{"type", "transcript.text.delta"}, {"delta", piece}});
    }
  }
  void on_part(size_t, const Part&) override {}
  void on_end(size_t, const Outcome&, const std::string&) override {}

  void on_all_ended() override {
    const std::string text(trim(text_));
    Json usage_of = usage();
    const Json tokens = {{"type", "tokens"},
                         {"input_tokens", usage_of["prompt_tokens"]},
                         {"output_tokens", usage_of["completion_tokens"]},
                         {"total_tokens", usage_of["total_tokens"]}};
    if (call_.stream) {
      send_event({{"type", "transcript.text.done"}, {"text", text}, {"usage", tokens}});
      return exchange_->end();
    }
    if (call_.plain) {
      return exchange_->respond({.type = "text/plain; charset=utf-8", .body = text + "\n"});
    }
    exchange_->respond({.body = dump({{"text", text}, {"usage", tokens}})});
  }

 private:
  TranscriptionCall call_;
  std::string text_;
};

}  // namespace

void answer_speech(const std::shared_ptr<Exchange>& exchange,
                   const AnswerTools& tools,
                   SpeechCall call) {
  std::make_shared<SpeechAnswer>(exchange, tools, std::move(call))->begin();
}

void answer_images(const std::shared_ptr<Exchange>& exchange,
                   const AnswerTools& tools,
                   ImageCall call) {
  std::make_shared<ImageAnswer>(exchange, tools, std::move(call))->begin();
}

void answer_transcription(const std::shared_ptr<Exchange>& exchange,
                          const AnswerTools& tools,
                          TranscriptionCall call) {
  std::make_shared<TranscriptionAnswer>(exchange, tools, std::move(call))->begin();
}

}  // namespace tessera::serve
