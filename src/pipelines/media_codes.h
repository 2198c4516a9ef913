// Pictures and sound of messages through codecs: to the codes of a token sequence, and back.
#pragma once

#include "core/message.h"
#include "nn/codec.h"
#include "pipelines/any_format.h"

namespace tessera::pipelines {

/// The picture [3, H, W] or [1, 3, H, W] in [0, 1] as 8-bit RGB.
Image image_of(const at::Tensor& picture);
/// Samples of any shape as mono sound.
Audio audio_of(const at::Tensor& samples, int64_t sample_rate);

/// Codes of a picture or sound. A picture is squashed to the codec's square by bicubic resizing and
/// its alpha dropped; sound is mixed to mono and resampled. Throws InvalidArgument for media that
/// are empty or inconsistent, or make more than `max_tokens` tokens (0: any number).
CodedPart encode_media(const Part& part, const nn::Codec& codec, int64_t max_tokens);

/// Media of codes i64 [levels, T].
Part decode_media(Modality modality, const at::Tensor& codes, const nn::Codec& codec);

}  // namespace tessera::pipelines
