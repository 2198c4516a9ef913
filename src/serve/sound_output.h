// Sound as clients want it: files of several formats, and streams of WAV or PCM.
#pragma once

#include "core/media.h"
#include "io/resample.h"

#include <optional>
#include <string>
#include <string_view>

namespace tessera::serve {

enum class SoundFormat { kWav, kPcm, kFlac, kMp3, kOpus };

inline constexpr int kPcmRate = 24000;  // Hz of SoundFormat::kPcm, as OpenAI has it

/// By OpenAI's names: wav, pcm or pcm16, flac, mp3, opus. Nothing for others.
std::optional<SoundFormat> sound_format_named(std::string_view name);
/// "audio/wav"
std::string_view sound_type(SoundFormat format);
/// Whether it can be sent while it is made.
bool streams(SoundFormat format);

/// A whole file of mono sound; kPcm is 16-bit little-endian at 24 kHz without a header. Throws
/// Unsupported when it needs FFmpeg and there is none.
std::string encode_sound(const Audio& audio, SoundFormat format);

/// The same bit by bit, for formats that stream. A WAV's header says "to the end".
class SoundStream {
 public:
  explicit SoundStream(SoundFormat format) : format_(format) {}
  /// Mono, always of one rate.
  std::string push(const Audio& chunk);
  std::string finish();

 private:
  SoundFormat format_;
  std::optional<io::Resampler> resampler_;
  bool begun_ = false;
};

}  // namespace tessera::serve
