// Items of training and judging: what is asked, what goes in and what must come out, as specs with
// exact truth; nothing is rendered here.
//
//   const Item item = make_item({Modality::kText, Modality::kImage}, 17, seed, Split::kTrain);
//   const auto& picture = std::get<ScenePart>(item.turns[0].outputs[0]);
//   const Image image = renderer.render(picture.scene, 96, picture.seed);
#pragma once

#include "train/world/instructions.h"
#include "train/world/melody.h"
#include "train/world/mood_table.h"
#include "train/world/scene_text.h"
#include "train/world/speech.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace tessera::world {

struct TextPart {
  std::string text;
  bool operator==(const TextPart&) const = default;
};
struct ScenePart {
  Scene scene;
  uint64_t seed = 0;  // of SceneRenderer::render
  bool operator==(const ScenePart&) const = default;
};
struct SpeechPart {
  int voice = 0;  // index of voices()
  std::string text;
  bool operator==(const SpeechPart&) const = default;
};
struct MusicPart {
  Melody melody;
  uint64_t seed = 0;  // of render_melody
  bool operator==(const MusicPart&) const = default;
};
/// A picture that shows nothing of the world.
struct ForeignPart {
  uint64_t seed = 0;  // of render_foreign
  bool operator==(const ForeignPart&) const = default;
};
/// A real person: a file, or the recorded prompt `clip` of the assets (counted round and round).
struct RecordingPart {
  std::string file;
  uint64_t clip = 0;
  uint64_t seed = 0;  // of perturb
  bool operator==(const RecordingPart&) const = default;
};
using PartSpec =
    std::variant<TextPart, ScenePart, SpeechPart, MusicPart, ForeignPart, RecordingPart>;
Modality modality_of(const PartSpec& part);

/// One exchange: the user's media and words, and the reply.
struct Turn {
  std::vector<PartSpec> inputs;  // media and the text that the task is about, in order
  std::string instruction;       // what is asked; may be empty when the text input says it all
  std::vector<PartSpec> outputs;
  bool operator==(const Turn&) const = default;
};

/// How a voice is chosen for a spoken reply.
enum class VoiceChoice { kDefault, kNamed, kPrompted };

struct Item {
  std::string task;  // "text-image", "chat", "outside"
  Split split = Split::kTrain;
  std::vector<Turn> turns;
  std::optional<Question> question;  // when a picture is asked about: judges the answer
  VoiceChoice voice_choice = VoiceChoice::kDefault;
};

/// The voice that speaks when none is asked for.
inline constexpr int kDefaultVoice = 0;

/// Item `index` of a pair's endless list. The same arguments give the same item. In a training item
/// every part belongs to training; in a validation or test item the part that carries the truth
/// (picture, else music, else sentence and voice) is of that split and no part of a stricter one.
/// All scenes are inside `limits`. Throws InvalidArgument when the pair's ends are equal.
Item make_item(
    Pair pair, uint64_t index, uint64_t seed, Split split, const WorldLimits& limits = {});

/// Speech in and out by the voice that is left out of training: text-speech with a voice prompt
/// when `from` is text, speech-text when it is speech. Always of the test split.
Item make_left_out_voice_item(Modality from, uint64_t index, uint64_t seed);

/// A conversation of two to five turns: pictures that are drawn, asked about and changed, music and
/// speech about them, small talk, requests outside the world.
Item make_chat(uint64_t index, uint64_t seed, Split split, const WorldLimits& limits = {});

/// A request that the world cannot serve, with a helpful reply; the prompts are taken in turn, so
/// that `outside_prompts(split).size()` items cover all.
Item make_outside_item(uint64_t index, uint64_t seed, Split split, const WorldLimits& limits = {});

/// A picture, recording or sentence from outside the world, asked about as if it were inside, and
/// the reply that says what can be done.
Item make_foreign_item(Modality from, uint64_t index, uint64_t seed, Split split);

/// A digit spoken by a real person, to be written down. The recording must be of the split.
Item make_digit_item(
    const std::string& file, int digit, uint64_t index, uint64_t seed, Split split);

/// For each sentence that is spoken in `items`, one item that writes it down and one that says it
/// (in a voice that is named, heard in another sentence of the items, or the default): to speak a
/// sentence takes far longer than to use it again.
std::vector<Item> retold(std::span<const Item> items, uint64_t index, uint64_t seed);

}  // namespace tessera::world
