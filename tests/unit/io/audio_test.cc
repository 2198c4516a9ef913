#include "io/audio.h"

#include "audio_golden.h"
#include "core/error.h"
#include "io/ffmpeg.h"
#include "io/ffmpeg_audio.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>
#include <numbers>
#include <thread>

namespace tessera::io {
namespace {

bool has_ffmpeg() {
  try {
    ffmpeg();
    return true;
  } catch (const Unsupported&) {
    return false;
  }
}

#define NEEDS_FFMPEG()                    \
  if (!has_ffmpeg()) {                    \
    GTEST_SKIP() << "FFmpeg is not here"; \
  }

// Partials of a falling tone with an envelope, a little different in each channel.
Audio tone(int rate, int channels, double seconds) {
  const auto frames = static_cast<size_t>(seconds * rate);
  Audio audio{rate, channels, std::vector<float>(frames * static_cast<size_t>(channels))};
  for (size_t i = 0; i < frames; ++i) {
    const double t = static_cast<double>(i) / rate;
    for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
      const double f = (220.0 + 60.0 * static_cast<double>(c)) * 2 * std::numbers::pi * t;
      const double x = 0.3 * std::sin(f) + 0.15 * std::sin(2.01 * f) + 0.05 * std::sin(5.3 * f);
      audio.samples[i * static_cast<size_t>(channels) + c] =
          static_cast<float>(x * (0.6 - 0.4 * std::cos(9 * t)));
    }
  }
  return audio;
}

double snr(const std::vector<float>& clean, const std::vector<float>& noisy) {
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < std::min(clean.size(), noisy.size()); ++i) {
    signal += clean[i] * clean[i];
    noise += (clean[i] - noisy[i]) * (clean[i] - noisy[i]);
  }
  return 10 * std::log10(signal / std::max(noise, 1e-30));
}

long resident_kilobytes() {
  std::ifstream status("/proc/self/statm");
  long total = 0;
  long resident = 0;
  status >> total >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

template <class ErrorType, class Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "no such error";
}

TEST(Audio, CompressedFilesAreWhatSoundfileReads) {
  NEEDS_FFMPEG();
  for (const Json& entry : audio_index().at("compressed")) {
    const auto name = entry.at("file").get<std::string>();
    const auto tolerance = entry.at("tolerance").get<double>();
    const Audio audio = read_audio((kAudioGoldens / name).string());
    EXPECT_EQ(audio.sample_rate, entry.at("rate").get<int>()) << name;
    EXPECT_EQ(audio.channels, entry.at("channels").get<int>()) << name;
    EXPECT_EQ(audio.frames(), entry.at("frames").get<int64_t>()) << name;
    EXPECT_LE(max_difference(audio.samples, golden_floats(entry.at("samples"))), tolerance) << name;
  }
}

TEST(Audio, ContentDecidesNotTheName) {
  NEEDS_FFMPEG();
  const std::string path = scratch_path("really_flac.wav");
  write_file(path, read_file(kAudioGoldens / "flac_16.flac"));
  EXPECT_EQ(AudioReader(path).info().format, "flac");
  write_file(path, read_file(kAudioGoldens / "pcm_16.wav"));
  fs::rename(path, scratch_path("really_wav.mp3"));
  EXPECT_EQ(AudioReader(scratch_path("really_wav.mp3")).info().format, "wav");
}

// Of six channels AAC keeps only the lowest tones of one (LFE), so that bound is low.
struct RoundTrip {
  const char* extension;
  int rate;
  int channels;
  double least_snr;
};

TEST(Audio, RoundTripsThroughFfmpeg) {
  NEEDS_FFMPEG();
  for (const RoundTrip& c : {RoundTrip{".flac", 16000, 1, 80}, RoundTrip{".flac", 44100, 6, 80},
                             RoundTrip{".mp3", 44100, 2, 25}, RoundTrip{".mp3", 16000, 1, 25},
                             RoundTrip{".ogg", 44100, 2, 20}, RoundTrip{".ogg", 8000, 1, 20},
                             RoundTrip{".opus", 48000, 2, 15}, RoundTrip{".opus", 48000, 1, 15},
                             RoundTrip{".m4a", 44100, 2, 25}, RoundTrip{".m4a", 8000, 1, 12},
                             RoundTrip{".m4a", 48000, 6, 5}}) {
    SCOPED_TRACE(fmt::format("{} {} Hz {} channels", c.extension, c.rate, c.channels));
    const Audio clean = tone(c.rate, c.channels, 1.2345);
    const std::string path = scratch_path(std::string("trip") + c.extension);
    write_audio(path, clean);
    const Audio back = read_audio(path);
    EXPECT_EQ(back.sample_rate, c.rate);
    EXPECT_EQ(back.channels, c.channels);
    EXPECT_EQ(back.frames(), clean.frames());
    EXPECT_GE(snr(clean.samples, back.samples), c.least_snr);
    EXPECT_NEAR(AudioReader(path).info().seconds.value_or(0), clean.seconds(), 0.1);
  }
}

TEST(Audio, FlacKeeps24Bits) {
  NEEDS_FFMPEG();
  const Audio clean = tone(16000, 2, 0.3);
  const std::string path = scratch_path("deep.flac");
  write_audio(path, clean, {.sample_format = SampleFormat::kPcm24});
  EXPECT_LE(max_difference(read_audio(path).samples, clean.samples), 0x1p-24);
}

TEST(Audio, CodecsThatLackTheRateGetTheNextOne) {
  NEEDS_FFMPEG();
  const Audio clean = tone(22050, 1, 1.0);
  write_audio(scratch_path("next.opus"), clean);
  const Audio back = read_audio(scratch_path("next.opus"), {.sample_rate = 22050});
  EXPECT_NEAR(static_cast<double>(back.frames()), 22050, 2);
  EXPECT_GE(snr(clean.samples, back.samples), 12);
}

TEST(Audio, EqualSoundGivesEqualFiles) {
  NEEDS_FFMPEG();
  for (const char* extension : {".flac", ".mp3", ".ogg", ".opus", ".m4a"}) {
    const std::string first = scratch_path(std::string("first") + extension);
    const std::string second = scratch_path(std::string("second") + extension);
    write_audio(first, tone(16000, 1, 0.5));
    write_audio(second, tone(16000, 1, 0.5));
    EXPECT_EQ(read_file(first), read_file(second)) << extension;
  }
}

TEST(Audio, SilenceAndNothingSurvive) {
  for (const char* extension : {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}) {
    if (std::string(extension) != ".wav" && !has_ffmpeg()) {
      continue;
    }
    const std::string path = scratch_path(std::string("silent") + extension);
    write_audio(path, Audio{16000, 1, std::vector<float>(8000, 0.0F)});
    const Audio silent = read_audio(path, {.sample_rate = 16000});
    EXPECT_EQ(silent.frames(), 8000) << extension;
    for (const float x : silent.samples) {
      EXPECT_LT(std::fabs(x), 1e-4F) << extension;
    }
  }
  write_audio(scratch_path("nothing.wav"), Audio{16000, 1, {}});
  const Audio nothing = read_audio(scratch_path("nothing.wav"), {.sample_rate = 8000});
  EXPECT_EQ(nothing.frames(), 0);
  EXPECT_EQ(nothing.sample_rate, 8000);
}

TEST(Audio, SixChannelsBecomeTheirMean) {
  const std::string path = (kAudioGoldens / "extensible_16.wav").string();
  const Audio six = read_audio(path);
  const Audio one = read_audio(path, {.mono = true});
  ASSERT_EQ(six.channels, 6);
  ASSERT_EQ(one.channels, 1);
  ASSERT_EQ(one.frames(), six.frames());
  for (size_t i = 0; i < one.samples.size(); ++i) {
    double sum = 0;
    for (size_t c = 0; c < 6; ++c) {
      sum += six.samples[6 * i + c];
    }
    EXPECT_NEAR(one.samples[i], sum / 6, 1e-6);
  }
}

TEST(Audio, StreamEqualsTheWholeInAnyBlocks) {
  const Audio stereo = tone(8000, 2, 1.5);
  write_audio(scratch_path("stereo.wav"), stereo);
  const AudioOptions options{.sample_rate = 16000, .mono = true};
  const Audio whole = read_audio(scratch_path("stereo.wav"), options);
  EXPECT_EQ(whole.frames(), 24000);
  for (const size_t block : {1U, 333U, 100000U}) {
    AudioStream stream(scratch_path("stereo.wav"), options);
    EXPECT_EQ(stream.seconds(), 1.5);
    EXPECT_EQ(read_all(stream, 1, block), whole.samples) << block;
  }
}

TEST(Audio, BrokenFilesAreErrorsThatNameThem) {
  write_file(scratch_path("empty.mp3"), "");
  const auto read = [](const std::string& name) { read_audio(scratch_path(name)); };
  EXPECT_NE(message_of<CorruptFile>([&] { read("empty.mp3"); }).find("empty.mp3: is empty"),
            std::string::npos);
  EXPECT_THROW(read("missing.wav"), NotFound);
  EXPECT_THROW(read(""), InvalidArgument);
  NEEDS_FFMPEG();
  write_file(scratch_path("text.flac"), std::string(3000, 'x') + "not sound at all");
  EXPECT_THROW(read("text.flac"), Error);
  const std::string picture("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x8\0\0\0\0", 29);
  write_file(scratch_path("picture.png"), picture);
  EXPECT_THROW(read("picture.png"), Error);
}

TEST(Audio, TruncatedCompressedFilesEndEarlyOrAreErrors) {
  NEEDS_FFMPEG();
  for (const char* name : {"flac_16.flac", "vorbis.ogg", "layer3.mp3", "opus.ogg"}) {
    const std::string whole = read_file(kAudioGoldens / name);
    for (size_t size = 1; size < whole.size(); size += whole.size() / 7) {
      const std::string path = scratch_path(std::string("cut_") + name);
      write_file(path, whole.substr(0, size));
      try {
        EXPECT_LE(read_audio(path).seconds(), 0.2) << name << " " << size;
      } catch (const CorruptFile&) {
      } catch (const Unsupported&) {
      }
    }
  }
}

TEST(Audio, DamagedCompressedFilesDoNoHarm) {
  NEEDS_FFMPEG();
  for (const char* name : {"flac_24.flac", "vorbis.ogg", "layer3.mp3"}) {
    for (size_t step = 61; step < 400; step += 113) {
      std::string bytes = read_file(kAudioGoldens / name);
      for (size_t at = step; at < bytes.size(); at += step) {
        bytes[at] = static_cast<char>(bytes[at] ^ 0x5A);
      }
      write_file(scratch_path("damaged"), bytes);
      try {
        EXPECT_LE(read_audio(scratch_path("damaged")).seconds(), 60.0) << name;
      } catch (const Error&) {
      }
    }
  }
}

TEST(Audio, PlaylistsOpenNothing) {
  NEEDS_FFMPEG();
  write_audio(scratch_path("secret.wav"), tone(8000, 1, 0.1));
  write_file(scratch_path("list.m3u8"), "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://" +
                                            scratch_path("secret.wav") + "\n#EXT-X-ENDLIST\n");
  write_file(scratch_path("list.ffconcat"),
             "ffconcat version 1.0\nfile " + scratch_path("secret.wav") + "\n");
  EXPECT_THROW(read_audio(scratch_path("list.m3u8")), Error);
  EXPECT_THROW(read_audio(scratch_path("list.ffconcat")), Error);
}

TEST(Audio, WithoutFfmpegTheNextStepIsNamed) {
  const std::string text = message_of<Unsupported>([] { load_ffmpeg("/nowhere"); });
  EXPECT_NE(text.find("apt-get install libavformat59"), std::string::npos) << text;
}

TEST(Audio, ThreeHoursStreamInBoundedMemory) {
  // A sparse file: the header, then 3 h of zeros that take no room.
  const std::string path = scratch_path("three_hours.wav");
  {
    AudioWriter writer(path, 8000, 2);
    writer.finish();
  }
  const uint64_t bytes = uint64_t{3} * 3600 * 8000 * 4;
  fs::resize_file(path, 44 + bytes);
  AudioStream stream(path, {.mono = true});
  std::vector<float> block(1 << 16);
  const long before = resident_kilobytes();
  uint64_t frames = 0;
  while (const size_t got = stream.read(block)) {
    frames += got;
  }
  EXPECT_EQ(frames, bytes / 4);
  EXPECT_LT(resident_kilobytes() - before, 16 * 1024);
  fs::remove(path);
}

TEST(Audio, MoreThanADayIsRefusedBeforeReading) {
  const std::string path = scratch_path("days.wav");
  write_audio(path, Audio{8000, 1, {0.0F, 0.0F}});
  fs::resize_file(path, 44 + uint64_t{25} * 3600 * 8000 * 2);
  // Sizes that were never filled in: the data goes on to the end.
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(40);
  file.write("\xFF\xFF\xFF\xFF", 4);
  file.close();
  const std::string text = message_of<Unsupported>([&] { read_audio(path); });
  EXPECT_NE(text.find("longer than 24 hours"), std::string::npos) << text;
  fs::remove(path);
}

// Runs `body` with the bytes arriving through a named pipe.
template <class Body>
void through_pipe(const std::string& bytes, Body body) {
  const std::string path = scratch_path("pipe");
  fs::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  std::thread feeder([&] {
    std::ofstream out(path, std::ios::binary);
    for (size_t at = 0; at < bytes.size(); at += 1001) {
      out << std::string_view(bytes).substr(at, 1001) << std::flush;
    }
  });
  body(path);
  feeder.join();
  fs::remove(path);
}

TEST(Audio, PipesAreReadOnceFromFrontToBack) {
  std::string wav = read_file(kAudioGoldens / "pcm_16.wav");
  const std::vector<float> expected = read_audio((kAudioGoldens / "pcm_16.wav").string()).samples;
  through_pipe(wav,
               [&](const std::string& path) { EXPECT_EQ(read_audio(path).samples, expected); });
  wav.replace(40, 4, "\xFF\xFF\xFF\xFF");
  through_pipe(wav, [&](const std::string& path) {
    AudioReader reader(path);
    EXPECT_EQ(reader.info().seconds, std::nullopt);
    EXPECT_EQ(read_all(reader, 2, 13), expected);
  });
  NEEDS_FFMPEG();
  for (const char* name : {"flac_16.flac", "vorbis.ogg", "layer3.mp3", "ima_adpcm.wav"}) {
    const Audio file = read_audio((kAudioGoldens / name).string());
    through_pipe(read_file(kAudioGoldens / name), [&](const std::string& path) {
      Audio piped = read_audio(path);
      // What pads the last MP3 frame is known only with the file's size.
      EXPECT_GE(piped.samples.size(), file.samples.size()) << name;
      EXPECT_LE(piped.frames(), file.frames() + 1152) << name;
      piped.samples.resize(file.samples.size());
      EXPECT_EQ(piped.samples, file.samples) << name;
    });
  }
}

TEST(Audio, Mp4ComesThroughAPipeToo) {
  NEEDS_FFMPEG();
  const std::string path = scratch_path("piped.m4a");
  write_audio(path, tone(16000, 1, 0.5));
  const std::vector<float> expected = read_audio(path).samples;
  const std::string bytes = read_file(path);
  through_pipe(bytes,
               [&](const std::string& pipe) { EXPECT_EQ(read_audio(pipe).samples, expected); });
  through_pipe(bytes.substr(0, bytes.size() / 2),
               [&](const std::string& pipe) { EXPECT_THROW(read_audio(pipe), CorruptFile); });
}

TEST(Audio, DashIsStdin) {
  const Audio expected = read_audio((kAudioGoldens / "pcm_24.wav").string());
  const int saved = ::dup(STDIN_FILENO);
  const int file = ::open((kAudioGoldens / "pcm_24.wav").c_str(), O_RDONLY);
  ::dup2(file, STDIN_FILENO);
  ::close(file);
  EXPECT_EQ(read_audio("-").samples, expected.samples);
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

TEST(Audio, APipeGetsUnknownSizes) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(ends[1]);
  const Audio clean = tone(8000, 1, 0.1);
  write_audio(path, clean);
  ::close(ends[1]);
  std::string bytes(1 << 16, '\0');
  bytes.resize(static_cast<size_t>(::read(ends[0], bytes.data(), bytes.size())));
  ::close(ends[0]);
  EXPECT_EQ(bytes.substr(40, 4), "\xFF\xFF\xFF\xFF");
  WavReader reader(memory_source(bytes));
  EXPECT_LE(max_difference(read_all(reader, 1), clean.samples), 0x1p-16);
}

TEST(Audio, StdoutIntoAFileGetsItsSizes) {
  const Audio clean = tone(8000, 1, 0.1);
  const std::string path = scratch_path("stdout");
  const int saved = ::dup(STDOUT_FILENO);
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  ASSERT_EQ(::write(file, "before", 6), 6);
  ::dup2(file, STDOUT_FILENO);
  ::close(file);
  write_audio("-", clean);
  ::dup2(saved, STDOUT_FILENO);
  ::close(saved);
  const std::string bytes = read_file(path);
  EXPECT_EQ(bytes.substr(0, 10), "beforeRIFF");
  write_audio(scratch_path("same.wav"), clean);
  EXPECT_EQ(bytes.substr(6), read_file(scratch_path("same.wav")));
}

TEST(Audio, FullDiskIsAnErrorAndLeavesNothing) {
  if (!fs::exists("/dev/full")) {
    GTEST_SKIP() << "no /dev/full here";
  }
  const Audio clean = tone(16000, 1, 2.0);
  EXPECT_NE(message_of<Io>([&] { write_audio("/dev/full", clean); }).find("No space left"),
            std::string::npos);
  for (const char* extension : {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"}) {
    if (std::string(extension) != ".wav" && !has_ffmpeg()) {
      continue;
    }
    // The temporary name is a link to the device that refuses every write.
    const std::string path = scratch_path(std::string("full") + extension);
    const std::string part = path + ".part-" + std::to_string(::getpid());
    fs::remove(part);
    fs::create_symlink("/dev/full", part);
    EXPECT_NE(message_of<Io>([&] { write_audio(path, clean); }).find("No space left"),
              std::string::npos)
        << extension;
    EXPECT_FALSE(fs::exists(path)) << extension;
    EXPECT_FALSE(fs::is_symlink(part)) << extension;
  }
}

TEST(Audio, WritersRefuseWhatTheFormatLacks) {
  EXPECT_THROW(write_audio(scratch_path("x.xyz"), tone(8000, 1, 0.1)), InvalidArgument);
  EXPECT_THROW(write_audio(scratch_path("noextension"), tone(8000, 1, 0.1)), InvalidArgument);
  EXPECT_THROW(AudioWriter(scratch_path("x.flac"), 0, 1), InvalidArgument);
  EXPECT_THROW(AudioWriter(scratch_path("x.wav"), 8000, 1000), InvalidArgument);
  NEEDS_FFMPEG();
  EXPECT_THROW(write_audio(scratch_path("six.mp3"), tone(44100, 6, 0.1)), InvalidArgument);
  EXPECT_FALSE(fs::exists(scratch_path("six.mp3")));
}

}  // namespace
}  // namespace tessera::io
