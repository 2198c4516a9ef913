// Bytes that come in order from a file, a pipe or memory, and bytes that go out in order: what the
// sound readers and writers work on.
#pragma once

#include "io/file.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

/// Buffered input. The first `kBuffer` bytes of a pipe can be read again with seek(0) as long as
/// no more than these were read. Not thread-safe.
class ByteSource {
 public:
  static constexpr size_t kBuffer = size_t{1} << 16;

  /// Opens a file, a device or a pipe; "-" is stdin. Throws NotFound, InvalidArgument (a folder)
  /// or Io.
  static std::unique_ptr<ByteSource> open(const std::string& path);
  /// Reads `bytes`, which must outlive the source; `name` stands in messages.
  static std::unique_ptr<ByteSource> from_memory(std::span<const std::byte> bytes,
                                                 std::string name);
  /// The rest of `source` (a pipe) copied to a nameless temporary file, so that it can seek. Throws
  /// Io when there is no room.
  static std::unique_ptr<ByteSource> to_file(ByteSource& source);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// The path, or "stdin".
  const std::string& name() const { return name_; }
  /// Bytes in all; nothing for a pipe or a device.
  std::optional<uint64_t> size() const { return size_; }
  bool seekable() const { return size_.has_value(); }
  uint64_t position() const { return start_ + next_; }

  /// Fills `out`; less only at the end. Throws Io.
  size_t read(std::span<std::byte> out);
  /// One read of at most out.size() bytes, at least 1 unless at the end: does not wait for more
  /// than a pipe has.
  size_t read_some(std::span<std::byte> out);
  /// The next bytes (at most `count` <= kBuffer, less near the end) without moving. Valid until
  /// the next call.
  std::string_view peek(size_t count);
  /// Goes to `position` (may lie past the end: then reads give nothing); false when that cannot be
  /// done, with the position unchanged.
  bool seek(uint64_t position);
  /// Moves `count` bytes on, by reading where seeking is impossible; stops at the end.
  void skip(uint64_t count);

 private:
  ByteSource() = default;
  size_t read_system(std::byte* out, size_t count);
  bool refill();

  std::string name_;
  int fd_ = -1;  // -1: memory, all of which is the window
  bool close_ = false;
  std::optional<uint64_t> size_;
  uint64_t origin_ = 0;  // file offset of position 0 (stdin may start inside a file)
  uint64_t start_ = 0;   // position of window_[0]
  size_t next_ = 0;      // next unread byte in window_
  std::span<const std::byte> window_;
  std::vector<std::byte> buffer_;
};

/// Output to a file through a temporary name, or straight to stdout ("-"), a device or a pipe.
class ByteSink {
 public:
  /// Throws Io when it cannot be opened.
  static std::unique_ptr<ByteSink> open(const std::string& path);
  ~ByteSink();
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;

  /// The path, or "stdout".
  const std::string& name() const { return name_; }
  /// Bytes written so far.
  uint64_t size() const { return size_; }
  /// True when earlier bytes can be overwritten.
  bool seekable() const { return seekable_; }

  /// Appends. Throws Io with the system's reason, e.g. "No space left on device".
  void write(std::string_view bytes);
  /// Overwrites bytes that were written before; only when seekable().
  void rewrite(uint64_t offset, std::string_view bytes);
  /// Makes the file appear under its name. Without it a file leaves nothing behind.
  void commit();

 private:
  ByteSink() = default;

  std::string name_;
  std::unique_ptr<AtomicFile> file_;
  int fd_ = -1;
  bool close_ = false;
  bool seekable_ = false;
  uint64_t origin_ = 0;
  uint64_t size_ = 0;
};

}  // namespace tessera::io
