// Tokenizer folders against what `tokenizers` and transformers say (tests/parity/tokenizers_json.py
// wrote the goldens), and hostile files.
#include "text/tokenizer_json.h"

#include "core/error.h"
#include "io/file.h"
#include "text/tokenizer.h"
#include "unit/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::text {
namespace {

using io::fs::path;
using Ids = std::vector<int32_t>;

path goldens() {
  return path(TESSERA_GOLDENS) / "tokenizers_json";
}

std::string error_of(std::string_view json) {
  try {
    parse_tokenizer_json(json, "tokenizer.json")->encode("some text");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// A tokenizer.json of a small BPE model with other sections put in.
std::string with_sections(const std::string& sections, const std::string& options = "") {
  return R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"aba":3,"c":4,"<unk>":5},)"
         R"("merges":["a b","ab a"])" +
         options + "}" + sections + "}";
}

class GoldenFolder : public testing::TestWithParam<const char*> {};

TEST_P(GoldenFolder, EncodesAndDecodesAsTheReference) {
  const auto tokenizer = load_tokenizer(goldens() / GetParam());
  const io::Json texts = io::read_json(goldens() / "corpus.json")["texts"];
  const io::Json expected = io::read_json(goldens() / GetParam() / "expected.json");
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const Ids ids = tokenizer->encode(text);
    EXPECT_EQ(ids, expected["ids"][i].get<Ids>()) << texts[i].dump();
    if (i % 3 == 0) {
      EXPECT_EQ(tokenizer->decode(ids), expected["texts"][i / 3].get<std::string>());
    }
  }
  for (size_t i = 0; i < expected["random_ids"].size(); ++i) {
    EXPECT_EQ(tokenizer->decode(expected["random_ids"][i].get<Ids>()),
              expected["random_texts"][i].get<std::string>());
  }
}

TEST_P(GoldenFolder, StreamedTextIsTheDecodedText) {
  const auto tokenizer = load_tokenizer(goldens() / GetParam());
  for (const char* text : {"Hello wörld, it's 👩‍👩‍👧‍👦 and 漢字", " a  b\n\nc ",
                           "", "🇩🇪", "\xC3"}) {
    const Ids ids = tokenizer->encode(text, false);
    StreamDecoder stream(*tokenizer);
    std::string whole;
    for (const int32_t id : ids) {
      whole += stream.push(id);
    }
    whole += stream.finish();
    EXPECT_EQ(whole, tokenizer->decode(ids)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         GoldenFolder,
                         testing::Values("bert",
                                         "gpt2",
                                         "gpt2_vocab",
                                         "llama",
                                         "llama3",
                                         "llama_prepend",
                                         "odd_tokens",
                                         "precompiled",
                                         "qwen2",
                                         "qwen2_vocab",
                                         "unigram"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(StreamDecoder, IdsOfAPaddedHeadStandForNothing) {
  const auto tokenizer = load_tokenizer(goldens() / "gpt2");
  const std::vector<int32_t> ids = tokenizer->encode("Hi there", false);
  // Prompts may hold such ids, too.
  StreamDecoder stream(*tokenizer, std::vector<int32_t>{tokenizer->vocab_size() + 3, -7});
  std::string text;
  for (const int32_t id : ids) {
    text += stream.push(tokenizer->vocab_size() + 7) + stream.push(-1) + stream.push(id);
  }
  EXPECT_EQ(text + stream.finish(), "Hi there");
}

TEST(StreamDecoder, HoldsABrokenCharacterBackUntilTheEnd) {
  const auto tokenizer = load_tokenizer(goldens() / "gpt2");
  const Ids emoji = tokenizer->encode("👩", false);
  ASSERT_GT(emoji.size(), 1u);
  StreamDecoder cut(*tokenizer);
  for (size_t i = 0; i + 1 < emoji.size(); ++i) {
    EXPECT_EQ(cut.push(emoji[i]), "");
  }
  EXPECT_EQ(cut.finish(), "\xEF\xBF\xBD");
  StreamDecoder whole(*tokenizer);
  std::string text;
  for (const int32_t id : emoji) {
    text += whole.push(id);
  }
  EXPECT_EQ(text, "👩");
}

TEST(JsonTokenizer, InvalidUtf8IsReadAsReplacementCharacters) {
  const auto tokenizer = load_tokenizer(goldens() / "gpt2");
  EXPECT_EQ(tokenizer->encode("a\xFF\xE4\xBD z"), tokenizer->encode("a\uFFFD\uFFFD z"));
}

TEST(JsonTokenizer, DecodeRefusesUnknownIdsAndSkipsSpecialOnes) {
  const auto tokenizer = load_tokenizer(goldens() / "llama3");
  const Ids ids = tokenizer->encode("hello");
  EXPECT_EQ(tokenizer->decode(ids), "<|begin_of_text|>hello");
  EXPECT_EQ(tokenizer->decode(ids, true), "hello");
  EXPECT_TRUE(tokenizer->is_special(ids[0]));
  EXPECT_EQ(tokenizer->id_to_token(ids[0]), "<|begin_of_text|>");
  EXPECT_EQ(tokenizer->token_to_id("<|begin_of_text|>"), ids[0]);
  EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->decode({}), "");
  EXPECT_THROW(tokenizer->decode(Ids{tokenizer->vocab_size()}), InvalidArgument);
  EXPECT_THROW(tokenizer->decode(Ids{-1}), InvalidArgument);
}

TEST(JsonTokenizer, LongAndShortWordsMergeAlike) {
  const auto tokenizer = parse_tokenizer_json(with_sections(""), "tokenizer.json");
  std::string text;
  Ids expected;
  for (int i = 0; i < 5000; ++i) {  // "ab" "ab" never meets "ab" "a" unless an a follows
    text += "abac";
    expected.insert(expected.end(), {3, 4});
  }
  EXPECT_EQ(tokenizer->encode(text), expected);
  EXPECT_EQ(tokenizer->encode("abac"), (Ids{3, 4}));
  EXPECT_EQ(tokenizer->encode("zab"), (Ids{2}));  // unknown without an unk_token: dropped
}

TEST(JsonTokenizer, AWordOfAMegabyteIsNotQuadratic) {
  const auto tokenizer = parse_tokenizer_json(with_sections(""), "tokenizer.json");
  EXPECT_EQ(tokenizer->encode(std::string(1 << 20, 'a')).size(), size_t{1} << 20);
}

TEST(JsonTokenizer, UnknownComponentsAreNamed) {
  using testing::HasSubstr;
  EXPECT_THAT(error_of(with_sections(R"(,"normalizer":{"type":"Magic"})")), HasSubstr("'Magic'"));
  EXPECT_THAT(error_of(with_sections(R"(,"pre_tokenizer":{"type":"UnicodeScripts"})")),
              HasSubstr("'UnicodeScripts'"));
  EXPECT_THAT(error_of(with_sections(R"(,"decoder":{"type":"Magic"})")), HasSubstr("'Magic'"));
  EXPECT_THAT(error_of(with_sections(R"(,"post_processor":{"type":"Magic"})")),
              HasSubstr("'Magic'"));
  EXPECT_THAT(error_of(R"({"model":{"type":"Magic"}})"), HasSubstr("'Magic'"));
}

TEST(JsonTokenizer, BrokenCharacterMapsAreErrors) {
  using testing::HasSubstr;
  for (const char* fields :
       {"", R"(,"precompiled_charsmap":7)", R"(,"precompiled_charsmap":"")",
        R"(,"precompiled_charsmap":"AAA")", R"(,"precompiled_charsmap":"!!!!")",
        R"(,"precompiled_charsmap":"/////wAAAAAAAAAA")"}) {
    const std::string section =
        R"(,"normalizer":{"type":"Precompiled")" + std::string(fields) + "}";
    EXPECT_THAT(error_of(with_sections(section)), HasSubstr("Precompiled")) << fields;
  }
}

TEST(JsonTokenizer, MalformedFilesAreErrorsNotCrashes) {
  for (const char* json :
       {"",
        "{}",
        "[]",
        "null",
        "{\"model\":{}}",
        "{\"model\":[]}",
        "{\"model\":null}",
        R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})",
        R"({"model":{"type":"BPE","vocab":{"a":"x"},"merges":[]}})",
        R"({"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}})",
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}})",
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}})",
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}})",
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":{}}})",
        R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"<unk>"}})",
        R"({"model":{"type":"Unigram","vocab":[["a"]]}})",
        R"({"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":7}})",
        R"({"model":{"type":"Unigram","vocab":[]}})",
        R"({"model":{"type":"WordLevel","vocab":{}}})",
        R"({"model":{"type":"WordPiece","vocab":{},"max_input_chars_per_word":-1}})"}) {
    EXPECT_NE(error_of(json), "") << json;
  }
}

TEST(JsonTokenizer, BadSectionsAreErrors) {
  for (const char* sections :
       {R"(,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"})",
        R"(,"pre_tokenizer":{"type":"Split","pattern":{},"behavior":"Isolated"})",
        R"(,"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"Odd"})",
        R"(,"pre_tokenizer":{"type":"Metaspace","replacement":"ab"})",
        R"(,"pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"odd"})",
        R"(,"pre_tokenizer":{"type":"Sequence"})",
        R"(,"pre_tokenizer":{"type":"FixedLength","length":0})",
        R"(,"normalizer":{"type":"Replace","pattern":{"String":"a"}})", R"(,"normalizer":[1])",
        R"(,"added_tokens":[{"id":1}])", R"(,"added_tokens":{"a":1})",
        R"(,"decoder":{"type":"Strip","content":""})",
        R"(,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]})",
        R"(,"post_processor":{"type":"BertProcessing","sep":["a",-3],"cls":["b",1]})"}) {
    EXPECT_NE(error_of(with_sections(sections)), "") << sections;
  }
}

TEST(JsonTokenizer, DeepSequencesAreRefused) {
  std::string json;
  for (int i = 0; i < 100; ++i) {
    json += R"({"type":"Sequence","normalizers":[)";
  }
  json += R"({"type":"NFC"})";
  for (int i = 0; i < 100; ++i) {
    json += "]}";
  }
  EXPECT_THAT(error_of(with_sections(",\"normalizer\":" + json)), testing::HasSubstr("nested"));
}

TEST(LoadTokenizer, NamesWhatIsMissing) {
  EXPECT_THROW(load_tokenizer("/no/such/folder"), NotFound);
  const path folder = temporary_path("no_tokenizer");
  io::fs::create_directories(folder);
  EXPECT_THROW(load_tokenizer(folder), NotFound);
}

/// The bytes of all tokens of a text, joined, are the text: word marks, bytes and added tokens too.
TEST(TokenBytes, JoinToTheText) {
  for (const char* folder : {"gpt2", "llama", "llama3", "qwen2"}) {
    const auto tokenizer = load_tokenizer(goldens() / folder);
    for (const std::string text :
         {"Hello  world 123, it's\n\tx!", "\u00e9 \u6f22 \U0001F600 \u0301", "\x01 a"}) {
      std::string bytes;
      for (const int32_t id : tokenizer->encode(text, false)) {
        bytes += tokenizer->token_bytes(id);
      }
      EXPECT_THAT((std::vector<std::string>{text, " " + text}), testing::Contains(bytes)) << folder;
    }
    EXPECT_EQ(tokenizer->token_bytes(tokenizer->vocab_size()), "");
    EXPECT_EQ(tokenizer->token_bytes(-1), "");
  }
}

TEST(TokenBytes, OfSentencePieceJoinToTheText) {
  const auto tokenizer = load_tokenizer(path(TESSERA_GOLDENS) / "sentencepiece" / "anygpt");
  const std::string text = "Hello world, \u6f22\U0001F600 x";
  std::string bytes;
  for (const int32_t id : tokenizer->encode(text, false)) {
    bytes += tokenizer->token_bytes(id);
  }
  EXPECT_EQ(bytes, " " + text);
  EXPECT_EQ(tokenizer->token_bytes(tokenizer->vocab_size()), "");
}

}  // namespace
}  // namespace tessera::text
