#include "train/world/world.h"

#include "core/error.h"
#include "train/world/foreign.h"
#include "train/world/sentences.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tessera::world {

/// The strictest split of the parts of an item, prompts of voices included.
Split split_of_parts(const Item& item) {
  Split split = Split::kTrain;
  for (const Turn& turn : item.turns) {
    for (const auto* parts : {&turn.inputs, &turn.outputs}) {
      for (const PartSpec& part : *parts) {
        if (const auto* scene = std::get_if<ScenePart>(&part)) {
          split = worse(split, split_of(scene->scene));
        } else if (const auto* music = std::get_if<MusicPart>(&part)) {
          split = worse(split, split_of(music->melody));
        } else if (const auto* speech = std::get_if<SpeechPart>(&part)) {
          split =
              worse(split, split_of(voices()[static_cast<size_t>(speech->voice)], speech->text));
        }
      }
    }
  }
  return split;
}

TEST(World, ItemsHaveTheirPairAndSplit) {
  for (const Pair& pair : all_pairs()) {
    for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
      for (uint64_t i = 0; i < 60; ++i) {
        const Item item = make_item(pair, i, 42, split);
        ASSERT_EQ(item.turns.size(), 1U);
        const Turn& turn = item.turns.front();
        ASSERT_FALSE(turn.outputs.empty());
        EXPECT_EQ(modality_of(turn.outputs.back()), pair.to) << pair_name(pair);
        EXPECT_EQ(modality_of(turn.inputs.back()), pair.from) << pair_name(pair);
        EXPECT_FALSE(turn.instruction.empty());
        EXPECT_EQ(split_of_parts(item), split) << pair_name(pair) << " " << i;
        const Item again = make_item(pair, i, 42, split);
        EXPECT_EQ(again.turns, item.turns);
        if (item.question) {
          const auto& answer = std::get<TextPart>(turn.outputs[0]).text;
          EXPECT_TRUE(answer_is_right(*item.question, answer));
        }
      }
    }
  }
  EXPECT_THROW(make_item({Modality::kText, Modality::kText}, 0, 0, Split::kTrain), InvalidArgument);
}

TEST(World, TextOfAnItemSaysItsTruth) {
  for (uint64_t i = 0; i < 300; ++i) {
    const Item picture = make_item({Modality::kText, Modality::kImage}, i, 1, Split::kTest);
    const SlotScore score =
        score_slots(std::get<ScenePart>(picture.turns[0].outputs[0]).scene,
                    parse_scene(std::get<TextPart>(picture.turns[0].inputs[0]).text));
    EXPECT_EQ(score.right, score.truth);
    const Item music = make_item({Modality::kSpeech, Modality::kMusic}, i, 1, Split::kTrain);
    const auto& melody = std::get<MusicPart>(music.turns[0].outputs[0]).melody;
    const MelodySlots slots = parse_melody(std::get<SpeechPart>(music.turns[0].inputs[0]).text);
    EXPECT_EQ(slots.key, melody.key);
    EXPECT_EQ(slots.metre, melody.metre);
  }
}

TEST(World, PictureAndMusicFollowTheTable) {
  EXPECT_GE(mood_table().size(), 12U);
  std::set<std::pair<int, int>> sounds;
  for (const MoodRow& row : mood_table()) {
    EXPECT_TRUE(sounds.insert({row.key.index(), static_cast<int>(row.metre)}).second) << row.name;
    EXPECT_EQ(genres()[static_cast<size_t>(row.genre)].metre, row.metre) << row.name;
    EXPECT_TRUE(row.noun.empty() ? row.background != kUnsaid : kind_of(row.noun) >= 0);
  }
  for (uint64_t i = 0; i < 200; ++i) {
    for (const bool from_image : {true, false}) {
      const Pair pair = from_image ? Pair{Modality::kImage, Modality::kMusic}
                                   : Pair{Modality::kMusic, Modality::kImage};
      const Item item = make_item(pair, i, 3, i % 2 == 0 ? Split::kTrain : Split::kTest);
      const Turn& turn = item.turns[0];
      const auto& scene = std::get<ScenePart>(from_image ? turn.inputs[0] : turn.outputs[0]).scene;
      const auto& melody =
          std::get<MusicPart>(from_image ? turn.outputs[0] : turn.inputs[0]).melody;
      ASSERT_TRUE(row_of(scene));
      EXPECT_EQ(row_of(scene), row_of(melody.key, melody.metre));
    }
  }
}

TEST(World, EveryPairHasTwentyWordings) {
  EXPECT_EQ(all_pairs().size(), 12U);
  for (const Pair& pair : all_pairs()) {
    const auto& all = instructions(pair);
    EXPECT_GE(std::set<std::string>(all.begin(), all.end()).size(), 20U) << pair_name(pair);
  }
}

TEST(World, VoicesAreNamedPromptedOrDefault) {
  std::set<VoiceChoice> seen;
  for (uint64_t i = 0; i < 100; ++i) {
    const Item item = make_item({Modality::kText, Modality::kSpeech}, i, 5, Split::kTrain);
    const auto& out = std::get<SpeechPart>(item.turns[0].outputs[0]);
    seen.insert(item.voice_choice);
    EXPECT_FALSE(voices()[static_cast<size_t>(out.voice)].left_out);
    if (item.voice_choice == VoiceChoice::kPrompted) {
      EXPECT_EQ(std::get<SpeechPart>(item.turns[0].inputs[0]).voice, out.voice);
    } else if (item.voice_choice == VoiceChoice::kNamed) {
      EXPECT_NE(item.turns[0].instruction.find(voices()[static_cast<size_t>(out.voice)].name),
                std::string::npos);
    } else {
      EXPECT_EQ(out.voice, kDefaultVoice);
    }
  }
  EXPECT_EQ(seen.size(), 3U);
  const Item left_out = make_left_out_voice_item(Modality::kSpeech, 0, 5);
  EXPECT_TRUE(voices()[static_cast<size_t>(std::get<SpeechPart>(left_out.turns[0].inputs[0]).voice)]
                  .left_out);
  EXPECT_THROW(make_left_out_voice_item(Modality::kMusic, 0, 5), InvalidArgument);
}

TEST(World, Chats) {
  for (uint64_t i = 0; i < 300; ++i) {
    const Item chat = make_chat(i, 6, Split::kTrain);
    EXPECT_GE(chat.turns.size(), 1U);
    EXPECT_LE(chat.turns.size(), 5U);
    EXPECT_EQ(split_of_parts(chat), Split::kTrain);
    EXPECT_EQ(make_chat(i, 6, Split::kTrain).turns, chat.turns);
    for (const Turn& turn : chat.turns) {
      EXPECT_FALSE(turn.outputs.empty());
      EXPECT_FALSE(turn.instruction.empty());
    }
  }
}

/// Every scene of an item.
std::vector<Scene> scenes_of(const Item& item) {
  std::vector<Scene> scenes;
  for (const Turn& turn : item.turns) {
    for (const auto* parts : {&turn.inputs, &turn.outputs}) {
      for (const PartSpec& part : *parts) {
        if (const auto* scene = std::get_if<ScenePart>(&part)) {
          scenes.push_back(scene->scene);
        }
      }
    }
  }
  return scenes;
}

TEST(World, ScenesObeyLimits) {
  for (const WorldLimits limits : {WorldLimits{24, 2}, WorldLimits{1, 1}, WorldLimits{60, 3}}) {
    std::set<int> kinds;
    size_t most = 0;
    const auto check = [&](const Item& item) {
      for (const Scene& scene : scenes_of(item)) {
        EXPECT_TRUE(within(limits, scene)) << item.task;
        most = std::max(most, scene.groups.size());
        for (const Group& group : scene.groups) {
          EXPECT_TRUE(group.kind < limits.emoji || is_shape(group.kind)) << item.task;
          kinds.insert(group.kind);
        }
      }
    };
    for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
      for (uint64_t i = 0; i < 150; ++i) {
        for (const Pair& pair : all_pairs()) {
          if (pair.from == Modality::kImage || pair.to == Modality::kImage) {
            const Item item = make_item(pair, i, 9, split, limits);
            EXPECT_EQ(split_of_parts(item), split);
            check(item);
          }
        }
        check(make_chat(i, 9, split, limits));
        check(make_outside_item(i, 9, split, limits));
      }
    }
    EXPECT_EQ(most, static_cast<size_t>(limits.groups));
    const int shapes = static_cast<int>(object_kinds().size()) - first_shape();
    EXPECT_EQ(static_cast<int>(kinds.size()), limits.emoji + shapes);
  }
  EXPECT_FALSE(rows_within({1, 1}).empty());
  EXPECT_EQ(rows_within({}).size(), mood_table().size());
}

TEST(Retold, EverySpokenSentenceIsWrittenAndSaid) {
  std::vector<Item> items = {make_foreign_item(Modality::kSpeech, 1, 3, Split::kTrain)};
  std::multiset<std::pair<int, std::string>> said;
  for (uint64_t i = 0; i < 60; ++i) {
    for (const Pair& pair : all_pairs()) {
      items.push_back(make_item(pair, i, 3, Split::kTrain));
      for (const auto* parts : {&items.back().turns[0].inputs, &items.back().turns[0].outputs}) {
        for (const PartSpec& part : *parts) {
          if (const auto* speech = std::get_if<SpeechPart>(&part)) {
            said.emplace(speech->voice, speech->text);
          }
        }
      }
    }
  }
  const std::vector<Item> again = retold(items, 5, 3);
  std::multiset<std::pair<int, std::string>> written, spoken_again;
  std::map<VoiceChoice, int> choices;
  for (const Item& item : again) {
    const Turn& turn = item.turns.at(0);
    EXPECT_EQ(item.split, Split::kTrain);
    const bool writes = item.task == "speech-text";
    const auto& speech = std::get<SpeechPart>(writes ? turn.inputs.at(0) : turn.outputs.at(0));
    EXPECT_EQ(std::get<TextPart>(writes ? turn.outputs.at(0) : turn.inputs.back()).text,
              speech.text);
    (writes ? written : spoken_again).emplace(speech.voice, speech.text);
    if (writes) {
      continue;
    }
    EXPECT_EQ(item.task, "text-speech");
    ++choices[item.voice_choice];
    if (item.voice_choice == VoiceChoice::kPrompted) {
      const auto& prompt = std::get<SpeechPart>(turn.inputs.at(0));
      EXPECT_EQ(prompt.voice, speech.voice);
      EXPECT_NE(prompt.text, speech.text);
    } else if (item.voice_choice == VoiceChoice::kDefault) {
      EXPECT_EQ(speech.voice, kDefaultVoice);
    } else {
      EXPECT_NE(turn.instruction.find(voices()[static_cast<size_t>(speech.voice)].name),
                std::string::npos);
    }
  }
  EXPECT_EQ(written, said);
  EXPECT_EQ(spoken_again, said);
  EXPECT_GT(choices[VoiceChoice::kDefault], 20);
  EXPECT_GT(choices[VoiceChoice::kNamed], 20);
  EXPECT_GT(choices[VoiceChoice::kPrompted], 20);
  const std::vector<Item> same = retold(items, 5, 3);
  EXPECT_TRUE(std::ranges::equal(same, again, {}, &Item::turns, &Item::turns));
  EXPECT_TRUE(retold({}, 5, 3).empty());
}

TEST(Foreign, ItemsAskAsIfInsideAndAreAnsweredHelpfully) {
  int recordings = 0;
  for (uint64_t i = 0; i < 2000; ++i) {  // some prompts are signs alone: no voice can say them
    const Item item = make_foreign_item(Modality::kSpeech, i, 3, Split::kTrain);
    if (const auto* speech = std::get_if<SpeechPart>(&item.turns[0].inputs[0])) {
      EXPECT_TRUE(std::ranges::any_of(speech->text, [](unsigned char c) {
        return std::isalnum(c) != 0;
      })) << speech->text;
    }
  }
  for (uint64_t i = 0; i < 40; ++i) {
    for (const Modality from : {Modality::kImage, Modality::kSpeech}) {
      const Item item = make_foreign_item(from, i, 3, Split::kTrain);
      EXPECT_EQ(make_foreign_item(from, i, 3, Split::kTrain).turns, item.turns);
      ASSERT_EQ(item.turns.size(), 1U);
      EXPECT_EQ(modality_of(item.turns[0].inputs.at(0)), from);
      EXPECT_TRUE(is_helpful(std::get<TextPart>(item.turns[0].outputs.at(0)).text, true));
      recordings += std::holds_alternative<RecordingPart>(item.turns[0].inputs[0]) ? 1 : 0;
    }
  }
  EXPECT_GT(recordings, 5);
  EXPECT_LT(recordings, 35);
  const Item digit = make_digit_item("7_x_9.wav", 7, 1, 3, Split::kTrain);
  EXPECT_EQ(std::get<TextPart>(digit.turns[0].outputs[0]).text, "seven");
  EXPECT_EQ(std::get<RecordingPart>(digit.turns[0].inputs[0]).file, "7_x_9.wav");
}

TEST(Foreign, PicturesAndRecordingsFollowTheirSeed) {
  for (const int size : {8, 33, 96}) {
    const Image one = render_foreign(size, 1);
    ASSERT_EQ(one.pixels.size(), static_cast<size_t>(size) * size * 3);
    EXPECT_EQ(one.pixels, render_foreign(size, 1).pixels);
    EXPECT_NE(one.pixels, render_foreign(size, 2).pixels);
    EXPECT_GT(std::set<uint8_t>(one.pixels.begin(), one.pixels.end()).size(), 10U);
  }
  Audio sine{.sample_rate = 16000, .channels = 1, .samples = {}};
  for (int i = 0; i < 16000; ++i) {
    sine.samples.push_back(0.1F * std::sin(static_cast<float>(i) * 0.2F));
  }
  std::set<size_t> lengths;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Audio other = perturb(sine, seed);
    EXPECT_EQ(other.samples, perturb(sine, seed).samples);
    EXPECT_GE(other.samples.size(), 14500U);
    EXPECT_LE(other.samples.size(), 17800U);
    lengths.insert(other.samples.size());
    for (const float sample : other.samples) {
      ASSERT_LE(std::abs(sample), 1.0F);
    }
  }
  EXPECT_GT(lengths.size(), 8U);
  EXPECT_NO_THROW(perturb({.sample_rate = 16000, .channels = 1, .samples = {}}, 1));
}

TEST(Outside, TwoListsApart) {
  const auto& train = outside_prompts(Split::kTrain);
  const auto& test = outside_prompts(Split::kTest);
  EXPECT_GE(train.size(), 200U);
  EXPECT_GE(test.size(), 200U);
  const std::set<std::string> seen(train.begin(), train.end());
  EXPECT_EQ(seen.size(), train.size());
  for (const std::string& prompt : test) {
    EXPECT_EQ(seen.count(prompt), 0U) << prompt;
  }
}

TEST(Outside, RepliesFollowTheRule) {
  std::set<Wanted> wanted;
  for (uint64_t i = 0; i < 400; ++i) {
    const Item item = make_outside_item(i, 7, i % 2 == 0 ? Split::kTrain : Split::kTest);
    const Turn& turn = item.turns[0];
    EXPECT_TRUE(is_helpful(std::get<TextPart>(turn.outputs[0]).text, true));
    EXPECT_FALSE(is_helpful(std::get<TextPart>(turn.outputs[0]).text, false));
    const Wanted want = wanted_of(turn.instruction);
    wanted.insert(want);
    ASSERT_EQ(turn.outputs.size(), want == Wanted::kText ? 1U : 2U) << turn.instruction;
    if (want == Wanted::kPicture) {
      EXPECT_EQ(modality_of(turn.outputs[1]), Modality::kImage);
    }
  }
  EXPECT_EQ(wanted.size(), 4U);
  EXPECT_FALSE(is_helpful("I do not know.", true));
  EXPECT_FALSE(is_helpful("Paris is the capital of France.", true));
  EXPECT_FALSE(is_helpful("", true));
}

TEST(Sentences, NumbersAndSpokenForms) {
  EXPECT_EQ(number_words(0), "zero");
  EXPECT_EQ(number_words(42), "forty two");
  EXPECT_EQ(number_words(307), "three hundred and seven");
  EXPECT_EQ(number_words(900000), "nine hundred thousand");
  EXPECT_THROW(number_words(-1), InvalidArgument);
  EXPECT_EQ(spoken("a jig in 6/8 in D major"), "a jig in six eight in D major");
  for (uint64_t i = 0; i < 3000; ++i) {
    Rng rng(8, i);
    const std::string sentence = draw_sentence(rng);
    EXPECT_LT(sentence.size(), 140U) << sentence;
    EXPECT_EQ(sentence.find_first_of("0123456789{}"), std::string::npos) << sentence;
  }
}

}  // namespace tessera::world
