#include "pipelines/any_instruct.h"

namespace tessera::pipelines {

std::string any_instruct_text(const AnyToAny& model, const Message& message) {
  std::string text;
  for (size_t i = 0; i < message.parts.size(); ++i) {
    text += i > 0 ? " " : "";
    const CodedPart part = model.encode(message.parts[i]);
    if (part.modality == Modality::kText) {
      text += part.text;
      continue;
    }
    const nn::SpanRule& rule =
        model.format().grammar().rules[*model.format().rule_of(part.modality)];
    const auto add = [&](int64_t id) {
      text += model.tokenizer().id_to_token(static_cast<int32_t>(id));
    };
    add(rule.start_id);
    for (size_t k = 0; k < part.codes.size(); ++k) {
      const auto level = static_cast<int64_t>(k) % rule.levels;
      add(rule.first_code + level * rule.codebook_size + part.codes[k]);
    }
    add(rule.end_id);
  }
  return text;
}

io::Json any_instruct(const AnyToAny& model,
                      std::string_view id,
                      std::span<const Message> conversation) {
  io::Json turns = io::Json::array();
  for (const Message& message : conversation) {
    const bool user = message.role == Role::kUser;
    if (user || turns.empty()) {
      turns.push_back(io::Json::array());
    }
    turns.back().push_back(
        {{"role", user ? "user" : "assistant"}, {"message", any_instruct_text(model, message)}});
  }
  return {{"id", id}, {"conversation", turns}};
}

}  // namespace tessera::pipelines
