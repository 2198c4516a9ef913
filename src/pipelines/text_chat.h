// Conversations in text with any language model that has a chat template.
#pragma once

#include "pipelines/converse.h"
#include "pipelines/text_batcher.h"

namespace tessera::pipelines {

/// The settings of text among `options` laid over a model's own.
nn::GenerationOptions text_options(const ConverseOptions& options, nn::GenerationOptions defaults);

class TextChat : public Talker {
 public:
  /// Throws NotFound when the model has no chat template, and what TextBatcher throws.
  /// `conversations` of a batch run together.
  TextChat(std::string_view model, const nn::LoadOptions& load, int64_t conversations = 1);

  /// Throws InvalidArgument for media, and for `to` other than text. What a conversation has in
  /// common with an earlier one is not run again where requests run together.
  std::vector<Reply> reply(std::span<const std::vector<Message>> conversations,
                           const ConverseOptions& options,
                           const ConverseEvents& events = {}) override;
  using Talker::reply;

  const TextBatcher& batcher() const { return batcher_; }

 private:
  TextBatcher batcher_;
};

}  // namespace tessera::pipelines
