// AnyGPT's token format: how a conversation of text, pictures, speech and music becomes one
// sequence of ids (anygpt/src/infer/cli_infer_chat_model.py of OpenMOSS/AnyGPT), and what each run
// of ids is. Generation and training build their sequences here, so that they cannot differ.
//
// A conversation:
//   <s>{system}\n[Human]: {media }{text}<eoh>\n[MMGPT]: {text and media}<eos>\n[Human]: …
// A picture is <soim> codes <eoim>; speech <sosp> … <eosp>; music <somu> … <eomu>. A frame's levels
// stand in order, level l as code + l · codebook_size.
//
// The folder's any_to_any.json:
//   {"format": "anygpt-chat",
//    "system": "…",                       line before the first turn; may be empty
//    "codecs": {"image": "picture_codec", "speech": "speech_codec", "music": "music_codec"},
//    "sampling": {"text": {"temperature": 1, "top_k": 50, …}, "image": {…, "guidance": 2}, …},
//    "max_frames": {"speech": 250, "music": 63},
//    "world": {…}}                        what it was trained on, for benches; not read here
// Modalities without a codec are absent.
#pragma once

#include "core/message.h"
#include "io/json.h"
#include "nn/codec.h"
#include "nn/spans.h"
#include "text/tokenizer.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::pipelines {

/// What a run of ids is; training weighs them apart.
enum class TokenKind { kPrompt, kPromptMedia, kText, kImage, kSpeech, kMusic };
/// "prompt", "prompt_media", "text", "image", "speech", "music": class names of .tok files.
const std::vector<std::string>& token_kind_names();

/// Ids with the kind of each.
struct TokenSequence {
  std::vector<int32_t> ids;
  std::vector<TokenKind> kinds;
};

/// A modality by its name in files and commands; throws InvalidArgument naming those there are.
Modality modality_named(std::string_view name);

/// The strings of one modality.
struct MediaMarkers {
  std::string code;  // before the number: "👀" in "<👀17>"
  std::string start;
  std::string end;
};
/// AnyGPT's; throws InvalidArgument for text.
const MediaMarkers& media_markers(Modality modality);

/// A part of a message whose media are codes already (i64 [levels, T] row by row).
struct CodedPart {
  Modality modality = Modality::kText;
  std::string text;            // of text
  std::vector<int64_t> codes;  // of media: frame by frame, each frame's levels in order
};

/// One message of coded parts.
struct CodedMessage {
  Role role = Role::kUser;
  std::vector<CodedPart> parts;
};

class AnyFormat {
 public:
  /// All added tokens of a vocabulary in AnyGPT's order: `[Human]` `[MMGPT]` `<eoh>` `<eos>`, the
  /// codes and markers of each modality, `<-Res->` `<-Ins->`. `codes`: ids of each (levels ·
  /// codebook_size), absent modalities left out.
  static std::vector<std::string> added_tokens(const std::map<Modality, int64_t>& codes);

  /// `config` is any_to_any.json; `codecs` what its folders hold. Throws CorruptFile when the
  /// tokenizer lacks a marker or a modality's codes are not consecutive.
  AnyFormat(const io::Json& config,
            const text::Tokenizer& tokenizer,
            const std::map<Modality, nn::CodecInfo>& codecs);

  /// Rules of the spans, with the folder's sampling settings. `min_frames` of sound is 1.
  const nn::SpanGrammar& grammar() const { return grammar_; }
  /// Index of a modality in grammar().rules; nullopt when the model has no such codec.
  std::optional<size_t> rule_of(Modality modality) const;
  Modality modality_of(size_t rule) const { return modalities_[rule]; }
  /// Settings of text.
  const nn::SamplingParams& text_sampling() const { return text_sampling_; }
  /// End of a reply, end of the text.
  const std::vector<int64_t>& end_ids() const { return end_ids_; }

  /// The sequence of a conversation. When the last message is the assistant's, the sequence ends
  /// with its end marker and `</s>` (training); else with the open `[MMGPT]:` (generation). Parts
  /// keep their order; text is never read as a marker.
  TokenSequence encode(std::span<const CodedMessage> messages) const;
  /// The same conversation without a condition, for guidance: system line, an empty user message
  /// and the open reply.
  TokenSequence encode_unconditional() const;
  /// Ids of one message's turn alone, to count how much room a turn takes.
  TokenSequence encode_turn(const CodedMessage& message) const;

  /// Codes [levels, T] of a span's ids (without markers); the inverse of what encode writes. Throws
  /// InvalidArgument for ids outside the modality's range or a ragged tail.
  at::Tensor codes_of(size_t rule, std::span<const int64_t> ids) const;

 private:
  void append_text(std::string_view text, TokenKind kind, TokenSequence& out) const;
  void append_id(int64_t id, TokenKind kind, TokenSequence& out) const;
  bool is_marker(int64_t id) const;
  void append_part(const CodedPart& part, bool prompt, TokenSequence& out) const;

  const text::Tokenizer* tokenizer_;
  std::string system_;
  nn::SpanGrammar grammar_;
  std::vector<Modality> modalities_;
  nn::SamplingParams text_sampling_;
  std::vector<int64_t> end_ids_;
  int64_t human_ = 0, assistant_ = 0, end_human_ = 0, end_reply_ = 0, bos_ = 0, eos_ = 0;
};

}  // namespace tessera::pipelines
