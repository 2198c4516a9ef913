// Sounds of one batch are padded with silence to the longest, and the codes of the padding cut off:
// the codecs see to it that a sound's codes are those that it gets alone.
#include "train/data/world_coder.h"

#include "core/error.h"
#include "io/audio.h"
#include "models/registry.h"
#include "train/data/spread.h"
#include "train/data/world_items.h"
#include "train/objectives/scene_batches.h"
#include "train/world/foreign.h"
#include "train/world/music_render.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace tessera::train {
namespace {

constexpr size_t kPictures = 128;  // of one batch
constexpr size_t kSounds = 32;

std::shared_ptr<nn::Codec> open_codec(Modality modality,
                                      const io::fs::path& folder,
                                      at::Device device) {
  const auto codec = std::dynamic_pointer_cast<nn::Codec>(models::load_model(
      models::open_folder(folder.string()), {.dtype = at::kFloat, .device = device}));
  TESSERA_CHECK(codec != nullptr, InvalidArgument, "{}: this model is no codec", folder.string());
  const nn::CodecInfo info = codec->info();
  const bool picture = modality == Modality::kImage;
  TESSERA_CHECK((info.frames > 0) == picture, InvalidArgument, "{}: this codec is not for {}",
                folder.string(), modality_name(modality));
  TESSERA_CHECK(modality != Modality::kSpeech || info.sample_rate == world::kSpeechRate,
                InvalidArgument, "{}: the codec of speech works at {} Hz, the world speaks at {}",
                folder.string(), info.sample_rate, world::kSpeechRate);
  codec->eval();
  return codec;
}

// Row `index` of codes [B, levels, T] on the CPU: its first `frames`, each frame's levels in order.
std::vector<int64_t> row_of(const at::Tensor& codes, int64_t index, int64_t frames) {
  const at::Tensor row =
      codes.select(0, index).narrow(1, 0, frames).transpose(0, 1).to(at::kLong).contiguous();
  const auto* data = row.const_data_ptr<int64_t>();
  return {data, data + row.numel()};
}

}  // namespace

WorldCoder::WorldCoder(const Options& data,
                       const std::map<Modality, io::fs::path>& folders,
                       at::Device device)
    : device_(device),
      threads_(thread_count(data.integer("threads", 0, {0, 1024}))),
      music_seconds_(data.number("music_seconds", 5.0, {0.1, 60})) {
  const std::string assets = data.string("assets", "");
  const std::string scratch = data.string("scratch", assets.empty() ? "" : assets + "/unpacked");
  for (const auto& [modality, folder] : folders) {
    codecs_[modality] = open_codec(modality, folder, device);
    if (modality == Modality::kImage) {
      renderer_.emplace(open_scene_renderer(data));
    } else if (modality == Modality::kSpeech) {
      if (!assets.empty()) {
        assets_.emplace(assets, scratch);
        for (size_t i = 0; i < assets_->clips().size(); ++i) {
          if (!assets_->clips()[i].name.starts_with("digits/")) {  // these the world knows
            foreign_clips_.push_back(i);
          }
        }
      }
      speaker_.emplace(assets_ ? assets_->speech_tools() : world::SpeechTools::installed());
    }
  }
}

std::map<Modality, nn::CodecInfo> WorldCoder::infos() const {
  std::map<Modality, nn::CodecInfo> infos;
  for (const auto& [modality, codec] : codecs_) {
    infos[modality] = codec->info();
  }
  return infos;
}

void WorldCoder::code_pictures(const Parts& parts, Codes& codes) const {
  const auto& codec = codecs_.at(Modality::kImage);
  const int64_t size = codec->info().image_size;
  const int64_t bytes = size * size * 3;
  for (size_t from = 0; from < parts.size(); from += kPictures) {
    const auto count = static_cast<int64_t>(std::min(kPictures, parts.size() - from));
    at::Tensor rows = at::empty({count, size, size, 3}, at::kByte);
    auto* out = rows.data_ptr<uint8_t>();
    spread(count, threads_, [&](int64_t i) {
      const world::PartSpec& part = *parts[from + static_cast<size_t>(i)];
      const auto* foreign = std::get_if<world::ForeignPart>(&part);
      const auto* scene = std::get_if<world::ScenePart>(&part);
      const Image image =
          foreign != nullptr ? world::render_foreign(static_cast<int>(size), foreign->seed)
                             : renderer_->render(scene->scene, static_cast<int>(size), scene->seed);
      std::memcpy(out + i * bytes, image.pixels.data(), static_cast<size_t>(bytes));
    });
    const at::Tensor pixels = rows.to(device_).permute({0, 3, 1, 2}).contiguous();
    const at::Tensor found = codec->encode(pixels.to(at::kFloat) / 255).cpu();
    for (int64_t i = 0; i < count; ++i) {
      codes[parts[from + static_cast<size_t>(i)]] = row_of(found, i, found.size(2));
    }
  }
}

void WorldCoder::code_speech(const Parts& parts, Codes& codes) const {
  Parts sounding;  // each sentence of a voice once
  std::vector<world::Utterance> utterances;
  std::map<std::pair<int, std::string_view>, const world::PartSpec*> first;
  for (const world::PartSpec* part : parts) {
    const auto* speech = std::get_if<world::SpeechPart>(part);
    if (speech == nullptr) {
      sounding.push_back(part);
    } else if (first.try_emplace({speech->voice, speech->text}, part).second) {
      sounding.push_back(part);
      utterances.push_back({.voice = speech->voice, .text = speech->text});
    }
  }
  std::vector<Audio> spoken = speaker_->speak_all(utterances, static_cast<int>(threads_));
  std::vector<Audio> sounds;
  size_t next = 0;
  for (const world::PartSpec* part : sounding) {
    const auto* real = std::get_if<world::RecordingPart>(part);
    sounds.push_back(real != nullptr ? recording(*real) : std::move(spoken[next++]));
  }
  code_sounds(Modality::kSpeech, sounding, sounds, codes);
  for (const world::PartSpec* part : parts) {
    if (const auto* speech = std::get_if<world::SpeechPart>(part)) {
      codes[part] = codes.at(first.at({speech->voice, speech->text}));
    }
  }
}

Audio WorldCoder::recording(const world::RecordingPart& part) const {
  if (!part.file.empty()) {
    return world::perturb(
        io::read_audio(part.file, {.sample_rate = world::kSpeechRate, .mono = true}), part.seed);
  }
  TESSERA_CHECK(!foreign_clips_.empty(), NotFound,
                "items of the kind 'foreign' need data.assets with recorded prompts "
                "(asterisk-core-sounds-en-g722 when the folder is made)");
  return world::perturb(assets_->clip_audio(foreign_clips_[part.clip % foreign_clips_.size()]),
                        part.seed);
}

void WorldCoder::code_music(const Parts& parts, Codes& codes) const {
  const auto rate = static_cast<int>(codecs_.at(Modality::kMusic)->info().sample_rate);
  std::vector<Audio> sounds(parts.size());
  spread(static_cast<int64_t>(parts.size()), threads_, [&](int64_t i) {
    const auto& part = std::get<world::MusicPart>(*parts[static_cast<size_t>(i)]);
    sounds[static_cast<size_t>(i)] =
        world::render_melody(part.melody, music_seconds_, rate, part.seed);
  });
  code_sounds(Modality::kMusic, parts, sounds, codes);
}

void WorldCoder::code_sounds(Modality modality,
                             const Parts& parts,
                             const std::vector<Audio>& sounds,
                             Codes& codes) const {
  const auto& codec = codecs_.at(modality);
  const int64_t step = codec->info().frame_samples;
  const auto samples = [&](size_t i) { return static_cast<int64_t>(sounds[i].samples.size()); };
  std::vector<size_t> order(sounds.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return samples(a) < samples(b); });
  for (size_t from = 0; from < order.size(); from += kSounds) {
    const size_t count = std::min(kSounds, order.size() - from);
    const int64_t longest = samples(order[from + count - 1]);
    at::Tensor wave = at::zeros({static_cast<int64_t>(count), 1, longest});
    for (size_t i = 0; i < count; ++i) {
      const std::vector<float>& sound = sounds[order[from + i]].samples;
      std::copy(sound.begin(), sound.end(),
                wave.data_ptr<float>() + static_cast<int64_t>(i) * longest);
    }
    const at::Tensor found = codec->encode(wave.to(device_)).cpu();
    for (size_t i = 0; i < count; ++i) {
      const int64_t frames = (samples(order[from + i]) + step - 1) / step;
      codes[parts[order[from + i]]] = row_of(found, static_cast<int64_t>(i), frames);
    }
  }
}

std::vector<WorldCoder::Messages> WorldCoder::code(std::span<const world::Item> items) const {
  const at::NoGradGuard no_grad;
  std::map<Modality, Parts> media;
  for (const world::Item& item : items) {
    for (const world::Turn& turn : item.turns) {
      for (const auto* parts : {&turn.inputs, &turn.outputs}) {
        for (const world::PartSpec& part : *parts) {
          media[world::modality_of(part)].push_back(&part);
        }
      }
    }
  }
  Codes codes;
  if (!media[Modality::kImage].empty()) {
    code_pictures(media[Modality::kImage], codes);
  }
  if (!media[Modality::kSpeech].empty()) {
    code_speech(media[Modality::kSpeech], codes);
  }
  if (!media[Modality::kMusic].empty()) {
    code_music(media[Modality::kMusic], codes);
  }
  const auto coded = [&](const world::PartSpec& part) -> pipelines::CodedPart {
    if (const auto* words = std::get_if<world::TextPart>(&part)) {
      return {.modality = Modality::kText, .text = words->text, .codes = {}};
    }
    return {.modality = world::modality_of(part), .text = {}, .codes = std::move(codes.at(&part))};
  };
  std::vector<Messages> all;
  for (const world::Item& item : items) {
    Messages& messages = all.emplace_back();
    for (const world::Turn& turn : item.turns) {
      pipelines::CodedMessage user{.role = Role::kUser, .parts = {}};
      for (const world::PartSpec& part : turn.inputs) {
        if (world::modality_of(part) != Modality::kText) {
          user.parts.push_back(coded(part));
        }
      }
      if (std::string text = user_text(turn); !text.empty()) {
        user.parts.push_back({.modality = Modality::kText, .text = std::move(text), .codes = {}});
      }
      pipelines::CodedMessage reply{.role = Role::kAssistant, .parts = {}};
      for (const world::PartSpec& part : turn.outputs) {
        reply.parts.push_back(coded(part));
      }
      messages.push_back(std::move(user));
      messages.push_back(std::move(reply));
    }
  }
  return all;
}

}  // namespace tessera::train
