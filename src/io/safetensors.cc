// safetensors reader and writer. Layout: u64 little-endian header length, JSON header {name:
// {dtype, shape, data_offsets: [begin, end)}, "__metadata__": {text: text}} padded with spaces,
// data. Offsets count from the end of the header. Format and validity rules as in the crate of
// github.com/huggingface/safetensors 0.8; stricter in one point: a name may occur only once.
#include "io/safetensors.h"

#include "core/error.h"
#include "core/strings.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace tessera::io {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr int kMaxDepth = 64;
constexpr std::string_view kMetadataKey = "__metadata__";

struct HeaderTensor {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
};

// Takes the header apart while it is parsed: a tree of a 100 MB header would cost gigabytes.
class HeaderHandler : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderHandler(std::string_view source) : source_(source) {}

  std::vector<HeaderTensor> tensors;
  TensorMetadata metadata;

  bool null() override { return scalar("null", in_metadata_slot()); }
  bool boolean(bool) override { return scalar("a boolean", false); }
  bool number_integer(number_integer_t) override { return scalar("a negative number", false); }
  bool number_float(number_float_t, const string_t&) override {
    return scalar("a fraction or a number above 2^64", false);
  }
  bool binary(binary_t&) override { return scalar("binary", false); }

  bool number_unsigned(number_unsigned_t value) override {
    if (target_ != nullptr && depth_ == 3) {
      target_->push_back(value);
      return true;
    }
    return scalar("a number", false);
  }

  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata_) {
      TESSERA_CHECK(metadata.emplace(field_, value).second, CorruptFile,
                    "{}: '{}' occurs twice in __metadata__", source_, field_);
      return true;
    }
    if (depth_ == 2 && field_ == "dtype") {
      TESSERA_CHECK(tensors.back().dtype.empty() && !value.empty(), CorruptFile,
                    "{}: tensor '{}': dtype is empty or occurs twice", source_, name_);
      tensors.back().dtype = value;
      return true;
    }
    return scalar("a text", false);
  }

  bool key(string_t& value) override {
    if (depth_ == 1) {
      name_ = value;
      in_metadata_ = value == kMetadataKey;
      TESSERA_CHECK(names_.insert(value).second, CorruptFile, "{}: '{}' occurs twice", source_,
                    value);
    } else if (depth_ == 2) {
      field_ = value;
    }
    return true;
  }

  bool start_object(size_t) override {
    enter("an object", depth_ == 0 || depth_ == 1);
    if (depth_ == 2 && !in_metadata_) {
      tensors.push_back({.name = name_, .dtype = {}, .shape = {}, .offsets = {}});
      seen_shape_ = seen_offsets_ = false;
    }
    return true;
  }

  bool start_array(size_t) override {
    const bool shape = depth_ == 2 && !in_metadata_ && field_ == "shape";
    const bool offsets = depth_ == 2 && !in_metadata_ && field_ == "data_offsets";
    enter("a list", shape || offsets);
    if (shape || offsets) {
      bool& seen = shape ? seen_shape_ : seen_offsets_;
      TESSERA_CHECK(!seen, CorruptFile, "{}: tensor '{}': {} occurs twice", source_, name_, field_);
      seen = true;
      target_ = shape ? &tensors.back().shape : &tensors.back().offsets;
    }
    return true;
  }

  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) {
      TESSERA_CHECK(seen_shape_ && seen_offsets_ && !tensors.back().dtype.empty(), CorruptFile,
                    "{}: tensor '{}': expected dtype, shape and data_offsets", source_, name_);
    }
    --depth_;
    return true;
  }

  bool end_array() override {
    if (--depth_ == 2) {
      target_ = nullptr;
    }
    return true;
  }

  bool parse_error(size_t position,
                   const std::string&,
                   const nlohmann::detail::exception&) override {
    throw CorruptFile("{}: the header is not valid JSON at byte {}", source_, position + 8);
  }

 private:
  bool in_metadata_slot() const { return depth_ == 1 && in_metadata_; }

  // Fields that the format does not know are skipped, whatever they hold.
  bool is_unknown_field() const {
    return depth_ >= 2 && target_ == nullptr && !in_metadata_ && field_ != "dtype" &&
           field_ != "shape" && field_ != "data_offsets";
  }

  bool scalar(std::string_view what, bool allowed) const {
    TESSERA_CHECK(allowed || is_unknown_field(), CorruptFile,
                  "{}: unexpected {} in the header at '{}'{}{}", source_, what, name_,
                  depth_ >= 2 ? ", field " : "", depth_ >= 2 ? field_ : "");
    return true;
  }

  void enter(std::string_view what, bool allowed) {
    scalar(what, allowed);
    TESSERA_CHECK(++depth_ <= kMaxDepth, CorruptFile, "{}: the header is nested deeper than {}",
                  source_, kMaxDepth);
  }

  std::string source_;
  std::set<std::string> names_;
  std::string name_;
  std::string field_;
  std::vector<uint64_t>* target_ = nullptr;
  int depth_ = 0;
  bool in_metadata_ = false;
  bool seen_shape_ = false;
  bool seen_offsets_ = false;
};

uint64_t load_u64(const std::byte* at) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) {
    value = value << 8 | std::to_integer<uint64_t>(at[i]);
  }
  return value;
}

std::string_view header_of(const FileBytes& source) {
  const uint64_t size = source.bytes.size();
  TESSERA_CHECK(
      size >= 8, CorruptFile,
      "{}: {} bytes, expected a safetensors file (8 bytes of header length, header, data)",
      source.name, size);
  const uint64_t length = load_u64(source.bytes.data());
  TESSERA_CHECK(length <= kMaxHeader, CorruptFile,
                "{}: claims a header of {} bytes, expected at most {}; is this safetensors?",
                source.name, length, kMaxHeader);
  TESSERA_CHECK(length <= size - 8, CorruptFile,
                "{}: claims a header of {} bytes, but only {} follow; the file is cut short",
                source.name, length, size - 8);
  return source.text().substr(8, length);
}

TensorEntry make_entry(const HeaderTensor& header,
                       const FileBytes& source,
                       std::span<std::byte> data) {
  const auto dtype = dtype_from_name(header.dtype);
  TESSERA_CHECK(dtype, Unsupported,
                "{}: tensor '{}' has element type '{}', which is not known here", source.name,
                header.name, header.dtype);
  TensorEntry entry;
  entry.dtype = *dtype;
  for (const uint64_t size : header.shape) {
    // A size above 2^63 turns negative and is refused by shape_count.
    entry.shape.push_back(static_cast<int64_t>(size));
  }
  const auto count = shape_count(entry.shape);
  const uint64_t span = header.offsets[1] - header.offsets[0];
  uint64_t expected = 0;
  TESSERA_CHECK(count && !__builtin_mul_overflow(static_cast<uint64_t>(*count), dtype_size(*dtype),
                                                 &expected),
                CorruptFile, "{}: tensor '{}': the shape [{}] is too large", source.name,
                header.name, fmt::join(header.shape, ", "));
  TESSERA_CHECK(expected == span, CorruptFile,
                "{}: tensor '{}': {} [{}] takes {} bytes, but data_offsets give it {}", source.name,
                header.name, header.dtype, fmt::join(header.shape, ", "), expected, span);
  entry.strides = row_major_strides(entry.shape);
  entry.data = data.data() + header.offsets[0];
  entry.owner = source.owner;
  entry.file = source.name;
  return entry;
}

// The tensors, sorted by place, must tile the data block.
void check_tiling(std::vector<HeaderTensor>& tensors, uint64_t data_size, std::string_view source) {
  for (const HeaderTensor& tensor : tensors) {
    TESSERA_CHECK(tensor.offsets.size() == 2, CorruptFile,
                  "{}: tensor '{}': data_offsets has {} numbers, expected 2", source, tensor.name,
                  tensor.offsets.size());
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const HeaderTensor& a, const HeaderTensor& b) { return a.offsets < b.offsets; });
  uint64_t end = 0;
  for (const HeaderTensor& tensor : tensors) {
    TESSERA_CHECK(tensor.offsets[0] == end && tensor.offsets[1] >= end, CorruptFile,
                  "{}: tensor '{}' lies at [{}, {}), expected a begin at {} (no gaps, no overlaps)",
                  source, tensor.name, tensor.offsets[0], tensor.offsets[1], end);
    end = tensor.offsets[1];
  }
  TESSERA_CHECK(end == data_size, CorruptFile,
                "{}: the tensors take {} bytes, but {} follow the header; the file is {}", source,
                end, data_size, end > data_size ? "cut short" : "longer than it says");
}

}  // namespace

TensorTable read_safetensors(const FileBytes& source) {
  const std::string_view header = header_of(source);
  HeaderHandler handler(source.name);
  Json::sax_parse(header.begin(), header.end(), &handler);
  const std::span<std::byte> data = source.bytes.subspan(8 + header.size());
  check_tiling(handler.tensors, data.size(), source.name);
  TensorTable table;
  table.metadata = std::move(handler.metadata);
  for (const HeaderTensor& tensor : handler.tensors) {
    table.tensors.emplace(tensor.name, make_entry(tensor, source, data));
  }
  return table;
}

namespace {

void check_view(const TensorView& tensor, const fs::path& path) {
  TESSERA_CHECK(tensor.name != kMetadataKey && utf8_lossy(tensor.name) == tensor.name,
                InvalidArgument, "{}: '{}' cannot be a tensor's name in safetensors", path.string(),
                utf8_lossy(tensor.name));
  const auto count = shape_count(tensor.shape);
  TESSERA_CHECK(
      count && static_cast<uint64_t>(*count) == tensor.bytes.size() / dtype_size(tensor.dtype) &&
          tensor.bytes.size() % dtype_size(tensor.dtype) == 0,
      InvalidArgument, "{}: tensor '{}' has {} bytes, which {} [{}] does not take", path.string(),
      tensor.name, tensor.bytes.size(), dtype_name(tensor.dtype), fmt::join(tensor.shape, ", "));
}

std::string make_header(std::span<const TensorView* const> tensors,
                        const TensorMetadata& metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += fmt::format("\"{}\":{}", kMetadataKey, Json(metadata).dump());
  }
  uint64_t offset = 0;
  for (const TensorView* tensor : tensors) {
    header += fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          header.size() > 1 ? "," : "", Json(tensor->name).dump(),
                          dtype_name(tensor->dtype), fmt::join(tensor->shape, ","), offset,
                          offset + tensor->bytes.size());
    offset += tensor->bytes.size();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

std::string little_endian(uint64_t value) {
  std::string bytes(8, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xFF);
    value >>= 8;
  }
  return bytes;
}

// Indices of the tensors of each shard, dealt as huggingface_hub does: a tensor above the limit is
// put aside into a shard of its own while the current one goes on filling.
std::vector<std::vector<size_t>> plan_shards(std::span<const TensorView> tensors,
                                             uint64_t max_shard_bytes) {
  std::vector<std::vector<size_t>> shards;
  std::vector<size_t> current;
  uint64_t filled = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t size = tensors[i].bytes.size();
    if (size > max_shard_bytes) {
      shards.push_back({i});
      continue;
    }
    if (filled + size > max_shard_bytes) {
      shards.push_back(std::move(current));
      current.clear();
      filled = 0;
    }
    current.push_back(i);
    filled += size;
  }
  if (!current.empty()) {
    shards.push_back(std::move(current));
  }
  return shards;
}

// model.safetensors, its index, and model-XXXXX-of-XXXXX.safetensors.
bool is_model_file(std::string_view name) {
  if (name == "model.safetensors" || name == "model.safetensors.index.json") {
    return true;
  }
  std::string pattern(name);
  std::replace_if(
      pattern.begin(), pattern.end(), [](char c) { return c >= '0' && c <= '9'; }, '0');
  return pattern == "model-00000-of-00000.safetensors";
}

void remove_stale(const fs::path& folder, const std::vector<fs::path>& written) {
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(folder, ignored)) {
    const bool is_new = std::find(written.begin(), written.end(), item.path()) != written.end();
    if (!is_new && is_model_file(item.path().filename().string())) {
      fs::remove(item.path(), ignored);
    }
  }
}

}  // namespace

void write_safetensors(const fs::path& path,
                       std::span<const TensorView> tensors,
                       const TensorMetadata& metadata) {
  std::vector<const TensorView*> sorted;
  for (const TensorView& tensor : tensors) {
    check_view(tensor, path);
    sorted.push_back(&tensor);
  }
  std::sort(sorted.begin(), sorted.end(), [](const TensorView* a, const TensorView* b) {
    return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
  });
  std::set<std::string_view> names;
  for (const TensorView* tensor : sorted) {
    TESSERA_CHECK(names.insert(tensor->name).second, InvalidArgument,
                  "{}: two tensors have the name '{}'", path.string(), tensor->name);
  }
  for (const auto& [key, value] : metadata) {
    TESSERA_CHECK(utf8_lossy(key) == key && utf8_lossy(value) == value, InvalidArgument,
                  "{}: metadata '{}' is not valid UTF-8", path.string(), utf8_lossy(key));
  }
  const std::string header = make_header(sorted, metadata);
  TESSERA_CHECK(header.size() <= kMaxHeader, InvalidArgument,
                "{}: the header takes {} bytes, the format allows {}; write shards", path.string(),
                header.size(), kMaxHeader);
  AtomicFile file(path);
  file.write(little_endian(header.size()));
  file.write(header);
  for (const TensorView* tensor : sorted) {
    file.write(tensor->bytes);
  }
  file.commit();
}

std::vector<fs::path> write_safetensors_shards(const fs::path& folder,
                                               std::span<const TensorView> tensors,
                                               uint64_t max_shard_bytes,
                                               const TensorMetadata& metadata) {
  const auto shards = plan_shards(tensors, max_shard_bytes);
  std::vector<fs::path> written;
  if (shards.size() <= 1) {
    written.push_back(folder / "model.safetensors");
    write_safetensors(written[0], tensors, metadata);
    remove_stale(folder, written);
    return written;
  }
  TESSERA_CHECK(shards.size() <= 99999, InvalidArgument,
                "{}: {} shards, expected at most 99999; raise the shard size", folder.string(),
                shards.size());
  Json weight_map = Json::object();
  uint64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    std::vector<TensorView> part;
    for (const size_t index : shards[i]) {
      TESSERA_CHECK(!weight_map.contains(tensors[index].name), InvalidArgument,
                    "{}: two tensors have the name '{}'", folder.string(), tensors[index].name);
      weight_map[tensors[index].name] = name;
      total += tensors[index].bytes.size();
      part.push_back(tensors[index]);
    }
    written.push_back(folder / name);
    write_safetensors(written.back(), part, metadata);
  }
  const Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  written.push_back(folder / "model.safetensors.index.json");
  write_file(written.back(), index.dump(2) + "\n");
  remove_stale(folder, written);
  return written;
}

}  // namespace tessera::io
