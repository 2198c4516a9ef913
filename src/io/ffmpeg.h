// FFmpeg 5.1's libraries, opened when first needed: a table of their functions and RAII owners of
// their objects. For .cc files that talk to FFmpeg; others use io/audio.h.
#pragma once

#include "io/byte_stream.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
}

#include <exception>
#include <memory>
#include <string>

namespace tessera::io {

#define TESSERA_AVUTIL_FUNCTIONS(X) \
  X(avutil_version)                 \
  X(av_channel_layout_default)      \
  X(av_dict_free)                   \
  X(av_dict_set)                    \
  X(av_frame_alloc)                 \
  X(av_frame_free)                  \
  X(av_frame_get_buffer)            \
  X(av_frame_unref)                 \
  X(av_freep)                       \
  X(av_get_sample_fmt_name)         \
  X(av_log_set_callback)            \
  X(av_malloc)                      \
  X(av_rescale_q)                   \
  X(av_strerror)

#define TESSERA_AVCODEC_FUNCTIONS(X) \
  X(avcodec_version)                 \
  X(av_packet_alloc)                 \
  X(av_new_packet)                   \
  X(av_packet_free)                  \
  X(av_packet_get_side_data)         \
  X(av_packet_rescale_ts)            \
  X(av_packet_unref)                 \
  X(avcodec_alloc_context3)          \
  X(avcodec_find_encoder_by_name)    \
  X(avcodec_free_context)            \
  X(avcodec_open2)                   \
  X(avcodec_parameters_from_context) \
  X(avcodec_parameters_to_context)   \
  X(avcodec_receive_frame)           \
  X(avcodec_receive_packet)          \
  X(avcodec_send_frame)              \
  X(avcodec_send_packet)

#define TESSERA_AVFORMAT_FUNCTIONS(X) \
  X(avformat_version)                 \
  X(av_find_best_stream)              \
  X(av_find_input_format)             \
  X(av_interleaved_write_frame)       \
  X(av_read_frame)                    \
  X(av_write_frame)                   \
  X(av_write_trailer)                 \
  X(avformat_alloc_context)           \
  X(avformat_alloc_output_context2)   \
  X(avformat_close_input)             \
  X(avformat_find_stream_info)        \
  X(avformat_free_context)            \
  X(avformat_new_stream)              \
  X(avformat_open_input)              \
  X(avformat_write_header)            \
  X(avio_alloc_context)               \
  X(avio_context_free)                \
  X(avio_flush)

/// The functions of libavutil, libavcodec and libavformat that we use, under their own names.
struct Ffmpeg {
#define TESSERA_MEMBER(name) decltype(&::name) name = nullptr;
  TESSERA_AVUTIL_FUNCTIONS(TESSERA_MEMBER)
  TESSERA_AVCODEC_FUNCTIONS(TESSERA_MEMBER)
  TESSERA_AVFORMAT_FUNCTIONS(TESSERA_MEMBER)
#undef TESSERA_MEMBER
};

/// Opens the libraries in `folder` ("" = where the system looks) for the life of the process.
/// Throws Unsupported, with the command that installs them, when one is missing or too old.
Ffmpeg load_ffmpeg(const std::string& folder);

/// The system's FFmpeg, opened on the first call; its messages go to our log at debug level.
/// Thread-safe. Throws Unsupported.
const Ffmpeg& ffmpeg();

/// FFmpeg's words for an error number, e.g. "Invalid data found when processing input".
std::string ffmpeg_error(int code);

/// Frees an FFmpeg object by the table.
struct FfmpegDelete {
  void operator()(AVFrame* frame) const { ffmpeg().av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { ffmpeg().av_packet_free(&packet); }
  void operator()(AVCodecContext* context) const { ffmpeg().avcodec_free_context(&context); }
};
using FramePtr = std::unique_ptr<AVFrame, FfmpegDelete>;
using PacketPtr = std::unique_ptr<AVPacket, FfmpegDelete>;
using CodecPtr = std::unique_ptr<AVCodecContext, FfmpegDelete>;

/// `pointer`, or OutOfMemory when FFmpeg could not allocate it.
void check_allocated(const void* pointer);

/// A container opened for reading from a ByteSource. Nested files and network addresses that a
/// playlist or reference movie may name are never opened.
class FfmpegInput {
 public:
  /// Probes the content and finds its streams. Throws CorruptFile or Unsupported.
  explicit FfmpegInput(std::unique_ptr<ByteSource> source);
  /// A device of libavdevice, which must be registered. Throws Unsupported or Io.
  FfmpegInput(const std::string& kind, const std::string& address);
  ~FfmpegInput();  // NOLINT(bugprone-exception-escape)
  FfmpegInput(const FfmpegInput&) = delete;
  FfmpegInput& operator=(const FfmpegInput&) = delete;

  AVFormatContext* context() { return context_; }
  const AVStream* stream(int index) const { return context_->streams[index]; }
  /// True for MP4, M4A, QuickTime and their kin.
  bool is_mp4() const;
  const std::string& name() const { return name_; }
  /// Next packet of any stream; false at the end (an error of the container ends it too, with a
  /// warning). Throws Io when the source did.
  bool read(AVPacket* packet);
  /// True when an error ended the packets.
  bool ended_early() const { return ended_early_; }

 private:
  static int on_read(void* self, uint8_t* buffer, int size);
  static int64_t on_seek(void* self, int64_t offset, int whence);
  void rethrow();
  void close();

  std::string name_;
  std::unique_ptr<ByteSource> source_;  // null for devices
  AVIOContext* stream_ = nullptr;
  AVFormatContext* context_ = nullptr;
  bool ended_early_ = false;
  std::exception_ptr failure_;  // what a callback caught: C code must not see exceptions
};

/// A container written to a ByteSink.
class FfmpegOutput {
 public:
  /// `container` is FFmpeg's short name. Throws Unsupported.
  FfmpegOutput(std::unique_ptr<ByteSink> sink, const char* container);
  ~FfmpegOutput();  // NOLINT(bugprone-exception-escape)
  FfmpegOutput(const FfmpegOutput&) = delete;
  FfmpegOutput& operator=(const FfmpegOutput&) = delete;

  AVFormatContext* context() { return context_; }
  const std::string& name() const { return sink_->name(); }
  /// Once the streams are there; the first one is sound.
  void write_header();
  /// Takes the packet's content.
  void write(AVPacket* packet);
  /// Trailer, flush and commit.
  void finish();

 private:
  static int on_write(void* self, uint8_t* buffer, int size);
  static int64_t on_seek(void* self, int64_t offset, int whence);
  void check(int code);

  std::unique_ptr<ByteSink> sink_;
  uint64_t position_ = 0;
  AVIOContext* stream_ = nullptr;
  AVFormatContext* context_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace tessera::io
