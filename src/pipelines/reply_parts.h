// A reply as its ids arrive: text and media parts, told to ConverseEvents while they are made.
#pragma once

#include "pipelines/converse.h"

#include <chrono>

namespace tessera::pipelines {

/// One row's reply. What it points to must outlive it.
class ReplyParts {
 public:
  struct Sources {
    const AnyFormat& format;
    const text::Tokenizer& tokenizer;
    const std::map<Modality, std::shared_ptr<nn::Codec>>& codecs;
    const ConverseEvents& events;
    std::chrono::steady_clock::time_point start;  // of the call
  };

  /// `prompt`: what the reply follows.
  ReplyParts(const Sources& sources, size_t row, std::span<const int64_t> prompt);

  /// Takes the next id, end ids included.
  void accept(int64_t id);
  /// Ends the last part; a span that is still open is kept as far as it can be heard, and makes the
  /// reply invalid.
  void finish();

  Reply& reply() { return reply_; }
  /// Codes of the reply's finished media, in the order of these parts.
  const std::vector<CodedPart>& codes() const { return codes_; }
  /// Whether the reply has ended by itself.
  bool ended() const { return ended_; }

 private:
  void add_text(std::string piece);
  void end_text(bool before_media);
  void begin_span(size_t rule);
  void push_sound(bool last);
  void emit_sound(const at::Tensor& samples);
  void end_span();
  Modality modality() const { return sources_.format.modality_of(static_cast<size_t>(rule_)); }
  const nn::Codec& codec() const { return *sources_.codecs.at(modality()); }

  Sources sources_;
  size_t row_;
  Reply reply_;
  std::vector<CodedPart> codes_;
  bool ended_ = false;
  std::vector<int32_t> tail_;  // newest ids: context of the next text
  std::optional<text::StreamDecoder> decoder_;
  std::string text_;          // of the open text part, as told
  bool space_ = false;        // a space is held back: before media it belongs to no part
  bool fresh_ = true;         // nothing of the open text part has come yet
  int rule_ = -1;             // of the open span
  std::vector<int64_t> ids_;  // codes of the open span
  std::unique_ptr<nn::CodecStream> stream_;
  size_t streamed_ = 0;  // codes that the stream has taken
  Audio sound_;          // of the open span, as told
};

}  // namespace tessera::pipelines
