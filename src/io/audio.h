// Sound from and to files: any length in bounded memory, or whole recordings.
#pragma once

#include "core/media.h"
#include "io/byte_stream.h"
#include "io/resample.h"
#include "io/wav.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tessera::io {

class FfmpegDecoder;
class FfmpegEncoder;

struct AudioInfo {
  int sample_rate = 0;  // Hz
  int channels = 0;
  std::optional<double> seconds;  // exact for WAV files, an estimate otherwise, absent for pipes
  std::string format;             // "wav", or FFmpeg's name of the container, e.g. "mp3"
};

/// Reads a sound file, or the sound of a video file, as it is. The content decides about the
/// format, not the name: WAV is read by io/wav.h, all else by FFmpeg.
///
///   AudioReader reader("talk.mp3");
///   std::vector<float> block(4096 * reader.info().channels);
///   while (const size_t frames = reader.read(block)) { … }
class AudioReader {
 public:
  /// "-" is stdin. Throws NotFound, Io, CorruptFile, or Unsupported (no FFmpeg, no sound track).
  explicit AudioReader(const std::string& path);
  explicit AudioReader(std::unique_ptr<ByteSource> source);
  explicit AudioReader(std::unique_ptr<FfmpegDecoder> decoder);
  ~AudioReader();
  AudioReader(AudioReader&&) noexcept;
  AudioReader& operator=(AudioReader&&) noexcept;

  const AudioInfo& info() const { return info_; }
  const std::string& name() const { return name_; }
  /// Fills whole frames of `block` (interleaved) and returns how many; less than fit only at the
  /// end.
  size_t read(std::span<float> block);

 private:
  std::string name_;
  AudioInfo info_;
  std::unique_ptr<WavReader> wav_;
  std::unique_ptr<FfmpegDecoder> decoder_;
};

struct AudioOptions {
  int sample_rate = 0;  // Hz; 0 = as it is
  bool mono = false;    // the mean of the channels
};

/// Reads sound in the form that a model wants: channels are averaged first, then resampled
/// (io/resample.h).
///
///   AudioStream stream("-", {.sample_rate = 16000, .mono = true});
class AudioStream {
 public:
  explicit AudioStream(const std::string& path, const AudioOptions& options = {});
  explicit AudioStream(AudioReader reader, const AudioOptions& options = {});

  int sample_rate() const { return sample_rate_; }
  int channels() const { return channels_; }
  const std::string& name() const { return reader_.name(); }
  /// Length in seconds if known; see AudioInfo.
  std::optional<double> seconds() const { return reader_.info().seconds; }
  /// As AudioReader::read.
  size_t read(std::span<float> block);

 private:
  bool refill();

  AudioReader reader_;
  int sample_rate_;
  int channels_;
  std::optional<InterleavedResampler> resampler_;
  bool finished_ = false;
  std::vector<float> raw_;
  std::vector<float> ready_;  // from next_ on not yet read
  size_t next_ = 0;
};

/// The longest recording that read_audio takes.
inline constexpr int kMaxHoursInMemory = 24;

/// A whole recording. Throws Unsupported when it is longer than 24 hours, OutOfMemory when it does
/// not fit, and what AudioReader throws.
Audio read_audio(const std::string& path, const AudioOptions& options = {});

struct AudioWriteOptions {
  SampleFormat sample_format = SampleFormat::kPcm16;  // WAV and FLAC (float becomes 24-bit there)
  int bit_rate = 0;                                   // bit/s of MP3, Ogg, Opus, M4A; 0 = good
};

/// Writes sound block by block. The extension decides: .wav, or through FFmpeg .flac, .mp3, .ogg
/// (Vorbis), .opus, .m4a (AAC); "-" is WAV to stdout. A file appears under its name only on
/// finish(); without it nothing is left behind.
class AudioWriter {
 public:
  /// Throws InvalidArgument, Unsupported or Io.
  AudioWriter(const std::string& path,
              int sample_rate,
              int channels,
              const AudioWriteOptions& options = {});
  ~AudioWriter();

  /// Whole frames, interleaved.
  void write(std::span<const float> samples);
  void finish();

 private:
  int channels_;
  std::unique_ptr<WavWriter> wav_;
  std::unique_ptr<FfmpegEncoder> encoder_;
};

/// AudioWriter in one call.
void write_audio(const std::string& path,
                 const Audio& audio,
                 const AudioWriteOptions& options = {});

}  // namespace tessera::io
