// Conversations as prompts of a language model, by its chat template.
#pragma once

#include "core/message.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tessera::pipelines {

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
  /// template has no place for it. Throws InvalidArgument for no messages, media, or what the
  /// template refuses.
  std::vector<int32_t> prompt(std::span<const Message> messages) const;

  /// The end-of-sequence token, and the token that the template puts after an assistant's words.
  const std::vector<int64_t>& end_ids() const { return end_ids_; }

 private:
  void find_end_ids();
  std::string render(const io::OrderedJson& messages, bool ask) const;

  text::ChatTemplate chat_;
  const text::Tokenizer& tokenizer_;
  bool takes_system_ = false;
  std::vector<int64_t> end_ids_;
};

}  // namespace tessera::pipelines
