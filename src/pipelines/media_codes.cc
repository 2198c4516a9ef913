// Preparation of media as AnyGPT does it: pictures squashed by bicubic resizing, sound averaged
// over its channels. Codes are i64 [levels, T] in codecs and frame by frame in messages.
#include "pipelines/media_codes.h"

#include "core/error.h"
#include "io/resample.h"
#include "io/resize.h"
#include "io/wav.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

namespace tessera::pipelines {
namespace {

using at::Tensor;

void check_image(const Image& image) {
  const bool whole = image.width > 0 && image.height > 0 &&
                     (image.channels == 1 || image.channels == 3 || image.channels == 4) &&
                     image.pixels.size() == static_cast<size_t>(image.width) *
                                                static_cast<size_t>(image.height) *
                                                static_cast<size_t>(image.channels);
  TESSERA_CHECK(whole, InvalidArgument,
                "picture: {} x {} pixels of {} channels with {} bytes; expected a picture that is "
                "not empty, of 1, 3 or 4 channels",
                image.width, image.height, image.channels, image.pixels.size());
}

// -> [1, 3, side, side] in [0, 1].
Tensor picture_tensor(const Image& image, int64_t side) {
  const auto size = static_cast<int>(side);
  const Image square = image.width == size && image.height == size
                           ? image
                           : io::resize(image, size, size, io::Filter::kBicubic);
  Tensor picture = at::empty({1, 3, side, side}, at::kFloat);
  float* out = picture.data_ptr<float>();
  const auto pixels = static_cast<size_t>(side * side);
  const auto channels = static_cast<size_t>(square.channels);
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < pixels; ++i) {
      const uint8_t value = square.pixels[i * channels + (channels == 1 ? 0 : c)];
      out[c * pixels + i] = static_cast<float>(value) / 255.0F;
    }
  }
  return picture;
}

void check_audio(const Audio& audio, const nn::CodecInfo& info, int64_t max_tokens) {
  TESSERA_CHECK(audio.sample_rate > 0 && audio.sample_rate <= io::kMaxSampleRate &&
                    audio.channels > 0 && audio.channels <= io::kMaxChannels &&
                    !audio.samples.empty() &&
                    audio.samples.size() % static_cast<size_t>(audio.channels) == 0,
                InvalidArgument,
                "sound: {} samples of {} channels at {} Hz; expected sound that is not empty",
                audio.samples.size(), audio.channels, audio.sample_rate);
  TESSERA_CHECK(std::all_of(audio.samples.begin(), audio.samples.end(),
                            [](float x) { return std::isfinite(x); }),
                InvalidArgument, "sound: it holds samples that are not finite");
  const double tokens =
      std::ceil(audio.seconds() * info.frames_per_second) * static_cast<double>(info.levels) + 2;
  TESSERA_CHECK(max_tokens == 0 || tokens <= static_cast<double>(max_tokens), InvalidArgument,
                "sound: {:.1f} s are {:.0f} tokens, there is room for {}; cut it", audio.seconds(),
                tokens, max_tokens);
}

// -> [1, 1, N] at the codec's rate.
Tensor sound_tensor(const Audio& audio, int64_t sample_rate) {
  const auto channels = static_cast<size_t>(audio.channels);
  std::vector<float> mono(audio.samples.size() / channels);
  for (size_t t = 0; t < mono.size(); ++t) {
    float sum = 0;
    for (size_t c = 0; c < channels; ++c) {
      sum += audio.samples[t * channels + c];
    }
    mono[t] = sum / static_cast<float>(channels);
  }
  if (audio.sample_rate != sample_rate) {
    mono = io::resample(mono, audio.sample_rate, static_cast<int>(sample_rate));
  }
  return at::tensor(mono, at::kFloat).view({1, 1, -1});
}

}  // namespace

Image image_of(const Tensor& picture) {
  const Tensor rows = (picture.view({3, picture.size(-2), picture.size(-1)}).to(at::kFloat) * 255)
                          .round()
                          .clamp(0, 255)
                          .to(at::kByte)
                          .permute({1, 2, 0})
                          .cpu()
                          .contiguous();  // [H, W, 3]
  Image image{.width = static_cast<int>(rows.size(1)),
              .height = static_cast<int>(rows.size(0)),
              .channels = 3,
              .pixels = {}};
  const uint8_t* bytes = rows.const_data_ptr<uint8_t>();
  image.pixels.assign(bytes, bytes + rows.numel());
  return image;
}

Audio audio_of(const Tensor& samples, int64_t sample_rate) {
  const Tensor host = samples.to(at::kFloat).cpu().contiguous();
  const float* first = host.const_data_ptr<float>();
  return {.sample_rate = static_cast<int>(sample_rate),
          .channels = 1,
          .samples = {first, first + host.numel()}};
}

CodedPart encode_media(const Part& part, const nn::Codec& codec, int64_t max_tokens) {
  const nn::CodecInfo info = codec.info();
  Tensor media;
  if (part.modality == Modality::kImage) {
    const auto* image = std::get_if<Image>(&part.content);
    TESSERA_CHECK(image != nullptr, InvalidArgument, "a part named image holds no picture");
    check_image(*image);
    media = picture_tensor(*image, info.image_size);
  } else {
    const auto* audio = std::get_if<Audio>(&part.content);
    TESSERA_CHECK(audio != nullptr, InvalidArgument, "a part named {} holds no sound",
                  modality_name(part.modality));
    check_audio(*audio, info, max_tokens);
    media = sound_tensor(*audio, info.sample_rate);
  }
  const Tensor codes = codec.encode(media.to(codec.device())).cpu();  // [1, levels, T]
  const Tensor frames = codes.squeeze(0).transpose(0, 1).contiguous();
  CodedPart result{.modality = part.modality, .text = {}, .codes = {}};
  result.codes.assign(frames.const_data_ptr<int64_t>(),
                      frames.const_data_ptr<int64_t>() + frames.numel());
  return result;
}

Part decode_media(Modality modality, const Tensor& codes, const nn::Codec& codec) {
  const Tensor media = codec.decode(codes.unsqueeze(0).to(codec.device()));
  Part part{.modality = modality, .content = {}, .source = {}};
  if (modality == Modality::kImage) {
    part.content = image_of(media);
  } else {
    part.content = audio_of(media, codec.info().sample_rate);
  }
  return part;
}

}  // namespace tessera::pipelines
