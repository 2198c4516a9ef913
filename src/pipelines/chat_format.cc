// What a template can do is found by trying it: whether it shows a system message, and which token
// it puts behind an assistant's words. Prompts are encoded without further special tokens, as
// transformers' apply_chat_template does.
#include "pipelines/chat_format.h"

#include "core/error.h"
#include "io/json_text.h"
#include "text/marks.h"
#include "text/thoughts.h"
#include "text/tool_syntax.h"

#include <algorithm>

namespace tessera::pipelines {
namespace {

using Json = io::OrderedJson;

constexpr const char* kProbe = "tessera probes";

Json plain_message(const char* role, std::string content) {
  return {{"role", role}, {"content", std::move(content)}};
}

const char* role_name(Role role) {
  constexpr const char* kNames[] = {"system", "user", "assistant", "tool"};
  return kNames[static_cast<int>(role)];
}

std::string text_of(const Message& message) {
  std::string text;
  bool first = true;
  for (const Part& part : message.parts) {
    const auto* words = std::get_if<std::string>(&part.content);
    TESSERA_CHECK(words != nullptr, InvalidArgument, "this model takes text alone, got {}",
                  modality_name(part.modality));
    text += (first ? "" : "\n") + *words;
    first = false;
  }
  return text;
}

std::string render(const text::ChatTemplate& chat, const Json& messages, bool ask) {
  text::ChatRequest request;
  request.messages = messages;
  request.add_generation_prompt = ask;
  return chat.render(request).text;
}

}  // namespace

std::unique_ptr<ChatFormat> ChatFormat::open(const io::fs::path& model,
                                             const text::Tokenizer& tokenizer) {
  if (!text::has_chat_template(model)) {
    return nullptr;
  }
  return std::make_unique<ChatFormat>(text::ChatTemplate::from_folder(model), tokenizer);
}

ChatFormat::ChatFormat(text::ChatTemplate chat, const text::Tokenizer& tokenizer)
    : chat_(std::move(chat)), tokenizer_(tokenizer) {
  try {
    const Json messages = {plain_message("system", kProbe), plain_message("user", "Hello")};
    takes_system_ = render(chat_, messages, true).find(kProbe) != std::string::npos;
  } catch (const InvalidArgument&) {  // some raise an exception, Gemma's for one
    takes_system_ = false;
  }
  find_end_ids();
  find_tools();
}

void ChatFormat::find_tools() {
  const std::vector<std::string> names = chat_.names();
  const bool own = std::find(names.begin(), names.end(), "tool_use") != names.end();
  const bool any = own || std::find(names.begin(), names.end(), "default") != names.end();
  if (any) {
    thinks_ = text::knows_thoughts(chat_.source(own ? "tool_use" : "default"));
  }
  tool_syntax_ = text::tool_syntax_of(chat_);
  if (tool_syntax_.has_value()) {
    call_ids_ = special_ids(text::call_marks(*tool_syntax_));
  }
  if (thinks_) {
    thought_ids_ = special_ids(text::kThoughtMarks);
  }
}

std::vector<int32_t> ChatFormat::special_ids(std::span<const std::string_view> tokens) const {
  std::vector<int32_t> ids;
  for (const std::string_view token : tokens) {
    const std::optional<int32_t> id = tokenizer_.token_to_id(token);
    if (id.has_value() && tokenizer_.is_special(*id)) {
      ids.push_back(*id);
    }
  }
  return ids;
}

void ChatFormat::find_end_ids() {
  const auto add = [&](std::optional<int32_t> id) {
    if (id.has_value() && std::find(end_ids_.begin(), end_ids_.end(), *id) == end_ids_.end()) {
      end_ids_.push_back(*id);
    }
  };
  for (const auto& [name, token] : chat_.special_tokens()) {
    if (name == "eos_token") {
      add(tokenizer_.token_to_id(token));
    }
  }
  std::string after;
  try {
    after =
        render(chat_, {plain_message("user", "Hello"), plain_message("assistant", kProbe)}, false);
  } catch (const InvalidArgument&) {
    return;
  }
  const size_t at = after.rfind(kProbe);
  if (at == std::string::npos) {
    return;
  }
  after.erase(0, at + std::string_view(kProbe).size());
  after.erase(0, after.find_first_not_of(" \n"));
  const std::vector<int32_t> ids = tokenizer_.encode(after, false);
  // A tokenizer may put a word's space before the token.
  const auto first = std::find_if(ids.begin(), ids.end(), [&](int32_t id) {
    return tokenizer_.is_special(id) || after.starts_with(tokenizer_.id_to_token(id));
  });
  if (first != ids.end() && tokenizer_.is_special(*first) &&
      after.starts_with(tokenizer_.id_to_token(*first))) {
    add(*first);
  }
}

// Mistral's templates take ids of nine letters and digits alone.
std::string ChatFormat::call_id(const std::string& id) const {
  if (tool_syntax_ != text::ToolSyntax::kMistral) {
    return id;
  }
  std::string nine(9, '0');
  for (const char c : id) {
    const bool fits = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (fits) {
      nine.erase(0, 1);
      nine += c;
    }
  }
  return nine;
}

Json ChatFormat::message_json(const Message& message) const {
  Json json = plain_message(role_name(message.role), text_of(message));
  if (!message.thoughts.empty()) {
    json["reasoning_content"] = message.thoughts;
  }
  for (const ToolCall& call : message.calls) {
    const Json arguments = io::parse_small_json(call.arguments, "arguments of " + call.name);
    json["tool_calls"].push_back({{"id", call_id(call.id)},
                                  {"type", "function"},
                                  {"function", {{"name", call.name}, {"arguments", arguments}}}});
  }
  if (message.role == Role::kTool) {
    json["tool_call_id"] = call_id(message.call_id);
    if (!message.name.empty()) {
      json["name"] = message.name;
    }
  }
  return json;
}

std::vector<int32_t> ChatFormat::prompt(std::span<const Message> messages,
                                        const PromptSettings& settings) const {
  return encode(text(messages, settings).text);
}

ChatFormat::Text ChatFormat::text(std::span<const Message> messages,
                                  const PromptSettings& settings) const {
  TESSERA_CHECK(!messages.empty(), InvalidArgument, "a conversation needs at least one message");
  Json list = Json::array();
  std::string system;  // waits for the user's next message
  for (const Message& message : messages) {
    if (message.role == Role::kSystem && !takes_system_) {
      system += (system.empty() ? "" : "\n") + text_of(message);
      continue;
    }
    Json json = message_json(message);
    if (message.role == Role::kUser && !system.empty()) {
      json["content"] = std::exchange(system, {}) + "\n\n" + json["content"].get<std::string>();
    }
    list.push_back(std::move(json));
  }
  if (!system.empty()) {
    list.insert(list.end() - (settings.go_on ? 1 : 0), plain_message("user", std::move(system)));
  }
  text::ChatRequest request;
  request.messages = std::move(list);
  request.add_generation_prompt = settings.ask;
  if (settings.go_on) {
    request.continue_final_message = "content";
  }
  if (!settings.variables.empty()) {
    request.extra = io::parse_small_json(settings.variables, "variables of the chat template");
  }
  for (const text::Tool& tool : settings.tools) {
    TESSERA_CHECK(tool_syntax_.has_value(), InvalidArgument,
                  "this model's chat template shows it no tools");
    request.tools.push_back(io::parse_small_json(tool.definition, "tool " + tool.name));
  }
  std::string text = chat_.render(request).text;
  const bool inside = thinks_ && (settings.go_on ? text::inside_thoughts(text_of(messages.back()))
                                                 : text::opens_thoughts(text));
  const bool call = settings.call && tool_syntax_.has_value();
  const bool close = inside && (call || !settings.think);
  if (close) {
    text.erase(text.find_last_not_of(text::kSpace) + 1);
    text += text::kNoThoughts;
  }
  if (call) {
    text += text::call_opening(*tool_syntax_);
  }
  return {std::move(text), inside && !close};
}

}  // namespace tessera::pipelines
