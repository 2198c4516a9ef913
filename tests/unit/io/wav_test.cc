#include "io/wav.h"

#include "audio_golden.h"
#include "core/error.h"

#include <limits>

namespace tessera::io {
namespace {

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

std::string chunk(const std::string& id, const std::string& body) {
  return id + bytes_of(static_cast<uint32_t>(body.size())) + body +
         std::string(body.size() % 2, '\0');
}

std::string format_body(
    uint16_t tag, uint16_t channels, uint32_t rate, uint16_t bits, int align = -1) {
  const int frame = align >= 0 ? align : channels * ((bits + 7) / 8);
  return bytes_of(tag) + bytes_of(channels) + bytes_of(rate) + bytes_of(rate * channels) +
         bytes_of(static_cast<uint16_t>(frame)) + bytes_of(bits);
}

std::string riff(const std::string& chunks) {
  return chunk("RIFF", "WAVE" + chunks);
}

const std::string kMono16 = chunk("fmt ", format_body(1, 1, 8000, 16));
const std::string kThreeSamples =
    bytes_of<int16_t>(16384) + bytes_of<int16_t>(-32768) + bytes_of<int16_t>(0);
const std::vector<float> kThreeFloats{0.5F, -1.0F, 0.0F};

std::vector<float> decode(std::string_view file, size_t block = 1000) {
  WavReader reader(memory_source(file));
  return read_all(reader, reader.channels(), block);
}

std::string error_of(std::string_view file) {
  try {
    decode(file);
  } catch (const CorruptFile& error) {
    return error.what();
  }
  return "no error";
}

TEST(Wav, ReadsWhatSoundfileReads) {
  for (const Json& entry : audio_index().at("wav")) {
    const auto name = entry.at("file").get<std::string>();
    for (const size_t block : {1U, 7U, 100U, 5000U}) {
      WavReader reader(ByteSource::open((kAudioGoldens / name).string()));
      EXPECT_EQ(reader.sample_rate(), entry.at("rate").get<int>()) << name;
      EXPECT_EQ(reader.channels(), entry.at("channels").get<int>()) << name;
      EXPECT_EQ(reader.frames(), entry.at("frames").get<int64_t>()) << name;
      EXPECT_EQ(read_all(reader, reader.channels(), block), golden_floats(entry.at("samples")))
          << name << " in blocks of " << block;
    }
  }
}

TEST(Wav, EightBitsAreUnsigned) {
  const std::string file = riff(chunk("fmt ", format_body(1, 1, 8000, 8)) +
                                chunk("data", std::string("\x80\x00\xFF", 3)));
  EXPECT_EQ(decode(file), (std::vector<float>{0.0F, -1.0F, 127.0F / 128}));
}

TEST(Wav, OddChunksArePadded) {
  const std::string file = riff(chunk("LIST", "odd") + kMono16 + chunk("id3 ", "x") +
                                chunk("data", kThreeSamples) + chunk("cue ", "behind"));
  EXPECT_EQ(decode(file), kThreeFloats);
}

TEST(Wav, FewerBitsThanTheirBytesAreLeftAligned) {
  const std::string file =
      riff(chunk("fmt ", format_body(1, 1, 8000, 12)) + chunk("data", kThreeSamples));
  EXPECT_EQ(decode(file), kThreeFloats);
}

TEST(Wav, UnknownSizesReadToTheEnd) {
  for (const uint32_t size : {0U, 0xFFFFFFFFU, 7000U, 0x7FFFF000U}) {
    for (const uint32_t riff_size : {0U, 0xFFFFFFFFU}) {
      // One byte more than whole frames.
      const std::string file = "RIFF" + bytes_of(riff_size) + "WAVE" + kMono16 + "data" +
                               bytes_of(size) + kThreeSamples + "x";
      EXPECT_EQ(decode(file), kThreeFloats) << size;
      EXPECT_EQ(WavReader(memory_source(file)).frames(), 3) << size;
    }
  }
}

TEST(Wav, ATrueZeroIsEmpty) {
  EXPECT_TRUE(decode(riff(kMono16 + chunk("data", "") + chunk("LIST", "more"))).empty());
}

TEST(Wav, SizesOfRf64) {
  const std::string sizes =
      bytes_of<uint64_t>(0) + bytes_of<uint64_t>(4) + bytes_of<uint64_t>(2) + bytes_of<uint32_t>(0);
  const std::string rest = kMono16 + "data" + bytes_of(0xFFFFFFFFU) + kThreeSamples;
  const std::string size = bytes_of(0xFFFFFFFFU);
  EXPECT_EQ(decode("BW64" + size + "WAVE" + chunk("ds64", sizes) + rest).size(), 2U);
  EXPECT_EQ(decode("RF64" + size + "WAVE" + rest).size(), 3U);
  const std::string huge = bytes_of<uint64_t>(0) + bytes_of(~uint64_t{0}) + bytes_of<uint64_t>(0);
  EXPECT_EQ(decode("RF64" + size + "WAVE" + chunk("ds64", huge) + rest).size(), 3U);
}

TEST(Wav, BrokenHeadersAreNamed) {
  const std::string data = chunk("data", kThreeSamples);
  const auto with_format = [&](const std::string& body) {
    return error_of(riff(chunk("fmt ", body) + data));
  };
  EXPECT_NE(error_of("RIFF").find("ends inside the RIFF header"), std::string::npos);
  EXPECT_NE(error_of("OggS00000000").find("not a WAV file"), std::string::npos);
  EXPECT_NE(error_of(riff("")).find("before any samples"), std::string::npos);
  EXPECT_NE(error_of(riff(kMono16)).find("before any samples"), std::string::npos);
  EXPECT_NE(error_of(riff(data)).find("no 'fmt ' chunk"), std::string::npos);
  EXPECT_NE(with_format("short").find("expected 16"), std::string::npos);
  EXPECT_NE(with_format(format_body(1, 0, 8000, 16)).find("0 channels"), std::string::npos);
  EXPECT_NE(with_format(format_body(1, 60000, 8000, 8)).find("60000 channels"), std::string::npos);
  EXPECT_NE(with_format(format_body(1, 1, 0, 16)).find("sample rate 0"), std::string::npos);
  EXPECT_NE(with_format(format_body(1, 1, 4000000000, 16)).find("sample rate"), std::string::npos);
  EXPECT_NE(with_format(format_body(1, 2, 8000, 16, 3)).find("block align 3"), std::string::npos);
  EXPECT_NE(error_of("RIFF....WAVEfmt \xFF\xFF\xFF\xFF").find("ends inside the 'fmt '"),
            std::string::npos);
}

TEST(Wav, EveryTruncationIsAnErrorOrShorter) {
  const std::string file = read_file(kAudioGoldens / "extensible_16.wav");
  for (size_t size = 0; size < file.size(); size += 1 + size / 40) {
    try {
      EXPECT_LT(decode(std::string_view(file).substr(0, size)).size(), 606U);
    } catch (const CorruptFile&) {
    }
  }
}

TEST(Wav, CompressedSamplesAreLeftToOthers) {
  const std::string file =
      riff(chunk("fmt ", format_body(0x11, 1, 8000, 4)) + chunk("data", kThreeSamples));
  EXPECT_THROW(decode(file), Unsupported);
  EXPECT_EQ(read_wav_header(*memory_source(file)).coding, WavHeader::Coding::kOther);
}

TEST(Wav, WritesTheBytesThatSoundfileWrites) {
  for (const auto& [name, format] : {std::pair("pcm_16.wav", SampleFormat::kPcm16),
                                     std::pair("pcm_24.wav", SampleFormat::kPcm24)}) {
    WavReader reader(ByteSource::open((kAudioGoldens / name).string()));
    const std::string path = scratch_path(name);
    WavWriter writer(ByteSink::open(path), reader.sample_rate(), reader.channels(), format);
    writer.write(read_all(reader, reader.channels()));
    writer.finish();
    EXPECT_EQ(read_file(path), read_file(kAudioGoldens / name)) << name;
  }
}

TEST(Wav, FloatsSurviveAndIntegersAreClamped) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> wild{0.1F, -7.5F, inf, -inf, 1.0F, -1.0F, nan};
  const std::string path = scratch_path("wild.wav");
  {
    WavWriter writer(ByteSink::open(path), 8000, 1, SampleFormat::kFloat32);
    writer.write(wild);
    writer.finish();
  }
  const std::string file = read_file(path);
  EXPECT_EQ(file.size(), 58 + wild.size() * 4);
  EXPECT_EQ(file.substr(38, 12), "fact" + bytes_of(4U) + bytes_of(7U));
  EXPECT_EQ(0, std::memcmp(decode(file).data(), wild.data(), wild.size() * 4));
  {
    WavWriter writer(ByteSink::open(path), 8000, 1);
    writer.write(wild);
    writer.finish();
  }
  const float top = 32767.0F / 32768;
  EXPECT_EQ(decode(read_file(path)),
            (std::vector<float>{3277.0F / 32768, -1, top, -1, top, -1, 0}));
}

TEST(Wav, AFileInMemoryIsTheFileThatSoundfileWrites) {
  WavReader reader(ByteSource::open((kAudioGoldens / "pcm_16.wav").string()));
  Audio audio{.sample_rate = reader.sample_rate(), .channels = reader.channels(), .samples = {}};
  audio.samples = read_all(reader, reader.channels());
  EXPECT_EQ(encode_wav(audio), read_file(kAudioGoldens / "pcm_16.wav"));
  EXPECT_EQ(decode(encode_wav({.sample_rate = 8000, .channels = 1, .samples = {}})),
            std::vector<float>{});
}

TEST(Wav, WriterRefusesNonsense) {
  EXPECT_THROW(WavWriter(ByteSink::open(scratch_path("n.wav")), 0, 1), InvalidArgument);
  EXPECT_THROW(WavWriter(ByteSink::open(scratch_path("n.wav")), 8000, 0), InvalidArgument);
  WavWriter writer(ByteSink::open(scratch_path("n.wav")), 8000, 2);
  EXPECT_THROW(writer.write(std::vector<float>(3)), InvalidArgument);
}

}  // namespace
}  // namespace tessera::io
