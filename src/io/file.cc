#include "io/file.h"

#include "core/error.h"
#include "core/strings.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace tessera::io {
namespace {

// Owner of a file descriptor while a function runs.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) {
      ::close(fd);
    }
  }
};

Descriptor open_for_reading(const fs::path& path, struct stat* info) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      throw_not_found(path, "a readable file");
    }
    throw Io("{}: {}", path.string(), std::strerror(errno));
  }
  TESSERA_CHECK(::fstat(file.fd, info) == 0, Io, "{}: {}", path.string(), std::strerror(errno));
  TESSERA_CHECK(!S_ISDIR(info->st_mode), InvalidArgument, "{}: is a folder, expected a file",
                path.string());
  return file;
}

}  // namespace

void throw_not_found(const fs::path& path, std::string_view expected) {
  std::error_code ignored;
  const fs::path folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, ignored), end;
       !ignored && it != end && names.size() < 4096; it.increment(ignored)) {
    names.push_back(it->path().filename().string());
  }
  const auto near = closest_match(path.filename().string(), names);
  throw NotFound("{}: not found, expected {}{}", path.string(), expected,
                 near ? "; did you mean " + (path.parent_path() / *near).string() + "?" : "");
}

std::string read_file(const fs::path& path, uint64_t limit) {
  struct stat info {};
  const Descriptor file = open_for_reading(path, &info);
  std::string content;
  if (S_ISREG(info.st_mode)) {
    TESSERA_CHECK(static_cast<uint64_t>(info.st_size) <= limit, CorruptFile,
                  "{}: {} bytes, expected at most {}", path.string(), info.st_size, limit);
    content.reserve(static_cast<size_t>(info.st_size));
  }
  std::vector<char> buffer(1 << 16);
  while (true) {
    const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(got >= 0, Io, "{}: {}", path.string(), std::strerror(errno));
    if (got == 0) {
      return content;
    }
    content.append(buffer.data(), static_cast<size_t>(got));
    TESSERA_CHECK(content.size() <= limit, CorruptFile, "{}: more than {} bytes", path.string(),
                  limit);
  }
}

std::shared_ptr<MappedFile> MappedFile::open(const fs::path& path) {
  struct stat info {};
  const Descriptor file = open_for_reading(path, &info);
  const auto size = static_cast<size_t>(info.st_size);
  std::byte* data = nullptr;
  if (size > 0) {
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.fd, 0);
    TESSERA_CHECK(mapped != MAP_FAILED, Io, "{}: mmap of {} bytes: {}", path.string(), size,
                  std::strerror(errno));
    data = static_cast<std::byte*>(mapped);
  }
  return std::shared_ptr<MappedFile>(new MappedFile(path, data, size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(data_, size_);
  }
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  std::error_code ignored;
  if (path_.has_parent_path()) {
    fs::create_directories(path_.parent_path(), ignored);
  }
  // A link is followed: what it points to is replaced, not the link (/dev/stdout is one).
  const fs::path target = fs::is_symlink(path_, ignored) ? fs::canonical(path_, ignored) : path_;
  const fs::path& real = target.empty() ? path_ : target;
  const bool straight = fs::exists(real, ignored) && !fs::is_regular_file(real, ignored);
  if (!straight) {
    path_ = real;
    temporary_ = path_.string() + ".part-" + std::to_string(::getpid());
  }
  fd_ = straight ? ::open(path_.c_str(), O_WRONLY | O_CLOEXEC)
                 : ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  TESSERA_CHECK(fd_ >= 0, Io, "{}: cannot write: {}", path_.string(), std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    if (!temporary_.empty()) {
      ::unlink(temporary_.c_str());
    }
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(put > 0, Io, "{}: {}; nothing was left behind", path_.string(),
                  std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(put));
    size_ += static_cast<uint64_t>(put);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::rewrite(uint64_t offset, std::string_view text) {
  TESSERA_CHECK(offset + text.size() <= size_, Internal, "{}: rewrite past the end",
                path_.string());
  while (!text.empty()) {
    const ssize_t put = ::pwrite(fd_, text.data(), text.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(put > 0, Io, "{}: {}; nothing was left behind", path_.string(),
                  std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
}

void AtomicFile::commit() {
  const int synced = ::fsync(fd_);
  const int sync_error = errno;
  const int closed = ::close(fd_);
  const int close_error = errno;
  fd_ = -1;
  // fsync is refused on pipes and some file systems (EINVAL); that loses no data that rename could
  // save.
  const bool sync_failed = synced != 0 && sync_error != EINVAL;
  if (sync_failed || closed != 0) {
    if (!temporary_.empty()) {
      ::unlink(temporary_.c_str());
    }
    throw Io("{}: {}; nothing was left behind", path_.string(),
             std::strerror(sync_failed ? sync_error : close_error));
  }
  if (!temporary_.empty() && ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    throw Io("{}: cannot rename into place: {}", path_.string(), std::strerror(reason));
  }
}

void write_file(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace tessera::io
