// Many files in one, each compressed: how the world's assets travel.
#pragma once

#include "io/file.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace tessera::world {

struct PackedFile {
  std::string content;
  bool executable = false;
};

/// Writes a pack. Names are relative paths without "..".
void write_pack(const io::fs::path& path, const std::map<std::string, PackedFile>& files);

/// An opened pack; reading is thread-safe.
class Pack {
 public:
  /// Throws NotFound, or CorruptFile for a broken index.
  explicit Pack(const io::fs::path& path);

  bool has(std::string_view name) const { return entries_.contains(std::string(name)); }
  /// Content of one file. Throws NotFound, or CorruptFile when it does not unpack to its size.
  std::string read(std::string_view name) const;
  /// Writes every file below `folder`, which is made; files that are there already are kept.
  void unpack(const io::fs::path& folder) const;

 private:
  struct Entry {
    uint64_t offset = 0, packed = 0, size = 0;
    bool executable = false;
  };
  io::fs::path path_;
  std::shared_ptr<io::MappedFile> file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace tessera::world
