#include "train/data/world_sounds.h"

#include "core/error.h"
#include "io/audio.h"
#include "io/wav.h"
#include "train/data/spread.h"
#include "train/world/assets.h"
#include "train/world/melody.h"
#include "train/world/music_render.h"
#include "train/world/recordings.h"
#include "train/world/sentences.h"
#include "train/world/speech.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace tessera::train {
namespace {

world::Split world_split(Split split) {
  return split == Split::kTrain ? world::Split::kTrain : world::Split::kValidation;
}

// The split that the next rendered sound belongs to.
world::Split wanted_split(Rng& rng, const WorldSoundOptions& options, Split split) {
  return options.every_split && split == Split::kTrain ? world::any_split(rng) : world_split(split);
}

std::vector<int16_t> to_pcm(const std::vector<float>& samples) {
  std::vector<int16_t> pcm(samples.size());
  std::transform(samples.begin(), samples.end(), pcm.begin(), [](float x) {
    return static_cast<int16_t>(std::lround(std::clamp(x, -1.0F, 1.0F) * 32767.0F));
  });
  return pcm;
}

std::vector<WorldSound> render_music(const WorldSoundOptions& options,
                                     Split split,
                                     uint64_t seed,
                                     int64_t count) {
  std::vector<WorldSound> sounds(static_cast<size_t>(count));
  spread(count, options.threads, [&](int64_t i) {
    Rng rng(seed, static_cast<uint64_t>(i));
    const world::Melody melody = world::draw_melody(rng, wanted_split(rng, options, split));
    const Audio audio =
        world::render_melody(melody, options.seconds, world::kSpeechRate, rng.next());
    WorldSound& sound = sounds[static_cast<size_t>(i)];
    sound.samples = to_pcm(audio.samples);
    sound.key = melody.key.index();
    sound.metre = static_cast<int>(melody.metre);
  });
  return sounds;
}

// A voice and a sentence whose pair belongs to the split.
world::Utterance draw_utterance(Rng& rng, world::Split split, bool left_out) {
  const auto voices = world::voices();
  while (true) {
    world::Utterance utterance{.voice = static_cast<int>(rng.below(voices.size())),
                               .text = world::draw_sentence(rng)};
    const world::Voice& voice = voices[static_cast<size_t>(utterance.voice)];
    const bool fits = voice.left_out ? left_out && world::split_of_sentence(utterance.text) == split
                                     : world::split_of(voice, utterance.text) == split;
    if (fits) {
      return utterance;
    }
  }
}

void add_recordings(const WorldSoundOptions& options,
                    const world::Assets* assets,
                    Split split,
                    std::vector<WorldSound>& sounds) {
  std::vector<WorldSound> real;
  if (assets != nullptr && split == Split::kTrain) {
    for (size_t i = 0; i < assets->clips().size(); ++i) {
      real.push_back({.samples = to_pcm(assets->clip_audio(i).samples),
                      .text = world::spoken(assets->clips()[i].text)});
    }
  }
  if (!options.digits.empty()) {
    for (const world::DigitRecording& digit : world::list_digits(options.digits)) {
      if (digit.split() == world_split(split)) {
        const Audio audio =
            io::read_audio(digit.path.string(), {.sample_rate = world::kSpeechRate, .mono = true});
        real.push_back(
            {.samples = to_pcm(audio.samples), .text = world::number_words(digit.digit)});
      }
    }
  }
  const int64_t times = split == Split::kTrain ? options.recordings : 1;
  for (int64_t i = 0; i < times; ++i) {
    sounds.insert(sounds.end(), real.begin(), real.end());
  }
}

std::vector<WorldSound> render_speech(const WorldSoundOptions& options,
                                      Split split,
                                      uint64_t seed,
                                      int64_t count) {
  std::optional<world::Assets> assets;
  if (!options.assets.empty()) {
    assets.emplace(options.assets, options.scratch);
  }
  const world::Speaker speaker(assets ? assets->speech_tools() : world::SpeechTools::installed());
  std::vector<world::Utterance> utterances;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, static_cast<uint64_t>(i));
    const world::Split wanted = wanted_split(rng, options, split);
    utterances.push_back(draw_utterance(rng, wanted, options.left_out));
  }
  // In parts, so that no more than one part lies in memory as floats.
  constexpr size_t kPart = 512;
  std::vector<WorldSound> sounds;
  for (size_t from = 0; from < utterances.size(); from += kPart) {
    const std::span<const world::Utterance> part =
        std::span(utterances).subspan(from, std::min(kPart, utterances.size() - from));
    const std::vector<Audio> spoken = speaker.speak_all(part, static_cast<int>(options.threads));
    for (size_t i = 0; i < part.size(); ++i) {
      sounds.push_back({.samples = to_pcm(spoken[i].samples),
                        .text = world::spoken(part[i].text),
                        .voice = part[i].voice});
    }
  }
  add_recordings(options, assets ? &*assets : nullptr, split, sounds);
  return sounds;
}

}  // namespace

WorldSoundOptions WorldSoundOptions::read(const Options& data) {
  constexpr double kMost = 1e6;
  const std::string kinds[] = {"speech", "music"};
  WorldSoundOptions options;
  options.music = data.choice("kind", "speech", kinds) == "music";
  options.assets = data.string("assets", "");
  options.scratch =
      data.string("scratch", options.assets.empty() ? "" : options.assets + "/unpacked");
  options.digits = data.string("digits", "");
  options.train = data.integer("train", 4000, {1, kMost});
  options.validate = data.integer("validate", 200, {0, kMost});
  options.seconds = data.number("seconds", 6.0, {0.1, 60});
  options.left_out = data.boolean("left_out", false);
  options.every_split = data.boolean("every_split", false);
  options.recordings = data.integer("recordings", 1, {1, 1000});
  options.threads = thread_count(data.integer("threads", 0, {0, 1024}));
  return options;
}

std::vector<WorldSound> render_sounds(const WorldSoundOptions& options,
                                      Split split,
                                      uint64_t seed) {
  const bool train = split == Split::kTrain;
  const int64_t count = train ? options.train : options.validate;
  const uint64_t stream = mix64(seed ^ hash_name(train ? "sounds/train" : "sounds/validate"));
  return options.music ? render_music(options, split, stream, count)
                       : render_speech(options, split, stream, count);
}

std::string wav_bytes(const Tensor& samples, int64_t sample_rate) {
  const Tensor wave = samples.detach().to(at::kCPU, at::kFloat).flatten().contiguous();
  const float* data = wave.const_data_ptr<float>();
  return io::encode_wav(
      {.sample_rate = static_cast<int>(sample_rate), .samples = {data, data + wave.numel()}});
}

}  // namespace tessera::train
