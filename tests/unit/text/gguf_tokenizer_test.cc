// A tokenizer folder written into a GGUF file must encode as the folder does: the folders' readers
// are compared with the real packages in their own tests.
#include "text/gguf_tokenizer.h"

#include "core/error.h"
#include "text/gguf_vocab.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace tessera::text {
namespace {

using io::fs::path;

path golden(const std::string& name) {
  return path(TESSERA_GOLDENS) / name;
}

struct TemporaryFile {
  path file = path(testing::TempDir()) / fmt::format("tessera_vocab_{}.gguf", ::getpid());
  ~TemporaryFile() {
    std::error_code ignored;
    io::fs::remove(file, ignored);
  }
};

std::unique_ptr<Tokenizer> through_gguf(const io::GgufFields& fields) {
  const TemporaryFile target;
  io::GgufWriter(target.file, fields, {}).commit();
  return load_gguf_tokenizer(target.file);
}

std::vector<std::string> corpus() {
  const io::Json file = io::read_json(golden("tokenizers_json/corpus.json"));
  return file.at("texts").get<std::vector<std::string>>();
}

class GgufTokenizer : public testing::TestWithParam<std::string> {};

TEST_P(GgufTokenizer, EncodesAsTheFolder) {
  const path folder = golden(GetParam());
  const auto expected = load_tokenizer(folder);
  const auto actual = through_gguf(gguf_tokenizer_fields(folder, expected->vocab_size() + 3));
  EXPECT_EQ(actual->vocab_size(), expected->vocab_size() + 3);
  for (const std::string& text : corpus()) {
    for (const bool special : {true, false}) {
      EXPECT_EQ(actual->encode(text, special), expected->encode(text, special)) << text;
    }
    const std::vector<int32_t> ids = expected->encode(text);
    EXPECT_EQ(actual->decode(ids), expected->decode(ids)) << text;
    EXPECT_EQ(actual->decode(ids, true), expected->decode(ids, true)) << text;
  }
  for (int32_t id = 0; id < expected->vocab_size(); ++id) {
    EXPECT_EQ(actual->is_special(id), expected->is_special(id)) << id;
  }
}

INSTANTIATE_TEST_SUITE_P(Folders,
                         GgufTokenizer,
                         testing::Values("tokenizers_json/llama3",
                                         "tokenizers_json/qwen2",
                                         "tokenizers_json/qwen2_vocab",
                                         "tokenizers_json/gpt2",
                                         "tokenizers_json/gpt2_vocab",
                                         "sentencepiece/anygpt"),
                         [](const auto& item) {
                           std::string name = item.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

io::GgufFields small_llama() {
  return {
      {"tokenizer.ggml.model", std::string("llama")},
      {"tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "▁", "a", "b",
                                                         "▁a", "ab", "▁ab", "<|user|>"}},
      {"tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -1, -2, -3, -1.5F, -0.5F, -4, -1000}},
      {"tokenizer.ggml.token_type", std::vector<int32_t>{2, 3, 3, 1, 1, 1, 1, 1, 1, 4}}};
}

TEST(GgufTokenizer, MergesByScore) {
  const auto tokenizer = through_gguf(small_llama());
  // "▁ab": "ab" has the best score and is merged first, then "▁ab".
  EXPECT_EQ(tokenizer->encode("ab"), (std::vector<int32_t>{1, 8}));
  EXPECT_EQ(tokenizer->encode("aa", false), (std::vector<int32_t>{6, 4}));
  EXPECT_EQ(tokenizer->encode("ab<|user|>ab</s>", false), (std::vector<int32_t>{8, 9, 8, 2}));
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_FALSE(tokenizer->is_special(9));
}

TEST(GgufTokenizer, FlagsOfTheFileCount) {
  io::GgufFields fields = small_llama();
  fields.emplace_back("tokenizer.ggml.add_bos_token", false);
  fields.emplace_back("tokenizer.ggml.add_eos_token", true);
  fields.emplace_back("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(through_gguf(fields)->encode("ab"), (std::vector<int32_t>{7, 2}));
}

TEST(GgufTokenizer, BrokenFilesAreErrors) {
  EXPECT_THROW(through_gguf({}), NotFound);
  EXPECT_THROW(through_gguf({{"tokenizer.ggml.model", std::string("bert")}}), Unsupported);
  EXPECT_THROW(through_gguf({{"tokenizer.ggml.model", std::string("llama")}}), CorruptFile);
  io::GgufFields fields = small_llama();
  fields[3].second = std::vector<int32_t>{1, 2};
  EXPECT_THROW(through_gguf(fields), CorruptFile);
  fields = small_llama();
  fields[2].second = std::vector<float>{1};
  EXPECT_THROW(through_gguf(fields), CorruptFile);
  fields = small_llama();
  std::get<std::vector<int32_t>>(fields[3].second)[0] = 7;
  EXPECT_THROW(through_gguf(fields), CorruptFile);
  fields = small_llama();
  fields[0].second = std::string("gpt2");
  EXPECT_THROW(through_gguf(fields), CorruptFile);  // no merges
  fields.emplace_back("tokenizer.ggml.merges", std::vector<std::string>{"ab"});
  EXPECT_THROW(through_gguf(fields), CorruptFile);
  fields.emplace_back("tokenizer.ggml.pre", std::string("never-heard"));
  EXPECT_THROW(through_gguf(fields), Unsupported);
}

}  // namespace
}  // namespace tessera::text
