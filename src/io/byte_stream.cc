// Files, pipes, devices and memory as byte streams. A regular file (also one redirected to stdin)
// can seek and knows its size; everything else is read once from front to back. Results for pipes
// and devices are written straight to them, since a temporary name beside them makes no sense.
#include "io/byte_stream.h"

#include "core/error.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace tessera::io {

std::unique_ptr<ByteSource> ByteSource::open(const std::string& path) {
  std::unique_ptr<ByteSource> source(new ByteSource);
  const bool is_stdin = path == "-";
  source->name_ = is_stdin ? "stdin" : path;
  source->fd_ = is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (source->fd_ < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      throw_not_found(path, "a readable file");
    }
    throw Io("{}: {}", path, std::strerror(errno));
  }
  source->close_ = !is_stdin;
  struct stat info {};
  TESSERA_CHECK(::fstat(source->fd_, &info) == 0, Io, "{}: {}", source->name_,
                std::strerror(errno));
  TESSERA_CHECK(!S_ISDIR(info.st_mode), InvalidArgument, "{}: is a folder, expected a file",
                source->name_);
  if (S_ISREG(info.st_mode)) {
    const off_t at = ::lseek(source->fd_, 0, SEEK_CUR);
    if (at >= 0) {
      source->origin_ = static_cast<uint64_t>(at);
      const auto end = static_cast<uint64_t>(info.st_size);
      source->size_ = end - std::min(end, source->origin_);
    }
  }
  source->buffer_.resize(kBuffer);
  return source;
}

std::unique_ptr<ByteSource> ByteSource::from_memory(std::span<const std::byte> bytes,
                                                    std::string name) {
  std::unique_ptr<ByteSource> source(new ByteSource);
  source->name_ = std::move(name);
  source->size_ = bytes.size();
  source->window_ = bytes;
  return source;
}

std::unique_ptr<ByteSource> ByteSource::to_file(ByteSource& source) {
  std::unique_ptr<ByteSource> copy(new ByteSource);
  copy->name_ = source.name_;
  copy->buffer_.resize(kBuffer);
  std::string path = (fs::temp_directory_path() / "tessera-XXXXXX").string();
  copy->fd_ = ::mkostemp(path.data(), O_CLOEXEC);
  TESSERA_CHECK(copy->fd_ >= 0, Io, "{}: cannot make a temporary file for it ({}: {})",
                source.name_, path, std::strerror(errno));
  copy->close_ = true;
  ::unlink(path.c_str());
  uint64_t size = 0;
  while (const size_t got = source.read_some(copy->buffer_)) {
    for (size_t done = 0; done < got;) {
      const ssize_t put = ::write(copy->fd_, copy->buffer_.data() + done, got - done);
      if (put < 0 && errno == EINTR) {
        continue;
      }
      TESSERA_CHECK(put > 0, Io, "{}: cannot copy it to {}: {}; give a file's path instead",
                    source.name_, path, std::strerror(errno));
      done += static_cast<size_t>(put);
    }
    size += got;
  }
  TESSERA_CHECK(::lseek(copy->fd_, 0, SEEK_SET) == 0, Io, "{}: {}", path, std::strerror(errno));
  copy->size_ = size;
  return copy;
}

ByteSource::~ByteSource() {
  if (close_) {
    ::close(fd_);
  }
}

size_t ByteSource::read_system(std::byte* out, size_t count) {
  while (true) {
    const ssize_t got = ::read(fd_, out, count);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(got >= 0, Io, "{}: {}", name_, std::strerror(errno));
    return static_cast<size_t>(got);
  }
}

// Replaces a fully read window by the next bytes; false at the end. The first bytes of a pipe are
// kept as long as the buffer has room, so that seek(0) works after its header was read.
bool ByteSource::refill() {
  if (fd_ < 0) {
    return false;
  }
  if (!seekable() && start_ == 0 && window_.size() < buffer_.size()) {
    const size_t have = window_.size();
    const size_t got = read_system(buffer_.data() + have, buffer_.size() - have);
    window_ = {buffer_.data(), have + got};
    return got > 0;
  }
  const size_t got = read_system(buffer_.data(), buffer_.size());
  if (got == 0) {
    return false;
  }
  start_ += next_;
  next_ = 0;
  window_ = {buffer_.data(), got};
  return true;
}

size_t ByteSource::read_some(std::span<std::byte> out) {
  if (out.empty() || (next_ >= window_.size() && !refill())) {
    return 0;
  }
  const size_t count = std::min(out.size(), window_.size() - next_);
  std::memcpy(out.data(), window_.data() + next_, count);
  next_ += count;
  return count;
}

size_t ByteSource::read(std::span<std::byte> out) {
  size_t done = 0;
  while (done < out.size()) {
    const size_t got = read_some(out.subspan(done));
    if (got == 0) {
      break;
    }
    done += got;
  }
  return done;
}

std::string_view ByteSource::peek(size_t count) {
  count = std::min(count, kBuffer);
  if (fd_ >= 0 && window_.size() - std::min(next_, window_.size()) < count) {
    // The unread rest moves to the front; then the buffer is filled up as far as needed.
    const size_t kept = window_.size() - next_;
    std::memmove(buffer_.data(), buffer_.data() + next_, kept);
    start_ += next_;
    next_ = 0;
    size_t filled = kept;
    while (filled < count) {
      const size_t got = read_system(buffer_.data() + filled, buffer_.size() - filled);
      if (got == 0) {
        break;
      }
      filled += got;
    }
    window_ = {buffer_.data(), filled};
  }
  if (next_ >= window_.size()) {
    return {};
  }
  return {reinterpret_cast<const char*>(window_.data() + next_),
          std::min(count, window_.size() - next_)};
}

bool ByteSource::seek(uint64_t position) {
  if (fd_ < 0) {
    next_ = static_cast<size_t>(std::min<uint64_t>(position, window_.size()));
    return true;
  }
  if (position >= start_ && position - start_ <= window_.size()) {
    next_ = static_cast<size_t>(position - start_);
    return true;
  }
  constexpr auto kFarthest = static_cast<uint64_t>(std::numeric_limits<off_t>::max());
  if (!seekable() || position > kFarthest - origin_ ||
      ::lseek(fd_, static_cast<off_t>(origin_ + position), SEEK_SET) < 0) {
    return false;
  }
  start_ = position;
  next_ = 0;
  window_ = {};
  return true;
}

void ByteSource::skip(uint64_t count) {
  const uint64_t left_in_window = window_.size() - next_;
  if (count <= left_in_window) {
    next_ += static_cast<size_t>(count);
    return;
  }
  if (seekable()) {
    const uint64_t here = position();
    seek(here + std::min(count, *size_ - std::min(here, *size_)));
    return;
  }
  while (count > 0) {
    const uint64_t step = std::min<uint64_t>(count, window_.size() - next_);
    next_ += static_cast<size_t>(step);
    count -= step;
    if (count > 0 && !refill()) {
      return;
    }
  }
}

std::unique_ptr<ByteSink> ByteSink::open(const std::string& path) {
  std::unique_ptr<ByteSink> sink(new ByteSink);
  sink->name_ = path;
  struct stat info {};
  const bool is_special = ::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
  if (path != "-" && !is_special) {
    sink->file_ = std::make_unique<AtomicFile>(path);
    sink->seekable_ = true;
    return sink;
  }
  if (path == "-") {
    sink->name_ = "stdout";
    sink->fd_ = STDOUT_FILENO;
  } else {
    TESSERA_CHECK(!S_ISDIR(info.st_mode), InvalidArgument, "{}: is a folder, expected a file name",
                  path);
    sink->fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    TESSERA_CHECK(sink->fd_ >= 0, Io, "{}: cannot write: {}", path, std::strerror(errno));
    sink->close_ = true;
  }
  // stdout may be a regular file, whose earlier bytes can be changed unless it was opened to
  // append.
  const off_t at = ::lseek(sink->fd_, 0, SEEK_CUR);
  if (::fstat(sink->fd_, &info) == 0 && S_ISREG(info.st_mode) && at >= 0 &&
      (::fcntl(sink->fd_, F_GETFL) & O_APPEND) == 0) {
    sink->seekable_ = true;
    sink->origin_ = static_cast<uint64_t>(at);
  }
  return sink;
}

ByteSink::~ByteSink() {
  if (close_) {
    ::close(fd_);
  }
}

void ByteSink::write(std::string_view bytes) {
  if (file_ != nullptr) {
    file_->write(bytes);
    size_ += bytes.size();
    return;
  }
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(put > 0, Io, "{}: {}", name_, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(put));
    size_ += static_cast<uint64_t>(put);
  }
}

void ByteSink::rewrite(uint64_t offset, std::string_view bytes) {
  TESSERA_CHECK(seekable_ && offset <= size_ && bytes.size() <= size_ - offset, Internal,
                "{}: rewrite past the end", name_);
  if (file_ != nullptr) {
    file_->rewrite(offset, bytes);
    return;
  }
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(origin_ + offset));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(put > 0, Io, "{}: {}", name_, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
}

void ByteSink::commit() {
  if (file_ != nullptr) {
    file_->commit();
  } else if (close_) {
    close_ = false;
    TESSERA_CHECK(::close(fd_) == 0, Io, "{}: {}", name_, std::strerror(errno));
  }
}

}  // namespace tessera::io
