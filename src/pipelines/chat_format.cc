// What a template can do is found by trying it: whether it shows a system message, and which token
// it puts behind an assistant's words. Prompts are encoded without further special tokens, as
// transformers' apply_chat_template does.
#include "pipelines/chat_format.h"

#include "core/error.h"

#include <algorithm>

namespace tessera::pipelines {
namespace {

using Json = io::OrderedJson;

constexpr const char* kProbe = "tessera probes";

Json message_json(const char* role, std::string content) {
  return {{"role", role}, {"content", std::move(content)}};
}

const char* role_name(Role role) {
  return role == Role::kSystem ? "system" : role == Role::kUser ? "user" : "assistant";
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
    const Json messages = {message_json("system", kProbe), message_json("user", "Hello")};
    takes_system_ = render(messages, true).find(kProbe) != std::string::npos;
  } catch (const InvalidArgument&) {  // some raise an exception, Gemma's for one
    takes_system_ = false;
  }
  find_end_ids();
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
    after = render({message_json("user", "Hello"), message_json("assistant", kProbe)}, false);
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

std::string ChatFormat::render(const Json& messages, bool ask) const {
  text::ChatRequest request;
  request.messages = messages;
  request.add_generation_prompt = ask;
  return chat_.render(request).text;
}

std::vector<int32_t> ChatFormat::prompt(std::span<const Message> messages) const {
  TESSERA_CHECK(!messages.empty(), InvalidArgument, "a conversation needs at least one message");
  Json list = Json::array();
  std::string system;  // waits for the user's next message
  for (const Message& message : messages) {
    std::string text = text_of(message);
    if (message.role == Role::kSystem && !takes_system_) {
      system += (system.empty() ? "" : "\n") + text;
      continue;
    }
    if (message.role == Role::kUser && !system.empty()) {
      text = std::exchange(system, {}) + "\n\n" + text;
    }
    list.push_back(message_json(role_name(message.role), std::move(text)));
  }
  if (!system.empty()) {
    list.push_back(message_json("user", std::move(system)));
  }
  return tokenizer_.encode(render(list, true), false);
}

}  // namespace tessera::pipelines
