#include "io/resample.h"

#include "audio_golden.h"
#include "core/error.h"
#include "core/random.h"

namespace tessera::io {
namespace {

std::vector<float> noise(size_t count, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<float> samples(count);
  for (float& x : samples) {
    x = static_cast<float>(rng.uniform(-1, 1));
  }
  return samples;
}

void append(std::vector<float>& to, const std::vector<float>& part) {
  to.insert(to.end(), part.begin(), part.end());
}

TEST(Resample, EqualsTorchaudio) {
  const std::vector<float> input = golden_floats(audio_index().at("noise"));
  for (const Json& entry : audio_index().at("resample")) {
    const int from = entry.at("from");
    const int to = entry.at("to");
    const auto length = entry.at("length").get<size_t>();
    const auto output = resample(std::span(input).first(length), from, to);
    EXPECT_LE(max_difference(output, golden_floats(entry.at("output"))), 1e-6)
        << from << " -> " << to << ", " << length << " samples, " << output.size() << " out";
  }
}

TEST(Resample, AnySplitGivesTheSameBits) {
  const std::vector<float> input = noise(3000);
  for (const auto& [from, to] : {std::pair(44100, 16000), std::pair(8000, 44100),
                                 std::pair(96000, 8000), std::pair(999983, 1000000)}) {
    const std::vector<float> whole = resample(input, from, to);
    EXPECT_EQ(whole.size(),
              (input.size() * static_cast<size_t>(to) + static_cast<size_t>(from) - 1) /
                  static_cast<size_t>(from));
    Resampler resampler(from, to);
    for (int round = 0; round < 2; ++round) {  // the second: as new after finish
      std::vector<float> parts;
      Rng rng(7);
      for (size_t at = 0; at < input.size();) {
        const size_t count = std::min<size_t>(rng.below(200), input.size() - at);
        append(parts, resampler.push(std::span(input).subspan(at, count)));
        at += count;
      }
      append(parts, resampler.finish());
      EXPECT_EQ(parts, whole) << from << " -> " << to;
    }
  }
}

TEST(Resample, NothingGivesNothing) {
  EXPECT_TRUE(resample({}, 44100, 16000).empty());
  EXPECT_TRUE(resample({}, 16000, 16000).empty());
  EXPECT_TRUE(Resampler(8000, 16000).finish().empty());
}

TEST(Resample, EqualRatesPassThrough) {
  const std::vector<float> input = noise(100);
  EXPECT_EQ(resample(input, 44100, 44100), input);
}

TEST(Resample, OutputComesSoon) {
  // The look-ahead of 44.1 → 16 kHz is 17 samples: all but the last outputs come with their input.
  Resampler resampler(44100, 16000);
  EXPECT_GE(resampler.push(noise(4410)).size(), 1593U);
}

TEST(Resample, AbsurdRatesAreRefused) {
  EXPECT_THROW(Resampler(0, 16000), InvalidArgument);
  EXPECT_THROW(Resampler(16000, -1), InvalidArgument);
  EXPECT_THROW(Resampler(2'000'000'000, 16000), InvalidArgument);
  EXPECT_THROW(Resampler(10'000'000, 1), InvalidArgument);
  EXPECT_THROW(Resampler(1, 10'000'000), InvalidArgument);
}

TEST(Resample, ChannelsDoNotMix) {
  const std::vector<float> left = noise(2000, 1);
  const std::vector<float> right = noise(2000, 2);
  std::vector<float> both(4000);
  for (size_t i = 0; i < 2000; ++i) {
    both[2 * i] = left[i];
    both[2 * i + 1] = right[i];
  }
  InterleavedResampler resampler(2, 24000, 16000);
  std::vector<float> output = resampler.push(std::span(both).first(1234));
  append(output, resampler.push(std::span(both).subspan(1234)));
  append(output, resampler.finish());
  const std::vector<float> expected_left = resample(left, 24000, 16000);
  const std::vector<float> expected_right = resample(right, 24000, 16000);
  ASSERT_EQ(output.size(), 2 * expected_left.size());
  for (size_t i = 0; i < expected_left.size(); ++i) {
    EXPECT_EQ(output[2 * i], expected_left[i]);
    EXPECT_EQ(output[2 * i + 1], expected_right[i]);
  }
}

}  // namespace
}  // namespace tessera::io
