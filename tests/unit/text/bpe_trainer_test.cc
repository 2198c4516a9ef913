// The trainer against merges of the `tokenizers` package (tests/parity/bpe_trainer.py).
#include "text/bpe_trainer.h"

#include "core/error.h"
#include "io/json.h"
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

namespace tessera::text {
namespace {

const io::fs::path kGoldens = TESSERA_GOLDENS "/bpe_trainer";

TEST(BpeTrainer, MergesAsTokenizers) {
  const io::Json cases = io::read_json(kGoldens / "cases.json");
  ASSERT_GE(cases.size(), 4U);
  for (const io::Json& each : cases) {
    BpeTrainer trainer;
    for (const io::Json& text : each.at("corpus")) {
      trainer.add(text.get<std::string>());
    }
    const BpePieces trained =
        trainer.train({.vocab_size = each.at("vocab_size").get<int64_t>(),
                       .min_frequency = each.at("min_frequency").get<int64_t>()});
    std::vector<std::pair<std::string, std::string>> merges;
    for (const io::Json& merge : each.at("merges")) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    }
    EXPECT_EQ(trained.merges, merges) << each.at("name");
    EXPECT_EQ(trained.pieces, each.at("pieces").get<std::vector<std::string>>());
  }
}

class Folder {
 public:
  Folder() {
    std::string name = (io::fs::temp_directory_path() / "tessera-bpe-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    io::fs::remove_all(path, ignored);
  }
  io::fs::path path;
};

TEST(BpeTrainer, WritesAFolder) {
  BpeTrainer trainer;
  trainer.add("Two red circles, two cats.", 10);
  trainer.add("");
  const BpePieces pieces = trainer.train({.vocab_size = 270});
  EXPECT_EQ(pieces.pieces.size(), 270U);
  const Folder folder;
  const std::vector<std::string> added = {"[Human]", "<👀0>", "<👀1>", "<soim>"};
  write_tokenizer(folder.path / "deeper", pieces, added);
  const auto tokenizer = load_tokenizer(folder.path / "deeper");
  EXPECT_EQ(tokenizer->vocab_size(), 274);
  EXPECT_EQ(tokenizer->token_to_id("<unk>"), 0);
  EXPECT_EQ(tokenizer->token_to_id("</s>"), 2);
  EXPECT_TRUE(tokenizer->is_special(1));
  for (size_t i = 0; i < added.size(); ++i) {
    EXPECT_EQ(tokenizer->token_to_id(added[i]), 270 + static_cast<int32_t>(i));
    EXPECT_FALSE(tokenizer->is_special(270 + static_cast<int32_t>(i)));
  }
  const std::string text = "[Human]: two cats \xF0\x9F\x90\xB1\n<soim><👀1><👀0>";
  const std::vector<int32_t> ids = tokenizer->encode(text);
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids[1], 270);
  EXPECT_EQ((std::vector<int32_t>(ids.end() - 3, ids.end())),
            (std::vector<int32_t>{273, 272, 271}));
  EXPECT_EQ(tokenizer->decode(ids, true), text);
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  BpeTrainer trainer;
  EXPECT_THROW(trainer.train({.vocab_size = 258}), InvalidArgument);
  EXPECT_EQ(trainer.train({.vocab_size = 259}).pieces.size(), 259U);
  EXPECT_TRUE(trainer.train({.vocab_size = 400}).merges.empty());
  const BpePieces pieces = trainer.train({});
  const Folder folder;
  for (const std::vector<std::string>& added :
       {std::vector<std::string>{""}, {"<s>"}, {"x1", "x1"}}) {
    EXPECT_THROW(write_tokenizer(folder.path, pieces, added), InvalidArgument);
  }
  EXPECT_TRUE(io::fs::is_empty(folder.path));
}

}  // namespace
}  // namespace tessera::text
