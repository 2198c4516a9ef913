#include "nn/rope.h"

#include "core/error.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace tessera::nn
