// Pictures and sound in memory: what the readers of io return and what a message carries.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

/// A picture: interleaved 8-bit rows, top row first, `channels` bytes a pixel (1 grey, 3 RGB, 4
/// RGBA).
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;
  std::vector<uint8_t> pixels;  // height * width * channels

  bool empty() const { return pixels.empty(); }
};

/// Sound: interleaved fp32 samples, nominally in [-1, 1].
struct Audio {
  int sample_rate = 0;  // Hz
  int channels = 1;
  std::vector<float> samples;  // frames * channels

  int64_t frames() const {
    return channels > 0 ? static_cast<int64_t>(samples.size()) / channels : 0;
  }
  double seconds() const {
    return sample_rate > 0 ? static_cast<double>(frames()) / sample_rate : 0.0;
  }
};

}  // namespace tessera
