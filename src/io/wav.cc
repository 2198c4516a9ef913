// WAV reader and writer (Microsoft RIFF "WAVE", EBU Tech 3306 RF64, ITU-R BS.2088 BW64, G.711).
// Chunks are padded to even length; `fmt ` comes before `data`, all others are skipped. A data size
// of 0xFFFFFFFF, one past the end, or 0 in a header that was never completed means "to the end".
// Samples whose bits do not fill their bytes are left-aligned, so the container sets the scale.
#include "io/wav.h"

#include "core/error.h"
#include "core/log.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace tessera::io {
namespace {

constexpr uint32_t kUnknownSize = 0xFFFFFFFF;
// Streaming programs that cannot go back declare sizes from here on: no sign of a cut file.
constexpr uint64_t kDeclaredByStreams = 0x7FFFF000;

constexpr uint16_t kTagPcm = 1;
constexpr uint16_t kTagFloat = 3;
constexpr uint16_t kTagALaw = 6;
constexpr uint16_t kTagMuLaw = 7;
constexpr uint16_t kTagExtensible = 0xFFFE;

template <class T, bool kBigEndian>
T load(const void* from) {
  std::array<unsigned char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), from, sizeof(T));
  if constexpr (kBigEndian) {
    std::reverse(bytes.begin(), bytes.end());
  }
  return std::bit_cast<T>(bytes);
}

template <class T>
T load(const void* from, bool big_endian) {
  return big_endian ? load<T, true>(from) : load<T, false>(from);
}

template <class T>
void append(std::string& out, T value) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  out.append(bytes.data(), bytes.size());
}

// Reads exactly `count` bytes of the header.
std::string take(ByteSource& source, size_t count, std::string_view what) {
  std::string bytes(count, '\0');
  const size_t got = source.read(std::as_writable_bytes(std::span(bytes.data(), bytes.size())));
  TESSERA_CHECK(got == count, CorruptFile,
                "{}: ends inside {} ({} of {} bytes); the file is cut short, fetch it again",
                source.name(), what, got, count);
  return bytes;
}

// Tag of an extensible format: the GUID's first field, if the rest is one of the two known tails
// (plain, and B-format of Ambisonics).
uint16_t extensible_tag(const std::string& format, bool big_endian) {
  constexpr size_t kGuid = 24;
  if (format.size() < kGuid + 16) {
    return kTagExtensible;
  }
  const char* guid = format.data() + kGuid;
  const auto tag = load<uint32_t>(guid, big_endian);
  const auto second = load<uint16_t>(guid + 4, big_endian);
  const auto third = load<uint16_t>(guid + 6, big_endian);
  const std::string_view tail(guid + 8, 8);
  const bool plain = second == 0 && third == 0x10 &&
                     tail == std::string_view("\x80\x00\x00\xAA\x00\x38\x9B\x71", 8);
  const bool ambisonic = second == 0x0721 && third == 0x11D3 &&
                         tail == std::string_view("\x86\x44\xC8\xC1\xCA\x00\x00\x00", 8);
  return (plain || ambisonic) && tag <= 0xFFFF ? static_cast<uint16_t>(tag) : kTagExtensible;
}

WavHeader::Coding coding_of(uint16_t tag, int bits) {
  using Coding = WavHeader::Coding;
  switch (tag) {
    case kTagPcm:
      return bits >= 1 && bits <= 32 ? Coding::kPcm : Coding::kOther;
    case kTagFloat:
      return bits == 32 || bits == 64 ? Coding::kFloat : Coding::kOther;
    case kTagALaw:
      return bits == 8 ? Coding::kALaw : Coding::kOther;
    case kTagMuLaw:
      return bits == 8 ? Coding::kMuLaw : Coding::kOther;
    default:
      return Coding::kOther;
  }
}

void parse_format(const std::string& format, const std::string& name, WavHeader& header) {
  const bool big = header.big_endian;
  auto tag = load<uint16_t>(format.data(), big);
  const auto channels = load<uint16_t>(format.data() + 2, big);
  const auto rate = load<uint32_t>(format.data() + 4, big);
  const auto align = load<uint16_t>(format.data() + 12, big);
  const auto bits = load<uint16_t>(format.data() + 14, big);
  if (tag == kTagExtensible) {
    tag = extensible_tag(format, big);
  }
  header.coding = coding_of(tag, bits);
  if (header.coding == WavHeader::Coding::kOther) {
    return;
  }
  TESSERA_CHECK(channels >= 1 && channels <= kMaxChannels, CorruptFile,
                "{}: {} channels in the format chunk, expected 1 to {}", name, channels,
                kMaxChannels);
  TESSERA_CHECK(rate >= 1 && rate <= kMaxSampleRate, CorruptFile,
                "{}: sample rate {} in the format chunk, expected 1 to {}", name, rate,
                kMaxSampleRate);
  header.channels = channels;
  header.sample_rate = static_cast<int>(rate);
  header.bytes_per_sample = (bits + 7) / 8;
  TESSERA_CHECK(align == header.bytes_per_frame(), CorruptFile,
                "{}: block align {} in the format chunk, expected {} for {} channels of {} bits",
                name, align, header.bytes_per_frame(), channels, bits);
}

struct Chunk {
  std::string id;
  uint32_t size = 0;
};

Chunk next_chunk(ByteSource& source, bool big_endian) {
  const std::string head = take(source, 8, "the chunk list, before any samples");
  return {head.substr(0, 4), load<uint32_t>(head.data() + 4, big_endian)};
}

// The bytes of a chunk that are of interest; the rest and the padding are passed over.
std::string chunk_body(ByteSource& source, const Chunk& chunk, size_t least, size_t most) {
  TESSERA_CHECK(chunk.size >= least, CorruptFile, "{}: '{}' chunk of {} bytes, expected {} or more",
                source.name(), chunk.id, chunk.size, least);
  const size_t wanted = std::min<size_t>(chunk.size, most);
  std::string body = take(source, wanted, "the '" + chunk.id + "' chunk");
  source.skip(uint64_t{chunk.size} - wanted + (chunk.size & 1));
  return body;
}

// Bytes of samples, from the data chunk's size field, RF64's 64-bit size, and what the file has.
std::optional<uint64_t> data_size(const ByteSource& source,
                                  const WavHeader& header,
                                  uint32_t declared,
                                  std::optional<uint64_t> declared64,
                                  uint32_t riff_size) {
  std::optional<uint64_t> size = declared;
  if (declared == kUnknownSize) {
    size = declared64;
  } else if (declared == 0) {
    // A completed header says so truthfully; an abandoned one does not know its own size either.
    const bool complete = source.size() && *source.size() == uint64_t{riff_size} + 8;
    size = complete ? std::optional<uint64_t>(0) : std::nullopt;
  }
  if (source.size()) {
    const uint64_t available = *source.size() - std::min(*source.size(), header.data_offset);
    if (size && *size > available && *size < kDeclaredByStreams) {
      log::warning("{}: cut short, {} of {} bytes of samples are there", source.name(), available,
                   *size);
    }
    size = std::min(size.value_or(available), available);
  } else if (size && *size >= kDeclaredByStreams) {
    size = std::nullopt;
  }
  return size;
}

constexpr std::array<float, 256> make_a_law() {
  std::array<float, 256> table{};
  for (int i = 0; i < 256; ++i) {
    const int code = i ^ 0x55;
    const int exponent = (code >> 4) & 7;
    const int mantissa = ((code & 15) << 4) + 8;
    const int value = exponent == 0 ? mantissa : (mantissa + 256) << (exponent - 1);
    table[static_cast<size_t>(i)] = static_cast<float>((code & 0x80) != 0 ? value : -value) / 32768;
  }
  return table;
}

constexpr std::array<float, 256> make_mu_law() {
  std::array<float, 256> table{};
  for (int i = 0; i < 256; ++i) {
    const int code = ~i & 0xFF;
    const int value = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132;
    table[static_cast<size_t>(i)] = static_cast<float>((code & 0x80) != 0 ? -value : value) / 32768;
  }
  return table;
}

constexpr std::array<float, 256> kALaw = make_a_law();
constexpr std::array<float, 256> kMuLaw = make_mu_law();

template <bool kBigEndian>
float pcm24(const unsigned char* p) {
  const uint32_t low = kBigEndian ? p[2] : p[0];
  const uint32_t high = kBigEndian ? p[0] : p[2];
  // In the upper three bytes of an int32, so that the sign is right.
  const uint32_t word = (high << 24) | (uint32_t{p[1]} << 16) | (low << 8);
  return static_cast<float>(static_cast<int32_t>(word)) * 0x1p-31F;
}

template <size_t kBytes, class Convert>
void convert_each(const unsigned char* from, std::span<float> to, Convert convert) {
  float* out = to.data();
  for (size_t i = 0; i < to.size(); ++i) {
    out[i] = convert(from + i * kBytes);
  }
}

template <bool kBig>
void convert(const unsigned char* from, std::span<float> to, const WavHeader& header) {
  using Byte = const unsigned char*;
  switch (header.coding) {
    case WavHeader::Coding::kALaw:
      return convert_each<1>(from, to, [](Byte p) { return kALaw[*p]; });
    case WavHeader::Coding::kMuLaw:
      return convert_each<1>(from, to, [](Byte p) { return kMuLaw[*p]; });
    case WavHeader::Coding::kFloat:
      if (header.bytes_per_sample == 4) {
        return convert_each<4>(from, to, [](Byte p) { return load<float, kBig>(p); });
      }
      return convert_each<8>(from, to,
                             [](Byte p) { return static_cast<float>(load<double, kBig>(p)); });
    default:
      break;
  }
  switch (header.bytes_per_sample) {
    case 1:
      return convert_each<1>(from, to,
                             [](Byte p) { return static_cast<float>(*p - 128) * 0x1p-7F; });
    case 2:
      return convert_each<2>(
          from, to, [](Byte p) { return static_cast<float>(load<int16_t, kBig>(p)) * 0x1p-15F; });
    case 3:
      return convert_each<3>(from, to, [](Byte p) { return pcm24<kBig>(p); });
    default:
      return convert_each<4>(
          from, to, [](Byte p) { return static_cast<float>(load<int32_t, kBig>(p)) * 0x1p-31F; });
  }
}

int bytes_of(SampleFormat format) {
  return format == SampleFormat::kPcm16 ? 2 : format == SampleFormat::kPcm24 ? 3 : 4;
}

int64_t to_integer(float sample, float scale) {
  if (std::isnan(sample)) {
    return 0;
  }
  return std::lrint(std::clamp(sample * scale, -scale, scale - 1));
}

std::string make_header(int sample_rate, int channels, SampleFormat format, uint64_t data_bytes) {
  const bool is_float = format == SampleFormat::kFloat32;
  const auto frame = static_cast<uint16_t>(bytes_of(format) * channels);
  const uint64_t rest = (is_float ? 50 : 36) + data_bytes + (data_bytes & 1);
  const bool known = rest < kUnknownSize;
  std::string out = "RIFF";
  append<uint32_t>(out, known ? static_cast<uint32_t>(rest) : kUnknownSize);
  out += "WAVEfmt ";
  append<uint32_t>(out, is_float ? 18 : 16);
  append<uint16_t>(out, is_float ? kTagFloat : kTagPcm);
  append<uint16_t>(out, static_cast<uint16_t>(channels));
  append<uint32_t>(out, static_cast<uint32_t>(sample_rate));
  append<uint32_t>(out, static_cast<uint32_t>(sample_rate) * frame);
  append<uint16_t>(out, frame);
  append<uint16_t>(out, static_cast<uint16_t>(bytes_of(format) * 8));
  if (is_float) {
    append<uint16_t>(out, 0);
    out += "fact";
    append<uint32_t>(out, 4);
    append<uint32_t>(out, known ? static_cast<uint32_t>(data_bytes / frame) : kUnknownSize);
  }
  out += "data";
  append<uint32_t>(out, known ? static_cast<uint32_t>(data_bytes) : kUnknownSize);
  return out;
}

}  // namespace

bool is_wav(std::string_view front) {
  if (front.size() < 12 || front.substr(8, 4) != "WAVE") {
    return false;
  }
  const std::string_view id = front.substr(0, 4);
  return id == "RIFF" || id == "RF64" || id == "BW64" || id == "RIFX";
}

WavHeader read_wav_header(ByteSource& source) {
  const std::string head = take(source, 12, "the RIFF header");
  TESSERA_CHECK(is_wav(head), CorruptFile, "{}: not a WAV file, expected RIFF … WAVE at the front",
                source.name());
  WavHeader header;
  header.big_endian = head.starts_with("RIFX");
  const auto riff_size = load<uint32_t>(head.data() + 4, header.big_endian);
  std::optional<uint64_t> declared64;
  bool has_format = false;
  while (true) {
    const Chunk chunk = next_chunk(source, header.big_endian);
    if (chunk.id == "data") {
      TESSERA_CHECK(has_format, CorruptFile, "{}: no 'fmt ' chunk before the samples",
                    source.name());
      header.data_offset = source.position();
      header.data_bytes = data_size(source, header, chunk.size, declared64, riff_size);
      return header;
    }
    if (chunk.id == "fmt ") {
      parse_format(chunk_body(source, chunk, 16, 40), source.name(), header);
      has_format = true;
    } else if (chunk.id == "ds64") {
      declared64 = load<uint64_t>(chunk_body(source, chunk, 24, 24).data() + 8, header.big_endian);
    } else {
      source.skip(uint64_t{chunk.size} + (chunk.size & 1));
    }
  }
}

WavReader::WavReader(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {
  start(read_wav_header(*source_));
}

WavReader::WavReader(std::unique_ptr<ByteSource> source, const WavHeader& header)
    : source_(std::move(source)) {
  start(header);
}

void WavReader::start(const WavHeader& header) {
  TESSERA_CHECK(header.coding != WavHeader::Coding::kOther, Unsupported,
                "{}: compressed samples, expected PCM, float, A-law or μ-law; convert it to PCM",
                source_->name());
  header_ = header;
  bytes_left_ = header.data_bytes.value_or(std::numeric_limits<uint64_t>::max());
}

std::optional<int64_t> WavReader::frames() const {
  if (!header_.data_bytes) {
    return std::nullopt;
  }
  const uint64_t frames = *header_.data_bytes / static_cast<uint64_t>(header_.bytes_per_frame());
  return static_cast<int64_t>(std::min<uint64_t>(frames, std::numeric_limits<int64_t>::max()));
}

size_t WavReader::read(std::span<float> block) {
  const auto channels = static_cast<size_t>(header_.channels);
  const auto frame = static_cast<size_t>(header_.bytes_per_frame());
  const size_t frames_wanted = block.size() / channels;
  const size_t frames_per_read = std::max<size_t>(1, ByteSource::kBuffer / frame);
  size_t done = 0;
  while (done < frames_wanted && bytes_left_ >= frame) {
    const size_t frames = static_cast<size_t>(
        std::min<uint64_t>({frames_wanted - done, frames_per_read, bytes_left_ / frame}));
    raw_.resize(frames * frame);
    const size_t got = source_->read(raw_) / frame;
    const auto* bytes = reinterpret_cast<const unsigned char*>(raw_.data());
    const auto floats = block.subspan(done * channels, got * channels);
    header_.big_endian ? convert<true>(bytes, floats, header_)
                       : convert<false>(bytes, floats, header_);
    done += got;
    bytes_left_ = got < frames ? 0 : bytes_left_ - frames * frame;
  }
  return done;
}

namespace {

void append_samples(std::string& out, std::span<const float> samples, SampleFormat format) {
  for (const float sample : samples) {
    if (format == SampleFormat::kPcm16) {
      append(out, static_cast<int16_t>(to_integer(sample, 0x1p15F)));
    } else if (format == SampleFormat::kPcm24) {
      const auto value = static_cast<uint32_t>(to_integer(sample, 0x1p23F));
      out +=
          {static_cast<char>(value), static_cast<char>(value >> 8), static_cast<char>(value >> 16)};
    } else {
      append(out, sample);
    }
  }
}

}  // namespace

WavWriter::WavWriter(std::unique_ptr<ByteSink> sink,
                     int sample_rate,
                     int channels,
                     SampleFormat format)
    : sink_(std::move(sink)), sample_rate_(sample_rate), channels_(channels), format_(format) {
  TESSERA_CHECK(sample_rate >= 1 && sample_rate <= kMaxSampleRate, InvalidArgument,
                "{}: sample rate {}, expected 1 to {}", sink_->name(), sample_rate, kMaxSampleRate);
  TESSERA_CHECK(channels >= 1 && channels <= kMaxChannels, InvalidArgument,
                "{}: {} channels, expected 1 to {}", sink_->name(), channels, kMaxChannels);
  sink_->write(make_header(sample_rate, channels, format, kUnknownSize));
}

void WavWriter::write(std::span<const float> samples) {
  TESSERA_CHECK(samples.size() % static_cast<size_t>(channels_) == 0, InvalidArgument,
                "{}: {} samples are not whole frames of {} channels", sink_->name(), samples.size(),
                channels_);
  constexpr size_t kSamplesAtOnce = 16384;
  while (!samples.empty()) {
    const auto part = samples.first(std::min(samples.size(), kSamplesAtOnce));
    raw_.clear();
    append_samples(raw_, part, format_);
    sink_->write(raw_);
    data_bytes_ += raw_.size();
    samples = samples.subspan(part.size());
  }
}

void WavWriter::finish() {
  if (sink_->seekable()) {
    if (data_bytes_ % 2 != 0) {
      sink_->write(std::string_view("\0", 1));
    }
    sink_->rewrite(0, make_header(sample_rate_, channels_, format_, data_bytes_));
  }
  sink_->commit();
}

std::string encode_wav(const Audio& audio) {
  const uint64_t bytes = audio.samples.size() * sizeof(int16_t);
  TESSERA_CHECK(bytes < kUnknownSize - 1024, InvalidArgument,
                "{:.0f} s of sound are too much for one WAV file in memory", audio.seconds());
  std::string file = make_header(audio.sample_rate, audio.channels, SampleFormat::kPcm16, bytes);
  append_samples(file, audio.samples, SampleFormat::kPcm16);
  return file;
}

}  // namespace tessera::io
