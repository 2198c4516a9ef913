// AnyGPT's format puts one space before every part of a reply; it belongs to no part, so that a
// reply in the history becomes the ids again that it was made of.
#include "pipelines/reply_parts.h"

#include "core/clock.h"
#include "pipelines/media_codes.h"

#include <algorithm>

namespace tessera::pipelines {
namespace {

constexpr size_t kContext = 5;       // ids that text is decoded behind
constexpr int64_t kFirstFrames = 2;  // frames of sound before the first chunk: heard early
constexpr int64_t kMoreFrames = 4;   // and of each chunk after it

}  // namespace

ReplyParts::ReplyParts(const Sources& sources, size_t row, std::span<const int64_t> prompt)
    : sources_(sources), row_(row) {
  const auto context = prompt.last(std::min(prompt.size(), kContext));
  tail_.assign(context.begin(), context.end());
  reply_.message.role = Role::kAssistant;
}

void ReplyParts::accept(int64_t id) {
  ++reply_.new_tokens;
  const auto& rules = sources_.format.grammar().rules;
  const std::vector<int64_t>& ends = sources_.format.end_ids();
  if (rule_ >= 0) {
    if (id == rules[static_cast<size_t>(rule_)].end_id) {
      end_span();
    } else {
      ids_.push_back(id);
      push_sound(/*last=*/false);
    }
  } else if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
    ended_ = true;
  } else if (const auto rule = std::find_if(rules.begin(), rules.end(),
                                            [&](const auto& r) { return r.start_id == id; });
             rule != rules.end()) {
    end_text(/*before_media=*/true);
    begin_span(static_cast<size_t>(rule - rules.begin()));
  } else {
    if (!decoder_.has_value()) {
      decoder_.emplace(sources_.tokenizer, tail_);
    }
    add_text(decoder_->push(static_cast<int32_t>(id)));
  }
  tail_.push_back(static_cast<int32_t>(id));
  if (tail_.size() > kContext) {
    tail_.erase(tail_.begin());
  }
}

void ReplyParts::finish() {
  end_text(/*before_media=*/false);
  if (rule_ >= 0) {
    reply_.valid = false;
    const nn::SpanRule& rule = sources_.format.grammar().rules[static_cast<size_t>(rule_)];
    const auto levels = static_cast<size_t>(rule.levels);
    ids_.resize(ids_.size() / levels * levels);
    if (modality() != Modality::kImage && !ids_.empty()) {
      end_span();
    }
    rule_ = -1;
  }
}

void ReplyParts::add_text(std::string piece) {
  if (piece.empty()) {
    return;
  }
  if (fresh_ && piece.front() == ' ') {
    piece.erase(0, 1);
  }
  fresh_ = false;
  if (space_) {
    piece.insert(piece.begin(), ' ');
  }
  space_ = piece.ends_with(' ');
  if (space_) {
    piece.pop_back();
  }
  if (!piece.empty()) {
    text_ += piece;
    if (sources_.events.on_text) {
      sources_.events.on_text(row_, piece);
    }
  }
}

void ReplyParts::end_text(bool before_media) {
  if (decoder_.has_value()) {
    add_text(decoder_->finish());
    decoder_.reset();
  }
  if (!before_media && space_) {
    text_ += ' ';
    if (sources_.events.on_text) {
      sources_.events.on_text(row_, " ");
    }
  }
  if (!text_.empty()) {
    reply_.message.parts.push_back(Part::text(std::move(text_)));
  }
  text_.clear();
  space_ = false;
  fresh_ = true;
}

void ReplyParts::begin_span(size_t rule) {
  rule_ = static_cast<int>(rule);
  ids_.clear();
  streamed_ = 0;
  if (sources_.events.on_begin) {
    sources_.events.on_begin(row_, modality());
  }
  if (sources_.events.on_audio && modality() != Modality::kImage) {
    stream_ = codec().stream();
    sound_ = {
        .sample_rate = static_cast<int>(codec().info().sample_rate), .channels = 1, .samples = {}};
  }
}

// Hands whole frames to the decoder once enough have come.
void ReplyParts::push_sound(bool last) {
  if (stream_ == nullptr) {
    return;
  }
  const nn::SpanRule& rule = sources_.format.grammar().rules[static_cast<size_t>(rule_)];
  const int64_t frames = static_cast<int64_t>(ids_.size() - streamed_) / rule.levels;
  const int64_t wanted = streamed_ == 0 ? kFirstFrames : kMoreFrames;
  if (frames >= wanted || (last && frames > 0)) {
    const auto count = static_cast<size_t>(frames * rule.levels);
    const at::Tensor codes = sources_.format.codes_of(
        static_cast<size_t>(rule_), std::span<const int64_t>(ids_).subspan(streamed_, count));
    streamed_ += count;
    emit_sound(stream_->push(codes.unsqueeze(0).to(codec().device())));
  }
  if (last) {
    emit_sound(stream_->finish());
    stream_.reset();
  }
}

void ReplyParts::emit_sound(const at::Tensor& samples) {
  if (samples.numel() == 0) {
    return;
  }
  const Audio chunk = audio_of(samples, sound_.sample_rate);
  sound_.samples.insert(sound_.samples.end(), chunk.samples.begin(), chunk.samples.end());
  if (reply_.first_audio_seconds < 0) {
    reply_.first_audio_seconds = seconds_since(sources_.start);
  }
  sources_.events.on_audio(row_, modality(), chunk);
}

void ReplyParts::end_span() {
  const auto rule = static_cast<size_t>(rule_);
  const at::Tensor codes = sources_.format.codes_of(rule, ids_);  // [levels, T]
  Part part{.modality = modality(), .content = {}, .source = {}};
  if (stream_ != nullptr) {
    push_sound(/*last=*/true);
    part.content = std::move(sound_);
  } else {
    part = decode_media(modality(), codes, codec());
  }
  const at::Tensor frames = codes.transpose(0, 1).contiguous();
  CodedPart coded{.modality = modality(), .text = {}, .codes = {}};
  coded.codes.assign(frames.const_data_ptr<int64_t>(),
                     frames.const_data_ptr<int64_t>() + frames.numel());
  codes_.push_back(std::move(coded));
  reply_.message.parts.push_back(std::move(part));
  if (sources_.events.on_part) {
    sources_.events.on_part(row_, reply_.message.parts.back());
  }
  rule_ = -1;
}

}  // namespace tessera::pipelines
