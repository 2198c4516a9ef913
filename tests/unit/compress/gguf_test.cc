// A folder written as GGUF and read again is the same model: exactly in F32, within the format's
// error otherwise.
#include "compress/gguf.h"

#include "core/error.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "models/registry.h"
#include "pipelines/parity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

namespace tessera::compress {
namespace {

using io::BlockFormat;
using io::fs::path;

path golden(const std::string& name) {
  return path(TESSERA_GOLDENS) / name;
}

struct Folder {
  path folder = path(testing::TempDir()) / fmt::format("tessera_compress_{}", ::getpid());
  Folder() {
    io::fs::remove_all(folder);
    io::fs::create_directories(folder);
  }
  ~Folder() {
    std::error_code ignored;
    io::fs::remove_all(folder, ignored);
  }
};

class WriteGgufFolder : public testing::TestWithParam<const char*> {};

TEST_P(WriteGgufFolder, IsTheSameModelInF32) {
  const Folder target;
  const path source = golden(GetParam());
  write_gguf(source, "F32", target.folder / "model.gguf");
  const models::ModelFolder opened = models::open_folder(target.folder.string());
  EXPECT_EQ(opened.path, target.folder / "model.gguf");
  // `generate` depends on the end ids of generation_config.json, which the file has no place for.
  const io::Checkpoint record = io::Checkpoint::open(source / "parity.safetensors");
  std::vector<io::TensorView> forward;
  for (const auto& [name, entry] : record.tensors()) {
    if (name.starts_with("forward.")) {
      forward.push_back(
          {name, entry.dtype, entry.shape, {entry.data, static_cast<size_t>(entry.bytes())}});
    }
  }
  io::write_safetensors(target.folder / "parity.safetensors", forward);
  const pipelines::ParityResult result = pipelines::check_parity(target.folder);
  EXPECT_EQ(result.first_difference.value_or(""), "");
  EXPECT_GT(result.compared, 5);
}

INSTANTIATE_TEST_SUITE_P(Goldens,
                         WriteGgufFolder,
                         testing::Values("llama/plain",
                                         "llama/mqa_tied_linear_bf16",
                                         "llama/pickle_fp16",
                                         "llama/pickle_shards"),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

TEST(WriteGguf, HeadsAreStoredInPairs) {
  const Folder target;
  write_gguf(golden("llama/plain"), "F32", target.folder / "m.gguf");
  const io::Checkpoint before = io::Checkpoint::open(golden("llama/plain"));
  const io::Checkpoint after = io::Checkpoint::open(target.folder / "m.gguf");
  const io::TensorEntry& ours = *after.find("blk.1.attn_q.weight");
  const io::TensorEntry& theirs = *before.find("model.layers.1.self_attn.q_proj.weight");
  ASSERT_EQ(ours.shape, theirs.shape);
  const auto row = static_cast<size_t>(ours.shape[1]) * sizeof(float);
  // head_dim 8: rows 0, 4, 1, 5 … of each head.
  for (const auto& [here, there] : {std::pair<size_t, size_t>{0, 0}, {1, 4}, {2, 1}, {9, 12}}) {
    EXPECT_EQ(std::memcmp(ours.data + here * row, theirs.data + there * row, row), 0) << here;
  }
  EXPECT_EQ(std::memcmp(after.find("blk.0.ffn_down.weight")->data,
                        before.find("model.layers.0.mlp.down_proj.weight")->data, row),
            0);
}

TEST(WriteGguf, ChoosesAsLlamaCpp) {
  const MixShape model{.layers = 16, .heads = 32, .kv_heads = 8, .tied = false};
  const auto format = [&](const char* mix, const char* name,
                          std::vector<int64_t> shape = {64, 512}) {
    return gguf_format(mix, name, shape, model);
  };
  EXPECT_EQ(format("Q4_K_M", "blk.0.attn_v.weight"), BlockFormat::kQ6_K);  // the first eighth
  EXPECT_EQ(format("Q4_K_M", "blk.2.attn_v.weight"), BlockFormat::kQ4_K);
  EXPECT_EQ(format("Q4_K_M", "blk.4.ffn_down.weight"), BlockFormat::kQ6_K);  // every third
  EXPECT_EQ(format("Q4_K_M", "blk.15.ffn_down.weight"), BlockFormat::kQ6_K);
  EXPECT_EQ(format("Q4_K_M", "blk.0.ffn_up.weight"), BlockFormat::kQ4_K);
  EXPECT_EQ(format("Q4_K", "blk.0.attn_v.weight"), BlockFormat::kQ6_K);
  EXPECT_EQ(format("Q4_K_S", "blk.3.attn_v.weight"), BlockFormat::kQ5_K);
  EXPECT_EQ(format("Q4_K_S", "blk.4.attn_v.weight"), BlockFormat::kQ4_K);
  EXPECT_EQ(format("Q4_K_M", "output.weight"), BlockFormat::kQ6_K);
  EXPECT_EQ(format("Q4_0", "output.weight"), BlockFormat::kQ6_K);
  EXPECT_EQ(format("Q8_0", "output.weight"), BlockFormat::kQ8_0);
  EXPECT_EQ(format("Q4_K_M", "token_embd.weight"), BlockFormat::kQ4_K);
  EXPECT_EQ(gguf_format("Q4_K_M", "token_embd.weight", {64, 512}, {.layers = 16, .tied = true}),
            BlockFormat::kQ6_K);
  EXPECT_EQ(format("Q4_K_M", "blk.0.attn_norm.weight", {512}), BlockFormat::kF32);
  EXPECT_EQ(format("Q4_K_M", "blk.0.ffn_up.weight", {64, 96}), BlockFormat::kQ5_0);
  EXPECT_EQ(format("Q5_K_M", "blk.0.ffn_up.weight", {64, 96}), BlockFormat::kQ5_1);
  EXPECT_EQ(format("Q6_K", "blk.0.ffn_up.weight", {64, 96}), BlockFormat::kQ8_0);
  EXPECT_EQ(format("Q4_0", "blk.0.ffn_up.weight", {64, 40}), BlockFormat::kF16);
  EXPECT_EQ(format("BF16", "blk.0.ffn_up.weight", {64, 40}), BlockFormat::kBF16);
  EXPECT_EQ(format("Q2_K", "blk.3.attn_v.weight"), BlockFormat::kQ4_K);  // four heads a group
  EXPECT_THROW(format("Q4_K_XL", "output.weight"), InvalidArgument);
}

TEST(WriteGguf, RefusesWhatItCannotWrite) {
  const Folder target;
  EXPECT_THROW(write_gguf(golden("llama/plain"), "Q4_9", target.folder / "m.gguf"),
               InvalidArgument);
  EXPECT_THROW(write_gguf(golden("gguf/models/llama_k"), "Q8_0", target.folder / "m.gguf"),
               Unsupported);
  EXPECT_THROW(write_gguf(golden("absent"), "Q8_0", target.folder / "m.gguf"), NotFound);
  EXPECT_FALSE(io::fs::exists(target.folder / "m.gguf"));
}

}  // namespace
}  // namespace tessera::compress
