// libavdevice 59 by dlopen beside FFmpeg's other libraries: its kinds of devices are containers
// that av_read_frame hears from and av_write_frame plays to. Sound is played as 16 bits, which
// every kind takes.
#include "io/sound_device.h"

#include "core/error.h"
#include "io/ffmpeg.h"
#include "io/ffmpeg_audio.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::io {
namespace {

// Makes libavformat know the devices.
void register_devices() {
  static const bool kDone = [] {
    ffmpeg();
    void* library = ::dlopen("libavdevice.so.59", RTLD_NOW | RTLD_LOCAL);
    void* function = library == nullptr ? nullptr : ::dlsym(library, "avdevice_register_all");
    TESSERA_CHECK(function != nullptr, Unsupported,
                  "libavdevice 5.1 is needed for sound devices and could not be opened; install it "
                  "with `apt-get install libavdevice59`");
    reinterpret_cast<void (*)()>(function)();
    return true;
  }();
  static_cast<void>(kDone);
}

struct Device {
  std::string kind, address;
  std::string name() const { return kind + ":" + address; }
};

// In the order in which they are tried.
std::vector<Device> devices_of(const std::string& device) {
  if (device.empty()) {
    return {{"pulse", "default"}, {"alsa", "default"}};
  }
  const size_t colon = std::min(device.find(':'), device.size());
  std::string address = device.substr(std::min(colon + 1, device.size()));
  return {{device.substr(0, colon), address.empty() ? "default" : std::move(address)}};
}

// What `open(device)` makes of the first device that it does not throw for.
template <class Open>
auto open_first(const std::string& device, Open open) {
  register_devices();
  const std::vector<Device> devices = devices_of(device);
  for (size_t i = 0; i + 1 < devices.size(); ++i) {
    try {
      return open(devices[i]);
    } catch (const Error&) {  // the last one tells what is wrong
    }
  }
  return open(devices.back());
}

}  // namespace

AudioReader open_microphone(const std::string& device) {
  return open_first(device, [](const Device& one) {
    return AudioReader(
        std::make_unique<FfmpegDecoder>(std::make_unique<FfmpegInput>(one.kind, one.address)));
  });
}

struct Loudspeaker::Impl {
  explicit Impl(const Device& device) : name(device.name()) {}
  ~Impl() {
    if (open) {
      ffmpeg().av_write_trailer(context);  // closes the device
    }
    ffmpeg().avformat_free_context(context);
  }

  void check(int code) const { TESSERA_CHECK(code >= 0, Io, "{}: {}", name, ffmpeg_error(code)); }

  std::string name;
  AVFormatContext* context = nullptr;
  PacketPtr packet;
  int64_t position = 0;  // frames written
  int sample_rate = 0;
  int channels = 0;
  bool open = false;
};

Loudspeaker::Loudspeaker(const std::string& device, int sample_rate, int channels) {
  impl_ = open_first(device, [&](const Device& one) {
    const Ffmpeg& av = ffmpeg();
    auto impl = std::make_unique<Impl>(one);
    const int code = av.avformat_alloc_output_context2(&impl->context, nullptr, one.kind.c_str(),
                                                       one.address.c_str());
    TESSERA_CHECK(code >= 0, Unsupported, "{}: this FFmpeg plays to no such device ({})", one.kind,
                  ffmpeg_error(code));
    TESSERA_CHECK((impl->context->oformat->flags & AVFMT_NOFILE) != 0, Unsupported,
                  "{}: is a kind of file, no device; try alsa or pulse", one.kind);
    AVStream* stream = av.avformat_new_stream(impl->context, nullptr);
    impl->packet.reset(av.av_packet_alloc());
    check_allocated(stream);
    check_allocated(impl->packet.get());
    stream->codecpar->codec_type = AVMEDIA_TYPE_AUDIO;
    stream->codecpar->codec_id = AV_CODEC_ID_PCM_S16LE;
    stream->codecpar->format = AV_SAMPLE_FMT_S16;
    stream->codecpar->sample_rate = sample_rate;
    av.av_channel_layout_default(&stream->codecpar->ch_layout, channels);
    stream->time_base = {1, sample_rate};
    impl->sample_rate = sample_rate;
    impl->channels = channels;
    impl->check(av.avformat_write_header(impl->context, nullptr));
    impl->open = true;
    return impl;
  });
}

Loudspeaker::~Loudspeaker() = default;

void Loudspeaker::write(std::span<const float> samples) {
  const Ffmpeg& av = ffmpeg();
  const auto channels = static_cast<size_t>(impl_->channels);
  while (samples.size() >= channels) {
    constexpr size_t kFrames = 1024;
    const std::span<const float> block =
        samples.first(std::min(samples.size() / channels, kFrames) * channels);
    samples = samples.subspan(block.size());
    AVPacket& packet = *impl_->packet;
    impl_->check(av.av_new_packet(&packet, static_cast<int>(block.size() * sizeof(int16_t))));
    for (size_t i = 0; i < block.size(); ++i) {
      const float x = std::isnan(block[i]) ? 0 : block[i];
      const auto value = static_cast<int16_t>(std::lrint(std::clamp(x, -1.0F, 1.0F) * 32767));
      std::memcpy(packet.data + i * sizeof(value), &value, sizeof(value));
    }
    const auto frames = static_cast<int64_t>(block.size() / channels);
    packet.pts = packet.dts = impl_->position;
    packet.duration = frames;
    impl_->position += frames;
    av.av_packet_rescale_ts(&packet, {1, impl_->sample_rate},
                            impl_->context->streams[0]->time_base);
    const int code = av.av_write_frame(impl_->context, &packet);
    av.av_packet_unref(&packet);
    impl_->check(code);
  }
}

void Loudspeaker::finish() {
  impl_->open = false;
  impl_->check(ffmpeg().av_write_trailer(impl_->context));
}

}  // namespace tessera::io
