#include "nn/engine.h"

#include "core/error.h"
#include "core/random.h"
#include "unit/nn/tiny_model.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <thread>

namespace tessera::nn {
namespace {

struct Talk {
  EngineRequest request;
  Ids expected;
  Ids got = {};
  std::optional<Finish> finish = {};
};

// Requests of many kinds, with what each is by the plain computation.
std::vector<std::unique_ptr<Talk>> talks(SequenceModel& model,
                                         const SpanGrammar& spans,
                                         int count) {
  std::vector<std::unique_ptr<Talk>> list;
  Rng rng(8);
  for (int i = 0; i < count; ++i) {
    auto talk = std::make_unique<Talk>();
    Ids prompt = {7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};  // shared
    prompt.resize(1 + rng.below(prompt.size()));
    for (uint64_t n = rng.below(40); n-- > 0;) {
      prompt.push_back(static_cast<int64_t>(4 + rng.below(25)));
    }
    GenerationOptions options = settings(i % 3 == 0 ? nullptr : &spans);
    options.seed = static_cast<uint64_t>(i);
    options.sampling.greedy = i % 4 == 1;
    options.max_new_tokens = static_cast<int64_t>(rng.below(60));
    talk->request = {.prompt = prompt, .options = options};
    talk->expected = plainly(model, prompt, options);
    Talk* raw = talk.get();
    talk->request.on_token = [raw](int64_t id) {
      raw->got.push_back(id);
      return true;
    };
    talk->request.on_finish = [raw](Finish finish) {
      EXPECT_FALSE(raw->finish.has_value());
      raw->finish = finish;
    };
    list.push_back(std::move(talk));
  }
  return list;
}

void expect_all(const std::vector<std::unique_ptr<Talk>>& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    EXPECT_EQ(list[i]->got, list[i]->expected) << "request " << i;
    ASSERT_TRUE(list[i]->finish.has_value()) << "request " << i;
    const bool ended = !list[i]->expected.empty() && list[i]->expected.back() == 1;
    EXPECT_EQ(*list[i]->finish, ended ? Finish::kEnd : Finish::kLength) << "request " << i;
  }
}

// Without guidance other ids come out: the tests below would see it if none were applied.
TEST(Engine, GuidanceChangesTheSpan) {
  const auto model = tiny_model();
  const SpanGrammar guided = grammar();
  const SpanGrammar plain = grammar(1.0, 1.0);
  EXPECT_NE(plainly(*model, {4, 8, 15}, settings(&guided)),
            plainly(*model, {4, 8, 15}, settings(&plain)));
}

TEST(Engine, RequestsAreAsAlone) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(1.7);
  for (const int64_t batch_tokens : {3, 20, 512}) {
    auto list = talks(*model, spans, 24);
    Engine engine(model, {.cache_tokens = 4096, .batch_tokens = batch_tokens, .sequences = 7});
    Rng rng(static_cast<uint64_t>(batch_tokens));
    for (size_t next = 0; next < list.size();) {  // they arrive while others run
      if (rng.below(3) == 0 || !engine.step()) {
        engine.submit(list[next++]->request);
      }
    }
    engine.run();
    expect_all(list);
    const EngineStats stats = engine.stats();
    EXPECT_EQ(stats.running + stats.waiting, 0);
    EXPECT_EQ(stats.cache_usage, 0.0);
    EXPECT_GT(stats.cached_tokens, 0);
  }
}

// Pages for two or three requests at a time: some are sent back and run again.
TEST(Engine, AFullCacheChangesNothing) {
  const auto model = tiny_model();
  const SpanGrammar spans = grammar(0.0);
  auto list = talks(*model, spans, 24);
  Engine engine(model, {.pages = 17, .batch_tokens = 64, .sequences = 16});
  for (const auto& talk : list) {
    engine.submit(talk->request);
  }
  engine.run();
  expect_all(list);
  EXPECT_GT(engine.stats().preemptions, 0);
}

TEST(Engine, RequestsCanBeStoppedAndCancelled) {
  const auto model = tiny_model();
  Engine engine(model, {.cache_tokens = 1024});
  GenerationOptions options = settings(nullptr);
  options.end_ids = {};
  int tokens = 0;
  std::optional<Finish> stopped, cancelled, queued;
  const uint64_t number = engine.submit(
      {.prompt = {5, 6}, .options = options, .on_finish = [&](Finish f) { cancelled = f; }});
  engine.submit({.prompt = {5, 6},
                 .options = options,
                 .on_token = [&](int64_t) { return ++tokens < 4; },
                 .on_finish = [&](Finish f) { stopped = f; }});
  engine.step();
  engine.step();
  engine.cancel(number);
  engine.cancel(number + 100);
  const uint64_t waiting = engine.submit(
      {.prompt = {5, 6}, .options = options, .on_finish = [&](Finish f) { queued = f; }});
  engine.cancel(waiting);
  engine.run();
  EXPECT_EQ(tokens, 4);
  EXPECT_EQ(stopped, Finish::kStopped);
  EXPECT_EQ(cancelled, Finish::kCancelled);
  EXPECT_EQ(queued, Finish::kCancelled);
}

TEST(Engine, WrongRequestsAreNamed) {
  const auto model = tiny_model();
  Engine engine(model, {.pages = 4});
  const GenerationOptions options = settings(nullptr);
  EXPECT_THROW(engine.submit({.prompt = {}, .options = options}), InvalidArgument);
  EXPECT_THROW(engine.submit({.prompt = {kVocabulary}, .options = options}), InvalidArgument);
  EXPECT_THROW(engine.submit({.prompt = {-1}, .options = options}), InvalidArgument);
  EXPECT_THROW(engine.submit({.prompt = Ids(10, 5), .options = options}), InvalidArgument);  // room
  const SpanGrammar spans = grammar();
  GenerationOptions guided = settings(&spans);
  guided.max_new_tokens = 5;
  guided.guidance_prompt = {};
  EXPECT_THROW(engine.submit({.prompt = {5}, .options = guided}), InvalidArgument);
  EXPECT_FALSE(engine.step());
}

// Submitting and cancelling from other threads while one steps.
TEST(Engine, ThreadsMaySubmit) {
  const auto model = tiny_model();
  Engine engine(model, {.cache_tokens = 2048, .sequences = 8});
  GenerationOptions options = settings(nullptr);
  options.end_ids = {};
  options.max_new_tokens = 12;
  std::atomic<int> finished{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const uint64_t number =
            engine.submit({.prompt = {5 + t, 6 + i}, .options = options, .on_finish = [&](Finish) {
                             ++finished;
                           }});
        if (i % 3 == 0) {
          engine.cancel(number);
        }
      }
    });
  }
  while (finished < 40) {
    engine.step();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(engine.stats().cache_usage, 0.0);
}

}  // namespace
}  // namespace tessera::nn
