#include "train/options.h"

#include "core/error.h"
#include "train/recipe.h"

#include <gmock/gmock.h>

namespace tessera::train {
namespace {

constexpr const char* kMinimal = "task: {kind: x}\nbatch: {items: 4}\n";

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Yaml, ScalarsHaveTypes) {
  const io::Json value = parse_yaml(
      "a: 3\nb: 1e-3\nc: true\nd: '3'\ne: ~\nf: [1, two, -2.5]\ng: {h: no}\ni: 1_000\nj: -.5\n"
      "k: 0x10\nl: inf\nm: +7\n",
      "t");
  EXPECT_EQ(value.dump(),
            R"({"a":3,"b":0.001,"c":true,"d":"3","e":null,"f":[1,"two",-2.5],"g":{"h":"no"},)"
            R"("i":"1_000","j":-0.5,"k":"0x10","l":"inf","m":7})");
}

TEST(Yaml, BadTextNamesThePlace) {
  EXPECT_THAT(message_of([] { parse_yaml("a: [1, 2\nb: 3", "r.yaml"); }),
              testing::HasSubstr("r.yaml:"));
  EXPECT_THAT(message_of([] { parse_yaml("a: 1\na: 2\n", "r.yaml"); }),
              testing::HasSubstr("'a' is there twice"));
  EXPECT_THROW(parse_yaml("[a, b]: 1", "r"), CorruptFile);
  std::string deep(200, '[');
  EXPECT_THROW(parse_yaml(deep + std::string(200, ']'), "r"), CorruptFile);
  // Anchors that double: 2^30 values from 30 lines.
  std::string bomb = "a0: &a0 [1, 1]\n";
  for (int i = 1; i < 30; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}]\n", i, i - 1);
  }
  EXPECT_THROW(parse_yaml(bomb, "r"), CorruptFile);
}

TEST(Yaml, WritingAndReadingAgree) {
  const io::OrderedJson value = io::OrderedJson::parse(
      R"({"b":1,"a":[1,2.5,"x y"],"c":{"d":"true","e":null,"f":[]},"g":[{"h":1,"i":[3]},[1,[2]]],)"
      R"("j":{},"k":"- #:'\"\\\n","l":"","m":1e-9,"n":"12","o k":"é"})");
  EXPECT_EQ(parse_yaml(to_yaml(value), "t"), io::Json(value)) << to_yaml(value);
}

TEST(Options, UnknownKeysAreErrorsWithASuggestion) {
  const std::string text = std::string(kMinimal) + "optimizer: {weight_decoy: 1}\n";
  const auto read = [](const std::string& recipe) {
    const Recipe r = Recipe::parse(recipe, "r.yaml");
    r.finish();
  };
  EXPECT_NO_THROW(read(kMinimal));
  EXPECT_THAT(message_of([&] { read(text); }),
              testing::HasSubstr("r.yaml: optimizer: unknown key 'weight_decoy', did you mean "
                                 "'weight_decay'?"));
  EXPECT_THAT(message_of([&] { read(fmt::format("{}optimiser: {{lr: 1}}\n", kMinimal)); }),
              testing::HasSubstr("did you mean 'optimizer'?"));
}

TEST(Options, ValuesOutOfRangeNameTheKey) {
  const auto parse = [](const std::string& more) {
    return message_of([&] { Recipe::parse(kMinimal + more, "r.yaml"); });
  };
  EXPECT_THAT(parse("optimizer: {lr: fast}\n"), testing::HasSubstr("r.yaml: optimizer.lr"));
  EXPECT_THAT(parse("optimizer: {betas: [0.9]}\n"), testing::HasSubstr("optimizer.betas"));
  EXPECT_THAT(parse("seed: -1\n"), testing::HasSubstr("r.yaml: seed"));
  EXPECT_THAT(parse("schedule: {steps: 1.5}\n"), testing::HasSubstr("schedule.steps"));
  EXPECT_THAT(parse("schedule: {kind: cosin}\n"), testing::HasSubstr("did you mean 'cosine'?"));
  EXPECT_THAT(parse("schedule: [1]\n"), testing::HasSubstr("must be a map"));
  EXPECT_THAT(parse("schedule: {steps: 10, warmup: 11}\n"), testing::HasSubstr("do not fit"));
  EXPECT_THAT(parse("schedule: {until: time}\n"), testing::HasSubstr("stop.minutes"));
  EXPECT_THAT(parse("precision: bf16\n"), testing::HasSubstr("device cuda"));
  EXPECT_THAT(message_of([] { Recipe::parse("task: {kind: language_model}\n", "r"); }),
              testing::HasSubstr("either tokens"));
}

TEST(Options, OverridesAndDefaultsMakeTheResolvedRecipe) {
  const std::string overrides[] = {"optimizer.lr=2e-4", "schedule.kind=wsd", "schedule.steps=1e3",
                                   "seed=7", "stop.minutes=20"};
  const Recipe recipe = Recipe::parse(kMinimal, "r.yaml", overrides);
  EXPECT_EQ(recipe.optimizer.lr, 2e-4);
  EXPECT_EQ(recipe.schedule.steps, 1000);
  EXPECT_EQ(recipe.schedule.decay, 200);
  EXPECT_EQ(recipe.seed, 7U);
  EXPECT_EQ(recipe.stop_minutes, 20);
  EXPECT_EQ(recipe.batch.size, 4);
  const std::string resolved = recipe.resolved_yaml();
  const Recipe again = Recipe::parse(resolved, "again.yaml");
  again.finish();
  EXPECT_EQ(again.resolved_yaml(), resolved);
  EXPECT_THROW(Recipe::parse(kMinimal, "r", std::vector<std::string>{"lr"}), InvalidArgument);
  EXPECT_THROW(
      Recipe::parse(kMinimal, "r", std::vector<std::string>{"seed.x=1", "seed=1", "seed.y=2"}),
      InvalidArgument);
}

}  // namespace
}  // namespace tessera::train
