#include "train/trainer.h"

#include "core/error.h"
#include "models/registry.h"
#include "nn/generate.h"
#include "train/checkpoint.h"
#include "unit/train/helpers.h"

#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>

#include <gmock/gmock.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <thread>

extern char** environ;

namespace tessera::train {
namespace {

using Rows = std::vector<io::Json>;

// metrics.jsonl without the columns that tell the time.
Rows metric_rows(const io::fs::path& run) {
  Rows rows;
  std::istringstream lines(io::read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    io::Json row = io::parse_json(line, "metrics.jsonl");
    row.erase("seconds");
    row.erase("tokens_per_s");
    rows.push_back(row);
  }
  return rows;
}

class Training : public testing::Test {
 protected:
  Training() {
    prepare_test();
    write_language(folder_ / "a.tok", 200, 1);
    write_language(folder_ / "b.tok", 40, 2);
  }

  RunResult train(const std::string& name,
                  std::vector<std::string> overrides = {},
                  bool resume = false) {
    const Recipe recipe = Recipe::parse(tiny_recipe(folder_.path()), "tiny.yaml", overrides);
    const auto task = make_task(recipe, at::kCPU);
    return run_training(recipe, *task, at::kCPU, {.folder = folder_ / name, .resume = resume});
  }

  TemporaryFolder folder_;
};

// The loss of a model that knows nothing of the order of tokens is the entropy of the tokens, about
// ln 32 = 3.47; one that has learnt the rule reaches about 0.35.
TEST_F(Training, LearnsTheLanguageAndSavesAModelThatOpens) {
  const RunResult result = train(
      "run", {"schedule.steps=300", "schedule.warmup=20", "validate.every=100",
              "checkpoint.every=0", "log.every=20", "task.samples=2", "task.sample_tokens=5"});
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.step, 300);
  EXPECT_LT(result.metrics.at("validate.loss"), 1.0);
  EXPECT_GT(metric_rows(folder_ / "run").front().at("loss"), 2.0);
  EXPECT_GT(result.metrics.at("tokens_per_s"), 0);
  EXPECT_LT(result.metrics.at("validate.nll.text"), result.metrics.at("validate.nll.prompt") + 1);
  const io::fs::path run = folder_ / "run";
  const std::string page = io::read_file(run / "report.html");
  EXPECT_LT(page.size(), 2'000'000U);
  for (const char* part : {"<svg", "validate.loss", "vocab_size: 32", " → ", "</html>"}) {
    EXPECT_THAT(page, testing::HasSubstr(part));
  }
  EXPECT_THAT(page, testing::Not(testing::HasSubstr("http")));
  // The model folder opens and continues by the rule.
  const models::ModelFolder folder = models::open_folder((run / "model").string());
  const auto model = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder, {}));
  const c10::InferenceMode inference;
  nn::GenerationOptions options;
  options.max_new_tokens = 4;
  const at::Tensor out = nn::generate(*model, at::ones({1, 1}, at::kLong) * 7, {}, options);
  std::vector<int64_t> expected{7};
  while (expected.size() < 5) {
    expected.push_back((5 * expected.back() + 3) % 32);
  }
  EXPECT_EQ(std::vector<int64_t>(out.const_data_ptr<int64_t>(), out.const_data_ptr<int64_t>() + 5),
            expected);
}

TEST_F(Training, AResumedRunEqualsAnUninterruptedOneBitForBit) {
  train("whole", {"schedule.steps=12", "log.every=3"});
  // The same schedule, stopped by a time limit of no time after some steps: by hand, at step 8.
  struct StopAt : StepRunner {
    StopAt(TrainStep& step, int64_t last) : eager(step), at(last) {}
    void run(const std::vector<Batch>& batches, double factor, int64_t step) override {
      eager.run(batches, factor, step);
      if (step + 1 == at) {
        std::raise(SIGINT);
      }
    }
    EagerRunner eager;
    int64_t at;
  };
  std::vector<std::string> overrides{"schedule.steps=12", "log.every=3", "batch.workers=0"};
  for (const int64_t stop : {5, 8}) {
    const Recipe recipe = Recipe::parse(tiny_recipe(folder_.path()), "tiny.yaml", overrides);
    const auto task = make_task(recipe, at::kCPU);
    try {
      run_training(
          recipe, *task, at::kCPU,
          {.folder = folder_ / "parts", .resume = stop > 5, .make_runner = [&](TrainStep& s) {
             return std::make_unique<StopAt>(s, stop);
           }});
      FAIL() << "was not stopped";
    } catch (const Cancelled& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("--resume"));
      EXPECT_THAT(error.what(), testing::HasSubstr(fmt::format("step {}", stop)));
    }
  }
  const RunResult result = train("parts", overrides, true);
  EXPECT_EQ(result.step, 12);
  EXPECT_EQ(metric_rows(folder_ / "parts"), metric_rows(folder_ / "whole"));
  EXPECT_EQ(io::read_file(folder_ / "parts/model/model.safetensors"),
            io::read_file(folder_ / "whole/model/model.safetensors"));
}

TEST_F(Training, AccumulationDoesNotChangeTheLoss) {
  train("once", {"schedule.steps=4"});
  train("split", {"schedule.steps=4", "batch.accumulate=4", "batch.workers=3"});
  const Rows once = metric_rows(folder_ / "once");
  const Rows split = metric_rows(folder_ / "split");
  ASSERT_EQ(once.size(), split.size());
  for (size_t i = 0; i < once.size(); ++i) {
    for (const auto& [name, value] : once[i].items()) {
      // The validation set is cut into other micro-batches.
      if (!name.starts_with("validate")) {
        EXPECT_NEAR(value.get<double>(), split[i].at(name).get<double>(),
                    1e-4 * (1 + std::abs(value.get<double>())))
            << i << name;
      }
    }
  }
}

TEST_F(Training, FoldersAreNotMixedUp) {
  EXPECT_THROW(train("run", {}, true), NotFound);
  train("run", {"schedule.steps=2", "schedule.warmup=0"});
  EXPECT_THROW(train("run", {"schedule.steps=2", "schedule.warmup=0"}), InvalidArgument);
  // Another model does not fit the checkpoint.
  try {
    train("run", {"schedule.steps=4", "model.config.hidden_size=16"}, true);
    FAIL();
  } catch (const CorruptFile& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("another recipe"));
  }
  EXPECT_EQ(train("run", {"schedule.steps=4"}, true).step, 4);
}

TEST_F(Training, TimeLimitsEndTheRun) {
  const RunResult stopped = train("stop", {"schedule.steps=1000000", "stop.minutes=0.002"});
  EXPECT_FALSE(stopped.finished);
  EXPECT_LT(stopped.step, 1000000);
  EXPECT_TRUE(io::fs::exists(folder_ / "stop/model/config.json"));
  const RunResult timed =
      train("timed", {"schedule.kind=wsd", "schedule.steps=1000", "schedule.until=time",
                      "schedule.decay=0.99", "stop.minutes=0.02"});
  EXPECT_TRUE(timed.finished);
  EXPECT_LT(timed.metrics.at("lr"), 1e-2);  // the decay phase was reached
}

TEST_F(Training, BadRecipesSayWhatToDo) {
  EXPECT_THROW(train("x", {"batch.tokens=100"}), InvalidArgument);
  EXPECT_THROW(train("x", {"data.sequence=128"}), InvalidArgument);
  EXPECT_THROW(train("x", {"model.config.vocab_size=16"}), InvalidArgument);
  EXPECT_THROW(train("x", {"data.weights.promt=1"}), InvalidArgument);
  EXPECT_THROW(train("x", {"task.kind=language"}), InvalidArgument);
  EXPECT_THROW(train("x", {"model.from=nowhere", "model.config="}), NotFound);
  EXPECT_FALSE(io::fs::exists(folder_ / "x"));
}

// A generator and a critic in one task: two parts, one of which rests in odd phases.
class TwoParts : public Task {
 public:
  explicit TwoParts(bool broken = false) : broken_(broken) {
    module_ = std::make_shared<torch::nn::Module>("pair");
    a_ = module_->register_parameter("a", at::ones({2}));
    b_ = module_->register_parameter("b", at::ones({2}));
    module_->register_buffer("seen", seen_ = at::zeros({}));
  }
  std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> modules() override {
    return {{"pair", module_}};
  }
  std::vector<Part> parts() override {
    return {{"maker", {{.parameters = {{"a", a_}}}}, {}},
            {"critic",
             {{.parameters = {{"b", b_}}}},
             OptimizerOptions{.lr = 0.5, .weight_decay = 0, .clip = 0}}};
  }
  Batch make_batch(Split, int64_t index) const override {
    return {.tensors = {{"x", at::ones({2}) * static_cast<double>(index)}},
            .weights = {{"n", 2.0}},
            .size = 2};
  }
  std::vector<Term> losses(const Batch& batch, int64_t step) override {
    // Both losses reach both parameters; only a part's own may move.
    const at::Tensor y = (a_ * b_ * (batch.tensors.at("x") + 1)).sum();
    const at::Tensor noisy = y * at::bernoulli(at::ones({}) * 0.5);
    const double bad = broken_ ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    std::vector<Term> terms{{.name = "make", .sum = (y + noisy) * bad, .normaliser = "n"},
                            {.name = "watch", .sum = y * 100, .normaliser = "n", .scale = 0}};
    if (phase(step) == 0) {
      terms.push_back({.name = "judge", .sum = -y, .normaliser = "n", .scale = 2, .part = 1});
    }
    return terms;
  }
  int64_t phase(int64_t step) const override { return step % 2; }
  void after_step(int64_t) override { seen_.add_(1); }
  std::map<std::string, double> evaluate() override { return {{"own", 4.0}}; }
  void save(const io::fs::path&) override {}
  std::string unit() const override { return "items"; }

  std::shared_ptr<torch::nn::Module> module_;
  at::Tensor a_, b_, seen_;
  bool broken_;
};

Recipe pair_recipe(const std::string& more = "") {
  return Recipe::parse(
      "task: {kind: x}\nbatch: {items: 2}\nschedule: {steps: 6, warmup: 0}\n"
      "optimizer: {lr: 0.1, weight_decay: 0}\nlog: {every: 1}\n" +
          more,
      "pair.yaml");
}

TEST(Parts, EachLossMovesItsOwnParametersAlone) {
  prepare_test();
  TwoParts task;
  TrainStep step(task, pair_recipe(), at::kCPU);
  EagerRunner runner(step);
  runner.run({task.make_batch(Split::kTrain, 0)}, 1.0, 0);
  EXPECT_NEAR(task.a_[0].item<double>(), 0.9, 1e-6);  // down by lr
  EXPECT_NEAR(task.b_[0].item<double>(), 1.5, 1e-6);  // up by its own lr
  const at::Tensor b = task.b_.detach().clone();
  runner.run({task.make_batch(Split::kTrain, 1)}, 1.0, 1);
  EXPECT_TRUE(task.b_.detach().equal(b));  // rests
  const std::map<std::string, double> metrics = step.take_metrics();
  EXPECT_NEAR(metrics.at("judge"), -1.0, 1e-5);  // of the first step alone
  EXPECT_NEAR(metrics.at("loss.critic"), -2.0, 1e-5);
  EXPECT_EQ(metrics.count("grad_norm.critic"), 1U);
  EXPECT_NEAR(metrics.at("watch"), 100 * (2.0 + 2 * 0.9 * 1.5 * 2) / 4, 1e-3);
}

TEST(Parts, GeneratorsAndBuffersResumeToo) {
  prepare_test();
  const TemporaryFolder folder;
  TwoParts whole;
  run_training(pair_recipe(), whole, at::kCPU, {.folder = folder / "whole"});
  TwoParts again;
  run_training(pair_recipe(), again, at::kCPU, {.folder = folder / "again"});
  EXPECT_TRUE(again.a_.equal(whole.a_));
  TwoParts half;
  // A constant rate makes three steps of one run the first half of another.
  const auto constant = [](int64_t steps) {
    return Recipe::parse(fmt::format("task: {{kind: x}}\nbatch: {{items: 2}}\nschedule: {{kind: "
                                     "constant, steps: {}, warmup: 0}}\nlog: {{every: 1}}\n",
                                     steps),
                         "c.yaml", {});
  };
  TwoParts six;
  run_training(constant(6), six, at::kCPU, {.folder = folder / "six"});
  run_training(constant(3), half, at::kCPU, {.folder = folder / "half"});
  at::manual_seed(99);
  TwoParts rest;
  const RunResult result =
      run_training(constant(6), rest, at::kCPU, {.folder = folder / "half", .resume = true});
  EXPECT_TRUE(rest.a_.equal(six.a_));
  EXPECT_TRUE(rest.b_.equal(six.b_));
  EXPECT_EQ(rest.seen_.item<double>(), 6);
  EXPECT_EQ(result.metrics.at("validate.own"), 4.0);
  EXPECT_EQ(metric_rows(folder / "half").back(), metric_rows(folder / "six").back());
}

TEST(Parts, EndlessNanStopsTheRun) {
  prepare_test();
  const TemporaryFolder folder;
  TwoParts task(/*broken=*/true);
  const at::Tensor before = task.a_.clone();
  try {
    run_training(pair_recipe("checkpoint: {every: 5}\nstop: {minutes: 1}\n"), task, at::kCPU,
                 {.folder = folder / "short"});
  } catch (const Error&) {
    FAIL() << "six bad steps are not yet too many";
  }
  EXPECT_TRUE(task.a_.equal(before));
  TwoParts longer(/*broken=*/true);
  const Recipe recipe = Recipe::parse(
      "task: {kind: x}\nbatch: {items: 2}\nschedule: {steps: 1000}\nlog: {every: 5}\n", "n.yaml");
  EXPECT_THROW(run_training(recipe, longer, at::kCPU, {.folder = folder / "long"}),
               InvalidArgument);
}

TEST(Checkpoints, NewestAndBestAreKept) {
  const TemporaryFolder folder;
  CheckpointStore store(folder / "c", 2);
  EXPECT_TRUE(store.steps().empty());
  EXPECT_FALSE(store.best().has_value());
  const double losses[] = {3.0, 1.0, 2.0, NAN, 4.0};
  for (int64_t step = 1; step <= 5; ++step) {
    store.save({.step = step,
                .tensors = {{"x", at::ones({3}) * static_cast<double>(step)}},
                .values = {{"n", step}},
                .validation_loss = losses[step - 1]});
  }
  EXPECT_EQ(store.steps(), (std::vector<int64_t>{2, 4, 5}));
  EXPECT_EQ(store.best(), 2);
  const CheckpointState state = store.load(4);
  EXPECT_EQ(state.values["n"], 4);
  EXPECT_EQ(state.tensors.at("x")[0].item<float>(), 4);
  EXPECT_FALSE(state.validation_loss.has_value());
  io::fs::create_directories(folder / "c/.writing-000000006");
  EXPECT_EQ(CheckpointStore(folder / "c", 2).steps(), store.steps());
  EXPECT_FALSE(io::fs::exists(folder / "c/.writing-000000006"));
  EXPECT_THROW(store.load(77), NotFound);
  io::write_file(store.path(5) / "state.json", "{\"step\": 4}");
  EXPECT_THROW(store.load(5), CorruptFile);
}

// The body of the process that is killed below.
void train_until_killed(const io::fs::path& folder) {
  const std::string overrides[] = {"schedule.steps=1000000", "schedule.kind=constant",
                                   "checkpoint.every=1", "validate.every=0"};
  const Recipe recipe = Recipe::parse(tiny_recipe(folder), "tiny.yaml", overrides);
  const auto task = make_task(recipe, at::kCPU);
  run_training(recipe, *task, at::kCPU,
               {.folder = folder / "run", .resume = io::fs::exists(folder / "run/checkpoints")});
}

// SIGKILL at any moment (the child spends most of its time writing checkpoints): the newest
// checkpoint is whole, and the resumed run repeats the losses of one that was never killed.
TEST(Killed, APreviousCheckpointIsAlwaysWhole) {
  prepare_test();
  if (const char* given = std::getenv("TESSERA_TEST_FOLDER")) {
    train_until_killed(given);
    return;
  }
  const TemporaryFolder folder;
  write_language(folder / "a.tok", 200, 1);
  write_language(folder / "b.tok", 40, 2);
  ::setenv("TESSERA_TEST_FOLDER", folder.path().c_str(), 1);
  const CheckpointStore watch(folder / "run/checkpoints", 2);
  int64_t reached = 0;
  for (int round = 0; round < 4; ++round) {
    std::string program = "/proc/self/exe";
    std::string filter = "--gtest_filter=Killed.APreviousCheckpointIsAlwaysWhole";
    std::string quiet = "--gtest_brief=1";
    char* arguments[] = {program.data(), filter.data(), quiet.data(), nullptr};
    pid_t child = 0;
    ASSERT_EQ(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ), 0);
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    const auto newest = [&] {
      const std::vector<int64_t> steps = watch.steps();
      return steps.empty() ? 0 : steps.back();
    };
    while (newest() < reached + 3 && std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(700 * round));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_GE(newest(), reached + 3);
    reached = newest();
    EXPECT_EQ(watch.load(reached).step, reached);
  }
  ::unsetenv("TESSERA_TEST_FOLDER");
  // Finish the killed run here, and run another one straight through.
  const auto finish = [&](const std::string& name, bool resume) {
    const std::string overrides[] = {fmt::format("schedule.steps={}", reached + 2),
                                     "schedule.kind=constant", "checkpoint.every=0",
                                     "validate.every=0"};
    const Recipe recipe = Recipe::parse(tiny_recipe(folder.path()), "tiny.yaml", overrides);
    const auto task = make_task(recipe, at::kCPU);
    return run_training(recipe, *task, at::kCPU, {.folder = folder / name, .resume = resume});
  };
  EXPECT_EQ(finish("run", true).step, reached + 2);
  finish("straight", false);
  EXPECT_EQ(metric_rows(folder / "run"), metric_rows(folder / "straight"));
}

}  // namespace
}  // namespace tessera::train
