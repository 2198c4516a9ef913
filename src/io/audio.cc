// One door to sound files. WAV goes through our own reader and writer, everything else (and WAV
// with compressed samples) through FFmpeg. Mono is the plain mean of the channels, as users of
// torchaudio and soundfile compute it, not FFmpeg's weighted down-mix.
#include "io/audio.h"

#include "core/error.h"
#include "io/ffmpeg_audio.h"

#include <algorithm>
#include <cctype>
#include <new>

namespace tessera::io {
namespace {

constexpr size_t kBlockSamples = size_t{1} << 15;

std::string lower_extension(const std::string& path) {
  std::string extension = fs::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

// In place: the first result slots become the means of the frames.
void average_channels(std::vector<float>& samples, size_t channels) {
  const size_t frames = samples.size() / channels;
  for (size_t i = 0; i < frames; ++i) {
    float sum = 0;
    for (size_t c = 0; c < channels; ++c) {
      sum += samples[i * channels + c];
    }
    samples[i] = sum / static_cast<float>(channels);
  }
  samples.resize(frames);
}

}  // namespace

AudioReader::AudioReader(const std::string& path) : AudioReader(ByteSource::open(path)) {}

AudioReader::AudioReader(std::unique_ptr<ByteSource> source) : name_(source->name()) {
  const std::string front(source->peek(12));
  TESSERA_CHECK(!front.empty(), CorruptFile, "{}: is empty (0 bytes), expected a sound file",
                name_);
  if (is_wav(front)) {
    const WavHeader header = read_wav_header(*source);
    if (header.coding != WavHeader::Coding::kOther) {
      wav_ = std::make_unique<WavReader>(std::move(source), header);
      info_ = {wav_->sample_rate(), wav_->channels(), std::nullopt, "wav"};
      if (const auto frames = wav_->frames()) {
        info_.seconds = static_cast<double>(*frames) / wav_->sample_rate();
      }
      return;
    }
    TESSERA_CHECK(source->seek(0), Unsupported,
                  "{}: WAV with compressed samples in a pipe; give the file's path instead", name_);
  }
  if (!source->seekable() && front.substr(std::min<size_t>(4, front.size()), 4) == "ftyp") {
    // MP4 keeps its index where it likes, often at the end.
    source = ByteSource::to_file(*source);
  }
  *this = AudioReader(std::make_unique<FfmpegDecoder>(std::move(source)));
}

AudioReader::AudioReader(std::unique_ptr<FfmpegDecoder> decoder)
    : name_(decoder->name()),
      info_{decoder->sample_rate(), decoder->channels(), decoder->seconds(), decoder->format()},
      decoder_(std::move(decoder)) {}

AudioReader::~AudioReader() = default;
AudioReader::AudioReader(AudioReader&&) noexcept = default;
AudioReader& AudioReader::operator=(AudioReader&&) noexcept = default;

size_t AudioReader::read(std::span<float> block) {
  return wav_ != nullptr ? wav_->read(block) : decoder_->read(block);
}

AudioStream::AudioStream(const std::string& path, const AudioOptions& options)
    : AudioStream(AudioReader(path), options) {}

AudioStream::AudioStream(AudioReader reader, const AudioOptions& options)
    : reader_(std::move(reader)),
      sample_rate_(options.sample_rate == 0 ? reader_.info().sample_rate : options.sample_rate),
      channels_(options.mono ? 1 : reader_.info().channels) {
  if (sample_rate_ != reader_.info().sample_rate) {
    with_context(reader_.name(),
                 [&] { resampler_.emplace(channels_, reader_.info().sample_rate, sample_rate_); });
  }
}

bool AudioStream::refill() {
  const auto source_channels = static_cast<size_t>(reader_.info().channels);
  ready_.clear();
  next_ = 0;
  while (ready_.empty() && !finished_) {
    raw_.resize(kBlockSamples / source_channels * source_channels);
    raw_.resize(reader_.read(raw_) * source_channels);
    finished_ = raw_.empty();
    if (channels_ == 1 && source_channels > 1) {
      average_channels(raw_, source_channels);
    }
    if (!resampler_) {
      ready_.swap(raw_);
    } else {
      ready_ = finished_ ? resampler_->finish() : resampler_->push(raw_);
    }
  }
  return !ready_.empty();
}

size_t AudioStream::read(std::span<float> block) {
  const auto channels = static_cast<size_t>(channels_);
  const size_t wanted = block.size() / channels * channels;
  size_t done = 0;
  while (done < wanted && (next_ < ready_.size() || refill())) {
    const size_t count = std::min(wanted - done, ready_.size() - next_);
    std::copy_n(ready_.data() + next_, count, block.data() + done);
    next_ += count;
    done += count;
  }
  return done / channels;
}

Audio read_audio(const std::string& path, const AudioOptions& options) {
  AudioStream stream(path, options);
  const int64_t most = int64_t{kMaxHoursInMemory} * 3600 * stream.sample_rate();
  const auto refuse = [&] {
    throw Unsupported("{}: longer than {} hours, too long for memory; cut it into parts",
                      stream.name(), kMaxHoursInMemory);
  };
  if (stream.seconds().value_or(0) > kMaxHoursInMemory * 3600.0) {
    refuse();
  }
  Audio audio{stream.sample_rate(), stream.channels(), {}};
  try {
    // A header may promise more than there is, so what is reserved stays modest.
    constexpr double kMostReserved = 1 << 26;
    audio.samples.reserve(static_cast<size_t>(std::min(
        kMostReserved, (stream.seconds().value_or(0) + 0.1) * audio.sample_rate * audio.channels)));
    std::vector<float> block(kBlockSamples / static_cast<size_t>(audio.channels) *
                             static_cast<size_t>(audio.channels));
    while (const size_t frames = stream.read(block)) {
      const size_t count = frames * static_cast<size_t>(audio.channels);
      audio.samples.insert(audio.samples.end(), block.begin(),
                           block.begin() + static_cast<ptrdiff_t>(count));
      if (audio.frames() > most) {
        refuse();
      }
    }
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("{}: no memory for more than {:.0f} seconds of sound; cut it into parts",
                      stream.name(), audio.seconds());
  }
  return audio;
}

AudioWriter::AudioWriter(const std::string& path,
                         int sample_rate,
                         int channels,
                         const AudioWriteOptions& options)
    : channels_(channels) {
  const std::string extension = lower_extension(path);
  const FfmpegFormat* format = ffmpeg_format(extension);
  TESSERA_CHECK(sample_rate >= 1 && sample_rate <= kMaxSampleRate, InvalidArgument,
                "{}: sample rate {}, expected 1 to {}", path, sample_rate, kMaxSampleRate);
  TESSERA_CHECK(channels >= 1 && channels <= kMaxChannels, InvalidArgument,
                "{}: {} channels, expected 1 to {}", path, channels, kMaxChannels);
  if (format != nullptr) {
    encoder_ = std::make_unique<FfmpegEncoder>(ByteSink::open(path), *format, sample_rate, channels,
                                               options.sample_format, options.bit_rate);
    return;
  }
  const bool is_device = fs::exists(path) && !fs::is_regular_file(path);
  TESSERA_CHECK(path == "-" || extension == ".wav" || is_device, InvalidArgument,
                "{}: cannot tell the format from '{}', expected .wav, .flac, .mp3, .ogg, .opus or "
                ".m4a",
                path, extension);
  wav_ = std::make_unique<WavWriter>(ByteSink::open(path), sample_rate, channels,
                                     options.sample_format);
}

AudioWriter::~AudioWriter() = default;

void AudioWriter::write(std::span<const float> samples) {
  TESSERA_CHECK(samples.size() % static_cast<size_t>(channels_) == 0, InvalidArgument,
                "{} samples are not whole frames of {} channels", samples.size(), channels_);
  if (wav_ != nullptr) {
    wav_->write(samples);
  } else {
    encoder_->write(samples);
  }
}

void AudioWriter::finish() {
  if (wav_ != nullptr) {
    wav_->finish();
  } else {
    encoder_->finish();
  }
}

void write_audio(const std::string& path, const Audio& audio, const AudioWriteOptions& options) {
  AudioWriter writer(path, audio.sample_rate, audio.channels, options);
  writer.write(audio.samples);
  writer.finish();
}

}  // namespace tessera::io
