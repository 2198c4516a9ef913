// Engines over tiny random models: what they can, that sound comes in chunks, that they stop.
#include "serve/tensor/engines.h"

#include "pipelines/complete.h"
#include "unit/pipelines/any_to_any_folder.h"

#include <gtest/gtest.h>

namespace tessera::serve {
namespace {

struct Heard : GenerationListener {
  void on_text(std::string_view piece) override { text += piece; }
  void on_sound(Modality, const Audio& chunk) override {
    ++chunks;
    sound.insert(sound.end(), chunk.samples.begin(), chunk.samples.end());
  }
  void on_part(const Part& part) override { parts.push_back(part); }
  void on_done(const Outcome&) override {}

  std::string text;
  int chunks = 0;
  std::vector<float> sound;
  std::vector<Part> parts;
};

GenerationRequest ask(std::optional<Modality> to, int64_t most = 0) {
  GenerationRequest request;
  request.task =
      ChatTask{.messages = {{.role = Role::kUser, .parts = {Part::text("Hello")}}}, .to = to};
  request.sampling.seed = 4;
  request.max_new_tokens = most;
  return request;
}

const auto kGoOn = [] { return true; };

TEST(AnyEngine, ConversesInEveryModality) {
  const io::fs::path folder = io::fs::path(testing::TempDir()) / "tessera-any-engine";
  write_any_to_any(folder);
  const auto engine = open_engine(folder.string(), "", {});
  EXPECT_EQ(engine->card().id, "tessera-any-engine");
  EXPECT_TRUE(engine->card().chat);
  EXPECT_FALSE(engine->card().completion);
  EXPECT_TRUE(engine->card().makes(Modality::kMusic));
  EXPECT_EQ(engine->card().context, 640);

  for (const Modality modality : {Modality::kSpeech, Modality::kMusic, Modality::kImage}) {
    Heard heard;
    GenerationRequest request = ask(modality);
    request.stream_sound = true;
    const Outcome outcome = engine->run(request, heard, kGoOn);
    EXPECT_GT(outcome.new_tokens, 0);
    EXPECT_GT(outcome.prompt_tokens, 5);
    const auto part = std::find_if(heard.parts.begin(), heard.parts.end(),
                                   [&](const Part& p) { return p.modality == modality; });
    ASSERT_NE(part, heard.parts.end()) << modality_name(modality);
  }
  // The chunks of a single sound are the sound.
  Heard heard;
  GenerationRequest request = ask(Modality::kSpeech);
  request.stream_sound = true;
  engine->run(request, heard, kGoOn);
  std::vector<float> whole;
  for (const Part& part : heard.parts) {
    if (const auto* audio = std::get_if<Audio>(&part.content)) {
      whole.insert(whole.end(), audio->samples.begin(), audio->samples.end());
    }
  }
  EXPECT_GT(heard.chunks, 1);
  EXPECT_TRUE(heard.sound == whole);
}

TEST(AnyEngine, StopsBetweenTokensAndRefusesPrompts) {
  const io::fs::path folder = io::fs::path(testing::TempDir()) / "tessera-any-engine";
  write_any_to_any(folder);
  const auto engine = open_engine(folder.string(), "mine", {});
  EXPECT_EQ(engine->card().id, "mine");
  Heard heard;
  int asked = 0;
  const Outcome outcome =
      engine->run(ask(Modality::kText, 100), heard, [&] { return ++asked < 3; });
  EXPECT_EQ(outcome.reason, "interrupted");
  EXPECT_EQ(outcome.new_tokens, 3);
  GenerationRequest prompt;
  prompt.task = CompletionTask{.text = "x", .ids = {}};
  EXPECT_THROW(engine->run(prompt, heard, kGoOn), Unsupported);
  EXPECT_THROW(engine->run(ask(Modality::kSpeech, 2), heard, kGoOn), InvalidArgument);
}

TEST(TextEngine, ContinuesTextAndIds) {
  const io::fs::path folder = io::fs::path(testing::TempDir()) / "tessera-text-engine";
  write_bundled(folder, "LlamaForCausalLM",
                {{"vocab_size", 259},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"max_position_embeddings", 100},
                 {"eos_token_id", 2},
                 {"initializer_range", 0.3}},
                3);
  io::write_file(folder / "tokenizer.json", byte_tokenizer({}).dump());
  const auto engine = open_engine(folder.string(), "", {});
  EXPECT_FALSE(engine->card().chat);
  EXPECT_TRUE(engine->card().completion);
  GenerationRequest request;
  request.task = CompletionTask{.text = "Hello", .ids = {}};
  request.max_new_tokens = 12;
  request.sampling.temperature = 1;
  request.sampling.seed = 9;
  Heard text;
  const Outcome outcome = engine->run(request, text, kGoOn);
  EXPECT_EQ(outcome.prompt_tokens, 5);
  EXPECT_LE(outcome.new_tokens, 12);

  request.task = CompletionTask{.text = {}, .ids = engine->tokenize("Hello", true)};
  Heard ids;
  engine->run(request, ids, kGoOn);
  EXPECT_EQ(ids.text, text.text);

  pipelines::TextCompleter same(folder.string(), {});
  nn::GenerationOptions options = same.defaults();
  options.sampling.greedy = false;
  options.sampling.temperature = 1;
  options.seed = 9;
  options.max_new_tokens = 12;
  EXPECT_EQ(same.complete("Hello", options).text, text.text);

  int asked = 0;
  Heard cut;
  const Outcome stopped = engine->run(request, cut, [&] { return ++asked < 2; });
  EXPECT_EQ(stopped.reason, "interrupted");
  EXPECT_EQ(stopped.new_tokens, 2);
  request.task = CompletionTask{.text = {}, .ids = {5000}};
  EXPECT_THROW(engine->run(request, cut, kGoOn), InvalidArgument);
  request.task = CompletionTask{.text = {}, .ids = std::vector<int32_t>(101, 5)};
  EXPECT_THROW(engine->run(request, cut, kGoOn), InvalidArgument);
  EXPECT_EQ(engine->detokenize(engine->tokenize("héllo", false)), "héllo");
  EXPECT_THROW(engine->detokenize(std::vector<int32_t>{9999}), InvalidArgument);
}

}  // namespace
}  // namespace tessera::serve
