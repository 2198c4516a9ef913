// AnyGPT's token format: order of the added tokens (m_utils/prompter.py, stage1_pretrain.py) and
// the chat template (cli_infer_chat_model.py) of OpenMOSS/AnyGPT. Text runs between added tokens
// are encoded each on its own, as AnyGPT's tokenizer splits them; markers inside what somebody
// wrote stay text, there unlike AnyGPT, so that no message can end a turn or start a span.
#include "pipelines/any_format.h"

#include "core/error.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>

namespace tessera::pipelines {
namespace {

// The order of AnyGPT's vocabulary.
constexpr std::array kMedia = {Modality::kImage, Modality::kSpeech, Modality::kMusic};
constexpr const char* kHuman = "[Human]";
constexpr const char* kAssistant = "[MMGPT]";
constexpr const char* kEndOfHuman = "<eoh>";
constexpr const char* kEndOfReply = "<eos>";
constexpr const char* kResponse = "<-Res->";
constexpr const char* kInstruction = "<-Ins->";

std::string code_token(const MediaMarkers& markers, int64_t index) {
  return fmt::format("<{}{}>", markers.code, index);
}

int64_t need_id(const text::Tokenizer& tokenizer, std::string_view token) {
  const std::optional<int32_t> id = tokenizer.token_to_id(token);
  TESSERA_CHECK(id.has_value(), CorruptFile,
                "the tokenizer has no token '{}', which AnyGPT's format needs", token);
  return *id;
}

double number(const io::Json& json, const char* key, double fallback) {
  const auto found = json.find(key);
  if (found == json.end()) {
    return fallback;
  }
  TESSERA_CHECK(found->is_number(), CorruptFile, "any_to_any.json: '{}' must be a number, found {}",
                key, found->dump());
  return found->get<double>();
}

const io::Json& member(const io::Json& json, const char* key) {
  static const io::Json kEmpty = io::Json::object();
  const auto found = json.find(key);
  if (found == json.end()) {
    return kEmpty;
  }
  TESSERA_CHECK(found->is_object(), CorruptFile, "any_to_any.json: '{}' must be a map", key);
  return *found;
}

nn::SamplingParams read_sampling(const io::Json& json) {
  nn::SamplingParams params;
  params.greedy = number(json, "temperature", 1) == 0;
  params.temperature = params.greedy ? 1.0 : number(json, "temperature", 1);
  params.top_k = static_cast<int64_t>(number(json, "top_k", 0));
  params.top_p = number(json, "top_p", 1);
  params.min_p = number(json, "min_p", 0);
  params.repetition_penalty = number(json, "repetition_penalty", 1);
  params.check();
  return params;
}

}  // namespace

const std::vector<std::string>& token_kind_names() {
  static const std::vector<std::string> kNames = {"prompt", "prompt_media", "text",
                                                  "image",  "speech",       "music"};
  return kNames;
}

Modality modality_named(std::string_view name) {
  for (const Modality modality :
       {Modality::kText, Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
    if (name == modality_name(modality)) {
      return modality;
    }
  }
  throw InvalidArgument("'{}' is no modality; expected text, image, speech or music", name);
}

const MediaMarkers& media_markers(Modality modality) {
  static const MediaMarkers kImage{"👀", "<soim>", "<eoim>"};
  static const MediaMarkers kSpeech{"🗣️", "<sosp>", "<eosp>"};
  static const MediaMarkers kMusic{"🎶", "<somu>", "<eomu>"};
  TESSERA_CHECK(modality != Modality::kText, InvalidArgument, "text has no media markers");
  return modality == Modality::kImage ? kImage : modality == Modality::kSpeech ? kSpeech : kMusic;
}

std::vector<std::string> AnyFormat::added_tokens(const std::map<Modality, int64_t>& codes) {
  std::vector<std::string> tokens = {kHuman, kAssistant, kEndOfHuman, kEndOfReply};
  for (const Modality modality : kMedia) {
    const auto found = codes.find(modality);
    if (found == codes.end()) {
      continue;
    }
    const MediaMarkers& markers = media_markers(modality);
    for (int64_t i = 0; i < found->second; ++i) {
      tokens.push_back(code_token(markers, i));
    }
    tokens.push_back(markers.start);
    tokens.push_back(markers.end);
  }
  tokens.push_back(kResponse);
  tokens.push_back(kInstruction);
  return tokens;
}

AnyFormat::AnyFormat(const io::Json& config,
                     const text::Tokenizer& tokenizer,
                     const std::map<Modality, nn::CodecInfo>& codecs)
    : tokenizer_(&tokenizer) {
  TESSERA_CHECK(config.is_object() && config.value("format", "") == "anygpt-chat", CorruptFile,
                "any_to_any.json: 'format' must be \"anygpt-chat\"");
  const auto system = config.find("system");
  TESSERA_CHECK(system == config.end() || system->is_string(), CorruptFile,
                "any_to_any.json: 'system' must be text");
  system_ = system == config.end() ? "" : system->get<std::string>();
  human_ = need_id(tokenizer, kHuman);
  assistant_ = need_id(tokenizer, kAssistant);
  end_human_ = need_id(tokenizer, kEndOfHuman);
  end_reply_ = need_id(tokenizer, kEndOfReply);
  bos_ = need_id(tokenizer, "<s>");
  eos_ = need_id(tokenizer, "</s>");
  end_ids_ = {end_reply_, eos_};
  grammar_.forbidden = {human_, assistant_, end_human_, bos_, need_id(tokenizer, "<unk>")};

  const io::Json& sampling = member(config, "sampling");
  text_sampling_ = read_sampling(member(sampling, "text"));
  const io::Json& max_frames = member(config, "max_frames");
  for (const auto& [modality, info] : codecs) {
    const char* name = modality_name(modality);
    const MediaMarkers& markers = media_markers(modality);
    nn::SpanRule rule;
    rule.name = name;
    rule.start_id = need_id(tokenizer, markers.start);
    rule.end_id = need_id(tokenizer, markers.end);
    rule.first_code = need_id(tokenizer, code_token(markers, 0));
    rule.levels = info.levels;
    rule.codebook_size = info.codebook_size;
    const int64_t codes = info.levels * info.codebook_size;
    TESSERA_CHECK(need_id(tokenizer, code_token(markers, codes - 1)) == rule.first_code + codes - 1,
                  CorruptFile, "the tokenizer's {} codes are not consecutive", name);
    // Without a limit of its own, sound may last 30 s.
    const double limit = number(max_frames, name, 30 * info.frames_per_second);
    rule.min_frames = info.frames > 0 ? info.frames : 1;
    rule.max_frames = info.frames > 0 ? info.frames : std::max<int64_t>(1, std::llround(limit));
    rule.sampling = read_sampling(member(sampling, name));
    rule.guidance = number(member(sampling, name), "guidance", 1);
    grammar_.rules.push_back(std::move(rule));
    modalities_.push_back(modality);
  }
}

std::optional<size_t> AnyFormat::rule_of(Modality modality) const {
  const auto found = std::find(modalities_.begin(), modalities_.end(), modality);
  if (found == modalities_.end()) {
    return std::nullopt;
  }
  return static_cast<size_t>(found - modalities_.begin());
}

void AnyFormat::append_text(std::string_view text, TokenKind kind, TokenSequence& out) const {
  const std::vector<int32_t> ids = tokenizer_->encode(text, /*add_special=*/false);
  if (std::none_of(ids.begin(), ids.end(), [&](int32_t id) { return is_marker(id); })) {
    for (const int32_t id : ids) {
      append_id(id, kind, out);
    }
    return;
  }
  // What a user writes is never a marker. Every marker begins with one of these characters and goes
  // on after it, so a cut there leaves none whole.
  while (!text.empty()) {
    const size_t cut = std::min(text.find_first_of("<["), text.size() - 1) + 1;
    for (const int32_t id : tokenizer_->encode(text.substr(0, cut), /*add_special=*/false)) {
      append_id(id, kind, out);
    }
    text.remove_prefix(cut);
  }
}

bool AnyFormat::is_marker(int64_t id) const {
  const std::array turns = {human_, assistant_, end_human_, end_reply_, bos_, eos_};
  return std::find(turns.begin(), turns.end(), id) != turns.end() ||
         std::any_of(grammar_.rules.begin(), grammar_.rules.end(), [&](const nn::SpanRule& rule) {
           const int64_t codes = rule.levels * rule.codebook_size;
           return id == rule.start_id || id == rule.end_id ||
                  (id >= rule.first_code && id < rule.first_code + codes);
         });
}

void AnyFormat::append_id(int64_t id, TokenKind kind, TokenSequence& out) const {
  out.ids.push_back(static_cast<int32_t>(id));
  out.kinds.push_back(kind);
}

void AnyFormat::append_part(const CodedPart& part, bool prompt, TokenSequence& out) const {
  if (part.modality == Modality::kText) {
    append_text(part.text, prompt ? TokenKind::kPrompt : TokenKind::kText, out);
    return;
  }
  const std::optional<size_t> index = rule_of(part.modality);
  TESSERA_CHECK(index.has_value(), Unsupported, "this model has no codec for {}",
                modality_name(part.modality));
  const nn::SpanRule& rule = grammar_.rules[*index];
  TESSERA_CHECK(!part.codes.empty() && part.codes.size() % rule.levels == 0, InvalidArgument,
                "{} codes of {} do not make whole frames of {} levels", part.codes.size(),
                rule.name, rule.levels);
  constexpr TokenKind kKinds[] = {TokenKind::kText, TokenKind::kImage, TokenKind::kSpeech,
                                  TokenKind::kMusic};
  const TokenKind kind =
      prompt ? TokenKind::kPromptMedia : kKinds[static_cast<size_t>(part.modality)];
  // Where a span starts is the model's decision in words: it counts as text.
  append_id(rule.start_id, prompt ? TokenKind::kPrompt : TokenKind::kText, out);
  for (size_t i = 0; i < part.codes.size(); ++i) {
    const auto level = static_cast<int64_t>(i) % rule.levels;
    TESSERA_CHECK(part.codes[i] >= 0 && part.codes[i] < rule.codebook_size, InvalidArgument,
                  "{} code {} is outside the codebook of {}", rule.name, part.codes[i],
                  rule.codebook_size);
    append_id(rule.first_code + level * rule.codebook_size + part.codes[i], kind, out);
  }
  append_id(rule.end_id, kind, out);
}

TokenSequence AnyFormat::encode_turn(const CodedMessage& message) const {
  TokenSequence out;
  TESSERA_CHECK(message.role != Role::kSystem, InvalidArgument,
                "a conversation has messages of the user and of the assistant alone");
  const bool prompt = message.role == Role::kUser;
  const TokenKind kind = prompt ? TokenKind::kPrompt : TokenKind::kText;
  append_id(prompt ? human_ : assistant_, TokenKind::kPrompt, out);
  // Runs of text are gathered up to the next marker, so that a word is never cut from its space.
  std::string run = prompt ? ": " : ":";
  for (size_t i = 0; i < message.parts.size(); ++i) {
    const CodedPart& part = message.parts[i];
    run += prompt ? (i > 0 ? " " : "") : " ";
    if (part.modality == Modality::kText) {
      run += part.text;
    } else {
      append_text(run, kind, out);
      run.clear();
      append_part(part, prompt, out);
    }
  }
  append_text(run, kind, out);
  append_id(prompt ? end_human_ : end_reply_, kind, out);
  return out;
}

namespace {

void extend(TokenSequence& out, const TokenSequence& more) {
  out.ids.insert(out.ids.end(), more.ids.begin(), more.ids.end());
  out.kinds.insert(out.kinds.end(), more.kinds.begin(), more.kinds.end());
}

}  // namespace

TokenSequence AnyFormat::encode(std::span<const CodedMessage> messages) const {
  TESSERA_CHECK(!messages.empty(), InvalidArgument, "a conversation needs a message");
  TokenSequence out;
  append_id(bos_, TokenKind::kPrompt, out);
  if (!system_.empty()) {
    append_text(system_ + "\n", TokenKind::kPrompt, out);
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (i > 0) {
      append_text("\n", TokenKind::kPrompt, out);
    }
    extend(out, encode_turn(messages[i]));
  }
  if (messages.back().role == Role::kAssistant) {
    append_id(eos_, TokenKind::kText, out);
  } else {
    append_text("\n", TokenKind::kPrompt, out);
    append_id(assistant_, TokenKind::kPrompt, out);
    append_text(":", TokenKind::kPrompt, out);
  }
  return out;
}

TokenSequence AnyFormat::encode_unconditional() const {
  const CodedMessage nothing{.role = Role::kUser, .parts = {}};
  return encode({&nothing, 1});
}

at::Tensor AnyFormat::codes_of(size_t index, std::span<const int64_t> ids) const {
  const nn::SpanRule& rule = grammar_.rules.at(index);
  const auto levels = static_cast<size_t>(rule.levels);
  TESSERA_CHECK(!ids.empty() && ids.size() % levels == 0, InvalidArgument,
                "{} ids do not make whole {} frames of {} levels", ids.size(), rule.name, levels);
  const auto frames = static_cast<int64_t>(ids.size() / levels);
  std::vector<int64_t> codes(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t level = i % levels;
    const int64_t code =
        ids[i] - rule.first_code - static_cast<int64_t>(level) * rule.codebook_size;
    TESSERA_CHECK(code >= 0 && code < rule.codebook_size, InvalidArgument,
                  "id {} is no {} code of level {}", ids[i], rule.name, level);
    codes[level * static_cast<size_t>(frames) + i / levels] = code;
  }
  return at::tensor(codes, at::kLong).view({rule.levels, frames});
}

}  // namespace tessera::pipelines
