// SentencePiece models and slow Llama folders against sentencepiece 0.2.3 and transformers 4.34.1
// (tests/parity/sentencepiece_folders.py), and against broken files.
#include "text/sentencepiece.h"

#include "core/error.h"
#include "io/json.h"
#include "text/slow_llama.h"
#include "unit/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <limits>
#include <string>
#include <vector>

namespace tessera::text {
namespace {

using io::Json;
using testing::ElementsAre;
using testing::HasSubstr;

const io::fs::path kGoldens = io::fs::path(TESSERA_GOLDENS) / "sentencepiece";
using Ids = std::vector<int32_t>;

std::string text_of(const Json& json) {
  if (json.is_string()) {
    return json.get<std::string>();
  }
  const auto bytes = json.get<std::vector<uint8_t>>();
  return {bytes.begin(), bytes.end()};
}

class SentencePieceGoldens : public testing::TestWithParam<std::string> {
 protected:
  io::fs::path folder() const { return kGoldens / GetParam(); }
  Json cases() const { return io::read_json(folder() / "cases.json"); }
};

TEST_P(SentencePieceGoldens, BareModelMatchesSentencepiece) {
  const SentencePiece model = SentencePiece::load(folder() / "tokenizer.model");
  const Json golden = cases()["bare"];
  for (const Json& pair : golden["encode"]) {
    EXPECT_EQ(model.encode(text_of(pair[0])), pair[1].get<Ids>()) << pair[0];
  }
  for (const Json& pair : golden["decode"]) {
    EXPECT_EQ(model.decode(pair[0].get<Ids>()), pair[1].get<std::string>()) << pair[0];
  }
}

class SlowLlamaGoldens : public SentencePieceGoldens {};

TEST_P(SlowLlamaGoldens, MatchesTransformers) {
  const Json golden = cases()["folder"];
  const auto tokenizer = load_sentencepiece_tokenizer(folder());
  for (const Json& pair : golden["encode"]) {
    EXPECT_EQ(tokenizer->encode(text_of(pair[0])), pair[1].get<Ids>()) << pair[0];
  }
  for (const Json& pair : golden["decode"]) {
    EXPECT_EQ(tokenizer->decode(pair[0].get<Ids>()), pair[1].get<std::string>()) << pair[0];
  }
  for (const Json& pair : golden["decode_skip_special"]) {
    EXPECT_EQ(tokenizer->decode(pair[0].get<Ids>(), true), pair[1].get<std::string>()) << pair[0];
  }
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  return info.param;
}

const auto kFolders = testing::Values("anygpt", "flags", "not_legacy", "unigram");
const auto kBareModels = testing::Values("unused", "no_prefix", "word", "char", "nmt_nfkc_cf");

INSTANTIATE_TEST_SUITE_P(Folders, SentencePieceGoldens, kFolders, name_of);
INSTANTIATE_TEST_SUITE_P(BareModels, SentencePieceGoldens, kBareModels, name_of);
INSTANTIATE_TEST_SUITE_P(Folders, SlowLlamaGoldens, kFolders, name_of);

TEST(SlowLlama, KnowsItsTokens) {
  const auto tokenizer = load_sentencepiece_tokenizer(kGoldens / "anygpt");
  EXPECT_EQ(tokenizer->encode("", false), Ids());
  EXPECT_EQ(tokenizer->encode(""), Ids({1}));
  EXPECT_EQ(tokenizer->token_to_id("</s>"), 2);
  EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
  const int32_t human = tokenizer->token_to_id("[Human]").value_or(-1);
  EXPECT_EQ(tokenizer->id_to_token(human), "[Human]");
  EXPECT_FALSE(tokenizer->is_special(human));
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_EQ(tokenizer->id_to_token(tokenizer->vocab_size()), "");
  EXPECT_EQ(tokenizer->id_to_token(-1), "");
  EXPECT_THROW(tokenizer->decode(Ids{tokenizer->vocab_size()}), InvalidArgument);
}

TEST(SlowLlama, NeedsAModel) {
  EXPECT_THROW(load_sentencepiece_tokenizer(kGoldens / "none"), NotFound);
  EXPECT_THROW(SentencePiece::load(kGoldens / "none.model"), NotFound);
}

TEST(SlowLlama, RefusesWrongTypes) {
  const io::fs::path folder = temporary_path("slow_llama_wrong_types");
  io::fs::create_directories(folder);
  io::fs::copy_file(kGoldens / "char/tokenizer.model", folder / "tokenizer.model",
                    io::fs::copy_options::overwrite_existing);
  const char* broken[] = {"[]",
                          "{",
                          R"({"add_bos_token": "yes"})",
                          R"({"legacy": 1})",
                          R"({"bos_token": 3})",
                          R"({"bos_token": {"text": "<s>"}})",
                          R"({"additional_special_tokens": "<x>"})",
                          R"({"added_tokens_decoder": []})",
                          R"({"added_tokens_decoder": {"x": {"content": "<x>"}}})",
                          R"({"added_tokens_decoder": {"-1": {"content": "<x>"}}})",
                          R"({"added_tokens_decoder": {"2147483647": {"content": "<x>"}}})",
                          R"({"added_tokens_decoder": {"5": "<x>"}})"};
  for (const char* text : broken) {
    io::write_file(folder / "tokenizer_config.json", text);
    EXPECT_THROW(load_sentencepiece_tokenizer(folder), CorruptFile) << text;
  }
  io::write_file(folder / "tokenizer_config.json", "{}");
  for (const char* text : {R"({"<x>": -1})", R"({"<x>": "5"})", R"({"<x>": 4294967296})"}) {
    io::write_file(folder / "added_tokens.json", text);
    EXPECT_THROW(load_sentencepiece_tokenizer(folder), CorruptFile) << text;
  }
  io::fs::remove_all(folder);
}

/// Writes just enough of the format to build broken models.
std::string bytes_field(int number, std::string_view content) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t size = content.size(); true; size >>= 7) {
    out += static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
    if (size <= 0x7F) {
      break;
    }
  }
  return out + std::string(content);
}

std::string number_field(int number, int value) {
  return {static_cast<char>(number << 3), static_cast<char>(value)};
}

std::string piece(std::string_view text, PieceType type, float score = 0.0F) {
  const auto bits = std::bit_cast<uint32_t>(score);
  std::string number = {21};  // field 2, fixed32
  for (int shift = 0; shift < 32; shift += 8) {
    number += static_cast<char>(bits >> shift);
  }
  return bytes_field(1, bytes_field(1, text) + number + number_field(3, static_cast<int>(type)));
}

const std::string kUnk = piece("<unk>", PieceType::kUnknown);
const std::string kA = piece("a", PieceType::kNormal, -1.0F);

SentencePiece parse(const std::string& bytes) {
  return SentencePiece::parse(bytes, "test.model");
}

TEST(SentencePieceFile, KeepsDefaults) {
  const SentencePiece model = parse(kUnk + kA + piece("\xE2\x96\x81", PieceType::kNormal, -2.0F));
  EXPECT_EQ(model.kind(), SentencePieceKind::kUnigram);
  EXPECT_EQ(model.size(), 3);
  EXPECT_EQ(model.unk_id(), 0);
  EXPECT_EQ(model.bos_id(), -1);
  EXPECT_EQ(model.piece_to_id("b"), 0);
  EXPECT_EQ(model.find_piece("b"), std::nullopt);
  EXPECT_EQ(model.type(1), PieceType::kNormal);
  EXPECT_THAT(model.encode(" aab  "), ElementsAre(2, 1, 1, 0));
  EXPECT_EQ(model.decode(Ids{2, 1, 0}), "a \xE2\x81\x87 ");
  EXPECT_THROW(model.decode(Ids{3}), InvalidArgument);
  EXPECT_THROW(model.id_to_piece(-1), InvalidArgument);
}

TEST(SentencePieceFile, RefusesBrokenVocabularies) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string long_piece(8000, 'x');
  const std::string broken[] = {"",
                                kA,
                                kUnk,
                                kUnk + kUnk,
                                kUnk + kA + kA,
                                kUnk + piece("[UNK]", PieceType::kUnknown) + kA,
                                kUnk + piece("", PieceType::kNormal),
                                kUnk + piece(std::string_view("a\0b", 3), PieceType::kNormal),
                                kUnk + piece(long_piece, PieceType::kNormal),
                                kUnk + piece("x", PieceType::kNormal, nan),
                                kUnk + kA + piece("<0x00>", PieceType::kByte),
                                kUnk + kA + bytes_field(2, std::string("\x98\x02\x01", 3))};
  for (const std::string& bytes : broken) {
    EXPECT_THROW(parse(bytes), CorruptFile) << bytes.size();
  }
}

TEST(SentencePieceFile, NamesTheFile) {
  try {
    parse("\x0A\x7F");
    FAIL() << "a cut file was accepted";
  } catch (const CorruptFile& error) {
    EXPECT_THAT(error.what(), HasSubstr("test.model"));
  }
}

TEST(SentencePieceFile, SurvivesEveryTruncation) {
  for (const char* name : {"unigram", "word", "char"}) {
    const std::string bytes = io::read_file(kGoldens / name / "tokenizer.model");
    for (size_t size = 0; size < bytes.size(); ++size) {
      try {
        const SentencePiece model = parse(bytes.substr(0, size));
        model.decode(model.encode(" a \xFF hello"));
      } catch (const CorruptFile&) {
      }
    }
  }
}

TEST(SentencePiece, TakesLongTextsInLinearTime) {
  const auto start = std::chrono::steady_clock::now();
  for (const char* name : {"anygpt", "unigram", "word", "char"}) {
    const SentencePiece model = SentencePiece::load(kGoldens / name / "tokenizer.model");
    for (const std::string_view unit : {"a", "the ", " ", "\xE4\xB8\x80", "musicspeech"}) {
      std::string text;
      while (text.size() < 100000) {
        text += unit;
      }
      EXPECT_FALSE(model.encode(text + "a").empty());
    }
  }
  // A quadratic step over 100 kB would take minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace tessera::text
