// What tests/parity/audio.py wrote, and small helpers of the sound tests.
#pragma once

#include "io/byte_stream.h"
#include "io/json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace tessera::io {

inline const fs::path kAudioGoldens = fs::path(TESSERA_GOLDENS) / "audio";

inline const Json& audio_index() {
  static const Json index = read_json(kAudioGoldens / "index.json");
  return index;
}

/// The numbers that an entry {"offset", "count"} of the index stands for.
inline std::vector<float> golden_floats(const Json& entry) {
  static const std::string bytes = read_file(kAudioGoldens / "floats.f32");
  std::vector<float> values(entry.at("count").get<size_t>());
  if (!values.empty()) {
    std::memcpy(values.data(), bytes.data() + entry.at("offset").get<size_t>() * sizeof(float),
                values.size() * sizeof(float));
  }
  return values;
}

/// Largest difference; infinite when the lengths differ or a NaN is there.
inline double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) {
    return INFINITY;
  }
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
    largest = difference <= largest ? largest : std::isnan(difference) ? INFINITY : difference;
  }
  return largest;
}

/// A name in a folder of this process's own.
inline std::string scratch_path(const std::string& name) {
  const fs::path folder =
      fs::path(testing::TempDir()) / ("tessera_audio_test_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  return (folder / name).string();
}

inline std::unique_ptr<ByteSource> memory_source(std::string_view bytes) {
  return ByteSource::from_memory(std::as_bytes(std::span(bytes.data(), bytes.size())), "memory");
}

/// Reads to the end in blocks of `frames`.
template <class Reader>
std::vector<float> read_all(Reader& reader, int channels, size_t frames = 1000) {
  std::vector<float> all;
  std::vector<float> block(frames * static_cast<size_t>(channels));
  while (const size_t got = reader.read(block)) {
    all.insert(all.end(), block.begin(),
               block.begin() + static_cast<ptrdiff_t>(got * static_cast<size_t>(channels)));
  }
  return all;
}

}  // namespace tessera::io
