// Conversations as prompts of a language model, by its chat template.
#pragma once

#include "core/message.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tessera::pipelines {

/// What a prompt holds beside the messages.
struct PromptSettings {
  std::span<const text::Tool> tools = {};  // that may be called
  bool call = false;                       // the reply is to begin inside a call of one
  bool think = true;   // thoughts that the template opens stay open; not with `call`
  bool ask = true;     // the prompt ends with the head of the assistant's turn
  bool go_on = false;  // it ends inside the last message, for the reply to go on with; not `ask`
  std::string variables = {};  // further ones of the template, a JSON object; may be empty
};

/// The format of a model's conversations. Thread-safe.
class ChatFormat {
 public:
  /// Of a model folder or GGUF file; null when it has no chat template. `tokenizer` must outlive
  /// it. Throws CorruptFile, Unsupported for a template that cannot be read.
  static std::unique_ptr<ChatFormat> open(const io::fs::path& model,
                                          const text::Tokenizer& tokenizer);
  ChatFormat(text::ChatTemplate chat, const text::Tokenizer& tokenizer);

  /// Ids of the messages, ending with the head of the assistant's turn. Texts of a message are
  /// joined by line feeds. What the system says goes before the first words of the user where the
  /// template has no place for it. Calls go in with their arguments as objects, as transformers
  /// has them. Throws InvalidArgument for no messages, media, tools where the template shows none,
  /// or what the template refuses.
  std::vector<int32_t> prompt(std::span<const Message> messages,
                              const PromptSettings& settings = {}) const;

  struct Text {
    std::string text;
    bool inside_thoughts = false;  // what the reply begins with is thought
  };
  /// The same as text.
  Text text(std::span<const Message> messages, const PromptSettings& settings = {}) const;
  /// Ids of a text that this made.
  std::vector<int32_t> encode(std::string_view text) const {
    return tokenizer_.encode(text, false);
  }

  /// How the model writes calls; nothing when its template shows it no tools.
  std::optional<text::ToolSyntax> tool_syntax() const { return tool_syntax_; }
  /// Special tokens by which calls are known.
  const std::vector<int32_t>& call_ids() const { return call_ids_; }
  /// Whether the model writes thoughts before its answers (text::ThoughtReader).
  bool thinks() const { return thinks_; }
  /// Special tokens around thoughts.
  const std::vector<int32_t>& thought_ids() const { return thought_ids_; }

  /// The end-of-sequence token, and the token that the template puts after an assistant's words.
  const std::vector<int64_t>& end_ids() const { return end_ids_; }

 private:
  void find_end_ids();
  void find_tools();
  std::vector<int32_t> special_ids(std::span<const std::string_view> tokens) const;
  io::OrderedJson message_json(const Message& message) const;
  std::string call_id(const std::string& id) const;

  text::ChatTemplate chat_;
  const text::Tokenizer& tokenizer_;
  bool takes_system_ = false;
  std::vector<int64_t> end_ids_;
  std::optional<text::ToolSyntax> tool_syntax_;
  std::vector<int32_t> call_ids_;
  bool thinks_ = false;
  std::vector<int32_t> thought_ids_;
};

}  // namespace tessera::pipelines
