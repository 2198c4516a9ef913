// WAV files: RIFF, RF64/BW64 and RIFX in blocks of any length.
#pragma once

#include "core/media.h"
#include "io/byte_stream.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

/// Bounds that every sound reader and writer keeps.
inline constexpr int kMaxSampleRate = 10'000'000;  // Hz
inline constexpr int kMaxChannels = 256;

/// How samples are stored in WAV and FLAC files that we write.
enum class SampleFormat { kPcm16, kPcm24, kFloat32 };

/// What stands before the samples of a WAV file.
struct WavHeader {
  enum class Coding { kPcm, kFloat, kALaw, kMuLaw, kOther };
  Coding coding = Coding::kOther;  // kOther: compressed in a way that only FFmpeg knows
  bool big_endian = false;
  int sample_rate = 0;                 // Hz, 1 … kMaxSampleRate unless kOther
  int channels = 0;                    // 1 … kMaxChannels unless kOther
  int bytes_per_sample = 0;            // of one channel
  uint64_t data_offset = 0;            // position of the first sample
  std::optional<uint64_t> data_bytes;  // absent: to the end of the stream, wherever that is

  int bytes_per_frame() const { return bytes_per_sample * channels; }
};

/// True when a file that starts with `front` (>= 12 bytes) is a WAV file of any kind.
bool is_wav(std::string_view front);

/// Reads chunks up to the samples; the source then stands at the first sample. Throws CorruptFile.
WavHeader read_wav_header(ByteSource& source);

/// Reads samples as floats: 8-bit (x − 128)/128, 16-bit x/32768, 24-bit x/2²³, 32-bit x/2³¹, A-law
/// and μ-law /32768, floats as they are.
class WavReader {
 public:
  /// Parses the header. Throws CorruptFile, or Unsupported for a coding that is not ours.
  explicit WavReader(std::unique_ptr<ByteSource> source);
  /// `source` stands behind `header`.
  WavReader(std::unique_ptr<ByteSource> source, const WavHeader& header);

  int sample_rate() const { return header_.sample_rate; }
  int channels() const { return header_.channels; }
  /// Frames in all, if the file tells or its size is known.
  std::optional<int64_t> frames() const;
  /// Fills whole frames of `block` (interleaved) and returns how many; 0 only at the end, or when
  /// the block is shorter than a frame.
  size_t read(std::span<float> block);

 private:
  void start(const WavHeader& header);

  std::unique_ptr<ByteSource> source_;
  WavHeader header_;
  uint64_t bytes_left_ = 0;
  std::vector<std::byte> raw_;
};

/// Writes samples in blocks. Sizes in the header are filled in by finish(); where that is
/// impossible (a pipe) or over 4 GiB they stay 0xFFFFFFFF, "read to the end".
class WavWriter {
 public:
  WavWriter(std::unique_ptr<ByteSink> sink,
            int sample_rate,
            int channels,
            SampleFormat format = SampleFormat::kPcm16);

  /// Whole frames, interleaved. Integers: round(x·2ⁿ⁻¹) clamped, so that what was read from such a
  /// file is written back bit-equal; NaN becomes 0.
  void write(std::span<const float> samples);
  /// Patches the sizes and commits the file.
  void finish();

 private:
  std::unique_ptr<ByteSink> sink_;
  int sample_rate_;
  int channels_;
  SampleFormat format_;
  uint64_t data_bytes_ = 0;
  std::string raw_;
};

/// A whole 16-bit WAV file in memory, at most 4 GiB.
std::string encode_wav(const Audio& audio);

}  // namespace tessera::io
