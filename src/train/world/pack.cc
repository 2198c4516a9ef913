// Layout: "TSRPACK1", 8-byte little-endian length of the index, the index as JSON
// {name: [offset, packed, size, executable]}, then the contents as zlib streams; offsets count from
// the end of the index. A file that does not shrink is stored (packed == size).

#include "train/world/pack.h"

#include "core/error.h"
#include "io/json.h"

#include <zlib.h>

#include <cstring>

namespace tessera::world {

namespace {

constexpr std::string_view kMagic = "TSRPACK1";
constexpr uint64_t kMostBytes = uint64_t{1} << 28;

/// A name that stays inside the folder it is unpacked to.
bool safe_name(const std::string& name) {
  const io::fs::path path(name);
  if (name.empty() || path.is_absolute()) {
    return false;
  }
  for (const auto& part : path) {
    if (part == "..") {
      return false;
    }
  }
  return true;
}

std::string deflated(const std::string& content) {
  uLongf size = compressBound(content.size());
  std::string out(size, '\0');
  const int status = compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                               reinterpret_cast<const Bytef*>(content.data()), content.size(), 9);
  TESSERA_CHECK(status == Z_OK, Internal, "zlib cannot compress ({})", status);
  out.resize(size);
  return out.size() < content.size() ? out : content;
}

}  // namespace

void write_pack(const io::fs::path& path, const std::map<std::string, PackedFile>& files) {
  io::Json index = io::Json::object();
  std::string body;
  for (const auto& [name, file] : files) {
    TESSERA_CHECK(safe_name(name), InvalidArgument, "'{}' is no relative path", name);
    const std::string packed = deflated(file.content);
    index[name] = {body.size(), packed.size(), file.content.size(), file.executable};
    body += packed;
  }
  const std::string header = index.dump();
  uint64_t length = header.size();
  std::string bytes(kMagic);
  bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
  io::write_file(path, bytes + header + body);
}

Pack::Pack(const io::fs::path& path) : path_(path), file_(io::MappedFile::open(path)) {
  const std::string_view bytes = file_->text();
  uint64_t length = 0;
  const bool headed = bytes.size() >= 16 && bytes.substr(0, 8) == kMagic;
  if (headed) {
    std::memcpy(&length, bytes.data() + 8, sizeof length);
  }
  TESSERA_CHECK(headed && length <= bytes.size() - 16, CorruptFile,
                "{}: not a whole asset pack; make the assets again", path.string());
  const io::Json index = io::parse_json(bytes.substr(16, length), path.string());
  const uint64_t base = 16 + length;
  try {
    for (const auto& [name, row] : index.items()) {
      Entry entry{row.at(0).get<uint64_t>(), row.at(1).get<uint64_t>(), row.at(2).get<uint64_t>(),
                  row.at(3).get<bool>()};
      TESSERA_CHECK(safe_name(name) && entry.size <= kMostBytes &&
                        entry.offset <= bytes.size() - base &&
                        entry.packed <= bytes.size() - base - entry.offset,
                    CorruptFile, "{}: entry '{}' lies outside the file", path.string(), name);
      entry.offset += base;
      entries_.emplace(name, entry);
    }
  } catch (const io::Json::exception& error) {
    throw CorruptFile("{}: broken index ({})", path.string(), error.what());
  }
}

std::string Pack::read(std::string_view name) const {
  const auto found = entries_.find(std::string(name));
  TESSERA_CHECK(found != entries_.end(), NotFound, "{}: has no '{}'; make the assets again",
                path_.string(), name);
  const Entry& entry = found->second;
  const std::string_view packed = file_->text().substr(entry.offset, entry.packed);
  if (entry.packed == entry.size) {
    return std::string(packed);
  }
  std::string out(entry.size, '\0');
  uLongf size = entry.size;
  const int status = uncompress(reinterpret_cast<Bytef*>(out.data()), &size,
                                reinterpret_cast<const Bytef*>(packed.data()), packed.size());
  TESSERA_CHECK(status == Z_OK && size == entry.size, CorruptFile,
                "{}: '{}' does not unpack to its {} bytes", path_.string(), name, entry.size);
  return out;
}

void Pack::unpack(const io::fs::path& folder) const {
  for (const auto& [name, entry] : entries_) {
    const io::fs::path target = folder / name;
    std::error_code error;
    if (io::fs::exists(target, error)) {
      continue;
    }
    io::fs::create_directories(target.parent_path(), error);
    TESSERA_CHECK(!error, Io, "{}: {}", target.parent_path().string(), error.message());
    io::write_file(target, read(name));
    if (entry.executable) {
      io::fs::permissions(target, io::fs::perms::owner_exec | io::fs::perms::group_exec,
                          io::fs::perm_options::add, error);
      TESSERA_CHECK(!error, Io, "{}: {}", target.string(), error.message());
    }
  }
}

}  // namespace tessera::world
