// OpenAI's request bodies. Our own extensions are "guidance", "input_music" parts and the
// modalities "image" and "music".
#include "serve/openai_requests.h"

#include "serve/generation_fields.h"
#include "serve/json_fields.h"
#include "serve/message_reader.h"
#include "serve/multipart.h"
#include "serve/tool_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace tessera::serve {
namespace {

constexpr size_t kMaxMessages = 4096;
constexpr size_t kMaxPrompts = 64;
constexpr size_t kMaxEmbeddings = 2048;  // OpenAI's
constexpr size_t kMaxSpoken = 16384;     // bytes of a text to be spoken
constexpr size_t kMaxPrompt = 16384;     // bytes of a picture's description

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

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

// ---- prompts ----

constexpr const char* kPromptForms =
    "a string, an array of strings, token ids, or arrays of token ids";

std::vector<int32_t> read_ids(const io::Json& list, const JsonFields& fields, const char* name) {
  std::vector<int32_t> ids;
  for (const io::Json& item : list) {
    const bool whole = item.is_number_unsigned() && item.get<uint64_t>() <= INT32_MAX;
    if (!whole) {
      fields.fail(name, kPromptForms);
    }
    ids.push_back(item.get<int32_t>());
  }
  if (ids.empty()) {
    fields.fail(name, "not empty");
  }
  return ids;
}

std::vector<CompletionTask> read_prompts(const JsonFields& fields, const char* name, size_t most) {
  const io::Json* value = fields.find(name);
  if (value == nullptr) {
    throw bad_request(name, fmt::format("'{}' is missing", name));
  }
  std::vector<CompletionTask> prompts;
  if (value->is_string()) {
    prompts.push_back({.text = value->get<std::string>(), .ids = {}});
  } else if (value->is_array() && !value->empty() && value->front().is_number()) {
    prompts.push_back({.text = {}, .ids = read_ids(*value, fields, name)});
  } else if (value->is_array()) {
    for (const io::Json& item : *value) {
      if (!item.is_string() && !item.is_array()) {
        fields.fail(name, kPromptForms);
      }
      prompts.push_back(item.is_string()
                            ? CompletionTask{.text = item.get<std::string>(), .ids = {}}
                            : CompletionTask{.text = {}, .ids = read_ids(item, fields, name)});
    }
  }
  if (prompts.empty() || prompts.size() > most) {
    fields.fail(name, fmt::format("a string, token ids, or an array of at most {} of these", most));
  }
  return prompts;
}

// Chats say whether, and how many others; completions how many others alone.
std::optional<int64_t> read_chat_logprobs(const JsonFields& fields, const ModelCard& card) {
  const bool wanted = fields.flag("logprobs").value_or(false);
  const int64_t top = fields.integer("top_logprobs", 0, kMaxTopLogprobs).value_or(0);
  if (top > 0 && !wanted) {
    throw bad_request("top_logprobs", "'top_logprobs' needs 'logprobs' to be true");
  }
  if (!wanted) {
    return std::nullopt;
  }
  need_controls(fields, "logprobs", card);
  return top;
}

std::optional<int64_t> read_completion_logprobs(const JsonFields& fields, const ModelCard& card) {
  const io::Json* value = fields.find("logprobs");
  if (value == nullptr || (value->is_boolean() && !value->get<bool>())) {
    return std::nullopt;
  }
  const std::optional<int64_t> top = fields.integer("logprobs", 0, kMaxTopLogprobs);
  need_controls(fields, "logprobs", card);
  if (fields.flag("echo").value_or(false)) {
    throw not_supported("logprobs", "'logprobs' of the prompt ('echo') are not supported");
  }
  return top;
}

std::vector<Message> read_conversation(const JsonFields& fields, const RequestContext& context) {
  if (!context.card.chat) {
    throw not_supported({}, "this model has no chat template; use /v1/completions");
  }
  const io::Json* messages = fields.array("messages");
  if (messages == nullptr || messages->empty() || messages->size() > kMaxMessages) {
    fields.fail("messages", fmt::format("an array of 1 to {} messages", kMaxMessages));
  }
  return read_messages(*messages, context);
}

// What a chat template is told beside the messages, and how its prompt ends.
void read_template_fields(const JsonFields& fields, const RequestContext& context, ChatTask& task) {
  constexpr const char* kVariables = "chat_template_kwargs";
  const bool variables = !is_empty(fields.object(kVariables));
  task.go_on = fields.flag("continue_final_message").value_or(false);
  task.ask = fields.flag("add_generation_prompt").value_or(!task.go_on);
  for (const auto& [name, used] : {std::pair(kVariables, variables),
                                   {"continue_final_message", task.go_on},
                                   {"add_generation_prompt", !task.ask}}) {
    if (used && !context.card.chat_template) {
      throw not_supported(
          name, fmt::format("this model has no chat template for '{}'; leave it out", name));
    }
  }
  if (task.go_on && task.ask) {
    throw bad_request("add_generation_prompt",
                      "'add_generation_prompt' and 'continue_final_message' exclude each other");
  }
  if (!variables) {
    return;
  }
  const io::OrderedJson ordered = ordered_member(fields, kVariables, context);
  for (const char* own : {"messages", "tools", "documents", "add_generation_prompt"}) {
    if (ordered.contains(own)) {
      throw bad_request(fmt::format("{}.{}", kVariables, own),
                        fmt::format("'{}' is not for '{}'", own, kVariables));
    }
  }
  task.variables = ordered.dump();
}

// The messages of a chat and all that its prompt depends on.
ChatTask read_task(const JsonFields& fields, const RequestContext& context) {
  ChatTask task;
  read_tools(fields, context, task);
  task.messages = read_conversation(fields, context);
  read_template_fields(fields, context, task);
  const Message& last = task.messages.back();
  if (task.go_on && (last.role != Role::kAssistant || !last.calls.empty())) {
    throw bad_request("messages",
                      "with 'continue_final_message' the last of 'messages' must be the "
                      "assistant's, without calls");
  }
  if (task.ask && last.role != Role::kUser && last.role != Role::kTool) {
    throw bad_request("messages", "the last of 'messages' must be the user's or a tool's");
  }
  return task;
}

// llama.cpp's names for where thoughts go.
bool read_thoughts(const JsonFields& fields, const ModelCard& card) {
  const std::string format = fields.text("reasoning_format").value_or("auto");
  if (format != "auto" && format != "deepseek" && format != "none") {
    fields.fail("reasoning_format", "auto, deepseek or none");
  }
  return card.thinks && format != "none";
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
  read_common(fields, context, call);
  const int64_t both = fields.integer("max_completion_tokens", 0, kMaxTokens).value_or(0);
  call.request.max_new_tokens = both > 0 ? both : call.request.max_new_tokens;
  call.request.top_logprobs = read_chat_logprobs(fields, context.card);
  ChatTask task = read_task(fields, context);
  call.split_thoughts = read_thoughts(fields, context.card);
  if (!task.tools.empty() && call.request.constraint.kind != Constraint::Kind::kNone) {
    throw not_supported("tools", "'tools' beside 'response_format' or a grammar are not supported");
  }
  call.modalities = read_modalities(fields, context.card);
  task.to = target_of(fields, call.modalities, context.card);
  for (const text::Tool& tool : task.tools) {
    call.tool_names.push_back(tool.name);
  }
  call.must_call = !task.must_call.empty();
  call.many_calls = task.many_calls;
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
  read_common(fields, context, call);
  if (!context.card.completion) {
    throw not_supported({}, "this model answers conversations; use /v1/chat/completions");
  }
  if (call.request.max_new_tokens == 0) {
    call.request.max_new_tokens = 16;  // OpenAI's default
  }
  call.prompts = read_prompts(fields, "prompt", kMaxPrompts);
  if (static_cast<int64_t>(call.prompts.size()) * call.choices >
      static_cast<int64_t>(kMaxPrompts)) {
    fields.fail("n", fmt::format("small enough for at most {} choices in all", kMaxPrompts));
  }
  call.echo = fields.flag("echo").value_or(false);
  if (fields.text("suffix").value_or("") != "") {
    throw not_supported("suffix", "'suffix' is not supported");
  }
  call.request.top_logprobs = read_completion_logprobs(fields, context.card);
  if (fields.integer("best_of", 1, kMaxChoices).value_or(call.choices) != call.choices) {
    throw not_supported("best_of", "'best_of' other than 'n' is not supported");
  }
  return call;
}

ChatTask parse_template(const io::Json& body, const RequestContext& context) {
  return read_task(JsonFields(body), context);
}

EmbeddingCall parse_embedding(const io::Json& body, const RequestContext& context) {
  const JsonFields fields(body);
  EmbeddingCall call;
  call.model = fields.text("model").value_or("");
  if (!context.card.embeddings) {
    throw not_supported("model", "this model makes no embeddings");
  }
  const std::string format = fields.text("encoding_format").value_or("float");
  if (format != "float" && format != "base64") {
    fields.fail("encoding_format", "float or base64");
  }
  call.base64 = format == "base64";
  if (fields.find("dimensions") != nullptr) {
    throw not_supported("dimensions",
                        "'dimensions' is not supported: embeddings have the size of the model's "
                        "states; leave it out");
  }
  call.request.task = EmbeddingTask{read_prompts(fields, "input", kMaxEmbeddings)};
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
