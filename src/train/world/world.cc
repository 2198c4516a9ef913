// Drawing of items. Each kind of item has its own random stream, so that more items of one kind
// change nothing elsewhere. Splits are kept by drawing again, never by sample number.

#include "train/world/world.h"

#include "core/error.h"
#include "train/world/sentences.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

namespace tessera::world {

Modality modality_of(const PartSpec& part) {
  constexpr Modality kModalities[] = {Modality::kText,  Modality::kImage, Modality::kSpeech,
                                      Modality::kMusic, Modality::kImage, Modality::kSpeech};
  return kModalities[part.index()];
}

namespace {

Rng stream(std::string_view kind, uint64_t index, uint64_t seed, Split split) {
  return Rng(seed, mix64(hash_name(kind) + static_cast<uint64_t>(split)) ^ mix64(index));
}

int draw_voice(Rng& rng, const WorldLimits& limits) {
  while (true) {
    const int voice = static_cast<int>(rng.below(static_cast<uint64_t>(limits.voices)));
    if (!voices()[static_cast<size_t>(voice)].left_out) {
      return voice;
    }
  }
}

bool within(Split split, Split limit) {
  return worse(split, limit) == limit;
}

Split split_of_part(const SpeechPart& part) {
  return split_of(voices()[static_cast<size_t>(part.voice)], part.text);
}

/// Speech whose text is made by `text()`, drawn again until its split is `split` (exact) or not
/// stricter than it.
template <class Make>
SpeechPart draw_speech(Rng& rng, int voice, Split split, bool exact, Make&& text) {
  for (int attempt = 0; attempt < 5000; ++attempt) {
    SpeechPart part{voice, spoken(text(rng))};
    const Split found = split_of_part(part);
    if (exact ? found == split : within(found, split)) {
      return part;
    }
  }
  throw Internal("no {} sentence for voice {} in 5000 draws", split_name(split), voice);
}

ScenePart draw_scene_part(Rng& rng, Split split, const WorldLimits& limits) {
  Scene scene = draw_scene(rng, split, limits);
  return {std::move(scene), rng.next()};
}

MusicPart draw_music_part(Rng& rng, Split split) {
  Melody melody = draw_melody(rng, split);
  return {std::move(melody), rng.next()};
}

/// The item's one turn: what `speech` says, as text.
void write_down(Item& item, SpeechPart speech) {
  Turn& turn = item.turns.front();
  turn.outputs = {TextPart{speech.text}};
  turn.inputs = {std::move(speech)};
}

/// The item's one turn: its words said, in a voice that is named, heard in `prompt` or neither.
void say(
    Item& item, Rng& rng, VoiceChoice choice, SpeechPart speech, std::optional<SpeechPart> prompt) {
  Turn& turn = item.turns.front();
  item.voice_choice = choice;
  if (choice == VoiceChoice::kNamed) {
    constexpr const char* kForms[] = {"{0} Use the voice of {1}.", "{0} Speak as {1}.",
                                      "{0} The voice is {1}."};
    turn.instruction = fmt::format(fmt::runtime(pick(rng, kForms)), turn.instruction,
                                   voices()[static_cast<size_t>(speech.voice)].name);
  } else if (prompt) {
    turn.inputs.emplace_back(*std::move(prompt));
    constexpr const char* kForms[] = {"{} Use this voice.", "{} Speak with this voice.",
                                      "{} Take the voice that you hear."};
    turn.instruction = fmt::format(fmt::runtime(pick(rng, kForms)), turn.instruction);
  }
  turn.inputs.emplace_back(TextPart{speech.text});
  turn.outputs = {std::move(speech)};
}

Item one_turn(Pair pair, Rng& rng, Split split) {
  Item item;
  item.task = pair_name(pair);
  item.split = split;
  item.turns.resize(1);
  item.turns.front().instruction = pick(rng, instructions(pair));
  return item;
}

class Maker {
 public:
  Maker(Pair pair, Rng rng, Split split, const WorldLimits& limits)
      : pair_(pair), rng_(rng), split_(split), limits_(limits) {
    item_ = one_turn(pair, rng_, split);
  }

  Item make() {
    using M = Modality;
    const bool table = pair_ == Pair{M::kImage, M::kMusic} || pair_ == Pair{M::kMusic, M::kImage};
    const bool scene = pair_.from == M::kImage || pair_.to == M::kImage;
    const bool music = pair_.from == M::kMusic || pair_.to == M::kMusic;
    if (table) {
      make_table();
    } else if (scene) {
      make_about(draw_scene_part(rng_, split_, limits_));
    } else if (music) {
      make_about(draw_music_part(rng_, split_));
    } else {
      make_sentence();
    }
    return std::move(item_);
  }

 private:
  Turn& turn() { return item_.turns.front(); }

  /// Picture and music of one row of the table; the input is of the split, the output not stricter.
  void make_table() {
    const int row = pick(rng_, rows_within(limits_));
    const bool from_image = pair_.from == Modality::kImage;
    Scene scene = draw_scene_of_row(rng_, row, from_image ? split_ : Split::kTrain, limits_);
    Melody melody = draw_melody_of_row(rng_, row, from_image ? Split::kTrain : split_);
    PartSpec picture = ScenePart{std::move(scene), rng_.next()};
    PartSpec music = MusicPart{std::move(melody), rng_.next()};
    turn().inputs = {from_image ? picture : music};
    turn().outputs = {from_image ? music : picture};
  }

  std::string telling(const ScenePart& part, bool as_request) {
    return as_request ? as_sentence(caption(part.scene, rng_)) : description(part.scene, rng_);
  }
  std::string telling(const MusicPart& part, bool as_request) {
    return as_request ? as_sentence(caption(part.melody, rng_)) : description(part.melody, rng_);
  }

  void ask_about(const ScenePart& part) {
    if (chance(rng_, 0.5)) {
      item_.question = ask(part.scene, rng_, limits_);
      turn().instruction = item_.question->question;
      turn().outputs = {TextPart{item_.question->answer}};
    }
  }
  void ask_about(const MusicPart& part) {
    if (chance(rng_, 0.4)) {
      MusicQuestion question = ask(part.melody, rng_);
      turn().instruction = std::move(question.question);
      turn().outputs = {TextPart{std::move(question.answer)}};
    }
  }

  /// Text or speech about a picture or music, or the picture or music of a text or speech.
  template <class Media>
  void make_about(Media media) {
    const bool media_first = pair_.from == Modality::kImage || pair_.from == Modality::kMusic;
    const Modality other = media_first ? pair_.to : pair_.from;
    PartSpec words;
    if (other == Modality::kText) {
      words = TextPart{telling(media, !media_first)};
    } else {
      const int voice = media_first ? kDefaultVoice : draw_voice(rng_, limits_);
      words = draw_speech(rng_, voice, split_, false,
                          [&](Rng&) { return telling(media, !media_first); });
    }
    turn().inputs = {media_first ? PartSpec(media) : words};
    turn().outputs = {media_first ? words : PartSpec(media)};
    if (media_first && other == Modality::kText) {
      ask_about(media);
    }
  }

  void make_sentence() {
    const auto sentence = [this](Rng& rng) { return draw_sentence(rng, limits_); };
    if (pair_.from == Modality::kSpeech) {
      write_down(item_, draw_speech(rng_, draw_voice(rng_, limits_), split_, true, sentence));
      return;
    }
    const double u = rng_.uniform();
    const VoiceChoice choice = u < 0.2   ? VoiceChoice::kDefault
                               : u < 0.6 ? VoiceChoice::kNamed
                                         : VoiceChoice::kPrompted;
    const int voice = choice == VoiceChoice::kDefault ? kDefaultVoice : draw_voice(rng_, limits_);
    SpeechPart speech = draw_speech(rng_, voice, split_, true, sentence);
    std::optional<SpeechPart> prompt;
    if (choice == VoiceChoice::kPrompted) {
      prompt = draw_speech(rng_, voice, split_, false, sentence);
    }
    say(item_, rng_, choice, std::move(speech), std::move(prompt));
  }

  Pair pair_;
  Rng rng_;
  Split split_;
  WorldLimits limits_;
  Item item_;
};

}  // namespace

Item make_item(Pair pair, uint64_t index, uint64_t seed, Split split, const WorldLimits& limits) {
  TESSERA_CHECK(pair.from != pair.to, InvalidArgument,
                "a task goes from one modality to another, got {} twice", modality_name(pair.from));
  return Maker(pair, stream(pair_name(pair), index, seed, split), split, limits).make();
}

Item make_left_out_voice_item(Modality from, uint64_t index, uint64_t seed) {
  TESSERA_CHECK(from == Modality::kText || from == Modality::kSpeech, InvalidArgument,
                "a voice is left out of text-speech and speech-text, got {}", modality_name(from));
  const Pair pair{from, from == Modality::kText ? Modality::kSpeech : Modality::kText};
  Rng rng = stream("left out " + pair_name(pair), index, seed, Split::kTest);
  int voice = 0;
  while (!voices()[static_cast<size_t>(voice)].left_out) {
    ++voice;
  }
  Item item;
  item.task = pair_name(pair);
  item.split = Split::kTest;
  Turn turn;
  turn.instruction = pick(rng, instructions(pair));
  SpeechPart speech{voice, spoken(draw_sentence(rng))};
  if (from == Modality::kSpeech) {
    turn.outputs = {TextPart{speech.text}};
    turn.inputs = {std::move(speech)};
  } else {
    item.voice_choice = VoiceChoice::kPrompted;
    turn.instruction += " Use this voice.";
    turn.inputs = {SpeechPart{voice, spoken(draw_sentence(rng))}, TextPart{speech.text}};
    turn.outputs = {std::move(speech)};
  }
  item.turns = {std::move(turn)};
  return item;
}

namespace {

/// A reply to a request outside the world, with the nearest picture or music when that is asked.
Turn outside_turn(Rng& rng, const std::string& prompt, const WorldLimits& limits) {
  Turn turn;
  turn.instruction = prompt;
  const Wanted wanted = wanted_of(turn.instruction);
  std::string nearest;
  std::optional<PartSpec> media;
  if (wanted == Wanted::kPicture) {
    // Something of the prompt, if the world has it, else any single thing.
    ScenePart part = draw_scene_part(rng, Split::kTrain, limits);
    const Scene said = parse_scene(turn.instruction);
    if (!said.groups.empty() && within(limits, said.groups.front().kind)) {
      const int kind = said.groups.front().kind;
      for (int attempt = 0; attempt < 2000; ++attempt) {
        Scene scene = draw_scene_with(rng, kind, limits);
        if (scene.groups.size() == 1 && split_of(scene) == Split::kTrain) {
          part.scene = std::move(scene);
          break;
        }
      }
    }
    nearest = caption_inside(part.scene, rng);
    media = std::move(part);
  } else if (wanted == Wanted::kMusic) {
    MusicPart part = draw_music_part(rng, Split::kTrain);
    nearest = caption(part.melody, rng);
    media = std::move(part);
  }
  turn.outputs = {TextPart{outside_reply(rng, wanted, nearest)}};
  if (wanted == Wanted::kSpeech) {
    const std::string reply = std::get<TextPart>(turn.outputs[0]).text;
    media = SpeechPart{kDefaultVoice, spoken(reply)};
  }
  if (media) {
    turn.outputs.push_back(std::move(*media));
  }
  return turn;
}

/// A conversation in the making; every turn may refer to the picture of an earlier one.
class Chat {
 public:
  Chat(Rng rng, Split split, const WorldLimits& limits)
      : rng_(rng), split_(split), limits_(limits), picture_(draw_scene_part(rng_, split, limits)) {}

  std::vector<Turn> make() {
    if (chance(rng_, 0.3)) {
      small_talk();
    }
    draw_picture();
    const auto more = 1 + rng_.below(3);
    for (uint64_t i = 0; i < more; ++i) {
      const double u = rng_.uniform();
      if (u < 0.35) {
        ask_picture();
      } else if (u < 0.5) {
        change_picture();
      } else if (u < 0.65) {
        describe_aloud();
      } else if (u < 0.8) {
        play_music();
      } else if (u < 0.9) {
        turns_.push_back(outside_turn(rng_, pick(rng_, outside_prompts(split_)), limits_));
      } else {
        small_talk();
      }
    }
    return std::move(turns_);
  }

 private:
  void small_talk() {
    SmallTalk talk = draw_small_talk(rng_);
    turns_.push_back({{}, std::move(talk.said), {TextPart{std::move(talk.reply)}}});
  }

  void draw_picture() {
    constexpr const char* kForms[] = {"Draw {}.", "Please paint {}.", "Show me {}.",
                                      "I would like to see {}.", "Make a picture: {}."};
    constexpr const char* kReplies[] = {"Here it is.", "Here you are.", "Gladly.", "Done."};
    const std::string text = caption_inside(picture_.scene, rng_);
    if (chance(rng_, 0.3)) {  // the picture is brought along instead
      turns_.push_back({{picture_},
                        pick(rng_, instructions({Modality::kImage, Modality::kText})),
                        {TextPart{description(picture_.scene, rng_)}}});
      return;
    }
    turns_.push_back({{},
                      fmt::format(fmt::runtime(pick(rng_, kForms)), text),
                      {TextPart{pick(rng_, kReplies)}, picture_}});
  }

  void ask_picture() {
    const Question question = ask(picture_.scene, rng_, limits_);
    turns_.push_back({{}, question.question, {TextPart{question.answer}}});
  }

  /// Another background; shapes keep a colour that shows on it.
  void change_picture() {
    for (int attempt = 0; attempt < 100; ++attempt) {
      const int background = static_cast<int>(rng_.below(kPlaceCount));
      const bool shows = std::none_of(
          picture_.scene.groups.begin(), picture_.scene.groups.end(),
          [&](const Group& group) { return group.color == background_hides(background); });
      if (background != picture_.scene.background && shows) {
        picture_.scene.background = background;
        picture_.seed = rng_.next();
        constexpr const char* kForms[] = {"Now the same {}.", "Put it {}.",
                                          "Can you draw that {} instead?"};
        const std::string& place = pick(rng_, background_phrases(background));
        turns_.push_back({{},
                          fmt::format(fmt::runtime(pick(rng_, kForms)), place),
                          {TextPart{as_sentence("here it is " + place)}, picture_}});
        return;
      }
    }
  }

  void describe_aloud() {
    constexpr const char* kForms[] = {"Tell me aloud what is in the picture.",
                                      "Say with your voice what you see.",
                                      "Describe it aloud, please."};
    SpeechPart speech = draw_speech(rng_, kDefaultVoice, split_, false,
                                    [&](Rng&) { return description(picture_.scene, rng_); });
    turns_.push_back({{}, pick(rng_, kForms), {TextPart{speech.text}, speech}});
  }

  void play_music() {
    const std::optional<int> row = row_of(picture_.scene);
    if (row) {
      constexpr const char* kForms[] = {"Play music that fits the picture.",
                                        "Which tune belongs to it?", "Now some music for it."};
      MusicPart music{draw_melody_of_row(rng_, *row, Split::kTrain), rng_.next()};
      turns_.push_back(
          {{}, pick(rng_, kForms), {TextPart{description(music.melody, rng_)}, std::move(music)}});
      return;
    }
    MusicPart music = draw_music_part(rng_, Split::kTrain);
    turns_.push_back({{},
                      fmt::format("Play {}.", caption(music.melody, rng_)),
                      {TextPart{"Here it is."}, std::move(music)}});
  }

  Rng rng_;
  Split split_;
  WorldLimits limits_;
  ScenePart picture_;
  std::vector<Turn> turns_;
};

}  // namespace

Item make_chat(uint64_t index, uint64_t seed, Split split, const WorldLimits& limits) {
  Item item;
  item.task = "chat";
  item.split = split;
  item.turns = Chat(stream("chat", index, seed, split), split, limits).make();
  return item;
}

Item make_outside_item(uint64_t index, uint64_t seed, Split split, const WorldLimits& limits) {
  Rng rng = stream("outside", index, seed, split);
  Item item;
  item.task = "outside";
  item.split = split;
  const std::vector<std::string>& prompts = outside_prompts(split);
  item.turns = {outside_turn(rng, prompts[index % prompts.size()], limits)};
  return item;
}

Item make_foreign_item(Modality from, uint64_t index, uint64_t seed, Split split) {
  const Pair pair{from, Modality::kText};
  Rng rng = stream("foreign " + pair_name(pair), index, seed, split);
  Item item;
  item.task = "foreign";
  item.split = split;
  Turn turn;
  turn.instruction = pick(rng, instructions(pair));
  if (from == Modality::kImage) {
    turn.inputs = {ForeignPart{rng.next()}};
  } else if (chance(rng, 0.5)) {
    turn.inputs = {RecordingPart{.file = {}, .clip = rng.next() >> 1, .seed = rng.next()}};
  } else {
    std::string said;
    do {  // some prompts are signs alone, which no voice can say
      said = spoken(pick(rng, outside_prompts(split)));
    } while (!std::ranges::any_of(said, [](unsigned char c) { return std::isalnum(c) != 0; }));
    turn.inputs = {SpeechPart{draw_voice(rng, {}), std::move(said)}};
  }
  turn.outputs = {TextPart{outside_reply(rng, Wanted::kText, "")}};
  item.turns = {std::move(turn)};
  return item;
}

Item make_digit_item(
    const std::string& file, int digit, uint64_t index, uint64_t seed, Split split) {
  const Pair pair{Modality::kSpeech, Modality::kText};
  Rng rng = stream("digit", index, seed, split);
  Item item;
  item.task = pair_name(pair);
  item.split = split;
  item.turns = {{{RecordingPart{.file = file, .clip = 0, .seed = rng.next()}},
                 pick(rng, instructions(pair)),
                 {TextPart{number_words(digit)}}}};
  return item;
}

std::vector<Item> retold(std::span<const Item> items, uint64_t index, uint64_t seed) {
  std::vector<const SpeechPart*> spoken_parts;
  std::map<int, std::vector<const SpeechPart*>> of_voice;
  for (const Item& item : items) {
    if (item.task == "foreign") {
      continue;  // what they say is not to be written down but answered
    }
    for (const Turn& turn : item.turns) {
      for (const auto* parts : {&turn.inputs, &turn.outputs}) {
        for (const PartSpec& part : *parts) {
          if (const auto* speech = std::get_if<SpeechPart>(&part)) {
            spoken_parts.push_back(speech);
            of_voice[speech->voice].push_back(speech);
          }
        }
      }
    }
  }
  std::vector<Item> again;
  Rng rng = stream("retold", index, seed, Split::kTrain);
  for (const SpeechPart* speech : spoken_parts) {
    const Split split = split_of_part(*speech);
    write_down(again.emplace_back(one_turn({Modality::kSpeech, Modality::kText}, rng, split)),
               *speech);
    const auto& same = of_voice[speech->voice];
    const SpeechPart& prompt = *pick(rng, same);
    const bool prompted = prompt.text != speech->text && chance(rng, 0.5);
    const bool silent = speech->voice == kDefaultVoice && chance(rng, 0.5);
    const VoiceChoice choice = silent     ? VoiceChoice::kDefault
                               : prompted ? VoiceChoice::kPrompted
                                          : VoiceChoice::kNamed;
    say(again.emplace_back(one_turn({Modality::kText, Modality::kSpeech}, rng, split)), rng, choice,
        *speech, choice == VoiceChoice::kPrompted ? std::optional(prompt) : std::nullopt);
  }
  return again;
}

}  // namespace tessera::world
