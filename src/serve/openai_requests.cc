// OpenAI's request bodies. Extensions of other servers are read under their usual names: top_k,
// min_p, repetition_penalty; our own are "guidance", "input_music" parts and the modalities "image"
// and "music".
#include "serve/openai_requests.h"

#include "serve/json_fields.h"
#include "serve/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <random>

namespace tessera::serve {
namespace {

constexpr size_t kMaxMessages = 4096;
constexpr size_t kMaxPrompts = 64;
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1024;
constexpr int64_t kMaxChoices = 16;
constexpr int64_t kMaxTokens = int64_t{1} << 30;
constexpr size_t kMaxSpoken = 16384;  // bytes of a text to be spoken
constexpr size_t kMaxPrompt = 16384;  // bytes of a picture's description

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

bool is_true(const io::Json* value) {
  return value != nullptr && (!value->is_boolean() || value->get<bool>());
}

bool is_empty(const io::Json* value) {
  return value == nullptr || (value->is_structured() && value->empty());
}

uint64_t read_seed(const JsonFields& fields) {
  const std::optional<int64_t> seed = fields.integer("seed", INT64_MIN, INT64_MAX);
  return seed.has_value() ? static_cast<uint64_t>(*seed) : random_seed();
}

Sampling read_sampling(const JsonFields& fields, const ModelCard& card) {
  Sampling sampling;
  sampling.temperature = fields.number("temperature", 0, 2);
  sampling.top_p = fields.number("top_p", 0, 1);
  if (sampling.top_p == 0.0) {  // the most likely token alone
    sampling.top_p = 1e-6;
  }
  sampling.top_k = fields.integer("top_k", -1, kMaxTokens);
  if (sampling.top_k == -1) {  // off, as some clients write it
    sampling.top_k = 0;
  }
  sampling.min_p = fields.number("min_p", 0, 1);
  if (!card.min_p && sampling.min_p.value_or(0) != 0) {
    throw not_supported(fields.name_of("min_p"), "this model does not take 'min_p'; leave it out");
  }
  sampling.repetition_penalty = fields.number("repetition_penalty", 0.01, 100);
  if (!card.repetition && sampling.repetition_penalty.value_or(1) != 1) {
    throw not_supported(fields.name_of("repetition_penalty"),
                        "this model does not take 'repetition_penalty'; leave it out");
  }
  sampling.guidance = fields.number("guidance", 0, 100);
  sampling.seed = read_seed(fields);
  return sampling;
}

std::vector<std::string> read_stop(const JsonFields& fields) {
  const io::Json* value = fields.find("stop");
  std::vector<std::string> stops;
  if (value == nullptr) {
    return stops;
  }
  if (!value->is_string() && !value->is_array()) {
    fields.fail("stop", "a string or an array of strings");
  }
  const io::Json list = value->is_array() ? *value : io::Json::array({*value});
  for (const io::Json& item : list) {
    if (!item.is_string() || item.get_ref<const std::string&>().size() > kMaxStopBytes) {
      fields.fail("stop", fmt::format("an array of strings of at most {} bytes", kMaxStopBytes));
    }
    if (!item.get_ref<const std::string&>().empty()) {
      stops.push_back(item.get<std::string>());
    }
  }
  if (stops.size() > kMaxStops) {
    fields.fail("stop", fmt::format("at most {} strings", kMaxStops));
  }
  return stops;
}

// What nobody here can do yet is refused where it would change the answer.
void refuse_unsupported(const JsonFields& fields) {
  for (const char* name : {"frequency_penalty", "presence_penalty"}) {
    if (fields.number(name, -2, 2).value_or(0) != 0) {
      throw not_supported(name, fmt::format("'{}' is not supported; leave it out or send 0", name));
    }
  }
  if (!is_empty(fields.object("logit_bias"))) {
    throw not_supported("logit_bias", "'logit_bias' is not supported; leave it out");
  }
  if (fields.find("grammar") != nullptr) {
    throw not_supported("grammar", "constrained decoding is not supported");
  }
}

void read_common(const JsonFields& fields, const ModelCard& card, GenerationCall& call) {
  call.model = fields.text("model").value_or("");
  call.request.sampling = read_sampling(fields, card);
  call.stop = read_stop(fields);
  call.choices = fields.integer("n", 1, kMaxChoices).value_or(1);
  call.stream = fields.flag("stream").value_or(false);
  if (const io::Json* options = fields.object("stream_options"); options != nullptr) {
    call.include_usage =
        JsonFields(*options, "stream_options").flag("include_usage").value_or(false);
  }
  call.request.max_new_tokens = fields.integer("max_tokens", 0, kMaxTokens).value_or(0);
  refuse_unsupported(fields);
}

// ---- messages ----

class MessageReader {
 public:
  explicit MessageReader(const RequestContext& context) : context_(context) {}

  std::vector<Message> read(const io::Json& list) {
    std::string system;  // waits for the next message of the user
    std::vector<Message> messages;
    for (size_t i = 0; i < list.size(); ++i) {
      const JsonFields fields(list[i], fmt::format("messages[{}]", i));
      const std::string role = fields.required_text("role");
      if (role == "system" || role == "developer") {
        if (context_.card.system) {
          messages.push_back(content(fields));
          messages.back().role = Role::kSystem;
          continue;
        }
        for (const Part& part : content(fields).parts) {
          const auto* text = std::get_if<std::string>(&part.content);
          if (text == nullptr) {
            throw bad_request(fields.name_of("content"), "a system message holds text alone");
          }
          system += (system.empty() || text->empty() ? "" : "\n") + *text;
        }
      } else if (role == "user") {
        Message message = content(fields);
        put_before(std::exchange(system, {}), message);
        messages.push_back(std::move(message));
      } else if (role == "assistant") {
        messages.push_back(assistant(fields));
      } else if (role == "tool" || role == "function") {
        throw not_supported(fields.name_of("role"), "tools are not supported");
      } else {
        throw bad_request(fields.name_of("role"),
                          fmt::format("'{}' must be system, developer, user or assistant",
                                      fields.name_of("role")));
      }
    }
    if (messages.empty() || messages.back().role != Role::kUser) {
      throw bad_request("messages", "the last of 'messages' must be the user's");
    }
    return messages;
  }

 private:
  // A model's format may know no system role: what it says goes before the user's words.
  static void put_before(std::string system, Message& message) {
    if (system.empty()) {
      return;
    }
    for (Part& part : message.parts) {
      if (auto* text = std::get_if<std::string>(&part.content)) {
        *text = system + "\n" + *text;
        return;
      }
    }
    message.parts.push_back(Part::text(std::move(system)));
  }

  Message content(const JsonFields& fields) {
    Message message;
    const io::Json* value = fields.find("content");
    if (value == nullptr) {
      throw bad_request(fields.name_of("content"),
                        fmt::format("'{}' is missing", fields.name_of("content")));
    }
    if (value->is_string()) {
      message.parts.push_back(Part::text(value->get<std::string>()));
      return message;
    }
    if (!value->is_array()) {
      fields.fail("content", "a string or an array of parts");
    }
    for (size_t i = 0; i < value->size(); ++i) {
      message.parts.push_back(
          part((*value)[i], fmt::format("{}[{}]", fields.name_of("content"), i)));
    }
    return message;
  }

  // An answer of before, in the form that answers have: content, audio, and our images and music.
  Message assistant(const JsonFields& fields) {
    if (!is_empty(fields.array("tool_calls"))) {
      throw not_supported(fields.name_of("tool_calls"), "tools are not supported");
    }
    Message message;
    if (fields.find("content") != nullptr) {
      message = content(fields);
    }
    message.role = Role::kAssistant;
    if (const io::Json* images = fields.array("images"); images != nullptr) {
      for (size_t i = 0; i < images->size(); ++i) {
        message.parts.push_back(
            part((*images)[i], fmt::format("{}[{}]", fields.name_of("images"), i)));
      }
    }
    for (const auto& [name, modality] :
         {std::pair("audio", Modality::kSpeech), std::pair("music", Modality::kMusic)}) {
      if (const io::Json* sound = fields.object(name); sound != nullptr) {
        message.parts.push_back(earlier_sound(JsonFields(*sound, fields.name_of(name)), modality));
      }
    }
    std::erase_if(message.parts, [](const Part& p) {
      const auto* text = std::get_if<std::string>(&p.content);
      return text != nullptr && text->empty();
    });
    if (message.parts.empty()) {
      throw bad_request(fields.name_of("content"),
                        fmt::format("'{}' is empty", fields.name_of("content")));
    }
    return message;
  }

  Part earlier_sound(const JsonFields& fields, Modality modality) {
    count(modality, fields.name_of("id"));
    if (fields.find("data") != nullptr) {
      return {modality, sound(fields), {}};
    }
    const std::string id = fields.required_text("id");
    std::optional<Audio> found = context_.earlier_sound ? context_.earlier_sound(id) : std::nullopt;
    if (!found.has_value()) {
      throw bad_request(fields.name_of("id"),
                        "this sound is not remembered any more; send its 'data' instead",
                        "audio_not_found");
    }
    return {modality, std::move(*found), {}};
  }

  Part part(const io::Json& json, const std::string& path) {
    const JsonFields fields(json, path);
    const std::string type = fields.required_text("type");
    if (type == "text" || type == "output_text" || type == "input_text") {
      return Part::text(fields.required_text("text"));
    }
    if (type == "image_url") {
      count(Modality::kImage, path);
      return {Modality::kImage, picture(fields), {}};
    }
    if (type == "input_audio" || type == "input_music") {
      const Modality modality = type == "input_audio" ? Modality::kSpeech : Modality::kMusic;
      count(modality, path);
      const io::Json* object = fields.object(type.c_str());
      if (object == nullptr) {
        fields.fail(type, "an object with 'data' and 'format'");
      }
      return {modality, sound(JsonFields(*object, fields.name_of(type))), {}};
    }
    if (type == "video_url" || type == "input_video" || type == "audio_url" || type == "file" ||
        type == "input_file") {
      throw not_supported(fields.name_of("type"), fmt::format("parts of type '{}' are not "
                                                              "supported",
                                                              type));
    }
    throw bad_request(fields.name_of("type"),
                      fmt::format("'{}' must be text, image_url, input_audio or input_music",
                                  fields.name_of("type")));
  }

  // {"image_url": {"url": …}}, or the URL itself.
  Image picture(const JsonFields& fields) const {
    const io::Json* value = fields.find("image_url");
    const std::string name = fields.name_of("image_url");
    const std::string url = value != nullptr && value->is_object()
                                ? JsonFields(*value, name).required_text("url")
                                : fields.required_text("image_url");
    const std::string param = value->is_object() ? name + ".url" : name;
    return read_picture(read_url(url, context_.media, param), context_.media, param);
  }

  Audio sound(const JsonFields& fields) const {
    const std::string data = fields.required_text("data");
    fields.text("format");  // the content decides
    const std::string param = fields.name_of("data");
    const std::optional<std::string> bytes = decode_base64(data);
    if (!bytes.has_value()) {
      throw bad_request(param, fmt::format("'{}' is no valid base64", param), "invalid_base64");
    }
    return read_sound(*bytes, context_.media, param);
  }

  void count(Modality modality, const std::string& path) {
    if (!context_.card.takes(modality)) {
      throw not_supported(path,
                          fmt::format("this model does not take {}", modality_name(modality)));
    }
    if (++media_ > context_.media.items) {
      throw bad_request(path,
                        fmt::format("a request holds at most {} media", context_.media.items));
    }
  }

  const RequestContext& context_;
  size_t media_ = 0;
};

// ---- what the answer holds ----

std::set<Modality> read_modalities(const JsonFields& fields, const ModelCard& card) {
  const io::Json* list = fields.array("modalities");
  if (list == nullptr || list->empty()) {
    return {Modality::kText};
  }
  std::set<Modality> result;
  for (const io::Json& item : *list) {
    const std::string name = item.is_string() ? item.get<std::string>() : "";
    if (name == "auto") {
      result.insert(card.output.begin(), card.output.end());
      continue;
    }
    const bool known =
        name == "text" || name == "image" || name == "audio" || name == "speech" || name == "music";
    if (!known) {
      fields.fail("modalities", "an array of text, image, audio, music, or auto");
    }
    const Modality modality = name == "text"    ? Modality::kText
                              : name == "image" ? Modality::kImage
                              : name == "music" ? Modality::kMusic
                                                : Modality::kSpeech;
    if (!card.makes(modality)) {
      throw not_supported("modalities", fmt::format("this model makes no {}", name));
    }
    result.insert(modality);
  }
  return result;
}

// One medium must be in the answer; of several the model chooses, and with "auto" of all.
std::optional<Modality> target_of(const JsonFields& fields,
                                  const std::set<Modality>& modalities,
                                  const ModelCard& card) {
  if (const io::Json* list = fields.array("modalities");
      list != nullptr && std::find(list->begin(), list->end(), "auto") != list->end()) {
    return std::nullopt;
  }
  std::vector<Modality> media;
  for (const Modality modality : modalities) {
    if (modality != Modality::kText) {
      media.push_back(modality);
    }
  }
  if (media.empty()) {
    return card.output.size() > 1 ? std::optional(Modality::kText) : std::nullopt;
  }
  return media.size() == 1 ? std::optional(media.front()) : std::nullopt;
}

SoundFormat read_sound_format(const JsonFields& fields, const char* name, SoundFormat otherwise) {
  const std::optional<std::string> text = fields.text(name);
  const std::optional<SoundFormat> format =
      text.has_value() ? sound_format_named(*text) : otherwise;
  if (!format.has_value()) {
    fields.fail(name, "wav, pcm, pcm16, flac, mp3 or opus");
  }
  return *format;
}

// "Use the voice of Sally." for a voice of the model; nothing for its own and for OpenAI's names,
// which stand for "any".
std::string voice_sentence(const JsonFields& fields, const ModelCard& card) {
  const io::Json* value = fields.find("voice");
  if (value == nullptr) {
    return {};
  }
  const std::string wanted = value->is_object()
                                 ? JsonFields(*value, fields.name_of("voice")).required_text("id")
                                 : fields.required_text("voice");
  constexpr std::array<std::string_view, 14> kAny = {
      "",     "default", "alloy", "ash",  "ballad", "cedar", "coral",
      "echo", "fable",   "marin", "onyx", "nova",   "sage",  "shimmer"};
  for (const std::string& voice : card.voices) {
    if (lower(voice) == lower(wanted)) {
      return fmt::format("Use the voice of {}.", voice);
    }
  }
  if (lower(wanted) != "verse" &&
      std::find(kAny.begin(), kAny.end(), lower(wanted)) == kAny.end()) {
    fields.fail("voice", card.voices.empty()
                             ? std::string("\"default\": this model has no voices by name")
                             : fmt::format("one of {}", fmt::join(card.voices, ", ")));
  }
  return {};
}

void append_text(std::string text, Message& message) {
  if (text.empty()) {
    return;
  }
  for (auto part = message.parts.rbegin(); part != message.parts.rend(); ++part) {
    if (auto* words = std::get_if<std::string>(&part->content)) {
      *words += " " + text;
      return;
    }
  }
  message.parts.push_back(Part::text(std::move(text)));
}

void refuse_chat_unsupported(const JsonFields& fields) {
  for (const char* name : {"tools", "functions"}) {
    if (!is_empty(fields.array(name))) {
      throw not_supported(name, "tools are not supported");
    }
  }
  if (fields.flag("logprobs").value_or(false) ||
      fields.integer("top_logprobs", 0, 20).value_or(0) > 0) {
    throw not_supported("logprobs", "'logprobs' are not supported; leave them out");
  }
  if (const io::Json* format = fields.object("response_format"); format != nullptr) {
    if (JsonFields(*format, "response_format").required_text("type") != "text") {
      throw not_supported("response_format", "'response_format' other than text is not supported");
    }
  }
}

// ---- completion prompts ----

std::vector<int32_t> read_ids(const io::Json& list, const JsonFields& fields) {
  std::vector<int32_t> ids;
  for (const io::Json& item : list) {
    const bool whole = item.is_number_unsigned() && item.get<uint64_t>() <= INT32_MAX;
    if (!whole) {
      fields.fail("prompt", "a string, an array of strings, token ids, or arrays of token ids");
    }
    ids.push_back(item.get<int32_t>());
  }
  if (ids.empty()) {
    fields.fail("prompt", "not empty");
  }
  return ids;
}

std::vector<CompletionTask> read_prompts(const JsonFields& fields) {
  const io::Json* value = fields.find("prompt");
  if (value == nullptr) {
    throw bad_request("prompt", "'prompt' is missing");
  }
  std::vector<CompletionTask> prompts;
  if (value->is_string()) {
    prompts.push_back({.text = value->get<std::string>(), .ids = {}});
  } else if (value->is_array() && !value->empty() && value->front().is_number()) {
    prompts.push_back({.text = {}, .ids = read_ids(*value, fields)});
  } else if (value->is_array()) {
    for (const io::Json& item : *value) {
      if (!item.is_string() && !item.is_array()) {
        fields.fail("prompt", "a string, an array of strings, token ids, or arrays of token ids");
      }
      prompts.push_back(item.is_string()
                            ? CompletionTask{.text = item.get<std::string>(), .ids = {}}
                            : CompletionTask{.text = {}, .ids = read_ids(item, fields)});
    }
  }
  if (prompts.empty() || prompts.size() > kMaxPrompts) {
    fields.fail("prompt", fmt::format("a string, token ids, or an array of at most {} of these",
                                      kMaxPrompts));
  }
  return prompts;
}

GenerationRequest one_message(std::vector<Part> parts, Modality to) {
  GenerationRequest request;
  request.task =
      ChatTask{.messages = {Message{.role = Role::kUser, .parts = std::move(parts)}}, .to = to};
  return request;
}

}  // namespace

ChatCall parse_chat(const io::Json& body, const RequestContext& context) {
  const JsonFields fields(body);
  ChatCall call;
  read_common(fields, context.card, call);
  const int64_t both = fields.integer("max_completion_tokens", 0, kMaxTokens).value_or(0);
  call.request.max_new_tokens = both > 0 ? both : call.request.max_new_tokens;
  refuse_chat_unsupported(fields);
  if (!context.card.chat) {
    throw not_supported({}, "this model has no chat template; use /v1/completions");
  }
  call.modalities = read_modalities(fields, context.card);
  const io::Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty() || messages->size() > kMaxMessages) {
    fields.fail("messages", fmt::format("an array of 1 to {} messages", kMaxMessages));
  }
  ChatTask task{.messages = MessageReader(context).read(*messages),
                .to = target_of(fields, call.modalities, context.card)};
  if (const io::Json* audio = fields.object("audio"); audio != nullptr) {
    const JsonFields sound(*audio, "audio");
    call.sound_format =
        read_sound_format(sound, "format", call.stream ? SoundFormat::kPcm : SoundFormat::kWav);
    const std::string voice = voice_sentence(sound, context.card);
    if (call.modalities.contains(Modality::kSpeech)) {
      append_text(voice, task.messages.back());
    }
  } else if (call.stream) {
    call.sound_format = SoundFormat::kPcm;
  }
  if (call.stream && !streams(call.sound_format)) {
    throw bad_request("audio.format", "'audio.format' must be pcm16 or wav where 'stream' is true");
  }
  call.request.stream_sound = call.stream && call.modalities != std::set{Modality::kText};
  call.request.task = std::move(task);
  return call;
}

CompletionCall parse_completion(const io::Json& body, const RequestContext& context) {
  const JsonFields fields(body);
  CompletionCall call;
  read_common(fields, context.card, call);
  if (!context.card.completion) {
    throw not_supported({}, "this model answers conversations; use /v1/chat/completions");
  }
  if (call.request.max_new_tokens == 0) {
    call.request.max_new_tokens = 16;  // OpenAI's default
  }
  call.prompts = read_prompts(fields);
  if (static_cast<int64_t>(call.prompts.size()) * call.choices >
      static_cast<int64_t>(kMaxPrompts)) {
    fields.fail("n", fmt::format("small enough for at most {} choices in all", kMaxPrompts));
  }
  call.echo = fields.flag("echo").value_or(false);
  if (fields.text("suffix").value_or("") != "") {
    throw not_supported("suffix", "'suffix' is not supported");
  }
  if (is_true(fields.find("logprobs"))) {
    throw not_supported("logprobs", "'logprobs' are not supported; leave them out");
  }
  if (fields.integer("best_of", 1, kMaxChoices).value_or(call.choices) != call.choices) {
    throw not_supported("best_of", "'best_of' other than 'n' is not supported");
  }
  return call;
}

SpeechCall parse_speech(const io::Json& body, const RequestContext& context) {
  const JsonFields fields(body);
  SpeechCall call;
  call.model = fields.text("model").value_or("");
  if (!context.card.chat || !context.card.makes(Modality::kSpeech)) {
    throw not_supported("model", "this model makes no speech");
  }
  const std::string input = fields.required_text("input");
  if (input.empty() || input.size() > kMaxSpoken) {
    fields.fail("input", fmt::format("a text of 1 to {} bytes", kMaxSpoken));
  }
  call.format = read_sound_format(fields, "response_format", SoundFormat::kMp3);
  if (fields.number("speed", 0.25, 4).value_or(1) != 1) {
    throw not_supported("speed", "'speed' other than 1 is not supported");
  }
  if (fields.text("instructions").value_or("") != "") {
    throw not_supported("instructions", "'instructions' are not supported");
  }
  const std::string how = fields.text("stream_format").value_or("audio");
  if (how != "audio" && how != "sse") {
    fields.fail("stream_format", "audio or sse");
  }
  call.events = how == "sse";
  const std::string voice = voice_sentence(fields, context.card);
  const std::string text =
      fmt::format("Read aloud this text. {}{}{}", voice, voice.empty() ? "" : " ", input);
  call.request = one_message({Part::text(text)}, Modality::kSpeech);
  call.request.sampling.seed = read_seed(fields);
  call.request.stream_sound = streams(call.format);
  return call;
}

ImageCall parse_image(const io::Json& body, const RequestContext& context) {
  const JsonFields fields(body);
  ImageCall call;
  call.model = fields.text("model").value_or("");
  if (!context.card.chat || !context.card.makes(Modality::kImage)) {
    throw not_supported("model", "this model makes no pictures");
  }
  const std::string prompt = fields.required_text("prompt");
  if (prompt.empty() || prompt.size() > kMaxPrompt) {
    fields.fail("prompt", fmt::format("a text of 1 to {} bytes", kMaxPrompt));
  }
  call.count = fields.integer("n", 1, 10).value_or(1);
  // Pictures have the size that the model makes.
  for (const char* name : {"size", "quality", "style", "background"}) {
    fields.text(name);
  }
  if (fields.text("response_format").value_or("b64_json") != "b64_json") {
    throw not_supported("response_format", "pictures come as b64_json alone");
  }
  if (fields.text("output_format").value_or("png") != "png") {
    throw not_supported("output_format", "pictures come as png alone");
  }
  if (fields.flag("stream").value_or(false)) {
    throw not_supported("stream", "pictures are not streamed");
  }
  call.request = one_message({Part::text(prompt)}, Modality::kImage);
  call.request.sampling.seed = read_seed(fields);
  call.request.sampling.guidance = fields.number("guidance", 0, 100);
  return call;
}

TranscriptionCall parse_transcription(std::string_view content_type,
                                      std::string_view body,
                                      const RequestContext& context) {
  const std::optional<std::vector<FormPart>> form = parse_multipart(content_type, body);
  if (!form.has_value()) {
    throw bad_request("file", "the request must be a well-formed multipart/form-data");
  }
  TranscriptionCall call;
  std::string_view file;
  std::optional<double> temperature;
  for (const FormPart& part : *form) {
    const std::string value(part.content.substr(0, 4096));
    if (part.name == "file") {
      file = part.content;
    } else if (part.name == "model") {
      call.model = value;
    } else if (part.name == "stream") {
      call.stream = value == "true" || value == "1";
    } else if (part.name == "response_format") {
      if (value != "json" && value != "text") {
        const bool known =
            value == "verbose_json" || value == "srt" || value == "vtt" || value == "diarized_json";
        throw known ? not_supported("response_format",
                                    "'response_format' must be json or text: "
                                    "this model gives no times")
                    : bad_request("response_format", "'response_format' must be json or text");
      }
      call.plain = value == "text";
    } else if (part.name == "temperature" && !value.empty()) {
      char* end = nullptr;
      temperature = std::strtod(value.c_str(), &end);
      if (end == value.c_str() || *end != '\0' || !(*temperature >= 0 && *temperature <= 2)) {
        throw bad_request("temperature", "'temperature' must be a number of 0 to 2");
      }
    }
  }
  if (!context.card.chat || !context.card.takes(Modality::kSpeech)) {
    throw not_supported("model", "this model does not take speech");
  }
  if (file.empty()) {
    throw bad_request("file", "'file' is missing or empty");
  }
  Audio audio = read_sound(file, context.media, "file");
  call.seconds = audio.seconds();
  call.request = one_message(
      {{Modality::kSpeech, std::move(audio), {}}, Part::text("Write down what is said.")},
      Modality::kText);
  call.request.sampling.temperature = temperature.value_or(0);
  return call;
}

}  // namespace tessera::serve
