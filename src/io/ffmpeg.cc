// FFmpeg 5.1 (Debian 12: libavformat 59, libavcodec 59, libavutil 57) by dlopen, so that starting
// costs nothing and the program runs without it; reading and writing containers through our own
// byte streams. Only what the file itself holds is read: `io_open` refuses, and no protocol is on
// the white list, so a hostile playlist cannot reach other files or the network.
#include "io/ffmpeg.h"

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <utility>

namespace tessera::io {
namespace {

constexpr const char* kInstall =
    "install it with `apt-get install libavformat59 libavcodec59 libavutil57`, or give a WAV file";
constexpr int kStreamBuffer = 1 << 15;

void on_log(void*, int level, const char* format, va_list arguments) {
  if (level > AV_LOG_INFO || log::level() > log::Level::kDebug) {
    return;
  }
  std::array<char, 1024> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  const std::string_view text = trim(line.data());
  if (!text.empty()) {
    log::debug("ffmpeg: {}", text);
  }
}

void* open_library(const std::string& folder, const char* name) {
  const std::string path = folder.empty() ? name : folder + "/" + name;
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = ::dlerror();
    throw Unsupported("FFmpeg 5.1 is needed for this file and could not be opened ({}); {}",
                      reason == nullptr ? path : reason, kInstall);
  }
  return library;
}

void* find_function(void* library, const char* name) {
  void* function = ::dlsym(library, name);
  TESSERA_CHECK(function != nullptr, Unsupported,
                "this FFmpeg has no function {}, version 5.1 is expected; {}", name, kInstall);
  return function;
}

void check_version(const char* name, unsigned found, unsigned expected) {
  TESSERA_CHECK(found >= expected, Unsupported, "{} {}.{} is too old, expected {}.{} or newer; {}",
                name, found >> 16, (found >> 8) & 255, expected >> 16, (expected >> 8) & 255,
                kInstall);
}

int refuse_open(AVFormatContext*, AVIOContext**, const char* url, int, AVDictionary**) {
  log::debug("ffmpeg: a file that this one refers to was not opened: {}", url);
  return AVERROR(EPERM);
}

std::string format_name(const AVFormatContext* context) {
  return context->iformat != nullptr ? context->iformat->name : "unknown";
}

}  // namespace

Ffmpeg load_ffmpeg(const std::string& folder) {
  Ffmpeg table;
  void* library = open_library(folder, "libavutil.so.57");
#define TESSERA_FIND(name) \
  table.name = reinterpret_cast<decltype(table.name)>(find_function(library, #name));
  TESSERA_AVUTIL_FUNCTIONS(TESSERA_FIND)
  library = open_library(folder, "libavcodec.so.59");
  TESSERA_AVCODEC_FUNCTIONS(TESSERA_FIND)
  library = open_library(folder, "libavformat.so.59");
  TESSERA_AVFORMAT_FUNCTIONS(TESSERA_FIND)
#undef TESSERA_FIND
  // The versions of 5.1; structures grew since 5.0 under the same file names.
  check_version("libavutil", table.avutil_version(), AV_VERSION_INT(57, 28, 0));
  check_version("libavcodec", table.avcodec_version(), AV_VERSION_INT(59, 37, 0));
  check_version("libavformat", table.avformat_version(), AV_VERSION_INT(59, 27, 0));
  table.av_log_set_callback(on_log);
  return table;
}

const Ffmpeg& ffmpeg() {
  static const Ffmpeg kTable = load_ffmpeg("");
  return kTable;
}

std::string ffmpeg_error(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  ffmpeg().av_strerror(code, text.data(), text.size());
  return text.data();
}

void check_allocated(const void* pointer) {
  TESSERA_CHECK(pointer != nullptr, OutOfMemory, "FFmpeg could not allocate memory; free some");
}

FfmpegInput::FfmpegInput(std::unique_ptr<ByteSource> source)
    : name_(source->name()), source_(std::move(source)) {
  const Ffmpeg& av = ffmpeg();
  auto* buffer = static_cast<unsigned char*>(av.av_malloc(kStreamBuffer));
  check_allocated(buffer);
  stream_ = av.avio_alloc_context(buffer, kStreamBuffer, 0, this, on_read, nullptr, on_seek);
  context_ = av.avformat_alloc_context();
  if (stream_ == nullptr || context_ == nullptr) {
    close();
    check_allocated(nullptr);
  }
  stream_->seekable = source_->seekable() ? AVIO_SEEKABLE_NORMAL : 0;
  context_->pb = stream_;
  context_->flags |= AVFMT_FLAG_CUSTOM_IO;
  context_->io_open = refuse_open;
  AVDictionary* options = nullptr;
  av.av_dict_set(&options, "protocol_whitelist", "none", 0);
  int code = av.avformat_open_input(&context_, nullptr, nullptr, &options);
  av.av_dict_free(&options);
  if (code >= 0) {
    code = av.avformat_find_stream_info(context_, nullptr);
  }
  if (code < 0) {
    close();
    rethrow();
    throw CorruptFile("{}: {}; expected sound or video in a format that FFmpeg reads{}", name(),
                      ffmpeg_error(code),
                      source_->seekable() ? "" : " from a pipe (some need a file: give its path)");
  }
}

FfmpegInput::FfmpegInput(const std::string& kind, const std::string& address)
    : name_(kind + ":" + address) {
  const Ffmpeg& av = ffmpeg();
  const AVInputFormat* format = av.av_find_input_format(kind.c_str());
  TESSERA_CHECK(format != nullptr, Unsupported,
                "{}: this FFmpeg has no such device; try alsa or pulse", kind);
  int code = av.avformat_open_input(&context_, address.c_str(), format, nullptr);
  if (code >= 0) {
    code = av.avformat_find_stream_info(context_, nullptr);
  }
  if (code < 0) {
    close();
    throw Io("{}: the device cannot be opened: {}", name_, ffmpeg_error(code));
  }
}

// The libraries were opened by the constructor: ffmpeg() no longer throws.
FfmpegInput::~FfmpegInput() {  // NOLINT(bugprone-exception-escape)
  close();
}

void FfmpegInput::close() {
  const Ffmpeg& av = ffmpeg();
  av.avformat_close_input(&context_);
  if (stream_ != nullptr) {
    // FFmpeg may have replaced the buffer that it was given.
    av.av_freep(&stream_->buffer);
    av.avio_context_free(&stream_);
  }
}

void FfmpegInput::rethrow() {
  if (failure_ != nullptr) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

int FfmpegInput::on_read(void* self, uint8_t* buffer, int size) {
  auto* input = static_cast<FfmpegInput*>(self);
  try {
    const size_t got = input->source_->read_some(
        {reinterpret_cast<std::byte*>(buffer), static_cast<size_t>(size)});
    return got == 0 ? AVERROR_EOF : static_cast<int>(got);
  } catch (...) {
    input->failure_ = std::current_exception();
    return AVERROR(EIO);
  }
}

int64_t FfmpegInput::on_seek(void* self, int64_t offset, int whence) {
  ByteSource& source = *static_cast<FfmpegInput*>(self)->source_;
  if (!source.seekable()) {
    return AVERROR(ESPIPE);
  }
  const auto size = static_cast<int64_t>(*source.size());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) {
    return size;
  }
  int64_t target = whence == SEEK_SET ? 0 : size;
  if (whence == SEEK_CUR) {
    target = static_cast<int64_t>(source.position());
  }
  if (__builtin_add_overflow(target, offset, &target) || target < 0 ||
      !source.seek(static_cast<uint64_t>(target))) {
    return AVERROR(EINVAL);
  }
  return target;
}

bool FfmpegInput::is_mp4() const {
  return std::string_view(context_->iformat->name).find("mp4") != std::string_view::npos;
}

bool FfmpegInput::read(AVPacket* packet) {
  const int code = ffmpeg().av_read_frame(context_, packet);
  if (code >= 0) {
    return true;
  }
  rethrow();
  if (code != AVERROR_EOF) {
    ended_early_ = true;
    log::warning("{}: reading stopped early: {} ({})", name(), ffmpeg_error(code),
                 format_name(context_));
  }
  return false;
}

FfmpegOutput::FfmpegOutput(std::unique_ptr<ByteSink> sink, const char* container)
    : sink_(std::move(sink)) {
  const Ffmpeg& av = ffmpeg();
  const int code = av.avformat_alloc_output_context2(&context_, nullptr, container, nullptr);
  TESSERA_CHECK(code >= 0, Unsupported, "{}: this FFmpeg cannot write {} files ({})", name(),
                container, ffmpeg_error(code));
  auto* buffer = static_cast<unsigned char*>(av.av_malloc(kStreamBuffer));
  if (buffer != nullptr) {
    stream_ = av.avio_alloc_context(buffer, kStreamBuffer, 1, this, nullptr, on_write, on_seek);
  }
  if (stream_ == nullptr) {
    av.av_freep(&buffer);
    av.avformat_free_context(context_);
    check_allocated(nullptr);
  }
  stream_->seekable = sink_->seekable() ? AVIO_SEEKABLE_NORMAL : 0;
  context_->pb = stream_;
  // Without dates and random serial numbers, so that equal sound gives equal files.
  context_->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
}

FfmpegOutput::~FfmpegOutput() {  // NOLINT(bugprone-exception-escape)
  const Ffmpeg& av = ffmpeg();
  av.avformat_free_context(context_);
  av.av_freep(&stream_->buffer);
  av.avio_context_free(&stream_);
}

int FfmpegOutput::on_write(void* self, uint8_t* buffer, int size) {
  auto* output = static_cast<FfmpegOutput*>(self);
  try {
    std::string_view bytes(reinterpret_cast<const char*>(buffer), static_cast<size_t>(size));
    ByteSink& sink = *output->sink_;
    if (output->position_ < sink.size()) {
      const auto over =
          static_cast<size_t>(std::min<uint64_t>(bytes.size(), sink.size() - output->position_));
      sink.rewrite(output->position_, bytes.substr(0, over));
      output->position_ += over;
      bytes.remove_prefix(over);
    }
    sink.write(bytes);
    output->position_ += bytes.size();
    return size;
  } catch (...) {
    output->failure_ = std::current_exception();
    return AVERROR(EIO);
  }
}

int64_t FfmpegOutput::on_seek(void* self, int64_t offset, int whence) {
  auto* output = static_cast<FfmpegOutput*>(self);
  const auto size = static_cast<int64_t>(output->sink_->size());
  whence &= ~AVSEEK_FORCE;
  if (whence == AVSEEK_SIZE) {
    return size;
  }
  int64_t target = offset;
  if (whence != SEEK_SET) {
    target += whence == SEEK_CUR ? static_cast<int64_t>(output->position_) : size;
  }
  if (!output->sink_->seekable() || target < 0 || target > size) {
    return AVERROR(EINVAL);
  }
  output->position_ = static_cast<uint64_t>(target);
  return target;
}

void FfmpegOutput::check(int code) {
  if (failure_ != nullptr) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  TESSERA_CHECK(code >= 0, Unsupported, "{}: FFmpeg cannot write this {} file: {}{}", name(),
                context_->oformat->name, ffmpeg_error(code),
                sink_->seekable() ? "" : "; it may need a file instead of a pipe");
}

void FfmpegOutput::write_header() {
  // MP4 tells the length in this unit, by default milliseconds; other containers do not know it.
  AVDictionary* options = nullptr;
  const auto rate = std::to_string(context_->streams[0]->codecpar->sample_rate);
  ffmpeg().av_dict_set(&options, "movie_timescale", rate.c_str(), 0);
  const int code = ffmpeg().avformat_write_header(context_, &options);
  ffmpeg().av_dict_free(&options);
  check(code);
}

void FfmpegOutput::write(AVPacket* packet) {
  check(ffmpeg().av_interleaved_write_frame(context_, packet));
}

void FfmpegOutput::finish() {
  check(ffmpeg().av_write_trailer(context_));
  ffmpeg().avio_flush(stream_);
  check(stream_->error);
  sink_->commit();
}

}  // namespace tessera::io
