#include "io/gguf.h"

#include "golden_tensors.h"
#include "io/checkpoint.h"

#include <cstring>

namespace tessera::io {
namespace {

using testing::HasSubstr;

fs::path gguf_golden(const std::string& name) {
  return fs::path(TESSERA_GOLDENS) / "gguf" / name;
}

/// Builds files by hand, sound or not.
struct Bytes {
  std::string text;

  template <class T>
  Bytes& number(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& string(const std::string& value) {
    number(static_cast<uint64_t>(value.size()));
    text += value;
    return *this;
  }
  Bytes& pad(size_t alignment = 32) {
    text.resize((text.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
};

Bytes header(uint64_t tensors, uint64_t values, uint32_t version = 3) {
  Bytes bytes;
  bytes.text = "GGUF";
  return bytes.number(version).number(tensors).number(values);
}

Bytes& tensor(Bytes& bytes,
              const std::string& name,
              const std::vector<uint64_t>& sizes,
              uint32_t format,
              uint64_t offset) {
  bytes.string(name).number(static_cast<uint32_t>(sizes.size()));
  for (const uint64_t size : sizes) {
    bytes.number(size);
  }
  return bytes.number(format).number(offset);
}

GgufFile read(const std::string& text) {
  return read_gguf(FileBytes::copy(std::as_bytes(std::span(text)), "x.gguf"));
}

std::string message_of(const std::string& text) {
  try {
    read(text);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Gguf, ReadsEveryValueType) {
  const GgufFile file = open_gguf(gguf_golden("metadata.gguf"));
  EXPECT_EQ(file.version, 3U);
  EXPECT_EQ(file.integer("a.u8"), 200);
  EXPECT_EQ(file.integer("a.i8"), -100);
  EXPECT_EQ(file.integer("a.u16"), 60000);
  EXPECT_EQ(file.integer("a.i16"), -30000);
  EXPECT_EQ(file.integer("a.u32"), 4000000000);
  EXPECT_EQ(file.integer("a.i32"), -2000000000);
  EXPECT_EQ(file.integer("a.i64"), -(int64_t{1} << 62));
  EXPECT_EQ(file.integer("a.u64"), std::nullopt);  // does not fit
  EXPECT_EQ(file.number("a.f32"), static_cast<double>(0.1F));
  EXPECT_EQ(file.number("a.f64"), 0.1);
  EXPECT_EQ(file.number("a.u8"), 200.0);
  EXPECT_EQ(file.integer("a.f32"), std::nullopt);
  EXPECT_EQ(file.boolean("a.bool"), true);
  EXPECT_EQ(file.boolean("a.u8"), std::nullopt);
  EXPECT_EQ(file.text("a.text"), "naïve ▁ text");
  EXPECT_EQ(file.text("a.texts"), std::nullopt);
  EXPECT_EQ(file.text("absent"), std::nullopt);
  EXPECT_THAT(*file.find("a.texts")->texts(), testing::ElementsAre("", "b", "▁c"));
  EXPECT_THAT(*file.find("a.integers")->integers(), testing::ElementsAre(3, -1, 2));
  EXPECT_THAT(*file.find("a.numbers")->numbers(), testing::ElementsAre(0.5, -2.0));
  EXPECT_EQ(file.find("a.numbers")->integers(), std::nullopt);
  EXPECT_EQ(file.find("a.integers")->texts(), std::nullopt);
  const TensorEntry& three = file.table.tensors.at("three");
  EXPECT_EQ(three.shape, (std::vector<int64_t>{2, 3, 4}));
  float last = 0;
  std::memcpy(&last, three.data + 23 * sizeof(float), sizeof(float));
  EXPECT_EQ(last, 23.F);
  EXPECT_EQ(file.table.tensors.at("whole").dtype, DType::kI64);
}

TEST(Gguf, JoinsTheParts) {
  for (const char* part : {"m-00001-of-00003.gguf", "m-00003-of-00003.gguf"}) {
    const GgufFile file = open_gguf(gguf_golden("split") / part);
    EXPECT_EQ(file.table.tensors.size(), 5U);
    EXPECT_EQ(file.text("note"), "in the first part");
    float value = 0;
    std::memcpy(&value, file.table.tensors.at("t4").data, sizeof(float));
    EXPECT_EQ(value, 4.F);
  }
  EXPECT_EQ(find_gguf(gguf_golden("split"), "config.json"),
            gguf_golden("split") / "m-00001-of-00003.gguf");
  EXPECT_EQ(Checkpoint::open(gguf_golden("split") / "m-00002-of-00003.gguf").tensors().size(), 5U);
}

TEST(Gguf, MissingAndForeignPartsAreNamed) {
  const fs::path folder = fresh_folder("gguf_parts");
  fs::copy_file(gguf_golden("split") / "m-00001-of-00003.gguf", folder / "m-00001-of-00003.gguf");
  EXPECT_THROW(open_gguf(folder / "m-00001-of-00003.gguf"), NotFound);
  fs::copy_file(gguf_golden("split") / "m-00001-of-00003.gguf", folder / "renamed.gguf");
  EXPECT_THROW(open_gguf(folder / "renamed.gguf"), InvalidArgument);
  fs::copy_file(gguf_golden("split") / "m-00001-of-00003.gguf", folder / "m-00002-of-00003.gguf");
  EXPECT_THROW(open_gguf(folder / "m-00001-of-00003.gguf"), CorruptFile);
}

TEST(Gguf, FindsTheOneModelOfAFolder) {
  const fs::path folder = fresh_folder("gguf_find");
  EXPECT_EQ(find_gguf(folder, "config.json"), std::nullopt);
  EXPECT_EQ(find_gguf(folder / "absent", "config.json"), std::nullopt);
  fs::copy_file(gguf_golden("metadata.gguf"), folder / "a.gguf");
  EXPECT_EQ(find_gguf(folder, "config.json"), folder / "a.gguf");
  write_file(folder / "config.json", "{}");
  EXPECT_EQ(find_gguf(folder, "config.json"), std::nullopt);
  fs::copy_file(gguf_golden("metadata.gguf"), folder / "b.gguf");
  EXPECT_THROW(find_gguf(folder, "other.json"), InvalidArgument);
  EXPECT_EQ(find_gguf(folder / "b.gguf", "other.json"), folder / "b.gguf");
}

TEST(Gguf, WritesWhatItReads) {
  const fs::path path = fresh_folder("gguf_write") / "out.gguf";
  const GgufFields fields = {{"flag", true},
                             {"u32", uint32_t{7}},
                             {"i32", int32_t{-7}},
                             {"u64", uint64_t{1} << 40},
                             {"f32", 0.25F},
                             {"text", std::string("a\0b", 3)},
                             {"texts", std::vector<std::string>{"", "x"}},
                             {"none", std::vector<std::string>{}},
                             {"floats", std::vector<float>{1.5F, -2.F}},
                             {"ints", std::vector<int32_t>{-1, 5}}};
  std::vector<std::byte> blocks(36);
  for (size_t i = 0; i < blocks.size(); ++i) {
    blocks[i] = static_cast<std::byte>(i);
  }
  const float scalar = 3.F;
  GgufWriter writer(path, fields,
                    {{"q", BlockFormat::kQ4_0, {2, 32}},
                     {"empty", BlockFormat::kQ8_0, {0, 32}},
                     {"one", BlockFormat::kF32, {1}}});
  writer.write(blocks);
  writer.write({});
  EXPECT_THROW(writer.write(blocks), InvalidArgument);
  GgufWriter again(path, fields,
                   {{"q", BlockFormat::kQ4_0, {2, 32}},
                    {"empty", BlockFormat::kQ8_0, {0, 32}},
                    {"one", BlockFormat::kF32, {1}}});
  again.write(blocks);
  again.write({});
  again.write(std::as_bytes(std::span(&scalar, 1)));
  again.commit();

  const GgufFile file = open_gguf(path);
  EXPECT_EQ(file.boolean("flag"), true);
  EXPECT_EQ(file.integer("u32"), 7);
  EXPECT_EQ(file.integer("i32"), -7);
  EXPECT_EQ(file.integer("u64"), int64_t{1} << 40);
  EXPECT_EQ(file.number("f32"), 0.25);
  EXPECT_EQ(file.text("text"), std::string_view("a\0b", 3));
  EXPECT_THAT(*file.find("texts")->texts(), testing::ElementsAre("", "x"));
  EXPECT_TRUE(file.find("none")->texts()->empty());
  EXPECT_THAT(*file.find("floats")->numbers(), testing::ElementsAre(1.5, -2.0));
  EXPECT_THAT(*file.find("ints")->integers(), testing::ElementsAre(-1, 5));
  const TensorEntry& q = file.table.tensors.at("q");
  EXPECT_EQ(q.blocks, BlockFormat::kQ4_0);
  EXPECT_EQ(q.type_name(), "Q4_0");
  EXPECT_EQ(q.shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(q.bytes(), 36);
  EXPECT_EQ(std::memcmp(q.data, blocks.data(), blocks.size()), 0);
  EXPECT_EQ(file.table.tensors.at("empty").count(), 0);
  EXPECT_EQ(file.table.tensors.at("one").dtype, DType::kF32);
}

TEST(Gguf, RefusesToWriteNonsense) {
  const fs::path path = fresh_folder("gguf_nonsense") / "out.gguf";
  EXPECT_THROW(GgufWriter(path, {{"a", true}, {"a", false}}, {}), InvalidArgument);
  EXPECT_THROW(GgufWriter(path, {}, {{"q", BlockFormat::kQ4_K, {4, 128}}}), InvalidArgument);
  EXPECT_THROW(GgufWriter(path, {}, {{"q", BlockFormat::kF32, {1}}, {"q", BlockFormat::kF32, {1}}}),
               InvalidArgument);
  EXPECT_THROW(GgufWriter(path, {}, {{"q", BlockFormat::kF32, {1, 1, 1, 1, 1}}}), InvalidArgument);
  EXPECT_FALSE(fs::exists(path));
}

TEST(Gguf, HostileHeaders) {
  EXPECT_THAT(message_of(""), HasSubstr("not a GGUF file"));
  EXPECT_THAT(message_of("GGUX"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(message_of("GGUF"), HasSubstr("truncated"));
  EXPECT_THAT(message_of(header(0, 0, 1).text), HasSubstr("version 1"));
  EXPECT_THAT(message_of(header(0, 0, 0x03000000).text), HasSubstr("big-endian"));
  EXPECT_EQ(message_of(header(0, 0, 2).text), "");
  EXPECT_THAT(message_of(header(uint64_t{1} << 60, 0).text), HasSubstr("announces"));
  EXPECT_THAT(message_of(header(0, UINT64_MAX).text), HasSubstr("announces"));

  Bytes key = header(0, 1);
  key.number(UINT64_MAX);
  EXPECT_THAT(message_of(key.text), HasSubstr("announces"));
  Bytes twice = header(0, 2);
  twice.string("k").number(7U).number(uint8_t{1}).string("k").number(7U).number(uint8_t{1});
  EXPECT_THAT(message_of(twice.text), HasSubstr("twice"));
  Bytes type = header(0, 1);
  type.string("k").number(13U).number(uint64_t{0});
  EXPECT_THAT(message_of(type.text), HasSubstr("type 13"));
  Bytes nested = header(0, 1);
  nested.string("k").number(9U).number(9U).number(uint64_t{0});
  EXPECT_THAT(message_of(nested.text), HasSubstr("array of arrays"));
  Bytes huge = header(0, 1);
  huge.string("k").number(9U).number(10U).number(uint64_t{1} << 61);
  EXPECT_THAT(message_of(huge.text), HasSubstr("announces"));
  Bytes texts = header(0, 1);
  texts.string("k").number(9U).number(8U).number(uint64_t{2}).string("a").number(UINT64_MAX - 3);
  EXPECT_THAT(message_of(texts.text), HasSubstr("truncated"));
}

TEST(Gguf, HostileTensors) {
  const auto with = [](const std::vector<uint64_t>& sizes, uint32_t format, uint64_t offset,
                       size_t data) {
    Bytes bytes = header(1, 0);
    tensor(bytes, "t", sizes, format, offset).pad();
    bytes.text.append(data, 'x');
    return message_of(bytes.text);
  };
  EXPECT_EQ(with({32, 2}, 2, 0, 36), "");
  EXPECT_EQ(with({}, 0, 0, 4), "");
  EXPECT_EQ(with({32, 0}, 2, 0, 0), "");
  EXPECT_THAT(with({32, 2}, 2, 0, 35), HasSubstr("truncated"));
  EXPECT_THAT(with({32, 2}, 2, 16, 64), HasSubstr("multiple of 32"));
  EXPECT_THAT(with({32, 2}, 2, UINT64_MAX - 31, 64), HasSubstr("outside"));
  EXPECT_THAT(with({32, 2}, 2, uint64_t{1} << 62, 64), HasSubstr("truncated"));
  EXPECT_THAT(with({33, 2}, 2, 0, 64), HasSubstr("rows of 33"));
  EXPECT_THAT(with({32, 2}, 4, 0, 64), HasSubstr("type 4"));
  EXPECT_THAT(with({32, 2}, 77, 0, 64), HasSubstr("type 77"));
  EXPECT_THAT(with({1, 1, 1, 1, 1}, 0, 0, 64), HasSubstr("5 axes"));
  EXPECT_THAT(with({UINT64_MAX}, 0, 0, 64), HasSubstr("axis of size"));
  EXPECT_NE(with({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0, 64), "");
  EXPECT_NE(with({uint64_t{1} << 62}, 0, 0, 64), "");

  Bytes overlap = header(2, 0);
  tensor(overlap, "a", {16}, 0, 0);
  tensor(overlap, "b", {16}, 0, 32).pad();
  overlap.text.append(128, 'x');
  EXPECT_THAT(message_of(overlap.text), HasSubstr("overlap"));
  Bytes twice = header(2, 0);
  tensor(twice, "a", {8}, 0, 0);
  tensor(twice, "a", {8}, 0, 32).pad();
  twice.text.append(128, 'x');
  EXPECT_THAT(message_of(twice.text), HasSubstr("called 'a'"));
  for (const uint32_t alignment : {0U, 24U, 1U << 30}) {
    Bytes bytes = header(0, 1);
    bytes.string("general.alignment").number(4U).number(alignment);
    EXPECT_THAT(message_of(bytes.text), HasSubstr("power of two")) << alignment;
  }
  Bytes wide = header(1, 1);
  wide.string("general.alignment").number(4U).number(64U);
  tensor(wide, "a", {1}, 0, 0).pad(64).number(2.5F);
  float value = 0;
  std::memcpy(&value, read(wide.text).table.tensors.at("a").data, sizeof(float));
  EXPECT_EQ(value, 2.5F);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string whole = read_file(gguf_golden("metadata.gguf"));
  for (size_t size = 0; size < whole.size() - 40; ++size) {
    ASSERT_NE(message_of(whole.substr(0, size)), "") << size;
  }
}

}  // namespace
}  // namespace tessera::io
