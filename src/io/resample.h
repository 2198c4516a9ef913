// Sample-rate conversion with the numbers of torchaudio's transforms.Resample defaults.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace tessera::io {

class ResampleKernel;

/// Converts one channel block by block; any split of the input gives the same output bits. Keeps
/// about 12·max(1, from/to) input samples. Not thread-safe.
///
///   Resampler resampler(44100, 16000);
///   while (…) { out = resampler.push(block); … }
///   out = resampler.finish();
class Resampler {
 public:
  /// Rates in Hz, 1 … 10 MHz, at most 1000 times apart; throws InvalidArgument otherwise.
  Resampler(int from, int to);

  /// Takes the next input samples and returns the output that they complete.
  std::vector<float> push(std::span<const float> input);
  /// Returns the rest: ⌈to·length/from⌉ samples in all. The resampler is then as new.
  std::vector<float> finish();

 private:
  void produce(int64_t end, std::vector<float>& output);

  std::shared_ptr<const ResampleKernel> kernel_;  // null: the rates are equal
  std::vector<float> taps_;                       // one phase, where phases are not stored
  std::vector<float> history_;                    // input from position history_start_ on
  int64_t history_start_ = 0;
  int64_t input_length_ = 0;
  int64_t output_length_ = 0;
};

/// The whole of a short recording at once.
std::vector<float> resample(std::span<const float> input, int from, int to);

/// Several channels, interleaved, side by side.
class InterleavedResampler {
 public:
  InterleavedResampler(int channels, int from, int to)
      : channels_(static_cast<size_t>(channels), Resampler(from, to)) {}

  std::vector<float> push(std::span<const float> input);
  std::vector<float> finish();

 private:
  std::vector<Resampler> channels_;
};

}  // namespace tessera::io
