#include "serve/sound_output.h"

#include "core/error.h"
#include "io/audio.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace tessera::serve {
namespace {

struct Row {
  std::string_view name;
  SoundFormat format;
  std::string_view type;
  std::string_view extension;  // of io::write_audio
};

constexpr Row kRows[] = {
    {"wav", SoundFormat::kWav, "audio/wav", ".wav"},
    {"pcm", SoundFormat::kPcm, "audio/pcm", ""},
    {"pcm16", SoundFormat::kPcm, "audio/pcm", ""},
    {"flac", SoundFormat::kFlac, "audio/flac", ".flac"},
    {"mp3", SoundFormat::kMp3, "audio/mpeg", ".mp3"},
    {"opus", SoundFormat::kOpus, "audio/ogg", ".opus"},
};

const Row& row_of(SoundFormat format) {
  return *std::find_if(std::begin(kRows), std::end(kRows),
                       [&](const Row& row) { return row.format == format; });
}

// As io/wav.cc writes samples.
std::string pcm16(std::span<const float> samples) {
  std::string out(samples.size() * 2, '\0');
  for (size_t i = 0; i < samples.size(); ++i) {
    const float scaled = std::isnan(samples[i]) ? 0.0F : samples[i] * 32768.0F;
    const auto value = static_cast<int16_t>(std::lrint(std::clamp(scaled, -32768.0F, 32767.0F)));
    const auto bits = static_cast<uint16_t>(value);
    out[2 * i] = static_cast<char>(bits & 0xFF);
    out[2 * i + 1] = static_cast<char>(bits >> 8);
  }
  return out;
}

// Sizes 0xFFFFFFFF: read to the end.
std::string wav_header(int sample_rate) {
  std::string out = "RIFF\xFF\xFF\xFF\xFFWAVEfmt ";
  const auto put = [&](uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      out += static_cast<char>(value >> (8 * i) & 0xFF);
    }
  };
  put(16, 4);
  put(1, 2);  // PCM
  put(1, 2);  // mono
  put(static_cast<uint32_t>(sample_rate), 4);
  put(static_cast<uint32_t>(sample_rate) * 2, 4);
  put(2, 2);
  put(16, 2);
  out += "data";
  put(0xFFFFFFFF, 4);
  return out;
}

// FFmpeg's encoders write files.
std::string encode_by_file(const Audio& audio, std::string_view extension) {
  static std::atomic<uint64_t> counter = 0;
  const io::fs::path path =
      io::fs::temp_directory_path() /
      fmt::format("tessera-{}-{}{}", getpid(), counter.fetch_add(1), extension);
  const auto remove = [&] {
    std::error_code ignored;
    io::fs::remove(path, ignored);
  };
  try {
    io::write_audio(path.string(), audio);
    std::string bytes = io::read_file(path);
    remove();
    return bytes;
  } catch (...) {
    remove();
    throw;
  }
}

}  // namespace

std::optional<SoundFormat> sound_format_named(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name == name) {
      return row.format;
    }
  }
  return std::nullopt;
}

std::string_view sound_type(SoundFormat format) {
  return row_of(format).type;
}

bool streams(SoundFormat format) {
  return format == SoundFormat::kWav || format == SoundFormat::kPcm;
}

std::string encode_sound(const Audio& audio, SoundFormat format) {
  TESSERA_CHECK(audio.channels == 1, Internal, "sound for clients is mono, got {} channels",
                audio.channels);
  if (format == SoundFormat::kWav) {
    return io::encode_wav(audio);
  }
  if (format == SoundFormat::kPcm) {
    return pcm16(io::resample(audio.samples, audio.sample_rate, kPcmRate));
  }
  return encode_by_file(audio, row_of(format).extension);
}

std::string SoundStream::push(const Audio& chunk) {
  if (format_ == SoundFormat::kPcm) {
    if (!resampler_.has_value()) {
      resampler_.emplace(chunk.sample_rate, kPcmRate);
    }
    return pcm16(resampler_->push(chunk.samples));
  }
  std::string out = begun_ ? "" : wav_header(chunk.sample_rate);
  begun_ = true;
  return out + pcm16(chunk.samples);
}

std::string SoundStream::finish() {
  return resampler_.has_value() ? pcm16(resampler_->finish()) : std::string();
}

}  // namespace tessera::serve
