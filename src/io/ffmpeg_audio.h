// Sound decoded and encoded by FFmpeg; used through io/audio.h.
#pragma once

#include "io/byte_stream.h"
#include "io/wav.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace tessera::io {

class FfmpegInput;

/// The best sound track of any file that FFmpeg reads, as floats at its own rate and channels.
/// Damaged packets are left out and counted in one warning. Should rate or channels change on the
/// way (chained streams), what follows is converted to what the first frame had.
class FfmpegDecoder {
 public:
  /// Decodes the first frame. Throws Unsupported (no FFmpeg, no sound, no decoder) or CorruptFile.
  explicit FfmpegDecoder(std::unique_ptr<ByteSource> source);
  explicit FfmpegDecoder(std::unique_ptr<FfmpegInput> input);
  ~FfmpegDecoder();

  const std::string& name() const;
  int sample_rate() const;
  int channels() const;
  /// Length as the container tells it: an estimate.
  std::optional<double> seconds() const;
  /// Short name of the codec's container, e.g. "mp3".
  std::string format() const;
  /// Fills whole frames of `block` (interleaved); less only at the end.
  size_t read(std::span<float> block);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What is written into which container.
struct FfmpegFormat {
  const char* extension;  // ".mp3"
  const char* container;  // FFmpeg's names
  const char* codec;
  int bits_per_second_per_channel;  // at 44.1 kHz, where no other bit rate is asked for
  int quality;                      // instead of a bit rate: the encoder's own scale, 0 = none
};

/// The format for an extension (lower case, with the dot); null when there is none.
const FfmpegFormat* ffmpeg_format(const std::string& extension);

/// Encodes interleaved floats. Where the codec lacks the sample rate (Opus, MP3) the sound is
/// resampled to the next one that it has.
class FfmpegEncoder {
 public:
  /// `bit_rate` in bit/s, 0 = the format's default. Throws Unsupported or InvalidArgument (e.g. six
  /// channels in MP3).
  FfmpegEncoder(std::unique_ptr<ByteSink> sink,
                const FfmpegFormat& format,
                int sample_rate,
                int channels,
                SampleFormat sample_format,
                int bit_rate);
  ~FfmpegEncoder();

  void write(std::span<const float> samples);
  /// Drains the codec, completes the container, commits the file.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::io
