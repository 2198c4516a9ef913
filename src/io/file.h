// Files: reading with limits, memory maps, and writing that leaves nothing half-written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tessera::io {

namespace fs = std::filesystem;

/// Whole content of a file. Throws NotFound (with a "did you mean" from the same folder), or
/// CorruptFile when it is larger than `limit` bytes.
std::string read_file(const fs::path& path, uint64_t limit = uint64_t{1} << 32);

/// A file mapped copy-on-write (MAP_PRIVATE, read and write): writes stay in this process, clean
/// pages are shared with the page cache. Opening costs no read.
class MappedFile {
 public:
  /// Throws NotFound, or Io with the system's reason. An empty file gives an empty span.
  static std::shared_ptr<MappedFile> open(const fs::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const fs::path& path() const { return path_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  MappedFile(fs::path path, std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  fs::path path_;
  std::byte* data_;
  size_t size_;
};

/// Writes to `<path>.part-<pid>` and renames on commit(); without commit the partial file is
/// removed. What is no regular file (/dev/stdout, a named pipe) is written straight and never
/// replaced. Throws Io ("no space left on device …") on any failed write.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Overwrites bytes at `offset`, which must have been written before (headers with sizes).
  void rewrite(uint64_t offset, std::string_view text);
  uint64_t size() const { return size_; }
  /// Flushes, syncs and renames into place.
  void commit();

 private:
  fs::path path_;
  fs::path temporary_;  // empty: written straight
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// AtomicFile in one call.
void write_file(const fs::path& path, std::string_view content);

/// Throws NotFound for a path that does not exist, naming the nearest entry beside it.
[[noreturn]] void throw_not_found(const fs::path& path, std::string_view expected);

}  // namespace tessera::io
