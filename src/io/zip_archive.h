// Reading zip archives from memory: torch.save files are zips whose entries are stored without
// compression, so that tensors can be used in place. Format: PKWARE APPNOTE 6.3 (zip64 included).
#pragma once

#include "io/tensor_table.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace tessera::io {

/// One file in an archive.
struct ZipEntry {
  std::string name;
  uint64_t offset = 0;  // of the first packed byte, from the start of the archive
  uint64_t packed = 0;  // bytes in the archive
  uint64_t size = 0;    // bytes of the content
  uint32_t crc = 0;
  bool deflated = false;
};

/// The central directory of an archive. Ranges are checked when it is opened, the contents of
/// stored entries are not (no CRC is computed, nothing is read).
class ZipArchive {
 public:
  /// Throws CorruptFile; Unsupported for encryption, several disks, methods beside store and
  /// deflate.
  explicit ZipArchive(FileBytes source);

  const std::map<std::string, ZipEntry, std::less<>>& entries() const { return entries_; }
  const ZipEntry* find(std::string_view name) const;

  /// Content of an entry: stored entries point into the archive, deflated ones are decoded and
  /// their CRC is checked. All decoded bytes of an archive together may be 100 times its size, plus
  /// 64 MiB.
  FileBytes read(const ZipEntry& entry);

 private:
  FileBytes source_;
  std::map<std::string, ZipEntry, std::less<>> entries_;
  uint64_t inflated_ = 0;
};

/// True when `bytes` begin as a zip archive does.
bool looks_like_zip(std::string_view bytes);

}  // namespace tessera::io
