// Scores of hand-made replies, baselines with known values, intervals against textbook figures.
#include "core/error.h"
#include "train/any2any/scoring.h"
#include "train/any2any/targets.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::any2any {
namespace {

using world::Color;
using world::Group;
using world::Item;
using world::Pair;
using world::Relation;
using world::Scene;

constexpr uint64_t kSeed = 11;

std::vector<Item> items_of(Pair pair, size_t count, world::Split split = world::Split::kTest) {
  std::vector<Item> items;
  for (size_t i = 0; i < count; ++i) {
    items.push_back(world::make_item(pair, i, kSeed, split));
  }
  return items;
}

double value_of(const std::map<std::string, std::vector<Sample>>& samples, const char* name) {
  return average(samples.at(name), average_of(name));
}

TEST(AnyMetrics, WilsonAgreesWithTables) {
  // Newcombe (1998), table I: 81/263 gives 0.2553–0.3662, 15/148 gives 0.0624–0.1605.
  EXPECT_NEAR(wilson(81, 263).low, 0.2553, 5e-5);
  EXPECT_NEAR(wilson(81, 263).high, 0.3662, 5e-5);
  EXPECT_NEAR(wilson(15, 148).low, 0.0624, 5e-5);
  EXPECT_NEAR(wilson(15, 148).high, 0.1605, 5e-5);
  EXPECT_EQ(wilson(0, 20).low, 0);
  EXPECT_EQ(wilson(20, 20).high, 1);
  EXPECT_EQ(wilson(0, 0).low, 0);
  EXPECT_EQ(wilson(0, 0).high, 1);
}

TEST(AnyMetrics, Averages) {
  const std::vector<Sample> samples = {{1, 1, 0}, {1, 1, 0}, {1, 1, 0}, {0, 1, 7}};
  EXPECT_DOUBLE_EQ(average(samples, Average::kMicro), 0.75);
  EXPECT_DOUBLE_EQ(average(samples, Average::kMacro), 0.5);
  const std::vector<Sample> words = {{1, 4}, {3, 4}, {0, 0}};
  EXPECT_DOUBLE_EQ(average(words, Average::kMicro), 0.5);
  EXPECT_TRUE(std::isnan(average({}, Average::kMicro)));
  EXPECT_TRUE(std::isnan(average(std::vector<Sample>{{0, 0}}, Average::kMacro)));
}

TEST(AnyMetrics, BootstrapCoversAndNarrows) {
  Rng rng(3);
  std::vector<Sample> samples;
  for (int i = 0; i < 400; ++i) {
    samples.push_back({rng.uniform() * 2, 2});
  }
  const Interval wide = interval(std::span(samples).first(40), Average::kMicro, 1);
  const Interval narrow = interval(samples, Average::kMicro, 1);
  EXPECT_LT(narrow.low, 0.5);
  EXPECT_GT(narrow.high, 0.5);
  EXPECT_LT(narrow.high - narrow.low, 0.7 * (wide.high - wide.low));
  // A mean of 400 uniform values: ± 1.96 · √(1/12/400).
  EXPECT_NEAR(narrow.high - narrow.low, 2 * 1.96 * std::sqrt(1.0 / 12 / 400), 0.01);
  EXPECT_TRUE(std::isnan(interval({}, Average::kMacro, 1).low));
  const std::vector<Sample> wrong = {{0, 1, 3}, {0, 1, 4}};
  EXPECT_EQ(interval(wrong, Average::kMacro, 1).high, wilson(0, 2).high);
  const std::vector<Sample> same(9, {1, 2});
  EXPECT_DOUBLE_EQ(interval(same, Average::kMicro, 1).low, 0.5);
  EXPECT_DOUBLE_EQ(interval(same, Average::kMicro, 1).high, 0.5);
}

TEST(AnyMetrics, Percentiles) {
  EXPECT_EQ(percentile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(percentile({3, 1, 2}, 0.95), 3);
  EXPECT_EQ(percentile({5}, 0), 5);
  EXPECT_TRUE(std::isnan(percentile({}, 0.5)));
}

class EveryPair : public testing::TestWithParam<int> {
 protected:
  Pair pair() const { return world::all_pairs()[static_cast<size_t>(GetParam())]; }
};

TEST_P(EveryPair, PerfectRepliesGetFullMarks) {
  for (const Item& item : items_of(pair(), 60)) {
    const auto scores = score(item, true_findings(item));
    EXPECT_FALSE(scores.empty() && item.task != "music-text") << item.task;
    for (const auto& [name, sample] : scores) {
      EXPECT_GT(sample.whole, 0) << item.task << " " << name;
      EXPECT_EQ(sample.part, name == "wer" ? 0 : sample.whole)
          << item.task << " " << name << ": " << true_findings(item).text
          << true_findings(item).words.value_or("");
    }
  }
}

TEST_P(EveryPair, EmptyRepliesGetNothing) {
  for (const Item& item : items_of(pair(), 60)) {
    for (const auto& [name, sample] : score(item, {})) {
      EXPECT_EQ(sample.part, name == "wer" ? sample.whole : 0) << item.task << " " << name;
    }
  }
}

TEST_P(EveryPair, ChanceAndMajorityAreFarFromPerfect) {
  const Baselines baselines(items_of(pair(), 200, world::Split::kTrain));
  Rng rng(5);
  std::map<std::string, std::vector<Sample>> chance, majority;
  for (const Item& item : items_of(pair(), 100)) {
    for (const auto& [name, sample] : score(item, baselines.chance(item, rng))) {
      chance[name].push_back(sample);
    }
    for (const auto& [name, sample] : score(item, baselines.majority(item))) {
      majority[name].push_back(sample);
    }
  }
  for (const auto* samples : {&chance, &majority}) {
    for (const auto& [name, list] : *samples) {
      const double value = average(list, average_of(name));
      if (name == "wer") {
        EXPECT_GT(value, 0.7) << name;
      } else if (name == "answer") {
        EXPECT_LT(value, 0.7) << name;  // half of yes or no is right
      } else if (!name.starts_with("voice_default")) {
        EXPECT_LT(value, 0.55) << name;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Any2Any, EveryPair, testing::Range(0, 12), [](const testing::TestParamInfo<int>& one) {
      std::string name = world::pair_name(world::all_pairs()[static_cast<size_t>(one.param)]);
      name[name.find('-')] = '_';
      return name;
    });

TEST(AnyScoring, ShuffledRepliesAreAtChance) {
  const std::vector<Item> items = items_of({Modality::kText, Modality::kMusic}, 1200);
  std::map<std::string, std::vector<Sample>> samples;
  for (size_t i = 0; i < items.size(); ++i) {
    for (const auto& [name, one] : score(items[i], true_findings(items[(i + 1) % items.size()]))) {
      samples[name].push_back(one);
    }
  }
  EXPECT_NEAR(value_of(samples, "key"), 1.0 / 24, 0.025);
  EXPECT_NEAR(value_of(samples, "metre"), 1.0 / 4, 0.05);
}

TEST(AnyScoring, BaselinesOfClasses) {
  const Pair pair{Modality::kText, Modality::kMusic};
  const Baselines baselines(items_of(pair, 400, world::Split::kTrain));
  Rng rng(5);
  std::map<std::string, std::vector<Sample>> chance, majority;
  std::map<int, int> metres;
  const std::vector<Item> items = items_of(pair, 300);
  for (const Item& item : items) {
    for (int i = 0; i < 10; ++i) {
      for (const auto& [name, sample] : score(item, baselines.chance(item, rng))) {
        chance[name].push_back(sample);
      }
    }
    const Findings constant = baselines.majority(item);
    ++metres[static_cast<int>(*constant.metre)];
    for (const auto& [name, sample] : score(item, constant)) {
      majority[name].push_back(sample);
    }
  }
  EXPECT_NEAR(value_of(chance, "key"), 1.0 / 24, 0.015);
  EXPECT_NEAR(value_of(chance, "metre"), 0.25, 0.03);
  // A constant is right for all of one class and none of the others.
  EXPECT_EQ(metres.size(), 1U);
  EXPECT_DOUBLE_EQ(value_of(majority, "metre"), 0.25);
  EXPECT_NEAR(value_of(majority, "key"), 1.0 / 24, 1e-9);
}

TEST(AnyScoring, VoicesByChance) {
  const Pair pair{Modality::kText, Modality::kSpeech};
  const Baselines baselines(items_of(pair, 300, world::Split::kTrain));
  Rng rng(5);
  std::vector<Sample> samples;
  for (const Item& item : items_of(pair, 200)) {
    for (int i = 0; i < 20; ++i) {
      for (const auto& [name, sample] : score(item, baselines.chance(item, rng))) {
        if (name.starts_with("voice")) {
          samples.push_back(sample);
        }
      }
    }
  }
  EXPECT_NEAR(average(samples, Average::kMicro), 1.0 / static_cast<double>(world::voices().size()),
              0.02);
}

TEST(AnyScoring, NothingToDrawFrom) {
  const Baselines none{{}};
  Rng rng(1);
  const Item item = items_of({Modality::kText, Modality::kImage}, 1).front();
  EXPECT_FALSE(none.chance(item, rng).scene.has_value());
  EXPECT_FALSE(none.majority(item).scene.has_value());
}

// "A red circle to the left of two cats" and what may be seen instead.
class ScenesSeen : public testing::Test {
 protected:
  ScenesSeen() {
    item_.task = "text-image";
    truth_.groups = {{.kind = circle_, .count = 1, .color = Color::kRed},
                     {.kind = cat_, .count = 2}};
    truth_.relation = Relation::kLeftOf;
    truth_.background = world::kGrass;
    item_.turns.resize(1);
    item_.turns[0].outputs = {world::ScenePart{truth_, 0}};
  }

  std::map<std::string, double> seen(const Scene& scene) const {
    std::map<std::string, double> out;
    Findings found;
    found.scene = scene;
    for (const auto& [name, sample] : score(item_, found)) {
      out[name] = sample.part / sample.whole;
    }
    return out;
  }
  using Marks = std::map<std::string, double>;

  int circle_ = world::first_shape();
  int cat_ = world::kind_of("cat");
  Scene truth_;
  Item item_;
};

TEST_F(ScenesSeen, InAnyOrder) {
  Scene turned = truth_;
  std::swap(turned.groups[0], turned.groups[1]);
  turned.relation = Relation::kRightOf;
  EXPECT_EQ(
      seen(turned),
      (Marks{{"object", 1}, {"colour", 1}, {"count", 1}, {"relation", 1}, {"background", 1}}));
  turned.relation = Relation::kLeftOf;
  EXPECT_EQ(seen(turned)["relation"], 0);
}

TEST_F(ScenesSeen, OneSlotWrong) {
  Scene blue = truth_;
  blue.groups[0].color = Color::kBlue;
  EXPECT_EQ(
      seen(blue),
      (Marks{{"object", 1}, {"colour", 0}, {"count", 1}, {"relation", 1}, {"background", 1}}));
  Scene three = truth_;
  three.groups[1].count = 3;
  EXPECT_EQ(seen(three)["count"], 0);
  EXPECT_EQ(seen(three)["object"], 1);
  Scene more = truth_;
  more.groups.push_back({.kind = world::kind_of("dog")});
  more.relation = Relation::kNone;
  EXPECT_EQ(seen(more)["object"], 0);
  EXPECT_EQ(seen(more)["count"], 1);
  EXPECT_EQ(seen(more)["relation"], 0);
  Scene less = truth_;
  less.groups.pop_back();
  EXPECT_EQ(seen(less)["object"], 0);
  EXPECT_EQ(seen(less)["colour"], 1);
  EXPECT_EQ(seen(less)["count"], 0);
}

TEST_F(ScenesSeen, EqualKindsAreToldApartByColour) {
  truth_.groups[1] = {.kind = circle_, .count = 1, .color = Color::kBlue};
  item_.turns[0].outputs = {world::ScenePart{truth_, 0}};
  Scene turned = truth_;
  std::swap(turned.groups[0], turned.groups[1]);
  turned.relation = Relation::kRightOf;
  EXPECT_EQ(seen(turned)["relation"], 1);
  EXPECT_EQ(seen(turned)["colour"], 1);
  turned.groups[0].color = Color::kGreen;  // where blue was
  EXPECT_EQ(seen(turned)["relation"], 1);
  EXPECT_EQ(seen(turned)["colour"], 0);
}

TEST(AnyScoring, JudgesThatAreMissingLeaveMetricsOut) {
  const Item speech = items_of({Modality::kText, Modality::kSpeech}, 1).front();
  EXPECT_EQ(score(speech, {}).size(), 2U);
  EXPECT_EQ(score(speech, {}, {.words = false}).count("wer"), 0U);
  EXPECT_EQ(score(speech, {}, {.voice = false}).size(), 1U);
  EXPECT_TRUE(score(items_of({Modality::kText, Modality::kImage}, 1).front(), {}, {.scene = false})
                  .empty());
  EXPECT_TRUE(score(items_of({Modality::kText, Modality::kMusic}, 1).front(), {}, {.music = false})
                  .empty());
}

TEST(AnyScoring, OutsideItsWorld) {
  const Item item = world::make_outside_item(0, kSeed, world::Split::kTest);
  Findings found = true_findings(item);
  EXPECT_EQ(score(item, found).at("helpful").part, 1);
  found.valid = false;
  EXPECT_EQ(score(item, found).at("helpful").part, 0);
  found = {};
  found.text = "A red circle.";
  EXPECT_EQ(score(item, found).at("helpful").part, 0);
  EXPECT_THROW(pair_of(item), InvalidArgument);
}

TEST(AnyTargets, Bounds) {
  const std::optional<Target> objects = target_of("text-image", "object");
  ASSERT_TRUE(objects);
  EXPECT_TRUE(objects->met(0.9));
  EXPECT_FALSE(objects->met(0.899));
  EXPECT_FALSE(objects->met(std::nan("")));
  EXPECT_TRUE(target_of("text-speech", "wer")->met(0.1));
  EXPECT_FALSE(target_of("text-speech", "wer")->met(0.11));
  EXPECT_FALSE(target_of("text-speech", "wer")->met(std::nan("")));
  EXPECT_FALSE(target_of("latency", "picture_seconds")->met(1.0));
  EXPECT_TRUE(target_of("latency", "picture_seconds")->met(0.999));
  EXPECT_TRUE(target_of("all", "malformed")->met(0));
  EXPECT_FALSE(target_of("all", "malformed")->met(1));
  EXPECT_FALSE(target_of("text-image", "nothing"));
}

}  // namespace
}  // namespace tessera::any2any
