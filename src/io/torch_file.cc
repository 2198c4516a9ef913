// torch.save containers. Zip: <root>/data.pkl refers to storages by key, their bytes are
// <root>/data/<key>; `byteorder` says little or big. Stream: pickles of a magic number, the
// protocol, the system's facts, the content and the list of storage keys, then for each key its
// number of elements (i64) and its bytes. A persistent id is ("storage", type, key, device,
// elements); in the stream a sixth member may be (view key, offset, elements).
// Reference: torch/serialization.py of torch 2.11.
#include "io/torch_file.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/pickle.h"
#include "io/zip_archive.h"

#include <cstring>
#include <unordered_map>

namespace tessera::io {
namespace {

// PROTO 2, LONG1 of 10 bytes 0x1950a86a20f9469cfc6c, STOP.
constexpr std::string_view kStreamMagic =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr int kMaxDepth = 64;
constexpr size_t kMaxRank = 64;
// Elements that overlap (expanded tensors) cost nothing in the file: what they may claim is
// bounded.
constexpr uint64_t kMaxExpanded = uint64_t{1} << 30;

struct Storage {
  FileBytes content;
  DType dtype = DType::kU8;
};

std::optional<DType> dtype_of_global(std::string_view name) {
  static const std::unordered_map<std::string_view, DType> kTypes = {
      {"torch.DoubleStorage", DType::kF64},
      {"torch.FloatStorage", DType::kF32},
      {"torch.HalfStorage", DType::kF16},
      {"torch.BFloat16Storage", DType::kBF16},
      {"torch.LongStorage", DType::kI64},
      {"torch.IntStorage", DType::kI32},
      {"torch.ShortStorage", DType::kI16},
      {"torch.CharStorage", DType::kI8},
      {"torch.ByteStorage", DType::kU8},
      {"torch.BoolStorage", DType::kBool},
      {"torch.ComplexFloatStorage", DType::kC64},
      {"torch.storage.UntypedStorage", DType::kU8},
      {"torch.float64", DType::kF64},
      {"torch.float32", DType::kF32},
      {"torch.float16", DType::kF16},
      {"torch.bfloat16", DType::kBF16},
      {"torch.float8_e4m3fn", DType::kF8E4M3},
      {"torch.float8_e5m2", DType::kF8E5M2},
      {"torch.float8_e4m3fnuz", DType::kF8E4M3FNUZ},
      {"torch.float8_e5m2fnuz", DType::kF8E5M2FNUZ},
      {"torch.float8_e8m0fnu", DType::kF8E8M0},
      {"torch.int64", DType::kI64},
      {"torch.int32", DType::kI32},
      {"torch.int16", DType::kI16},
      {"torch.int8", DType::kI8},
      {"torch.uint64", DType::kU64},
      {"torch.uint32", DType::kU32},
      {"torch.uint16", DType::kU16},
      {"torch.uint8", DType::kU8},
      {"torch.bool", DType::kBool},
      {"torch.complex64", DType::kC64},
  };
  const auto it = kTypes.find(name);
  return it == kTypes.end() ? std::nullopt : std::optional(it->second);
}

std::optional<DType> dtype_of_numpy(std::string_view name) {
  static const std::unordered_map<std::string_view, DType> kTypes = {
      {"f8", DType::kF64}, {"f4", DType::kF32}, {"f2", DType::kF16}, {"i8", DType::kI64},
      {"i4", DType::kI32}, {"i2", DType::kI16}, {"i1", DType::kI8},  {"u8", DType::kU64},
      {"u4", DType::kU32}, {"u2", DType::kU16}, {"u1", DType::kU8},  {"b1", DType::kBool},
      {"c8", DType::kC64},
  };
  const auto it = kTypes.find(name);
  return it == kTypes.end() ? std::nullopt : std::optional(it->second);
}

// What a persistent id says.
struct StorageId {
  DType dtype = DType::kU8;
  std::string key;
  uint64_t bytes = 0;
  // A part of the storage (stream format alone).
  uint64_t view_offset = 0;  // in elements
  uint64_t view_elements = 0;
  bool is_view = false;
};

// Where the bytes of storages are.
class StorageProvider {
 public:
  virtual ~StorageProvider() = default;
  /// All bytes of the storage, at least as many as its id claims.
  virtual FileBytes content(const StorageId& id) = 0;
};

// Checked access to the objects of a pickle.
class Objects {
 public:
  Objects(const Pickle& pickle, std::string_view source) : pickle_(pickle), source_(source) {}

  const PickleObject& at(PickleRef ref) const { return pickle_[ref]; }
  std::string_view source() const { return source_; }

  const PickleObject& expect(PickleRef ref, PickleKind kind, std::string_view what) const {
    TESSERA_CHECK(at(ref).kind == kind, CorruptFile, "{}: damaged torch file: expected {}", source_,
                  what);
    return at(ref);
  }

  int64_t size(PickleRef ref, std::string_view what) const {
    const int64_t value = expect(ref, PickleKind::kInt, what).integer;
    TESSERA_CHECK(value >= 0, CorruptFile, "{}: damaged torch file: {} is {}", source_, what,
                  value);
    return value;
  }

  std::vector<int64_t> sizes(PickleRef ref, std::string_view what) const {
    const auto& items = expect(ref, PickleKind::kList, what).items;
    TESSERA_CHECK(items.size() <= kMaxRank, CorruptFile,
                  "{}: damaged torch file: {} of {} dimensions, expected at most {}", source_, what,
                  items.size(), kMaxRank);
    std::vector<int64_t> values;
    values.reserve(items.size());
    for (const PickleRef item : items) {
      values.push_back(size(item, what));
    }
    return values;
  }

  StorageId storage_id(PickleRef ref) const {
    const auto& id = expect(ref, PickleKind::kPersistent, "a storage").items;
    const auto& items = expect(id[0], PickleKind::kList, "a storage's id").items;
    TESSERA_CHECK(items.size() >= 5 && at(items[0]).kind == PickleKind::kText &&
                      at(items[0]).text == "storage",
                  CorruptFile, "{}: damaged torch file: an id that is no storage's", source_);
    StorageId storage;
    const std::string_view type = expect(items[1], PickleKind::kGlobal, "a storage type").text;
    const auto dtype = dtype_of_global(type);
    TESSERA_CHECK(dtype, Unsupported, "{}: '{}' is no storage type that can be read", source_,
                  type);
    storage.dtype = *dtype;
    storage.key = utf8_lossy(expect(items[2], PickleKind::kText, "a storage's key").text);
    const auto elements = static_cast<uint64_t>(size(items[4], "a storage's size"));
    TESSERA_CHECK(!__builtin_mul_overflow(elements, dtype_size(storage.dtype), &storage.bytes),
                  CorruptFile, "{}: damaged torch file: storage '{}' claims {} elements", source_,
                  storage.key, elements);
    if (items.size() > 5 && at(items[5]).kind == PickleKind::kList) {
      const auto& view = at(items[5]).items;
      TESSERA_CHECK(view.size() == 3, CorruptFile, "{}: damaged torch file: a view of {} members",
                    source_, view.size());
      storage.is_view = true;
      storage.view_offset = static_cast<uint64_t>(size(view[1], "a view's offset"));
      storage.view_elements = static_cast<uint64_t>(size(view[2], "a view's size"));
    }
    return storage;
  }

 private:
  const Pickle& pickle_;
  std::string_view source_;
};

// Turns the object graph into named tensors and values.
class Flattener {
 public:
  Flattener(Objects objects, StorageProvider& storages, size_t pickle_size, TensorTable& table)
      : objects_(objects),
        storages_(storages),
        budget_(64 * uint64_t{pickle_size} + (uint64_t{1} << 20)),
        table_(table) {}

  void visit(PickleRef ref, const std::string& name, int depth) {
    TESSERA_CHECK(depth <= kMaxDepth, CorruptFile,
                  "{}: nested deeper than {} levels, or an object that contains itself",
                  objects_.source(), kMaxDepth);
    spend(1 + name.size());
    const PickleObject& object = objects_.at(ref);
    switch (object.kind) {
      case PickleKind::kTensor:
        table_.tensors.insert_or_assign(name.empty() ? "tensor" : name, tensor(object, name));
        break;
      case PickleKind::kNdarray:
        ndarray(object, name.empty() ? "tensor" : name);
        break;
      case PickleKind::kDict:
        for (size_t i = 0; i + 1 < object.items.size(); i += 2) {
          if (const auto key = key_text(object.items[i])) {
            visit(object.items[i + 1], child(name, *key), depth + 1);
          }
        }
        break;
      case PickleKind::kList:
        list(object, name, depth);
        break;
      default:
        if (const auto value = scalar(object)) {
          table_.values.insert_or_assign(name, *value);
        }
    }
  }

 private:
  // Shared objects are visited once for each path to them; a few bytes could name millions of
  // paths.
  void spend(uint64_t bytes) {
    TESSERA_CHECK(bytes <= budget_, CorruptFile,
                  "{}: damaged torch file: its objects contain each other too often",
                  objects_.source());
    budget_ -= bytes;
  }

  static std::string child(const std::string& name, std::string_view key) {
    return name.empty() ? std::string(key) : fmt::format("{}.{}", name, key);
  }

  std::optional<std::string> key_text(PickleRef ref) {
    const PickleObject& key = objects_.at(ref);
    if (key.kind == PickleKind::kText) {
      spend(key.text.size());
      return utf8_lossy(key.text);
    }
    if (key.kind == PickleKind::kInt) {
      return std::to_string(key.integer);
    }
    return std::nullopt;
  }

  std::optional<Json> scalar(const PickleObject& object) {
    switch (object.kind) {
      case PickleKind::kNone:
        return Json(nullptr);
      case PickleKind::kBool:
        return Json(object.integer != 0);
      case PickleKind::kInt:
        return Json(object.integer);
      case PickleKind::kFloat:
        return Json(object.real);
      case PickleKind::kText:
      case PickleKind::kGlobal:
        spend(object.text.size());
        return Json(utf8_lossy(object.text));
      default:
        return std::nullopt;
    }
  }

  // A list of scalars is one value, any other list is numbered.
  void list(const PickleObject& object, const std::string& name, int depth) {
    spend(object.items.size());
    Json values = Json::array();
    for (const PickleRef item : object.items) {
      if (auto value = scalar(objects_.at(item))) {
        values.push_back(std::move(*value));
      }
    }
    if (values.size() == object.items.size()) {
      table_.values.insert_or_assign(name, std::move(values));
      return;
    }
    for (size_t i = 0; i < object.items.size(); ++i) {
      visit(object.items[i], child(name, std::to_string(i)), depth + 1);
    }
  }

  Storage storage(PickleRef ref, std::string_view name) {
    const StorageId id = objects_.storage_id(ref);
    FileBytes content = storages_.content(id);
    TESSERA_CHECK(content.bytes.size() >= id.bytes, CorruptFile,
                  "{}: tensor '{}': storage '{}' claims {} bytes, but the file holds {}",
                  objects_.source(), name, id.key, id.bytes, content.bytes.size());
    content.bytes = content.bytes.first(id.bytes);
    if (id.is_view) {
      const uint64_t elements = id.bytes / dtype_size(id.dtype);
      TESSERA_CHECK(id.view_offset <= elements && id.view_elements <= elements - id.view_offset,
                    CorruptFile, "{}: tensor '{}': a view of {} elements at {} in a storage of {}",
                    objects_.source(), name, id.view_elements, id.view_offset, elements);
      content.bytes = content.bytes.subspan(id.view_offset * dtype_size(id.dtype),
                                            id.view_elements * dtype_size(id.dtype));
    }
    return {std::move(content), id.dtype};
  }

  // (storage, offset, sizes, strides, requires_grad, hooks, dtype?): _rebuild_tensor_v2 has no
  // dtype (a seventh argument is a dictionary of metadata), _v3 has.
  TensorEntry tensor(const PickleObject& object, const std::string& name) {
    const auto& items = object.items;
    TESSERA_CHECK(items.size() >= 4, CorruptFile,
                  "{}: tensor '{}': damaged torch file: {} arguments, expected at least 4",
                  objects_.source(), name, items.size());
    const Storage from = storage(items[0], name);
    TensorEntry entry;
    entry.dtype = from.dtype;
    if (items.size() > 6 && objects_.at(items[6]).kind == PickleKind::kGlobal) {
      const std::string_view type = objects_.at(items[6]).text;
      const auto dtype = dtype_of_global(type);
      TESSERA_CHECK(dtype, Unsupported, "{}: tensor '{}': element type '{}' cannot be read",
                    objects_.source(), name, type);
      entry.dtype = *dtype;
    }
    entry.shape = objects_.sizes(items[2], "a tensor's shape");
    entry.strides = objects_.sizes(items[3], "a tensor's strides");
    place(entry, from.content, static_cast<uint64_t>(objects_.size(items[1], "a tensor's offset")),
          name);
    return entry;
  }

  // Checks that every element lies inside the storage and sets `data`.
  void place(TensorEntry& entry,
             const FileBytes& content,
             uint64_t offset,
             const std::string& name) {
    const std::string_view source = objects_.source();
    TESSERA_CHECK(entry.shape.size() == entry.strides.size(), CorruptFile,
                  "{}: tensor '{}': {} sizes but {} strides", source, name, entry.shape.size(),
                  entry.strides.size());
    const auto count = shape_count(entry.shape);
    TESSERA_CHECK(count, CorruptFile, "{}: tensor '{}': the shape is too large", source, name);
    const uint64_t available = content.bytes.size() / dtype_size(entry.dtype);
    uint64_t last = offset;
    bool fits = true;
    for (size_t i = 0; i < entry.shape.size() && *count > 0; ++i) {
      uint64_t reach = 0;
      fits = fits &&
             !__builtin_mul_overflow(static_cast<uint64_t>(entry.shape[i] - 1),
                                     static_cast<uint64_t>(entry.strides[i]), &reach) &&
             !__builtin_add_overflow(last, reach, &last);
    }
    TESSERA_CHECK(fits && (*count == 0 ? offset <= available : last < available), CorruptFile,
                  "{}: tensor '{}' reaches past its storage of {} elements", source, name,
                  available);
    TESSERA_CHECK(static_cast<uint64_t>(*count) <=
                      std::max(available, kMaxExpanded / dtype_size(entry.dtype)),
                  CorruptFile, "{}: tensor '{}' repeats {} elements to {}", source, name, available,
                  *count);
    entry.data = content.bytes.data() + offset * dtype_size(entry.dtype);
    entry.owner = content.owner;
    entry.file = source;
  }

  // State: (version, shape, type, is_fortran, bytes). Arrays of objects or texts are left out.
  void ndarray(const PickleObject& object, const std::string& name) {
    const std::string_view source = objects_.source();
    if (object.items.empty() || objects_.at(object.items[0]).kind != PickleKind::kList) {
      return;
    }
    const auto& state = objects_.at(object.items[0]).items;
    if (state.size() != 5 || objects_.at(state[2]).kind != PickleKind::kNumpyType ||
        objects_.at(state[4]).kind != PickleKind::kBytes) {
      return;
    }
    const auto dtype = dtype_of_numpy(objects_.at(state[2]).text);
    if (!dtype || objects_.at(state[2]).integer != 0) {
      return;
    }
    TensorEntry entry;
    entry.dtype = *dtype;
    entry.shape = objects_.sizes(state[1], "an array's shape");
    const auto count = shape_count(entry.shape);
    const std::string_view bytes = objects_.at(state[4]).text;
    TESSERA_CHECK(count && static_cast<uint64_t>(*count) == bytes.size() / dtype_size(*dtype),
                  CorruptFile, "{}: array '{}' has {} bytes, which its shape does not take", source,
                  name, bytes.size());
    entry.strides = row_major_strides(entry.shape);
    if (objects_.at(state[3]).kind == PickleKind::kBool && objects_.at(state[3]).integer != 0) {
      int64_t step = 1;
      for (size_t i = 0; i < entry.shape.size(); ++i) {
        entry.strides[i] = step;
        step *= std::max<int64_t>(entry.shape[i], 1);
      }
    }
    spend(bytes.size());
    const auto content = FileBytes::copy(std::as_bytes(std::span(bytes)), std::string(source));
    place(entry, content, 0, name);
    table_.tensors.insert_or_assign(name, std::move(entry));
  }

  Objects objects_;
  StorageProvider& storages_;
  uint64_t budget_;
  TensorTable& table_;
};

// ---- zip --------------------------------------------------------------------------------------

class ZipStorages : public StorageProvider {
 public:
  ZipStorages(ZipArchive& archive, std::string prefix, std::string_view source)
      : archive_(archive), prefix_(std::move(prefix)), source_(source) {}

  FileBytes content(const StorageId& id) override {
    const auto known = contents_.find(id.key);
    if (known != contents_.end()) {
      return known->second;
    }
    const ZipEntry* entry = archive_.find(prefix_ + "data/" + id.key);
    TESSERA_CHECK(entry != nullptr, CorruptFile, "{}: the archive has no entry '{}data/{}'",
                  source_, prefix_, id.key);
    return contents_.emplace(id.key, archive_.read(*entry)).first->second;
  }

 private:
  ZipArchive& archive_;
  std::string prefix_;
  std::string_view source_;
  std::unordered_map<std::string, FileBytes> contents_;
};

// "<root>/" of the pickle, with the slash.
std::string find_root(const ZipArchive& archive, std::string_view source) {
  constexpr std::string_view kName = "data.pkl";
  for (const auto& [name, entry] : archive.entries()) {
    const size_t slash = name.find('/');
    if (slash != std::string::npos && std::string_view(name).substr(slash + 1) == kName) {
      return name.substr(0, slash + 1);
    }
  }
  const auto first = archive.entries().begin();
  throw Unsupported(
      "{}: a zip archive without <folder>/data.pkl{}, so not written by torch.save; expected "
      "safetensors or a torch file",
      source,
      first == archive.entries().end()
          ? " and empty"
          : fmt::format(" (it begins with '{}')", utf8_lossy(first->first)));
}

TensorTable read_zip(const FileBytes& source) {
  ZipArchive archive(source);
  const std::string root = find_root(archive, source.name);
  if (const ZipEntry* order = archive.find(root + "byteorder")) {
    const FileBytes text = archive.read(*order);
    TESSERA_CHECK(trim(text.text()) == "little", Unsupported,
                  "{}: byte order '{}', expected 'little'; save again on a little-endian machine",
                  source.name, utf8_lossy(text.text().substr(0, 32)));
  }
  const FileBytes stream = archive.read(*archive.find(root + "data.pkl"));
  const Pickle pickle(stream.text(), source.name);
  ZipStorages storages(archive, root, source.name);
  TensorTable table;
  Flattener(Objects(pickle, source.name), storages, stream.bytes.size(), table)
      .visit(pickle.root(), "", 0);
  return table;
}

// ---- stream -----------------------------------------------------------------------------------

class StreamStorages : public StorageProvider {
 public:
  explicit StreamStorages(std::string_view source) : source_(source) {}

  void add(std::string key, FileBytes content) {
    TESSERA_CHECK(contents_.emplace(std::move(key), std::move(content)).second, CorruptFile,
                  "{}: damaged torch file: a storage occurs twice", source_);
  }

  FileBytes content(const StorageId& id) override {
    const auto it = contents_.find(id.key);
    TESSERA_CHECK(it != contents_.end(), CorruptFile, "{}: the file has no storage '{}'", source_,
                  id.key);
    return it->second;
  }

 private:
  std::string_view source_;
  std::unordered_map<std::string, FileBytes> contents_;
};

void check_system(const Pickle& pickle, std::string_view source) {
  const PickleObject& facts = pickle[pickle.root()];
  for (size_t i = 0; facts.kind == PickleKind::kDict && i + 1 < facts.items.size(); i += 2) {
    if (pickle[facts.items[i]].text == "little_endian") {
      TESSERA_CHECK(pickle[facts.items[i + 1]].integer == 1, Unsupported,
                    "{}: big-endian, expected little-endian; save again on such a machine", source);
    }
  }
}

TensorTable read_stream(const FileBytes& source) {
  const std::string_view text = source.text();
  size_t at = kStreamMagic.size();
  const auto next = [&] {
    Pickle pickle(text.substr(at), source.name);
    at += pickle.bytes_read();
    return pickle;
  };
  next();  // protocol number
  check_system(next(), source.name);
  const size_t begin = at;
  const Pickle content = next();
  const size_t content_size = at - begin;
  const Pickle key_list = next();

  const Objects objects(content, source.name);
  std::unordered_map<std::string, DType> types;
  for (PickleRef ref = 0; ref < content.size(); ++ref) {
    if (content[ref].kind == PickleKind::kPersistent) {
      const StorageId id = objects.storage_id(ref);
      types.insert_or_assign(id.key, id.dtype);
    }
  }
  const Objects keys(key_list, source.name);
  StreamStorages storages(source.name);
  for (const PickleRef ref :
       keys.expect(key_list.root(), PickleKind::kList, "a list of storages").items) {
    std::string key = utf8_lossy(keys.expect(ref, PickleKind::kText, "a storage's key").text);
    const auto type = types.find(key);
    TESSERA_CHECK(type != types.end(), CorruptFile, "{}: storage '{}' belongs to no tensor",
                  source.name, key);
    TESSERA_CHECK(text.size() - at >= 8, CorruptFile, "{}: cut short before storage '{}'",
                  source.name, key);
    uint64_t elements = 0;
    std::memcpy(&elements, text.data() + at, sizeof(elements));
    at += sizeof(elements);
    TESSERA_CHECK(elements <= (text.size() - at) / dtype_size(type->second), CorruptFile,
                  "{}: storage '{}' claims {} elements, but only {} bytes are left", source.name,
                  key, elements, text.size() - at);
    const size_t size = elements * dtype_size(type->second);
    storages.add(std::move(key), {source.bytes.subspan(at, size), source.owner, source.name});
    at += size;
  }
  TensorTable table;
  Flattener(objects, storages, content_size, table).visit(content.root(), "", 0);
  return table;
}

}  // namespace

bool looks_like_torch(std::string_view bytes) {
  return looks_like_zip(bytes) || bytes.starts_with(kStreamMagic);
}

TensorTable read_torch(const FileBytes& source) {
  if (looks_like_zip(source.text())) {
    return read_zip(source);
  }
  TESSERA_CHECK(source.text().starts_with(kStreamMagic), Unsupported,
                "{}: neither a zip archive nor a torch stream; save it again with torch >= 1.6 "
                "(torch.save) or as safetensors",
                source.name);
  return read_stream(source);
}

}  // namespace tessera::io
