// Chat templates: how a model folder turns messages into the text of a prompt.
#pragma once

#include "io/file.h"
#include "io/json.h"
#include "text/jinja/template.h"

#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::text {

/// What one prompt is made of. Objects keep the order of their keys, as templates print them.
struct ChatRequest {
  io::OrderedJson messages = nullptr;   // [{"role": "user", "content": "Hi"}, …]
  io::OrderedJson tools = nullptr;      // list of JSON schemas of functions, or null
  io::OrderedJson documents = nullptr;  // list of {"title", "text"}, or null
  bool add_generation_prompt = false;   // ends with the header of the assistant's turn
  /// Ends inside the last message, so that the model goes on with this field of it ("content").
  std::optional<std::string> continue_final_message = std::nullopt;
  io::OrderedJson extra = io::OrderedJson::object();  // further variables of the template
  std::string name{};  // of one of several templates; "": tool_use with tools, else default
  std::optional<std::tm> now =
      std::nullopt;  // the date that templates may print; default: the local time
};

/// The templates of a model folder or GGUF file, with its special tokens. Rendering is thread-safe.
///
///   const ChatTemplate chat = ChatTemplate::from_folder("models/llama");
///   chat.render({.messages = messages, .add_generation_prompt = true}).text;
class ChatTemplate {
 public:
  using SpecialTokens = std::vector<std::pair<std::string, std::string>>;  // "bos_token", "<s>"

  /// Reads chat_template.jinja and additional_chat_templates/*.jinja, else `chat_template` of
  /// tokenizer_config.json (a string, or a list of {name, template}), else tokenizer.chat_template
  /// of a GGUF file. Throws NotFound when there is none, CorruptFile for malformed files.
  static ChatTemplate from_folder(const io::fs::path& folder);

  /// `templates`: text by name, a single one as "default".
  ChatTemplate(const std::map<std::string, std::string>& templates, SpecialTokens special_tokens);

  /// The prompt, as transformers' `apply_chat_template(..., tokenize=False)` makes it. It holds its
  /// special tokens, so encode it without adding them. Throws InvalidArgument for messages that the
  /// template refuses.
  RenderedTemplate render(const ChatRequest& request) const;

  std::vector<std::string> names() const;
  /// The text of a template; throws NotFound.
  const std::string& source(std::string_view name = "default") const;
  const SpecialTokens& special_tokens() const { return special_tokens_; }

 private:
  const Template& choose(const ChatRequest& request) const;

  std::map<std::string, Template, std::less<>> templates_;
  SpecialTokens special_tokens_;
};

/// Whether `from_folder` would find a template.
bool has_chat_template(const io::fs::path& folder);

}  // namespace tessera::text
