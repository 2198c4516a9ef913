#include "io/safetensors.h"

#include "golden_tensors.h"

namespace tessera::io {
namespace {

using testing::HasSubstr;

std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(value >> (8 * i));
  }
  return bytes;
}

std::string file_of(const std::string& header, size_t data_size) {
  return little_endian(header.size()) + header + std::string(data_size, 'x');
}

std::vector<TensorView> views_of(const TensorTable& table) {
  std::vector<TensorView> views;
  for (const auto& [name, entry] : table.tensors) {
    views.push_back({name,
                     entry.dtype,
                     entry.shape,
                     {entry.data, static_cast<size_t>(entry.count()) * dtype_size(entry.dtype)}});
  }
  return views;
}

TEST(Safetensors, ReadsEveryElementType) {
  const auto table = read_safetensors(FileBytes::map(checkpoint_golden("all_dtypes.safetensors")));
  expect_tensors(table.tensors, "all_dtypes.safetensors", false);
  EXPECT_EQ(table.metadata, (TensorMetadata{{"format", "pt"}}));
  for (const auto& [name, entry] : table.tensors) {
    EXPECT_TRUE(entry.is_contiguous()) << name;
    EXPECT_EQ(dtype_from_name(dtype_name(entry.dtype)), entry.dtype);
  }
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  const auto table = read_safetensors(FileBytes::map(checkpoint_golden("empty.safetensors")));
  EXPECT_TRUE(table.tensors.empty());
}

TEST(Safetensors, WritesTheSameBytesAsTheOfficialSerialiser) {
  const auto table = read_safetensors(FileBytes::map(checkpoint_golden("all_dtypes.safetensors")));
  const fs::path path = fresh_folder("safetensors_write") / "out.safetensors";
  write_safetensors(path, views_of(table));
  EXPECT_EQ(read_file(path), read_file(checkpoint_golden("all_dtypes.safetensors")));
  write_safetensors(path, {}, {});
  EXPECT_EQ(read_file(path), read_file(checkpoint_golden("empty.safetensors")));
}

TEST(Safetensors, ShardsAreDealtAsHuggingfaceHubDoes) {
  const Json& expected = expected_file("shards");
  std::vector<std::string> contents;
  std::vector<TensorView> views;
  for (const Json& name : expected.at("order")) {
    const Json& tensor = expected.at("tensors").at(name.get<std::string>());
    const std::string hex = tensor.at("hex");
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    contents.push_back(bytes);
    views.push_back({name, DType::kF32, tensor.at("shape").get<std::vector<int64_t>>(), {}});
  }
  for (size_t i = 0; i < views.size(); ++i) {
    views[i].bytes = std::as_bytes(std::span(contents[i]));
  }
  const fs::path folder = fresh_folder("shards_write");
  write_file(folder / "model.safetensors", "an older model");
  write_file(folder / "model-00009-of-00009.safetensors", "a shard of it");
  write_file(folder / "config.json", "{}");
  const auto written =
      write_safetensors_shards(folder, views, expected.at("max_shard_bytes").get<uint64_t>());
  ASSERT_EQ(written.size(), 7U);
  for (const fs::path& path : written) {
    const fs::path reference = checkpoint_golden("shards") / path.filename();
    if (path.extension() == ".json") {
      EXPECT_EQ(read_json(path), read_json(reference));
    } else {
      EXPECT_EQ(read_file(path), read_file(reference)) << path;
    }
  }
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  EXPECT_FALSE(fs::exists(folder / "model-00009-of-00009.safetensors"));
  EXPECT_TRUE(fs::exists(folder / "config.json"));

  const auto one = write_safetensors_shards(folder, views, 1 << 20);
  EXPECT_EQ(one, std::vector<fs::path>{folder / "model.safetensors"});
  EXPECT_FALSE(fs::exists(folder / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(folder / "model-00001-of-00006.safetensors"));
}

TEST(Safetensors, WriterRefusesWhatNobodyCouldRead) {
  const fs::path path = fresh_folder("safetensors_refuse") / "out.safetensors";
  const std::string bytes(8, '\0');
  const auto view = [&](std::string name, std::vector<int64_t> shape) {
    return TensorView{std::move(name), DType::kF32, std::move(shape),
                      std::as_bytes(std::span(bytes))};
  };
  using Views = std::vector<TensorView>;
  EXPECT_THROW(write_safetensors(path, Views{view("a", {3})}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, Views{view("a", {-2})}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, Views{view("a", {2}), view("a", {2})}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, Views{view("__metadata__", {2})}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, Views{view("\xff", {2})}), InvalidArgument);
  EXPECT_THROW(write_safetensors(path, Views{view("a", {2})}, {{"k", "\xff"}}), InvalidArgument);
  EXPECT_THROW(
      write_safetensors_shards(path.parent_path(), Views{view("a", {2}), view("a", {2})}, 4),
      InvalidArgument);
  EXPECT_FALSE(fs::exists(path));
}

TEST(Safetensors, AcceptsOddButValidFiles) {
  // Unaligned data, spaces around the header, unknown fields, null metadata, zero-size tensors.
  const std::string header =
      R"(  {"__metadata__":null,"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":{"y":[1,{}]}},)"
      R"("b":{"shape":[],"data_offsets":[1,5],"dtype":"F32"},)"
      R"("z":{"dtype":"F32","shape":[7,0],"data_offsets":[5,5]}}   )";
  const auto table = read_safetensors(source_of(file_of(header, 5)));
  EXPECT_EQ(table.tensors.size(), 3U);
  EXPECT_EQ(table.tensors.at("b").count(), 1);
  EXPECT_EQ(table.tensors.at("z").count(), 0);
  EXPECT_EQ(table.tensors.at("b").data - table.tensors.at("a").data, 1);
}

struct Hostile {
  const char* what;
  std::string bytes;
  const char* message;
};

std::string tensor(const char* dtype, const char* shape, const char* offsets) {
  return fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":{}}}}})", dtype, shape,
                     offsets);
}

TEST(Safetensors, RefusesHostileHeaders) {
  const std::string two =
      R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":)";
  const Hostile cases[] = {
      {"empty", "", "0 bytes"},
      {"short", "1234567", "7 bytes"},
      {"length past the end", little_endian(100) + "{}", "cut short"},
      {"length above the limit", little_endian(100'000'001) + "{}", "at most 100000000"},
      {"length wraps", little_endian(~uint64_t{0}) + "{}", "at most 100000000"},
      {"length wraps with 8", little_endian(~uint64_t{7}) + "{}", "at most 100000000"},
      {"no header", little_endian(0), "not valid JSON"},
      {"not JSON", file_of("{\"a\":", 0), "not valid JSON"},
      {"not UTF-8", file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {"a list", file_of("[]", 0), "unexpected a list"},
      {"a number", file_of("7", 0), "unexpected a number"},
      {"null", file_of("null", 0), "unexpected null"},
      {"two documents", file_of("{}{}", 0), "not valid JSON"},
      {"deep", file_of("{\"a\":{\"x\":" + std::string(99999, '[') + "}}", 0), "nested deeper"},
      {"deep objects", file_of("{\"a\":{\"x\":" + std::string(99, '{'), 0), "not valid JSON"},
      {"tensor is a number", file_of("{\"a\":1}", 0), "unexpected a number"},
      {"fields missing", file_of("{\"a\":{}}", 0), "expected dtype"},
      {"metadata of numbers", file_of(R"({"__metadata__":{"a":1}})", 0), "unexpected a number"},
      {"metadata is a list", file_of(R"({"__metadata__":[]})", 0), "unexpected a list"},
      {"metadata twice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "twice"},
      {"metadata key twice", file_of(R"({"__metadata__":{"a":"","a":""}})", 0), "twice"},
      {"dtype is a number", file_of(R"({"a":{"dtype":1}})", 0), "unexpected a number"},
      {"dtype twice", file_of(R"({"a":{"dtype":"U8","dtype":"U8"}})", 0), "twice"},
      {"shape twice", file_of(R"({"a":{"shape":[1],"shape":[1]}})", 0), "twice"},
      {"shape of texts", file_of(tensor("U8", R"(["1"])", "[0,1]"), 1), "unexpected a text"},
      {"shape of lists", file_of(tensor("U8", "[[1]]", "[0,1]"), 1), "unexpected a list"},
      {"shape is a number", file_of(tensor("U8", "1", "[0,1]"), 1), "unexpected a number"},
      {"negative size", file_of(tensor("U8", "[-1]", "[0,1]"), 1), "negative"},
      {"fractional size", file_of(tensor("U8", "[1.0]", "[0,1]"), 1), "fraction"},
      {"size above 2^64", file_of(tensor("U8", "[18446744073709551616]", "[0,1]"), 1), "fraction"},
      {"size above 2^63", file_of(tensor("U8", "[18446744073709551615]", "[0,1]"), 1), "too large"},
      {"product overflows", file_of(tensor("U8", "[4294967296,4294967296,2]", "[0,1]"), 1),
       "too large"},
      {"bytes overflow", file_of(tensor("F64", "[4611686018427387904]", "[0,0]"), 0), "too large"},
      {"10 GB in a small file", file_of(tensor("F32", "[2500000000]", "[0,10000000000]"), 900),
       "cut short"},
      {"one offset", file_of(tensor("U8", "[1]", "[0]"), 1), "1 numbers"},
      {"three offsets", file_of(tensor("U8", "[1]", "[0,1,1]"), 1), "3 numbers"},
      {"backwards", file_of(tensor("U8", "[1]", "[1,0]"), 1), "expected a begin at 0"},
      {"too few bytes", file_of(tensor("F32", "[2]", "[0,4]"), 4), "takes 8 bytes"},
      {"bytes left over", file_of(tensor("U8", "[1]", "[0,1]"), 2), "longer than it says"},
      {"starts late", file_of(tensor("U8", "[1]", "[1,2]"), 2), "expected a begin at 0"},
      {"name twice", file_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}})", 0),
       "twice"},
      {"gap", file_of(two + "[3,5]}}", 5), "no gaps"},
      {"overlap", file_of(two + "[1,3]}}", 3), "no gaps"},
      {"same place", file_of(two + "[0,2]}}", 2), "no gaps"},
  };
  for (const Hostile& hostile : cases) {
    SCOPED_TRACE(hostile.what);
    const std::string message =
        message_of<CorruptFile>([&] { read_safetensors(source_of(hostile.bytes)); });
    EXPECT_THAT(message, HasSubstr("test.bin: "));
    EXPECT_THAT(message, HasSubstr(hostile.message));
  }
  EXPECT_THAT(message_of<Unsupported>(
                  [] { read_safetensors(source_of(file_of(tensor("F4", "[2]", "[0,1]"), 1))); }),
              HasSubstr("'F4'"));
}

TEST(Safetensors, RefusesEveryCutAndNeverCrashesOnAFlippedByte) {
  const std::string whole = read_file(checkpoint_golden("all_dtypes.safetensors"));
  for (size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_THROW(read_safetensors(source_of(whole.substr(0, size))), CorruptFile) << size;
  }
  for (size_t i = 0; i < 1400; ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 7)));
    try {
      read_safetensors(source_of(damaged));
    } catch (const Error&) {
      // Some flips give another valid file.
    }
  }
}

TEST(TensorTable, CountsAndStrides) {
  EXPECT_EQ(shape_count(std::vector<int64_t>{}), 1);
  EXPECT_EQ(shape_count(std::vector<int64_t>{0, int64_t{1} << 62, 4}), std::nullopt);
  EXPECT_EQ(shape_count(std::vector<int64_t>{3, 0}), 0);
  EXPECT_EQ(row_major_strides(std::vector<int64_t>{2, 0, 3}), (std::vector<int64_t>{3, 3, 1}));
  TensorEntry entry;
  entry.shape = {2, 1, 3};
  entry.strides = {3, 99, 1};
  EXPECT_TRUE(entry.is_contiguous());
  entry.strides = {1, 1, 2};
  EXPECT_FALSE(entry.is_contiguous());
}

}  // namespace
}  // namespace tessera::io
