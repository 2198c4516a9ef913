// Zip reader: end record (found from the back), zip64 end record, central directory, local headers.
// Sizes are taken from the central directory: local headers may leave them to a data descriptor.
// The place of the content comes from the local header, whose extra field differs from the central
// one (torch pads there to align tensors). Format: PKWARE APPNOTE 6.3.
#include "io/zip_archive.h"

#include "core/error.h"

#include <zlib.h>

#include <algorithm>

namespace tessera::io {
namespace {

constexpr uint32_t kLocalMagic = 0x04034b50;
constexpr uint32_t kCentralMagic = 0x02014b50;
constexpr uint32_t kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50;
constexpr uint32_t kLocator64Magic = 0x07064b50;
constexpr size_t kLocalSize = 30;
constexpr size_t kCentralSize = 46;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64Size = 56;
constexpr size_t kLocator64Size = 20;
constexpr size_t kMaxComment = 65535;
constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kIn64 = 0xFFFFFFFF;  // the value is in the zip64 field
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;

// Little-endian numbers at checked places.
class Fields {
 public:
  Fields(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  uint64_t get(uint64_t at, size_t width) const {
    TESSERA_CHECK(at <= bytes_.size() && width <= bytes_.size() - at, CorruptFile,
                  "{}: damaged zip: byte {} is past the end ({} bytes); the file is cut short",
                  name_, at, bytes_.size());
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes_[at + i]);
    }
    return value;
  }
  uint16_t u16(uint64_t at) const { return static_cast<uint16_t>(get(at, 2)); }
  uint32_t u32(uint64_t at) const { return static_cast<uint32_t>(get(at, 4)); }
  uint64_t u64(uint64_t at) const { return get(at, 8); }

 private:
  std::string_view bytes_;
  std::string_view name_;
};

struct Directory {
  uint64_t count = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

uint64_t find_end(const FileBytes& source, const Fields& fields) {
  const uint64_t size = source.bytes.size();
  for (uint64_t back = kEndSize; back <= size && back <= kEndSize + kMaxComment; ++back) {
    if (fields.u32(size - back) == kEndMagic && fields.u16(size - back + 20) == back - kEndSize) {
      return size - back;
    }
  }
  throw CorruptFile(
      "{}: begins as a zip archive but has no end record; the file is cut short ({} bytes)",
      source.name, size);
}

Directory find_directory(const FileBytes& source, const Fields& fields) {
  const uint64_t end = find_end(source, fields);
  Directory directory{fields.u16(end + 10), fields.u32(end + 16), fields.u32(end + 12)};
  uint64_t disk = fields.u16(end + 4);
  uint64_t limit = end;
  if (end >= kLocator64Size && fields.u32(end - kLocator64Size) == kLocator64Magic) {
    const uint64_t end64 = fields.u64(end - kLocator64Size + 8);
    TESSERA_CHECK(end64 <= end && end - end64 >= kEnd64Size + kLocator64Size &&
                      fields.u32(end64) == kEnd64Magic,
                  CorruptFile, "{}: damaged zip: no zip64 end record at byte {}", source.name,
                  end64);
    directory = {fields.u64(end64 + 32), fields.u64(end64 + 48), fields.u64(end64 + 40)};
    disk = fields.u32(end64 + 16);
    limit = end64;
  }
  TESSERA_CHECK(disk == 0, Unsupported, "{}: one part of a zip archive in several parts; join them",
                source.name);
  TESSERA_CHECK(directory.offset <= limit && directory.size <= limit - directory.offset,
                CorruptFile, "{}: damaged zip: the directory lies outside the file", source.name);
  TESSERA_CHECK(directory.count <= directory.size / kCentralSize, CorruptFile,
                "{}: damaged zip: {} entries cannot fit into a directory of {} bytes", source.name,
                directory.count, directory.size);
  return directory;
}

// Values that do not fit into 32 bits follow in this order, only those that are needed.
void read_zip64_extra(
    const Fields& fields, uint64_t at, uint64_t length, ZipEntry& entry, uint64_t& local) {
  const uint64_t end = at + length;
  while (end - at >= 4) {
    const uint16_t id = fields.u16(at);
    const uint64_t field_end = std::min<uint64_t>(end, at + 4 + fields.u16(at + 2));
    at += 4;
    if (id == kZip64Extra) {
      for (uint64_t* value : {&entry.size, &entry.packed, &local}) {
        if (*value == kIn64 && field_end - at >= 8) {
          *value = fields.u64(at);
          at += 8;
        }
      }
      return;
    }
    at = field_end;
  }
}

void check_place(const FileBytes& source,
                 const Fields& fields,
                 uint64_t local,
                 uint64_t limit,
                 ZipEntry& entry) {
  TESSERA_CHECK(local <= limit && limit - local >= kLocalSize && fields.u32(local) == kLocalMagic,
                CorruptFile, "{}: damaged zip: entry '{}' has no header at byte {}", source.name,
                entry.name, local);
  entry.offset = local + kLocalSize + fields.u16(local + 26) + fields.u16(local + 28);
  TESSERA_CHECK(entry.offset <= limit && entry.packed <= limit - entry.offset, CorruptFile,
                "{}: damaged zip: entry '{}' claims {} bytes at {}, but entries end at {}",
                source.name, entry.name, entry.packed, entry.offset, limit);
  TESSERA_CHECK(entry.deflated || entry.packed == entry.size, CorruptFile,
                "{}: damaged zip: entry '{}' is stored as {} bytes but claims {}", source.name,
                entry.name, entry.packed, entry.size);
}

}  // namespace

bool looks_like_zip(std::string_view bytes) {
  return bytes.starts_with(std::string_view("PK\3\4", 4));
}

ZipArchive::ZipArchive(FileBytes source) : source_(std::move(source)) {
  const std::string_view text = source_.text();
  const Fields fields(text, source_.name);
  const Directory directory = find_directory(source_, fields);
  uint64_t at = directory.offset;
  const uint64_t end = directory.offset + directory.size;
  for (uint64_t i = 0; i < directory.count; ++i) {
    TESSERA_CHECK(end - at >= kCentralSize && fields.u32(at) == kCentralMagic, CorruptFile,
                  "{}: damaged zip: no directory entry {} at byte {}", source_.name, i, at);
    const uint64_t name_size = fields.u16(at + 28);
    const uint64_t extra_size = fields.u16(at + 30);
    const uint64_t next = at + kCentralSize + name_size + extra_size + fields.u16(at + 32);
    TESSERA_CHECK(next <= end, CorruptFile, "{}: damaged zip: directory entry {} is cut short",
                  source_.name, i);
    const uint16_t method = fields.u16(at + 10);
    ZipEntry entry{.name = std::string(text.substr(at + kCentralSize, name_size)),
                   .packed = fields.u32(at + 20),
                   .size = fields.u32(at + 24),
                   .crc = fields.u32(at + 16),
                   .deflated = method == kDeflated};
    TESSERA_CHECK((fields.u16(at + 8) & 1) == 0, Unsupported, "{}: entry '{}' is encrypted",
                  source_.name, entry.name);
    TESSERA_CHECK(method == kStored || method == kDeflated, Unsupported,
                  "{}: entry '{}' uses compression method {}, expected 0 (stored) or 8 (deflate)",
                  source_.name, entry.name, method);
    uint64_t local = fields.u32(at + 42);
    read_zip64_extra(fields, at + kCentralSize + name_size, extra_size, entry, local);
    check_place(source_, fields, local, directory.offset, entry);
    const std::string name = entry.name;
    TESSERA_CHECK(entries_.emplace(name, std::move(entry)).second, CorruptFile,
                  "{}: damaged zip: entry '{}' occurs twice", source_.name, name);
    at = next;
  }
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second;
}

FileBytes ZipArchive::read(const ZipEntry& entry) {
  const std::span<std::byte> packed = source_.bytes.subspan(entry.offset, entry.packed);
  if (!entry.deflated) {
    return {packed, source_.owner, source_.name};
  }
  // Overlapping entries could make a small file claim any size, hence a limit for all together.
  const uint64_t limit = 100 * uint64_t{source_.bytes.size()} + (uint64_t{64} << 20);
  TESSERA_CHECK(entry.size <= limit && inflated_ <= limit - entry.size, CorruptFile,
                "{}: entry '{}' claims {} bytes, which is too much for a zip of {} bytes; unpack "
                "it and store it without compression (zip -0)",
                source_.name, entry.name, entry.size, source_.bytes.size());
  // Chunks of zlib are limited to 32 bits; weights above that are never compressed in practice.
  TESSERA_CHECK(entry.size <= UINT32_MAX && entry.packed <= UINT32_MAX, Unsupported,
                "{}: entry '{}' is compressed and larger than 4 GiB; store it without compression "
                "(zip -0)",
                source_.name, entry.name);
  inflated_ += entry.size;
  std::shared_ptr<std::byte[]> content(new std::byte[entry.size]);
  z_stream stream{};
  TESSERA_CHECK(inflateInit2(&stream, -MAX_WBITS) == Z_OK, OutOfMemory, "{}: zlib has no memory",
                source_.name);
  stream.next_in = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(content.get());
  stream.avail_out = static_cast<uInt>(entry.size);
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.total_out == entry.size;
  inflateEnd(&stream);
  TESSERA_CHECK(whole && crc32(0, reinterpret_cast<const Bytef*>(content.get()),
                               static_cast<uInt>(entry.size)) == entry.crc,
                CorruptFile,
                "{}: damaged zip: entry '{}' does not unpack to the {} bytes it claims",
                source_.name, entry.name, entry.size);
  return {{content.get(), static_cast<size_t>(entry.size)}, content, source_.name};
}

}  // namespace tessera::io
