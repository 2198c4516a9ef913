// Sound through FFmpeg: the send/receive loops of libavcodec, with our own conversion of sample
// formats (libswresample would mix channels and filter in its own way; see io/resample.h).
// Integers become floats by 1/2ⁿ⁻¹ as in WAV files; priming and padding are trimmed by libavcodec.
#include "io/ffmpeg_audio.h"

#include "core/error.h"
#include "core/log.h"
#include "io/ffmpeg.h"
#include "io/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

namespace tessera::io {
namespace {

constexpr FfmpegFormat kFormats[] = {
    {".flac", "flac", "flac", 0, 0},    {".mp3", "mp3", "libmp3lame", 0, 2},
    {".ogg", "ogg", "libvorbis", 0, 6}, {".opus", "opus", "libopus", 64'000, 0},
    {".m4a", "ipod", "aac", 96'000, 0},
};

template <class T>
void unpack(const AVFrame& frame, bool planar, float offset, float scale, std::vector<float>& out) {
  const auto channels = static_cast<size_t>(frame.ch_layout.nb_channels);
  const auto count = static_cast<size_t>(frame.nb_samples);
  const size_t start = out.size();
  out.resize(start + count * channels);
  for (size_t c = 0; c < channels; ++c) {
    const T* from = reinterpret_cast<const T*>(frame.extended_data[planar ? c : 0]);
    const size_t step = planar ? 1 : channels;
    from += planar ? 0 : c;
    for (size_t i = 0; i < count; ++i) {
      out[start + i * channels + c] = (static_cast<float>(from[i * step]) - offset) * scale;
    }
  }
}

void unpack_frame(const AVFrame& frame, std::vector<float>& out) {
  switch (frame.format) {
    case AV_SAMPLE_FMT_U8:
    case AV_SAMPLE_FMT_U8P:
      return unpack<uint8_t>(frame, frame.format == AV_SAMPLE_FMT_U8P, 128, 0x1p-7F, out);
    case AV_SAMPLE_FMT_S16:
    case AV_SAMPLE_FMT_S16P:
      return unpack<int16_t>(frame, frame.format == AV_SAMPLE_FMT_S16P, 0, 0x1p-15F, out);
    case AV_SAMPLE_FMT_S32:
    case AV_SAMPLE_FMT_S32P:
      return unpack<int32_t>(frame, frame.format == AV_SAMPLE_FMT_S32P, 0, 0x1p-31F, out);
    case AV_SAMPLE_FMT_S64:
    case AV_SAMPLE_FMT_S64P:
      return unpack<int64_t>(frame, frame.format == AV_SAMPLE_FMT_S64P, 0, 0x1p-63F, out);
    case AV_SAMPLE_FMT_FLT:
    case AV_SAMPLE_FMT_FLTP:
      return unpack<float>(frame, frame.format == AV_SAMPLE_FMT_FLTP, 0, 1, out);
    case AV_SAMPLE_FMT_DBL:
    case AV_SAMPLE_FMT_DBLP:
      return unpack<double>(frame, frame.format == AV_SAMPLE_FMT_DBLP, 0, 1, out);
    default:
      throw Unsupported("FFmpeg gave samples of kind {}, expected integers or floats",
                        frame.format);
  }
}

// Another number of channels than the stream began with: a mono part goes to all, many become one
// by their mean, else the first ones are kept and missing ones are silent.
std::vector<float> adapt_channels(std::span<const float> in, size_t from, size_t to) {
  const size_t frames = in.size() / from;
  std::vector<float> out(frames * to, 0.0F);
  for (size_t i = 0; i < frames; ++i) {
    const auto frame = in.subspan(i * from, from);
    if (to == 1) {
      float sum = 0;
      for (const float x : frame) {
        sum += x;
      }
      out[i] = sum / static_cast<float>(from);
      continue;
    }
    for (size_t c = 0; c < to && (c < from || from == 1); ++c) {
      out[i * to + c] = frame[from == 1 ? 0 : c];
    }
  }
  return out;
}

}  // namespace

struct FfmpegDecoder::Impl {
  explicit Impl(std::unique_ptr<FfmpegInput> from) : owned(std::move(from)), input(*owned) {}

  void open();
  bool decode();
  void send();
  void correct_discard();
  void trim_last(AVFrame& decoded) const;
  void take(const AVFrame& decoded);
  void deliver(std::span<const float> samples);

  std::unique_ptr<FfmpegInput> owned;
  FfmpegInput& input;
  CodecPtr codec;
  PacketPtr packet;
  FramePtr frame;
  int stream = -1;
  int sample_rate = 0;
  int channels = 0;
  bool draining = false;
  uint32_t discard_excess = 0;  // see correct_discard
  bool is_first_packet = true;
  int64_t damaged = 0;
  std::vector<float> ready;  // decoded, interleaved; from `next` on not yet read
  size_t next = 0;
  std::vector<float> scratch;
  int other_rate = 0;  // rate of `converter`, when the stream changed
  int other_channels = 0;
  std::unique_ptr<InterleavedResampler> converter;
};

void FfmpegDecoder::Impl::open() {
  const Ffmpeg& av = ffmpeg();
  AVFormatContext* container = input.context();
  const AVCodec* decoder = nullptr;
  stream = av.av_find_best_stream(container, AVMEDIA_TYPE_AUDIO, -1, -1, &decoder, 0);
  TESSERA_CHECK(stream >= 0 && decoder != nullptr, Unsupported,
                "{}: no sound in this {} file that FFmpeg can decode ({}); expected a sound track",
                input.name(), container->iformat->name,
                ffmpeg_error(stream < 0 ? stream : AVERROR_DECODER_NOT_FOUND));
  for (unsigned i = 0; i < container->nb_streams; ++i) {
    container->streams[i]->discard =
        static_cast<int>(i) == stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
  const AVStream* track = input.stream(stream);
  codec.reset(av.avcodec_alloc_context3(decoder));
  packet.reset(av.av_packet_alloc());
  frame.reset(av.av_frame_alloc());
  check_allocated(codec.get());
  check_allocated(packet.get());
  check_allocated(frame.get());
  int code = av.avcodec_parameters_to_context(codec.get(), track->codecpar);
  if (code >= 0) {
    codec->pkt_timebase = track->time_base;
    codec->thread_count = 1;
    code = av.avcodec_open2(codec.get(), decoder, nullptr);
  }
  TESSERA_CHECK(code >= 0, CorruptFile, "{}: FFmpeg cannot start decoding its {} sound: {}",
                input.name(), decoder->name, ffmpeg_error(code));
  if (decode()) {
    return;
  }
  TESSERA_CHECK(damaged == 0 && !input.ended_early() && codec->sample_rate > 0 &&
                    codec->ch_layout.nb_channels > 0,
                CorruptFile,
                "{}: no sound could be decoded, {} packets are damaged; fetch it again",
                input.name(), damaged);
  sample_rate = codec->sample_rate;
  channels = codec->ch_layout.nb_channels;
}

// In an Ogg Vorbis file of a single page libavformat 59 counts the first packet, which decodes to
// nothing, as sound and so discards that much too much of the last one. Longer files give the first
// packet a time below 0.
void FfmpegDecoder::Impl::correct_discard() {
  if (is_first_packet && packet->pts == 0 && packet->duration > 0) {
    discard_excess = static_cast<uint32_t>(std::min<int64_t>(packet->duration, 8192));
  }
  is_first_packet = false;
  constexpr size_t kSideDataBytes = 10;  // u32 skip, u32 discard, two reasons; little-endian
  size_t size = 0;
  uint8_t* data = ffmpeg().av_packet_get_side_data(packet.get(), AV_PKT_DATA_SKIP_SAMPLES, &size);
  if (data == nullptr || size < kSideDataBytes) {
    return;
  }
  uint32_t discard = 0;
  std::memcpy(&discard, data + 4, sizeof(discard));
  discard -= std::min(discard, discard_excess);
  std::memcpy(data + 4, &discard, sizeof(discard));
}

// The last packet of an MP4 track says in its duration how much of it is sound; libavcodec 59 does
// not act on that.
void FfmpegDecoder::Impl::trim_last(AVFrame& decoded) const {
  const AVStream& track = *input.stream(stream);
  const AVRational samples{1, decoded.sample_rate};
  if (!input.is_mp4() || track.duration <= 0 || decoded.pts == AV_NOPTS_VALUE ||
      decoded.pkt_duration <= 0 || decoded.sample_rate % track.time_base.den != 0 ||
      decoded.pts < track.duration - decoded.pkt_duration) {
    return;
  }
  const int64_t kept = ffmpeg().av_rescale_q(decoded.pkt_duration, track.time_base, samples);
  decoded.nb_samples = static_cast<int>(std::min<int64_t>(kept, decoded.nb_samples));
}

// Gives the codec its next packet, or the end.
void FfmpegDecoder::Impl::send() {
  const Ffmpeg& av = ffmpeg();
  while (input.read(packet.get())) {
    const bool is_ours = packet->stream_index == stream;
    if (is_ours && codec->codec_id == AV_CODEC_ID_VORBIS) {
      correct_discard();
    }
    const int code = is_ours ? av.avcodec_send_packet(codec.get(), packet.get()) : 0;
    av.av_packet_unref(packet.get());
    if (code < 0) {
      ++damaged;
    } else if (is_ours) {
      return;
    }
  }
  draining = true;
  av.avcodec_send_packet(codec.get(), nullptr);
}

// Decodes until there is something to read; false at the end.
bool FfmpegDecoder::Impl::decode() {
  const Ffmpeg& av = ffmpeg();
  ready.clear();
  next = 0;
  while (ready.empty()) {
    const int code = av.avcodec_receive_frame(codec.get(), frame.get());
    if (code >= 0) {
      trim_last(*frame);
      take(*frame);
      av.av_frame_unref(frame.get());
      continue;
    }
    if (code == AVERROR(EAGAIN) && !draining) {
      send();
      continue;
    }
    damaged += code == AVERROR_EOF ? 0 : 1;
    if (code != AVERROR_EOF && !draining) {
      send();
      continue;
    }
    break;
  }
  if (ready.empty() && converter != nullptr) {
    deliver(converter->finish());
    converter.reset();
  }
  if (ready.empty() && damaged > 0 && sample_rate > 0) {
    log::warning("{}: {} damaged packets were left out", input.name(), damaged);
    damaged = 0;
  }
  return !ready.empty();
}

void FfmpegDecoder::Impl::take(const AVFrame& decoded) {
  const int rate = decoded.sample_rate;
  const int count = decoded.ch_layout.nb_channels;
  TESSERA_CHECK(rate >= 1 && rate <= kMaxSampleRate && count >= 1 && count <= kMaxChannels,
                CorruptFile, "{}: decoded to {} Hz and {} channels, expected up to {} and {}",
                input.name(), rate, count, kMaxSampleRate, kMaxChannels);
  if (sample_rate == 0) {
    sample_rate = rate;
    channels = count;
  }
  if (rate == sample_rate && count == channels && converter == nullptr) {
    unpack_frame(decoded, ready);
    return;
  }
  if (rate != other_rate || count != other_channels || converter == nullptr) {
    log::debug("{}: changes to {} Hz, {} channels", input.name(), rate, count);
    if (converter != nullptr) {
      deliver(converter->finish());
    }
    converter = std::make_unique<InterleavedResampler>(count, rate, sample_rate);
    other_rate = rate;
    other_channels = count;
  }
  scratch.clear();
  unpack_frame(decoded, scratch);
  deliver(converter->push(scratch));
}

// Appends samples that have our rate and `other_channels`.
void FfmpegDecoder::Impl::deliver(std::span<const float> samples) {
  const std::vector<float> adapted =
      adapt_channels(samples, static_cast<size_t>(other_channels), static_cast<size_t>(channels));
  ready.insert(ready.end(), adapted.begin(), adapted.end());
}

FfmpegDecoder::FfmpegDecoder(std::unique_ptr<ByteSource> source)
    : FfmpegDecoder(std::make_unique<FfmpegInput>(std::move(source))) {}

FfmpegDecoder::FfmpegDecoder(std::unique_ptr<FfmpegInput> input)
    : impl_(std::make_unique<Impl>(std::move(input))) {
  impl_->open();
}

FfmpegDecoder::~FfmpegDecoder() = default;

int FfmpegDecoder::sample_rate() const {
  return impl_->sample_rate;
}

int FfmpegDecoder::channels() const {
  return impl_->channels;
}

std::optional<double> FfmpegDecoder::seconds() const {
  const AVFormatContext* container = impl_->input.context();
  const AVStream* track = impl_->input.stream(impl_->stream);
  if (track->duration > 0 && track->time_base.den > 0) {
    return static_cast<double>(track->duration) * track->time_base.num / track->time_base.den;
  }
  if (container->duration > 0) {
    return static_cast<double>(container->duration) / AV_TIME_BASE;
  }
  return std::nullopt;
}

const std::string& FfmpegDecoder::name() const {
  return impl_->input.name();
}

std::string FfmpegDecoder::format() const {
  return impl_->input.context()->iformat->name;
}

size_t FfmpegDecoder::read(std::span<float> block) {
  const auto channels = static_cast<size_t>(impl_->channels);
  const size_t wanted = block.size() / channels * channels;
  size_t done = 0;
  while (done < wanted) {
    if (impl_->next >= impl_->ready.size() && !impl_->decode()) {
      break;
    }
    const size_t count = std::min(wanted - done, impl_->ready.size() - impl_->next);
    std::copy_n(impl_->ready.data() + impl_->next, count, block.data() + done);
    impl_->next += count;
    done += count;
  }
  return done / channels;
}

const FfmpegFormat* ffmpeg_format(const std::string& extension) {
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                   [&](const auto& f) { return extension == f.extension; });
  return found == std::end(kFormats) ? nullptr : found;
}

struct FfmpegEncoder::Impl {
  Impl(std::unique_ptr<ByteSink> sink, const FfmpegFormat& target)
      : output(std::move(sink), target.container), format(target) {}

  void open(int sample_rate, int channel_count, SampleFormat sample_format, int bit_rate);
  void choose_sample_format(const AVCodec& encoder, SampleFormat sample_format);
  void push(std::span<const float> samples);
  void encode(std::span<const float> samples);
  void send(const AVFrame* frame);

  FfmpegOutput output;
  FfmpegFormat format;
  CodecPtr codec;
  PacketPtr packet;
  AVStream* stream = nullptr;
  size_t channels = 0;
  size_t frame_size = 0;
  int64_t position = 0;  // frames encoded
  std::unique_ptr<InterleavedResampler> converter;
  std::vector<float> waiting;  // less than one frame
};

namespace {

// The codec's rate that loses nothing: the smallest from `rate` up, else its largest.
int choose_rate(const AVCodec& encoder, int rate) {
  if (encoder.supported_samplerates == nullptr) {
    return rate;
  }
  int best = 0;
  for (const int* it = encoder.supported_samplerates; *it != 0; ++it) {
    const bool is_better = best < rate ? *it > best : *it >= rate && *it < best;
    best = is_better ? *it : best;
  }
  return best;
}

template <class T>
void pack(
    std::span<const float> samples, size_t channels, bool planar, float scale, AVFrame& frame) {
  for (size_t i = 0; i < samples.size(); ++i) {
    T* to = reinterpret_cast<T*>(frame.extended_data[planar ? i % channels : 0]);
    T& slot = to[planar ? i / channels : i];
    if constexpr (std::is_floating_point_v<T>) {
      slot = samples[i];
    } else {
      const float x = std::isnan(samples[i]) ? 0 : samples[i] * scale;
      // FLAC's 24 bits stand in the upper three bytes of 32.
      slot =
          static_cast<T>(std::lrint(std::clamp(x, -scale, scale - 1)) << (sizeof(T) == 4 ? 8 : 0));
    }
  }
}

}  // namespace

void FfmpegEncoder::Impl::choose_sample_format(const AVCodec& encoder, SampleFormat sample_format) {
  const bool is_lossless = format.bits_per_second_per_channel == 0 && format.quality == 0;
  const bool wide = !is_lossless || sample_format != SampleFormat::kPcm16;
  const AVSampleFormat wide_order[] = {AV_SAMPLE_FMT_FLTP, AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_S32,
                                       AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P};
  const AVSampleFormat narrow_order[] = {AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P};
  const auto order = wide ? std::span<const AVSampleFormat>(wide_order)
                          : std::span<const AVSampleFormat>(narrow_order);
  for (const AVSampleFormat wanted : order) {
    for (const AVSampleFormat* it = encoder.sample_fmts; it != nullptr && *it != -1; ++it) {
      if (*it == wanted) {
        codec->sample_fmt = wanted;
        codec->bits_per_raw_sample = wanted == AV_SAMPLE_FMT_S32 ? 24 : 0;
        return;
      }
    }
  }
  throw Unsupported("{}: FFmpeg's {} encoder takes no sample format that we have", output.name(),
                    encoder.name);
}

void FfmpegEncoder::Impl::open(int sample_rate,
                               int channel_count,
                               SampleFormat sample_format,
                               int bit_rate) {
  const Ffmpeg& av = ffmpeg();
  const AVCodec* encoder = av.avcodec_find_encoder_by_name(format.codec);
  TESSERA_CHECK(encoder != nullptr, Unsupported,
                "{}: this FFmpeg was built without {}; write .wav or .flac instead", output.name(),
                format.codec);
  codec.reset(av.avcodec_alloc_context3(encoder));
  packet.reset(av.av_packet_alloc());
  check_allocated(codec.get());
  check_allocated(packet.get());
  channels = static_cast<size_t>(channel_count);
  const int rate = choose_rate(*encoder, sample_rate);
  if (rate != sample_rate) {
    log::debug("{}: {} does not hold {} Hz, resampled to {} Hz", output.name(), format.codec,
               sample_rate, rate);
    converter = std::make_unique<InterleavedResampler>(channel_count, sample_rate, rate);
  }
  codec->sample_rate = rate;
  codec->time_base = {1, rate};
  if (bit_rate > 0 || format.quality == 0) {
    const double usual = format.bits_per_second_per_channel * channel_count;
    codec->bit_rate =
        bit_rate > 0 ? bit_rate : static_cast<int64_t>(usual * std::min(1.0, rate / 44100.0));
  } else {
    codec->flags |= AV_CODEC_FLAG_QSCALE;
    codec->global_quality = format.quality * FF_QP2LAMBDA;
  }
  codec->flags |= AV_CODEC_FLAG_BITEXACT;
  if ((output.context()->oformat->flags & AVFMT_GLOBALHEADER) != 0) {
    codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  }
  av.av_channel_layout_default(&codec->ch_layout, channel_count);
  choose_sample_format(*encoder, sample_format);
  int code = av.avcodec_open2(codec.get(), encoder, nullptr);
  TESSERA_CHECK(
      code >= 0, InvalidArgument,
      "{}: {} does not take {} channels at {} Hz and {} bit/s ({}); write mono or stereo, "
      "or a .wav file",
      output.name(), format.codec, channel_count, rate, codec->bit_rate, ffmpeg_error(code));
  stream = av.avformat_new_stream(output.context(), nullptr);
  check_allocated(stream);
  code = av.avcodec_parameters_from_context(stream->codecpar, codec.get());
  TESSERA_CHECK(code >= 0, Unsupported, "{}: {}", output.name(), ffmpeg_error(code));
  stream->time_base = codec->time_base;
  constexpr size_t kFreeFrameSize = 1024;
  frame_size = codec->frame_size > 0 ? static_cast<size_t>(codec->frame_size) : kFreeFrameSize;
  output.write_header();
}

void FfmpegEncoder::Impl::push(std::span<const float> samples) {
  const size_t whole = frame_size * channels;
  if (!waiting.empty()) {
    const size_t added = std::min(samples.size(), whole - waiting.size());
    waiting.insert(waiting.end(), samples.begin(), samples.begin() + static_cast<ptrdiff_t>(added));
    samples = samples.subspan(added);
    if (waiting.size() < whole) {
      return;
    }
    encode(waiting);
    waiting.clear();
  }
  while (samples.size() >= whole) {
    encode(samples.first(whole));
    samples = samples.subspan(whole);
  }
  waiting.assign(samples.begin(), samples.end());
}

// Encodes one frame (a shorter one only at the end).
void FfmpegEncoder::Impl::encode(std::span<const float> samples) {
  const Ffmpeg& av = ffmpeg();
  const FramePtr frame(av.av_frame_alloc());
  check_allocated(frame.get());
  frame->nb_samples = static_cast<int>(samples.size() / channels);
  frame->format = codec->sample_fmt;
  frame->sample_rate = codec->sample_rate;
  frame->pts = position;
  av.av_channel_layout_default(&frame->ch_layout, static_cast<int>(channels));
  const int code = av.av_frame_get_buffer(frame.get(), 0);
  TESSERA_CHECK(code >= 0, OutOfMemory, "{}: {}", output.name(), ffmpeg_error(code));
  switch (codec->sample_fmt) {
    case AV_SAMPLE_FMT_FLTP:
    case AV_SAMPLE_FMT_FLT:
      pack<float>(samples, channels, codec->sample_fmt == AV_SAMPLE_FMT_FLTP, 1, *frame);
      break;
    case AV_SAMPLE_FMT_S32:
      pack<int32_t>(samples, channels, false, 0x1p23F, *frame);
      break;
    default:
      pack<int16_t>(samples, channels, codec->sample_fmt == AV_SAMPLE_FMT_S16P, 0x1p15F, *frame);
  }
  position += frame->nb_samples;
  send(frame.get());
}

// Hands a frame (null: the end) to the codec and its packets to the container.
void FfmpegEncoder::Impl::send(const AVFrame* frame) {
  const Ffmpeg& av = ffmpeg();
  int code = av.avcodec_send_frame(codec.get(), frame);
  while (code >= 0) {
    code = av.avcodec_receive_packet(codec.get(), packet.get());
    if (code < 0) {
      break;
    }
    packet->stream_index = stream->index;
    av.av_packet_rescale_ts(packet.get(), codec->time_base, stream->time_base);
    output.write(packet.get());
  }
  TESSERA_CHECK(code == AVERROR(EAGAIN) || code == AVERROR_EOF, Unsupported, "{}: {} encoder: {}",
                output.name(), format.codec, ffmpeg_error(code));
}

FfmpegEncoder::FfmpegEncoder(std::unique_ptr<ByteSink> sink,
                             const FfmpegFormat& format,
                             int sample_rate,
                             int channels,
                             SampleFormat sample_format,
                             int bit_rate)
    : impl_(std::make_unique<Impl>(std::move(sink), format)) {
  impl_->open(sample_rate, channels, sample_format, bit_rate);
}

FfmpegEncoder::~FfmpegEncoder() = default;

void FfmpegEncoder::write(std::span<const float> samples) {
  if (impl_->converter != nullptr) {
    impl_->push(impl_->converter->push(samples));
  } else {
    impl_->push(samples);
  }
}

void FfmpegEncoder::finish() {
  if (impl_->converter != nullptr) {
    impl_->push(impl_->converter->finish());
  }
  if (!impl_->waiting.empty()) {
    impl_->encode(impl_->waiting);
  }
  impl_->send(nullptr);
  impl_->output.finish();
}

}  // namespace tessera::io
