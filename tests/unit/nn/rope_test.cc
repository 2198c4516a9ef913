#include "nn/rope.h"

#include "core/error.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::nn {
namespace {

io::Json parse(const char* text) {
  return io::parse_json(text, "test");
}

TEST(Rope, BothSpellingsOfTheConfigAgree) {
  const RopeConfig v4 =
      RopeConfig::from_json(parse(R"({"rope_theta": 500.0, "max_position_embeddings": 99,
      "rope_scaling": {"type": "linear", "factor": 4.0}})"));
  const RopeConfig v5 = RopeConfig::from_json(parse(R"({"max_position_embeddings": 99,
      "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}})"));
  EXPECT_EQ(v4.type, v5.type);
  EXPECT_EQ(v4.theta, v5.theta);
  EXPECT_EQ(v4.factor, v5.factor);
}

TEST(Rope, InnerValuesWinAndNullScalingIsDefault) {
  EXPECT_EQ(
      RopeConfig::from_json(parse(R"({"rope_theta": 1.0, "rope_parameters": {"rope_theta": 7.0}})"))
          .theta,
      7.0);
  const RopeConfig plain =
      RopeConfig::from_json(parse(R"({"rope_theta": 3.0, "rope_scaling": null})"));
  EXPECT_EQ(plain.type, "default");
  EXPECT_EQ(plain.theta, 3.0);
  EXPECT_EQ(RopeConfig::from_json(parse("{}")).theta, 10000.0);
}

TEST(Rope, UnknownKindsAreRefusedByName) {
  EXPECT_THROW(
      RopeConfig::from_json(parse(R"({"rope_scaling": {"type": "spiral", "factor": 2.0}})")),
      Unsupported);
}

// A rotation keeps lengths, and the score of two rotated vectors depends on their distance alone.
TEST(Rope, IsARotationByRelativePosition) {
  const Rope rope({.theta = 100.0}, 8);
  const Tensor x = at::randn({1, 1, 1, 8});
  const auto at_position = [&](const Tensor& v, int64_t position) {
    return rope.apply(v, rope.tables(at::arange(position, position + 1).unsqueeze(0), at::kFloat));
  };
  EXPECT_NEAR(at_position(x, 37).norm().item<float>(), x.norm().item<float>(), 1e-5);
  const Tensor y = at::randn({1, 1, 1, 8});
  const float near = (at_position(x, 5) * at_position(y, 3)).sum().item<float>();
  const float far = (at_position(x, 105) * at_position(y, 103)).sum().item<float>();
  EXPECT_NEAR(near, far, 1e-4);
  EXPECT_TRUE(at_position(x, 0).equal(x));
}

TEST(Rope, PartialRotationLeavesTheRest) {
  const Rope rope({.theta = 100.0, .partial = 0.5}, 8);
  const Tensor x = at::randn({1, 2, 3, 8});
  const Tensor y = rope.apply(x, rope.tables(at::arange(3).unsqueeze(0), at::kFloat));
  EXPECT_TRUE(y.narrow(-1, 4, 4).equal(x.narrow(-1, 4, 4)));
  EXPECT_FALSE(y.narrow(-1, 0, 4).equal(x.narrow(-1, 0, 4)));
  EXPECT_THROW(Rope({.partial = 0.1}, 8), InvalidArgument);
}

// The published constructions, told with doubles.
TEST(Rope, DynamicBaseGrowsWithTheLength) {
  const Rope rope({.theta = 100.0, .type = "dynamic", .factor = 3.0, .max_position = 10}, 8);
  const auto angle = [&](int64_t length) {  // of the second pair at the last position
    const Tensor positions = at::arange(length).unsqueeze(0);
    const auto [cosine, sine] = rope.tables(positions, at::kFloat);
    return std::atan2(sine[0][0][length - 1][1].item<double>(),
                      cosine[0][0][length - 1][1].item<double>());
  };
  const auto expected = [&](double base, int64_t length) {
    const double value = static_cast<double>(length - 1) / std::pow(base, 0.25);
    return std::atan2(std::sin(value), std::cos(value));
  };
  EXPECT_NEAR(angle(10), expected(100.0, 10), 1e-5);
  const double base = 100.0 * std::pow(3.0 * 25 / 10 - 2.0, 8.0 / 6.0);
  EXPECT_NEAR(angle(25), expected(base, 25), 1e-5);
  EXPECT_NEAR(angle(4), expected(100.0, 4), 1e-5);  // what was longer before leaves no trace
}

TEST(Rope, LongropeSwitchesForTheWholeSequence) {
  const RopeConfig config = RopeConfig::from_json(parse(R"({"max_position_embeddings": 64,
      "rope_scaling": {"type": "longrope", "original_max_position_embeddings": 16,
                       "short_factor": [1.0, 2.0], "long_factor": [4.0, 8.0]}})"));
  const double scale = std::sqrt(1 + std::log(4.0) / std::log(16.0));
  EXPECT_NEAR(config.attention_factor, scale, 1e-12);
  const Rope rope(config, 4);
  const auto sine = [&](int64_t length) {  // of the first pair at position 1
    return rope.tables(at::arange(length).unsqueeze(0), at::kFloat)
        .second[0][0][1][0]
        .item<double>();
  };
  EXPECT_NEAR(sine(16), scale * std::sin(1.0), 1e-6);
  EXPECT_NEAR(sine(17), scale * std::sin(0.25), 1e-6);
  EXPECT_THROW(Rope(config, 8), InvalidArgument);  // two factors for four pairs
}

TEST(Rope, HostileValuesAreRefused) {
  for (const char* text :
       {R"({"rope_scaling": {"type": "linear", "factor": 0}})",
        R"({"rope_scaling": {"type": "yarn", "factor": 2, "beta_fast": -1}})",
        R"({"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 0}})",
        R"({"rope_scaling": {"type": "longrope", "short_factor": [0], "long_factor": [1]}})",
        R"({"rope_scaling": {"type": "longrope", "short_factor": 3}})",
        R"({"rope_scaling": {"type": "dynamic", "factor": "two"}})"}) {
    EXPECT_THROW(RopeConfig::from_json(parse(text)), CorruptFile) << text;
  }
  EXPECT_THROW(
      RopeConfig::from_json(parse(R"({"rope_parameters": {"full_attention": {"factor": 2}}})")),
      Unsupported);
}

}  // namespace
}  // namespace tessera::nn
