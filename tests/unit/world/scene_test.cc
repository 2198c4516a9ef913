#include "train/world/scene.h"

#include "train/world/scene_text.h"

#include <gtest/gtest.h>

#include <set>

namespace tessera::world {

Group emoji(const char* noun, int count = 1) {
  return {.kind = kind_of(noun), .count = count};
}
Group shape(const char* noun, Color color, int count = 1) {
  return {.kind = kind_of(noun), .count = count, .color = color};
}

TEST(Scene, TheSameSeedDrawsTheSameScene) {
  for (uint64_t i = 0; i < 100; ++i) {
    Rng a(5, i);
    Rng b(5, i);
    EXPECT_EQ(draw_scene(a), draw_scene(b));
  }
}

TEST(Scene, NoTestCombinationIsInATrainingScene) {
  std::set<std::string> held_out;
  std::set<std::string> trained;
  for (uint64_t i = 0; i < 4000; ++i) {
    Rng rng(11, i);
    const Scene train = draw_scene(rng, Split::kTrain);
    const Scene test = draw_scene(rng, Split::kTest);
    for (const std::string& key : combination_keys(train)) {
      EXPECT_EQ(split_of_key(key), Split::kTrain);
      trained.insert(key);
    }
    bool any = false;
    for (const std::string& key : combination_keys(test)) {
      any = any || split_of_key(key) == Split::kTest;
      if (split_of_key(key) == Split::kTest) {
        held_out.insert(key);
      }
    }
    EXPECT_TRUE(any);
  }
  for (const std::string& key : held_out) {
    EXPECT_EQ(trained.count(key), 0U) << key;
  }
  const CombinationCounts counts = count_combinations();
  EXPECT_NEAR(static_cast<double>(counts.test) / counts.total, 0.08, 0.02);
}

TEST(Scene, ShapesDoNotVanishOnTheirGround) {
  for (uint64_t i = 0; i < 5000; ++i) {
    Rng rng(2, i);
    const Scene scene = draw_scene(rng);
    ASSERT_GE(scene.groups.size(), 1U);
    ASSERT_LE(scene.groups.size(), 4U);
    for (const Group& group : scene.groups) {
      EXPECT_EQ(is_shape(group.kind), group.color.has_value());
      if (group.color) {
        EXPECT_NE(*group.color, background_hides(scene.background));
      }
    }
  }
}

TEST(SceneText, ParserReadsEveryWordingOfTheGrammar) {
  for (uint64_t i = 0; i < 20000; ++i) {
    Rng rng(3, i);
    const Scene scene = draw_scene(rng);
    const std::string full = i % 2 == 0 ? caption(scene, rng) : description(scene, rng);
    const SlotScore score = score_slots(scene, parse_scene(full));
    ASSERT_TRUE(score.right == score.truth && score.said == score.truth)
        << full << " -> " << score.right << "/" << score.said << "/" << score.truth;
    const std::string brief = caption(scene, rng, Detail::kShort);
    const SlotScore partial = score_slots(scene, parse_scene(brief));
    ASSERT_EQ(partial.right, partial.said) << brief;
  }
}

TEST(SceneText, AnswersAreRightAndOtherAnswersAreNot) {
  int wrong_accepted = 0;
  int compared = 0;
  std::string previous[7];
  for (uint64_t i = 0; i < 20000; ++i) {
    Rng rng(4, i);
    const Scene scene = draw_scene(rng);
    const Question question = ask(scene, rng);
    ASSERT_TRUE(answer_is_right(question, question.answer))
        << question.question << " " << question.answer;
    EXPECT_FALSE(answer_is_right(question, "I do not know."));
    EXPECT_FALSE(answer_is_right(question, ""));
    std::string& other = previous[static_cast<int>(question.kind)];
    if (!other.empty()) {
      ++compared;
      wrong_accepted += answer_is_right(question, other) ? 1 : 0;
    }
    other = question.answer;
  }
  EXPECT_LT(wrong_accepted, compared / 4);  // another picture's answer is right by chance only
}

TEST(SceneText, HandWrittenSentences) {
  const Scene truth{.groups = {shape("circle", Color::kRed, 2), emoji("cat")},
                    .relation = Relation::kAbove,
                    .background = kGrass};
  for (const char* text :
       {"Two red circles above a cat on green grass.", "on the grass, a cat below TWO RED DISCS",
        "there is a kitty with 2 red circles above it in a meadow",
        "two red circles at the top and a cat at the bottom on the grass"}) {
    const SlotScore score = score_slots(truth, parse_scene(text));
    EXPECT_EQ(score.right, score.truth) << text;
    EXPECT_EQ(score.said, score.truth) << text;
  }
  // Slots: circle, 2, red, cat, 1, relation, background. Blue and left are wrong, the ground
  // unsaid.
  const SlotScore wrong = score_slots(truth, parse_scene("two blue circles left of a cat"));
  EXPECT_EQ(wrong.right, 4);
  EXPECT_EQ(wrong.said, 6);
  EXPECT_EQ(wrong.truth, 7);
}

TEST(SceneText, TrueColoursOfEmojiAreDroppedFalseOnesCount) {
  EXPECT_FALSE(parse_scene("a red apple").groups.at(0).color);
  EXPECT_EQ(parse_scene("a blue apple").groups.at(0).color, Color::kBlue);
}

TEST(SceneText, OddTextsDoNotDisturb) {
  EXPECT_TRUE(parse_scene("").groups.empty());
  EXPECT_TRUE(parse_scene("what is the capital of France?").groups.empty());
  EXPECT_EQ(parse_scene("cats").groups.at(0).count, kUnsaid);
  EXPECT_TRUE(parse_scene("\xFF\xFE\x80 \xF0\x9F").groups.empty());
  std::string many;
  for (int i = 0; i < 10000; ++i) {
    many += "a cat ";
  }
  EXPECT_EQ(parse_scene(many).groups.size(), 8U);
  EXPECT_EQ(score_slots({}, {}).f1(), 0.0);
}

}  // namespace tessera::world
