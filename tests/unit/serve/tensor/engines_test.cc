// Engines over tiny random models: what they can, that sound comes in chunks, that they stop.
#include "unit/serve/tensor/engine_fixture.h"

namespace tessera::serve {
namespace {

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
  const io::fs::path folder = temporary_path("tessera-any-engine");
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
    const Outcome outcome = run(*engine, request, heard, kGoOn);
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
  run(*engine, request, heard, kGoOn);
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
  const io::fs::path folder = temporary_path("tessera-any-engine");
  write_any_to_any(folder);
  const auto engine = open_engine(folder.string(), "mine", {});
  EXPECT_EQ(engine->card().id, "mine");
  Heard heard;
  int asked = 0;
  const Outcome outcome =
      run(*engine, ask(Modality::kText, 100), heard, [&] { return ++asked < 3; });
  EXPECT_EQ(outcome.reason, "interrupted");
  EXPECT_EQ(outcome.new_tokens, 3);
  GenerationRequest prompt;
  prompt.task = CompletionTask{.text = "x", .ids = {}};
  EXPECT_THROW(run(*engine, prompt, heard, kGoOn), Unsupported);
  EXPECT_THROW(run(*engine, ask(Modality::kSpeech, 2), heard, kGoOn), InvalidArgument);
}

TEST(TextEngine, ContinuesTextAndIds) {
  const io::fs::path folder = temporary_path("text-engine");
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
  const Outcome outcome = run(*engine, request, text, kGoOn);
  EXPECT_EQ(outcome.prompt_tokens, 5);
  EXPECT_LE(outcome.new_tokens, 12);

  request.task = CompletionTask{.text = {}, .ids = engine->tokenize("Hello", true)};
  Heard ids;
  run(*engine, request, ids, kGoOn);
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
  const Outcome stopped = run(*engine, request, cut, [&] { return ++asked < 2; });
  EXPECT_EQ(stopped.reason, "interrupted");
  EXPECT_EQ(stopped.new_tokens, 2);
  request.task = CompletionTask{.text = {}, .ids = {5000}};
  EXPECT_THROW(run(*engine, request, cut, kGoOn), InvalidArgument);
  request.task = CompletionTask{.text = {}, .ids = std::vector<int32_t>(101, 5)};
  EXPECT_THROW(run(*engine, request, cut, kGoOn), InvalidArgument);
  EXPECT_EQ(engine->detokenize(engine->tokenize("héllo", false)), "héllo");
  EXPECT_THROW(engine->detokenize(std::vector<int32_t>{9999}), InvalidArgument);
}

// ---- many requests together ----

TEST(TextEngine, SaysTheSameAloneAndBesideOthers) {
  const std::string folder = golden("plain");
  pipelines::TextCompleter model(folder, {});
  auto engine = open_engine(folder, "", {}, {.requests = 8, .cache_tokens = 1024});
  EXPECT_TRUE(engine->card().chat && engine->card().completion);
  EXPECT_EQ(engine->width(), 8U);
  DeviceQueue queue(std::move(engine), 64);
  // More than run together, of all lengths, half of them conversations; some begin alike.
  std::vector<std::shared_ptr<Waiter>> heard;
  std::vector<pipelines::Completion> expected;
  std::string said = "Tell me about the sea";
  for (uint64_t i = 0; i < 20; ++i) {
    const int64_t most = 5 + static_cast<int64_t>(i) * 7 % 60;
    said += i % 3 == 0 ? ", and about the wind" : "!";
    heard.push_back(std::make_shared<Waiter>());
    const bool chat = i % 2 == 0;
    queue.submit(chat ? talk_of(said, most, i) : prompt_of(said, most, i), heard.back());
    const std::string talk = "<s>system: Be brief.\nuser: " + said + "\nassistant: ";
    expected.push_back(alone(model, chat ? talk : said, most, i));
  }
  for (size_t i = 0; i < heard.size(); ++i) {
    const Outcome outcome = heard[i]->wait();
    EXPECT_FALSE(outcome.error.has_value());
    EXPECT_EQ(heard[i]->text, expected[i].text) << i;
    EXPECT_EQ(outcome.reason, expected[i].reason) << i;
    EXPECT_EQ(outcome.prompt_tokens, expected[i].prompt_tokens);
    EXPECT_EQ(outcome.new_tokens, static_cast<int64_t>(expected[i].ids.size()));
    EXPECT_EQ(heard[i]->ends, 1);
  }
  ASSERT_TRUE(queue.load().cache.has_value());
  EXPECT_TRUE(soon([&] { return queue.load().running == 0 && queue.load().cache->usage == 0; }));
  EXPECT_GT(queue.load().cache->found_tokens, 0);
}

TEST(TextEngine, CancelledInTheMiddleItGivesItsCacheBack) {
  DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 2, .cache_tokens = 512}), 64);
  // No end id: as long as there is room. The fourth never gets a place.
  std::vector<std::shared_ptr<Waiter>> heard;
  std::vector<Backend::Handle> handles;
  for (uint64_t i = 0; i < 4; ++i) {
    GenerationRequest request = prompt_of("Once upon a time there was", 0, i);
    request.sampling.temperature = 1;
    heard.push_back(std::make_shared<Waiter>());
    handles.push_back(queue.submit(request, heard.back()));
  }
  for (const Backend::Handle handle : {handles[3], handles[0], handles[1], handles[2]}) {
    queue.cancel(handle);
  }
  queue.cancel(12345);
  for (const auto& waiter : heard) {
    EXPECT_TRUE(waiter->wait().reason == "interrupted" || waiter->outcome.reason == "stop");
    EXPECT_EQ(waiter->ends, 1);
  }
  ASSERT_TRUE(soon([&] { return queue.load().running + queue.load().waiting == 0; }));
  EXPECT_TRUE(soon([&] { return queue.load().cache->usage == 0; }));
  // The queue works on.
  const auto after = std::make_shared<Waiter>();
  queue.submit(prompt_of("And then", 3, 1), after);
  EXPECT_LE(after->wait().new_tokens, 3);
}

TEST(TextEngine, AListenerThatThrowsHarmsItselfAlone) {
  struct Broken : Waiter {
    void on_text(std::string_view) override { throw Internal("broken"); }
  };
  DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 4}), 64);
  const auto broken = std::make_shared<Broken>();
  const auto whole = std::make_shared<Waiter>();
  const auto wrong = std::make_shared<Waiter>();
  queue.submit(prompt_of("Hello", 20, 1), broken);
  queue.submit(prompt_of("Hello", 20, 2), whole);
  GenerationRequest bad = prompt_of("", 5, 1);
  bad.task = CompletionTask{.text = {}, .ids = {151}};
  queue.submit(bad, wrong);
  EXPECT_FALSE(whole->wait().error.has_value());
  EXPECT_GT(whole->outcome.new_tokens, 0);
  ASSERT_TRUE(broken->wait().error.has_value());
  EXPECT_EQ(broken->outcome.error->code(), ErrorCode::kInternal);
  ASSERT_TRUE(wrong->wait().error.has_value());
  EXPECT_EQ(wrong->outcome.error->code(), ErrorCode::kInvalidArgument);
}

TEST(TextEngine, TheEndOfTheQueueInterruptsAll) {
  std::vector<std::shared_ptr<Waiter>> heard;
  {
    DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 2}), 64);
    for (uint64_t i = 0; i < 6; ++i) {
      heard.push_back(std::make_shared<Waiter>());
      queue.submit(prompt_of("Hello", 0, i), heard.back());
    }
  }
  for (const auto& waiter : heard) {
    EXPECT_EQ(waiter->ends, 1);
  }
}

TEST(TextEngine, ServesWhatPagesCannotHold) {
  const std::string folder = golden("longrope", false);
  pipelines::TextCompleter model(folder, {});
  auto engine = open_engine(folder, "", {}, {.requests = 8});
  EXPECT_EQ(engine->width(), 1U);
  EXPECT_FALSE(engine->card().chat);
  EXPECT_FALSE(engine->cache_load().has_value());
  DeviceQueue queue(std::move(engine), 64);
  // Some begin as others did: what a request leaves behind must not show in the next.
  const std::string first = "What is it?";
  std::vector<std::string> prompts = {first, first + " Tell me.", "What is the wind?", first};
  prompts.push_back(prompts[1] + std::string(30, 'x'));  // beyond the length where factors change
  prompts.push_back(prompts[1]);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto heard = std::make_shared<Waiter>();
    queue.submit(prompt_of(prompts[i], 8, i), heard);
    const Outcome outcome = heard->wait();
    const pipelines::Completion expected = alone(model, prompts[i], 8, i);
    EXPECT_EQ(heard->text, expected.text) << i;
    EXPECT_EQ(outcome.reason, expected.reason) << i;
  }
}

}  // namespace
}  // namespace tessera::serve
