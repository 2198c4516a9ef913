#include "io/checkpoint.h"

#include "golden_tensors.h"

namespace tessera::io {
namespace {

using testing::HasSubstr;

void link_golden(const fs::path& folder, const std::string& from, const std::string& to) {
  fs::copy_file(checkpoint_golden(from), folder / to);
}

TEST(Checkpoint, OpensEveryContainerByContent) {
  const fs::path folder = fresh_folder("containers");
  link_golden(folder, "all_dtypes.safetensors", "a.bin");
  link_golden(folder, "state_dict.pt", "b.safetensors");
  link_golden(folder, "legacy.pt", "c.dev");
  expect_tensors(Checkpoint::open(folder / "a.bin").tensors(), "all_dtypes.safetensors", false);
  expect_tensors(Checkpoint::open(folder / "b.safetensors").tensors(), "state_dict.pt");
  expect_tensors(Checkpoint::open(folder / "c.dev").tensors(), "legacy.pt");
}

TEST(Checkpoint, OpensShardsOfBothKinds) {
  const auto safe = Checkpoint::open(checkpoint_golden("shards"));
  expect_tensors(safe.tensors(), "shards");
  EXPECT_EQ(safe.path().filename(), "model.safetensors.index.json");
  EXPECT_EQ(safe.metadata().at("format"), "pt");
  expect_tensors(Checkpoint::open(checkpoint_golden("shards_bin")).tensors(), "shards_bin");
  ASSERT_NE(safe.find("lm_head.weight"), nullptr);
  EXPECT_EQ(safe.find("lm_head.weight")->shape, (std::vector<int64_t>{20, 5}));
  EXPECT_EQ(safe.find("lm_head"), nullptr);
}

TEST(Checkpoint, ValuesOfTorchFiles) {
  EXPECT_EQ(Checkpoint::open(checkpoint_golden("nested.pt")).values().at("config.dim"), 512);
}

TEST(Checkpoint, FolderOrder) {
  const fs::path folder = fresh_folder("order");
  EXPECT_THAT(message_of<NotFound>([&] { Checkpoint::open(folder); }), HasSubstr("no weights"));
  link_golden(folder, "state_dict.pt", "training_args.bin");
  EXPECT_THROW(Checkpoint::open(folder), NotFound);
  link_golden(folder, "state_dict.pt", "SpeechTokenizer.pt");
  EXPECT_EQ(Checkpoint::open(folder).path().filename(), "SpeechTokenizer.pt");
  link_golden(folder, "state_dict.pt", "second.pth");
  EXPECT_THAT(message_of<InvalidArgument>([&] { Checkpoint::open(folder); }),
              HasSubstr("SpeechTokenizer.pt, second.pth"));
  link_golden(folder, "all_dtypes.safetensors", "adapter_model.safetensors");
  EXPECT_EQ(Checkpoint::open(folder).path().filename(), "adapter_model.safetensors");
  link_golden(folder, "state_dict.pt", "pytorch_model.bin");
  EXPECT_EQ(Checkpoint::open(folder).path().filename(), "pytorch_model.bin");
  link_golden(folder, "all_dtypes.safetensors", "model.safetensors");
  EXPECT_EQ(Checkpoint::open(folder).path().filename(), "model.safetensors");
}

TEST(Checkpoint, ShardsThatCannotBeRead) {
  const fs::path folder = fresh_folder("bad_shards");
  const fs::path index = folder / "model.safetensors.index.json";
  const auto open_with = [&](const char* text) {
    write_file(index, text);
    Checkpoint::open(folder);
  };
  EXPECT_THAT(message_of<NotFound>([&] { open_with(R"({"weight_map":{"a":"x.safetensors"}})"); }),
              HasSubstr("x.safetensors"));
  for (const char* name : {"../x", "/etc/passwd", "a/../../x", ""}) {
    const std::string text = Json{{"weight_map", {{"a", name}}}}.dump();
    EXPECT_THAT(message_of<CorruptFile>([&] { open_with(text.c_str()); }),
                HasSubstr("inside the same folder"))
        << name;
  }
  const std::string long_name(5000, 'x');
  const std::string too_long = Json{{"weight_map", {{"a", long_name}}}}.dump();
  EXPECT_THROW(open_with(too_long.c_str()), NotFound);
  EXPECT_THROW(open_with("[]"), CorruptFile);
  EXPECT_THROW(open_with("{}"), CorruptFile);
  EXPECT_THROW(open_with(R"({"weight_map":[]})"), CorruptFile);
  EXPECT_THROW(open_with(R"({"weight_map":{"a":7}})"), CorruptFile);
  link_golden(folder, "empty.safetensors", "e.safetensors");
  EXPECT_THAT(
      message_of<CorruptFile>([&] { open_with(R"({"weight_map":{"a":"e.safetensors"}})"); }),
      HasSubstr("tensor 'a' is missing"));
}

TEST(Checkpoint, StrangersAreNamed) {
  const fs::path folder = fresh_folder("strangers");
  const auto message = [&](const std::string& content) {
    write_file(folder / "x.bin", content);
    try {
      Checkpoint::open(folder);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(message("GGUF\3"), HasSubstr("truncated"));
  EXPECT_THAT(message(std::string(257, 'x') + "ustar" + std::string(300, 'x')), HasSubstr("tar"));
  EXPECT_THAT(message("\x80\x04\x4e."), HasSubstr("bare Python pickle"));
  EXPECT_THAT(message(""), HasSubstr("0 bytes"));
  EXPECT_THROW(Checkpoint::open(folder / "none.bin"), NotFound);
}

}  // namespace
}  // namespace tessera::io
