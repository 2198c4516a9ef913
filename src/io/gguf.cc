// Layout: "GGUF", u32 version, u64 tensors, u64 values; each value as key (u64 length, bytes), u32
// type, content; each tensor as name, u32 axes, u64 sizes (fastest first), u32 format, u64 offset
// from the data block; then padding to `general.alignment` and the data block. Counts and lengths
// are compared with the bytes that are left before anything is allocated.
#include "io/gguf.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>

namespace tessera::io {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 20;
constexpr size_t kMaxAxes = 4;
constexpr size_t kMaxName = 65535;

/// Bytes of a scalar; 0 for strings and arrays.
size_t width_of(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      break;
  }
  return 0;
}

template <class T>
T load_at(std::string_view bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

/// Reads the header from front to back; every step is checked against the end.
class Cursor {
 public:
  explicit Cursor(const FileBytes& source) : name_(source.name), text_(source.text()) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return text_.size() - position_; }

  std::string_view take(uint64_t size, const char* what) {
    TESSERA_CHECK(size <= left(), CorruptFile,
                  "{}: {} needs {} bytes at {}, {} are left; the file is truncated or damaged",
                  name_, what, size, position_, left());
    const std::string_view bytes = text_.substr(position_, size);
    position_ += size;
    return bytes;
  }

  template <class T>
  T number(const char* what) {
    return load_at<T>(take(sizeof(T), what), 0);
  }

  std::string_view string(const char* what) { return take(number<uint64_t>(what), what); }

  /// A count of things of which each takes at least `least` bytes.
  uint64_t count(uint64_t least, const char* what) {
    const auto count = number<uint64_t>(what);
    TESSERA_CHECK(count <= left() / least, CorruptFile,
                  "{}: the header announces {} {}, the file has {} bytes left; it is damaged",
                  name_, count, what, left());
    return count;
  }

  const std::string& name() const { return name_; }

 private:
  const std::string& name_;
  std::string_view text_;
  uint64_t position_ = 0;
};

GgufType read_type(Cursor& in, std::string_view key) {
  const auto type = in.number<uint32_t>("a value's type");
  TESSERA_CHECK(type <= static_cast<uint32_t>(GgufType::kF64), CorruptFile,
                "{}: '{}' has the type {}, expected 0 to 12", in.name(), utf8_lossy(key), type);
  return static_cast<GgufType>(type);
}

GgufValue read_value(Cursor& in, std::string_view key) {
  GgufType type = read_type(in, key);
  const bool array = type == GgufType::kArray;
  uint64_t count = 1;
  if (array) {
    type = read_type(in, key);
    TESSERA_CHECK(type != GgufType::kArray, Unsupported,
                  "{}: '{}' is an array of arrays, which is not known here", in.name(),
                  utf8_lossy(key));
    count = in.count(type == GgufType::kString ? 8 : width_of(type), "array elements");
  }
  if (type == GgufType::kString) {
    const uint64_t begin = in.position();
    std::string_view first = array ? std::string_view() : in.string("a text");
    for (uint64_t i = 0; array && i < count; ++i) {
      const std::string_view text = in.string("a text in an array");
      first = i == 0 ? text : first;
    }
    const uint64_t size = in.position() - begin;
    const char* data = count == 0 ? nullptr : first.data() - sizeof(uint64_t);
    return {type, array, count, {data, count == 0 ? 0 : size}};
  }
  return {type, array, count, in.take(count * width_of(type), "a value")};
}

void check_header(Cursor& in, GgufFile& file) {
  TESSERA_CHECK(in.left() >= 4 && in.take(4, "the magic") == kMagic, CorruptFile,
                "{}: not a GGUF file; expected the letters GGUF at its start", in.name());
  file.version = in.number<uint32_t>("the version");
  TESSERA_CHECK((file.version & 0xffffU) != 0, Unsupported,
                "{}: a big-endian GGUF file; convert it with gguf-convert-endian", in.name());
  TESSERA_CHECK(file.version == 2 || file.version == 3, Unsupported,
                "{}: GGUF version {}, known are 2 and 3; write it again with a newer converter",
                in.name(), file.version);
}

struct Placed {
  uint64_t begin;
  uint64_t end;
  const std::string* name;
};

/// One tensor's line of the header; `offset` comes relative to the data block.
TensorEntry read_tensor_info(Cursor& in, std::string_view name, uint64_t& offset) {
  const auto axes = in.number<uint32_t>("a tensor's axes");
  TESSERA_CHECK(axes <= kMaxAxes, CorruptFile, "{}: tensor '{}' has {} axes, at most {} are known",
                in.name(), utf8_lossy(name), axes, kMaxAxes);
  TensorEntry entry;
  for (uint32_t i = 0; i < axes; ++i) {
    const auto size = in.number<uint64_t>("a tensor's size");
    TESSERA_CHECK(size <= static_cast<uint64_t>(INT64_MAX), CorruptFile,
                  "{}: tensor '{}' has an axis of size {}", in.name(), utf8_lossy(name), size);
    entry.shape.insert(entry.shape.begin(), static_cast<int64_t>(size));
  }
  const auto id = in.number<uint32_t>("a tensor's format");
  offset = in.number<uint64_t>("a tensor's offset");
  entry.file = in.name();
  // Plain types beside the block formats, by ggml's ids.
  constexpr std::pair<uint32_t, DType> kPlain[] = {
      {0, DType::kF32},  {1, DType::kF16},  {24, DType::kI8},  {25, DType::kI16},
      {26, DType::kI32}, {27, DType::kI64}, {28, DType::kF64}, {30, DType::kBF16}};
  for (const auto& [plain, dtype] : kPlain) {
    if (plain == id) {
      entry.dtype = dtype;
      return entry;
    }
  }
  entry.dtype = DType::kU8;
  entry.blocks = block_format_from_id(id);
  TESSERA_CHECK(entry.blocks, Unsupported,
                "{}: tensor '{}' has ggml's type {}, which is not known here; known are F32, F16, "
                "BF16, Q4_0 … Q8_0, Q2_K … Q6_K, IQ4_NL, IQ4_XS, MXFP4",
                in.name(), utf8_lossy(name), id);
  return entry;
}

/// Bytes of the tensor; throws when its shape fits neither the block nor 63 bits.
uint64_t checked_bytes(const Cursor& in, std::string_view name, const TensorEntry& entry) {
  const auto count = shape_count(entry.shape);
  const int64_t block = entry.blocks ? block_layout(*entry.blocks).elements : 1;
  const int64_t row = entry.shape.empty() ? 1 : entry.shape.back();
  TESSERA_CHECK(count && row % block == 0, CorruptFile,
                "{}: tensor '{}' has rows of {} numbers, expected a multiple of {}", in.name(),
                utf8_lossy(name), row, block);
  const int64_t unit = entry.blocks ? block_layout(*entry.blocks).bytes
                                    : static_cast<int64_t>(dtype_size(entry.dtype));
  int64_t bytes = 0;
  TESSERA_CHECK(!__builtin_mul_overflow(*count / block, unit, &bytes), CorruptFile,
                "{}: tensor '{}' is larger than any file", in.name(), utf8_lossy(name));
  return static_cast<uint64_t>(bytes);
}

void read_tensors(Cursor& in, const FileBytes& source, uint64_t tensors, GgufFile& file) {
  std::vector<std::pair<TensorEntry*, uint64_t>> offsets;
  std::vector<Placed> places;
  for (uint64_t i = 0; i < tensors; ++i) {
    const std::string_view name = in.string("a tensor's name");
    TESSERA_CHECK(name.size() <= kMaxName, CorruptFile, "{}: a tensor's name has {} bytes",
                  in.name(), name.size());
    uint64_t offset = 0;
    TensorEntry entry = read_tensor_info(in, name, offset);
    const auto [it, added] = file.table.tensors.emplace(name, std::move(entry));
    TESSERA_CHECK(added, CorruptFile, "{}: two tensors are called '{}'", in.name(),
                  utf8_lossy(name));
    const uint64_t bytes = checked_bytes(in, name, it->second);
    TESSERA_CHECK(offset <= UINT64_MAX - bytes, CorruptFile, "{}: tensor '{}' lies outside",
                  in.name(), utf8_lossy(name));
    offsets.emplace_back(&it->second, offset);
    places.push_back({offset, offset + bytes, &it->first});
  }
  const int64_t alignment_value =
      file.integer("general.alignment").value_or(static_cast<int64_t>(kDefaultAlignment));
  const auto alignment = static_cast<uint64_t>(alignment_value);
  TESSERA_CHECK(alignment_value > 0 && alignment <= kMaxAlignment && std::has_single_bit(alignment),
                CorruptFile, "{}: general.alignment is {}, expected a power of two", in.name(),
                alignment_value);
  const uint64_t data = (in.position() + alignment - 1) / alignment * alignment;
  const uint64_t room = source.bytes.size() > data ? source.bytes.size() - data : 0;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto& [begin, end, name] = places[i];
    TESSERA_CHECK(begin % alignment == 0, CorruptFile,
                  "{}: tensor '{}' begins at {}, expected a multiple of {}", in.name(),
                  utf8_lossy(*name), begin, alignment);
    TESSERA_CHECK(end <= room, CorruptFile,
                  "{}: tensor '{}' ends at byte {} of the data, {} are there; the file is "
                  "truncated: fetch it again",
                  in.name(), utf8_lossy(*name), end, room);
    TensorEntry& entry = *offsets[i].first;
    entry.strides = row_major_strides(entry.shape);
    entry.owner = source.owner;
    entry.data = end > begin ? source.bytes.data() + data + begin : nullptr;
  }
  std::sort(places.begin(), places.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  for (size_t i = 1; i < places.size(); ++i) {
    TESSERA_CHECK(places[i - 1].end <= places[i].begin, CorruptFile,
                  "{}: the tensors '{}' and '{}' overlap", in.name(),
                  utf8_lossy(*places[i - 1].name), utf8_lossy(*places[i].name));
  }
}

}  // namespace

std::optional<int64_t> GgufValue::integer_at(uint64_t index) const {
  switch (type_) {
    case GgufType::kU8:
      return load_at<uint8_t>(bytes_, index);
    case GgufType::kI8:
      return load_at<int8_t>(bytes_, index);
    case GgufType::kU16:
      return load_at<uint16_t>(bytes_, index);
    case GgufType::kI16:
      return load_at<int16_t>(bytes_, index);
    case GgufType::kU32:
      return load_at<uint32_t>(bytes_, index);
    case GgufType::kI32:
      return load_at<int32_t>(bytes_, index);
    case GgufType::kI64:
      return load_at<int64_t>(bytes_, index);
    case GgufType::kU64: {
      const auto value = load_at<uint64_t>(bytes_, index);
      return value <= static_cast<uint64_t>(INT64_MAX) ? std::optional(static_cast<int64_t>(value))
                                                       : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufValue::number_at(uint64_t index) const {
  if (type_ == GgufType::kF32) {
    return load_at<float>(bytes_, index);
  }
  if (type_ == GgufType::kF64) {
    return load_at<double>(bytes_, index);
  }
  const auto value = integer_at(index);
  return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
}

std::optional<int64_t> GgufValue::integer() const {
  return array_ ? std::nullopt : integer_at(0);
}

std::optional<double> GgufValue::number() const {
  return array_ ? std::nullopt : number_at(0);
}

std::optional<bool> GgufValue::boolean() const {
  return array_ || type_ != GgufType::kBool ? std::nullopt : std::optional(bytes_[0] != 0);
}

std::optional<std::string_view> GgufValue::text() const {
  return array_ || type_ != GgufType::kString ? std::nullopt
                                              : std::optional(bytes_.substr(sizeof(uint64_t)));
}

std::optional<std::vector<int64_t>> GgufValue::integers() const {
  std::vector<int64_t> out;
  for (uint64_t i = 0; array_ && i < count_; ++i) {
    const auto value = integer_at(i);
    if (!value) {
      return std::nullopt;
    }
    out.push_back(*value);
  }
  return array_ ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<double>> GgufValue::numbers() const {
  std::vector<double> out;
  for (uint64_t i = 0; array_ && i < count_; ++i) {
    const auto value = number_at(i);
    if (!value) {
      return std::nullopt;
    }
    out.push_back(*value);
  }
  return array_ ? std::optional(std::move(out)) : std::nullopt;
}

std::optional<std::vector<std::string_view>> GgufValue::texts() const {
  if (!array_ || type_ != GgufType::kString) {
    return std::nullopt;
  }
  std::vector<std::string_view> out;
  out.reserve(count_);
  std::string_view rest = bytes_;
  for (uint64_t i = 0; i < count_; ++i) {
    const auto size = load_at<uint64_t>(rest, 0);
    out.push_back(rest.substr(sizeof(uint64_t), size));
    rest.remove_prefix(sizeof(uint64_t) + size);
  }
  return out;
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = metadata.find(key);
  return it == metadata.end() ? nullptr : &it->second;
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const GgufValue* value = find(key);
  return value == nullptr ? std::nullopt : value->integer();
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const GgufValue* value = find(key);
  return value == nullptr ? std::nullopt : value->number();
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const GgufValue* value = find(key);
  return value == nullptr ? std::nullopt : value->boolean();
}

std::optional<std::string_view> GgufFile::text(std::string_view key) const {
  const GgufValue* value = find(key);
  return value == nullptr ? std::nullopt : value->text();
}

bool looks_like_gguf(std::string_view bytes) {
  return bytes.starts_with(kMagic);
}

bool is_gguf_file(const fs::path& path) {
  std::error_code ignored;
  std::string magic(kMagic.size(), '\0');
  return fs::is_regular_file(path, ignored) &&
         std::ifstream(path, std::ios::binary)
             .read(magic.data(), static_cast<std::streamsize>(magic.size())) &&
         looks_like_gguf(magic);
}

std::optional<fs::path> find_gguf(const fs::path& path, std::string_view unless) {
  std::error_code ignored;
  if (is_gguf_file(path)) {
    return path;
  }
  if (!fs::is_directory(path, ignored) || fs::exists(path / unless, ignored)) {
    return std::nullopt;
  }
  std::vector<std::string> files;
  for (fs::directory_iterator it(path, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    const bool later_part =
        name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (name.ends_with(".gguf") && !later_part) {
      files.push_back(name);
    }
  }
  std::sort(files.begin(), files.end());
  TESSERA_CHECK(files.size() <= 1, InvalidArgument,
                "{}: several GGUF models ({}); name one of the files", path.string(),
                join(files, ", "));
  return files.empty() ? std::nullopt : std::optional(path / files.front());
}

GgufFile read_gguf(const FileBytes& source) {
  GgufFile file;
  file.owner = source.owner;
  Cursor in(source);
  check_header(in, file);
  const uint64_t tensors = in.count(24, "tensors");
  const uint64_t values = in.count(13, "metadata values");
  for (uint64_t i = 0; i < values; ++i) {
    const std::string_view key = in.string("a key");
    TESSERA_CHECK(key.size() <= kMaxName, CorruptFile,
                  "{}: a key has {} bytes, at most {} are known", source.name, key.size(),
                  kMaxName);
    const bool added = file.metadata.emplace(key, read_value(in, key)).second;
    TESSERA_CHECK(added, CorruptFile, "{}: the key '{}' occurs twice", source.name,
                  utf8_lossy(key));
  }
  read_tensors(in, source, tensors, file);
  return file;
}

namespace {

/// Path of part `index` (from 0) of a split model, by the name of another part of it.
fs::path part_path(const fs::path& path, int64_t index, int64_t count) {
  const std::string stem = path.stem().string();
  constexpr size_t kTail = std::string_view("-00001-of-00003").size();
  const std::string tail = fmt::format("-of-{:05}", count);
  TESSERA_CHECK(stem.size() > kTail && stem.ends_with(tail), InvalidArgument,
                "{}: one of {} parts of a split model, expected a name that ends in -00001{}.gguf",
                path.string(), count, tail);
  const std::string prefix = stem.substr(0, stem.size() - kTail);
  return path.parent_path() / fmt::format("{}-{:05}{}.gguf", prefix, index + 1, tail);
}

/// The paths of split files never leave the folder: only the digits of the name change.
GgufFile open_parts(const fs::path& path, int64_t count) {
  GgufFile whole;
  std::vector<std::shared_ptr<const void>> owners;
  for (int64_t i = 0; i < count; ++i) {
    const fs::path part = part_path(path, i, count);
    std::error_code ignored;
    TESSERA_CHECK(fs::exists(part, ignored), NotFound,
                  "{}: not found; the model was split into {} files that belong side by side",
                  part.string(), count);
    GgufFile file = read_gguf(FileBytes::map(part));
    TESSERA_CHECK(file.integer("split.no") == i && file.integer("split.count") == count,
                  CorruptFile, "{}: says that it is part {} of {}, its name says {} of {}",
                  part.string(), file.integer("split.no").value_or(-1) + 1,
                  file.integer("split.count").value_or(-1), i + 1, count);
    for (auto& [name, entry] : file.table.tensors) {
      TESSERA_CHECK(whole.table.tensors.emplace(name, std::move(entry)).second, CorruptFile,
                    "{}: tensor '{}' is in an earlier part already", part.string(),
                    utf8_lossy(name));
    }
    if (i == 0) {
      whole.version = file.version;
      whole.metadata = std::move(file.metadata);
      whole.owner = std::move(file.owner);
    }
  }
  const auto expected = whole.integer("split.tensors.count");
  TESSERA_CHECK(!expected || *expected == static_cast<int64_t>(whole.table.tensors.size()),
                CorruptFile, "{}: the {} parts hold {} tensors, expected {}", path.string(), count,
                whole.table.tensors.size(), *expected);
  return whole;
}

}  // namespace

GgufFile open_gguf(const fs::path& path) {
  GgufFile file = read_gguf(FileBytes::map(path));
  const int64_t parts = file.integer("split.count").value_or(1);
  constexpr int64_t kMaxParts = 99999;
  TESSERA_CHECK(parts >= 0 && parts <= kMaxParts, CorruptFile, "{}: split.count is {}",
                path.string(), parts);
  return parts > 1 ? open_parts(path, parts) : std::move(file);
}

// ---- writing ----

namespace {

/// Collects the header.
class HeaderBytes {
 public:
  template <class T>
  void number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void type(GgufType type) { number(static_cast<uint32_t>(type)); }
  void string(std::string_view text) {
    number(static_cast<uint64_t>(text.size()));
    text_ += text;
  }
  void array(GgufType type_of_elements, size_t count) {
    type(GgufType::kArray);
    type(type_of_elements);
    number(static_cast<uint64_t>(count));
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct FieldWriter {
  HeaderBytes& out;

  void operator()(bool value) const {
    out.type(GgufType::kBool);
    out.number(static_cast<uint8_t>(value));
  }
  void operator()(uint32_t value) const { scalar(GgufType::kU32, value); }
  void operator()(int32_t value) const { scalar(GgufType::kI32, value); }
  void operator()(uint64_t value) const { scalar(GgufType::kU64, value); }
  void operator()(float value) const { scalar(GgufType::kF32, value); }
  void operator()(const std::string& value) const {
    out.type(GgufType::kString);
    out.string(value);
  }
  void operator()(const std::vector<std::string>& values) const {
    out.array(GgufType::kString, values.size());
    for (const std::string& value : values) {
      out.string(value);
    }
  }
  void operator()(const std::vector<float>& values) const { list(GgufType::kF32, values); }
  void operator()(const std::vector<int32_t>& values) const { list(GgufType::kI32, values); }

  template <class T>
  void scalar(GgufType type, T value) const {
    out.type(type);
    out.number(value);
  }
  template <class T>
  void list(GgufType type, const std::vector<T>& values) const {
    out.array(type, values.size());
    for (const T value : values) {
      out.number(value);
    }
  }
};

uint64_t aligned(uint64_t position) {
  return (position + kDefaultAlignment - 1) / kDefaultAlignment * kDefaultAlignment;
}

}  // namespace

int64_t GgufTensor::bytes() const {
  const auto count = shape_count(shape);
  const int64_t row = shape.empty() ? 1 : shape.back();
  TESSERA_CHECK(count && shape.size() <= kMaxAxes && row % block_layout(format).elements == 0,
                InvalidArgument, "tensor '{}': rows of {} numbers do not fit the block format {}",
                name, row, block_layout(format).name);
  return block_bytes(format, *count);
}

GgufWriter::GgufWriter(fs::path path, const GgufFields& fields, std::vector<GgufTensor> tensors)
    : file_(std::move(path)), tensors_(std::move(tensors)) {
  HeaderBytes header;
  header.number(static_cast<uint32_t>(0x46554747));  // "GGUF"
  header.number(uint32_t{3});
  header.number(static_cast<uint64_t>(tensors_.size()));
  header.number(static_cast<uint64_t>(fields.size()));
  std::set<std::string_view> names;
  for (const auto& [key, value] : fields) {
    TESSERA_CHECK(names.insert(key).second, InvalidArgument, "the key '{}' is given twice", key);
    header.string(key);
    std::visit(FieldWriter{header}, value);
  }
  names.clear();
  uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors_) {
    TESSERA_CHECK(names.insert(tensor.name).second, InvalidArgument,
                  "the tensor '{}' is given twice", tensor.name);
    header.string(tensor.name);
    header.number(static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      header.number(static_cast<uint64_t>(*size));
    }
    header.number(static_cast<uint32_t>(tensor.format));
    header.number(offset);
    offset = aligned(offset + static_cast<uint64_t>(tensor.bytes()));
  }
  file_.write(header.text());
  pad();
}

void GgufWriter::pad() {
  static constexpr char kZeros[kDefaultAlignment] = {};
  file_.write(std::string_view(kZeros, aligned(file_.size()) - file_.size()));
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  TESSERA_CHECK(next_ < tensors_.size(), Internal, "more tensors written than announced");
  const GgufTensor& tensor = tensors_[next_++];
  TESSERA_CHECK(static_cast<int64_t>(bytes.size()) == tensor.bytes(), InvalidArgument,
                "tensor '{}' has {} bytes, its shape says {}", tensor.name, bytes.size(),
                tensor.bytes());
  file_.write(bytes);
  pad();
}

void GgufWriter::commit() {
  TESSERA_CHECK(next_ == tensors_.size(), Internal, "{} of {} tensors written", next_,
                tensors_.size());
  file_.commit();
}

}  // namespace tessera::io
