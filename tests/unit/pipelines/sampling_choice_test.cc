#include "pipelines/sampling_choice.h"

#include <gtest/gtest.h>

namespace tessera::pipelines {
namespace {

nn::SamplingParams laid_over(const SamplingChoice& choice, nn::SamplingParams sampling) {
  choice.lay_over(sampling);
  sampling.check();
  return sampling;
}

TEST(SamplingChoice, WhatIsAbsentStays) {
  const nn::SamplingParams defaults{
      .greedy = false, .temperature = 0.7, .top_k = 9, .top_p = 0.8, .min_p = 0.1};
  const nn::SamplingParams same = laid_over({}, defaults);
  EXPECT_FALSE(same.greedy);
  EXPECT_EQ(same.temperature, 0.7);
  EXPECT_EQ(same.top_k, 9);
  EXPECT_EQ(same.top_p, 0.8);
  EXPECT_EQ(same.min_p, 0.1);
  const nn::SamplingParams other =
      laid_over({.top_k = 0, .typical_p = 0.5, .repetition_penalty = 1.2}, defaults);
  EXPECT_EQ(other.top_k, 0);
  EXPECT_EQ(other.typical_p, 0.5);
  EXPECT_EQ(other.repetition_penalty, 1.2);
  EXPECT_EQ(other.temperature, 0.7);
}

TEST(SamplingChoice, DrawingAndGreed) {
  const nn::SamplingParams greedy{.greedy = true};
  EXPECT_TRUE(laid_over({.repetition_penalty = 1.1}, greedy).greedy);
  EXPECT_FALSE(laid_over({.temperature = 0.5}, greedy).greedy);
  EXPECT_FALSE(laid_over({.top_k = 5}, greedy).greedy);
  EXPECT_FALSE(laid_over({.top_p = 0.9}, greedy).greedy);
  EXPECT_FALSE(laid_over({.min_p = 0.1}, greedy).greedy);
  EXPECT_FALSE(laid_over({.typical_p = 0.9}, greedy).greedy);
  EXPECT_FALSE(laid_over({.greedy = false}, greedy).greedy);
  EXPECT_TRUE(laid_over({.greedy = true, .top_k = 5}, {.greedy = false}).greedy);
  EXPECT_TRUE(laid_over({.temperature = 0}, {.greedy = false}).greedy);
}

}  // namespace
}  // namespace tessera::pipelines
