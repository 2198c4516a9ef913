// What a resumed run needs to go on bit for bit (CPU, same number of threads): parameters, buffers,
// moments, averages, counters, sums since the last log line, generator states, and the step, from
// which the data position follows (batches are functions of their index). Validation and samples
// leave the generators as they found them.
#include "train/trainer.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "train/checkpoint.h"
#include "train/data/prefetch.h"
#include "train/metrics.h"
#include "train/report.h"
#include "train/stop_signal.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace tessera::train {
namespace {

using Generators = std::vector<std::pair<std::string, at::Generator>>;  // by device

// Validation, samples and saving happen inside: averaged parameters, evaluation mode, no gradients,
// and random generators that are put back.
class AsideScope {
 public:
  AsideScope(Task& task, TrainStep& step, Generators generators)
      : task_(task), generators_(std::move(generators)) {
    for (TrainStep::PartState& part : step.parts()) {
      averages_.push_back(std::make_unique<AdamW::AverageScope>(*part.optimizer));
    }
    for (const auto& [name, generator] : generators_) {
      states_.push_back(generator.get_state());
    }
    set_training(task_, false);
  }
  ~AsideScope() {
    set_training(task_, true);
    for (size_t i = 0; i < generators_.size(); ++i) {
      generators_[i].second.set_state(states_[i]);
    }
  }
  AsideScope(const AsideScope&) = delete;
  AsideScope& operator=(const AsideScope&) = delete;

 private:
  at::NoGradGuard no_grad_;
  Task& task_;
  std::vector<std::unique_ptr<AdamW::AverageScope>> averages_;
  Generators generators_;
  std::vector<Tensor> states_;
};

class Run {
 public:
  Run(const Recipe& recipe, Task& task, at::Device device, const RunOptions& options);
  RunResult run();

 private:
  void prepare_folder();
  void load(const CheckpointState& state);
  void save();
  bool one_step();
  void after_step();
  void write_log();
  void guard_against_nan(int64_t window);
  void validate();
  void sample();
  void report(bool force);
  void finish();
  [[noreturn]] void cancel();

  bool due(int64_t every) const { return every > 0 && step_ % every == 0; }
  double elapsed() const { return earlier_seconds_ + seconds_since(start_); }
  double position() const;
  bool out_of_time() const;
  nn::NamedTensors model_tensors();
  std::string resume_hint() const;

  const Recipe& recipe_;
  Task& task_;
  RunOptions options_;
  CheckpointStore checkpoints_;
  TrainStep train_;
  std::unique_ptr<StepRunner> runner_;
  Generators generators_;
  std::optional<MetricLog> metrics_;
  std::unique_ptr<Prefetch> batches_;
  std::unique_ptr<Progress> progress_;

  int64_t step_ = 0;
  double size_done_ = 0;  // tokens or items of the whole run
  double earlier_seconds_ = 0;
  int64_t skipped_seen_ = 0;
  int64_t bad_steps_ = 0;  // skipped without a good step between, as far as log lines tell
  std::optional<double> validation_loss_;
  int64_t saved_step_ = -1;
  int64_t first_step_ = 0;  // of this sitting
  double lr_factor_ = 0;
  std::map<std::string, double> last_;
  std::vector<Sample> samples_;
  Clock::time_point start_, log_start_, report_start_;
  double log_size_ = 0;
};

Run::Run(const Recipe& recipe, Task& task, at::Device device, const RunOptions& options)
    : recipe_(recipe),
      task_(task),
      options_(options),
      checkpoints_(options.folder / "checkpoints", recipe.checkpoint.keep),
      train_(task, recipe, device) {
  at::manual_seed(recipe.seed);
  generators_.emplace_back("cpu", at::globalContext().defaultGenerator(at::kCPU));
  if (!device.is_cpu()) {
    generators_.emplace_back(device.str(), at::globalContext().defaultGenerator(device));
  }
  runner_ =
      options.make_runner ? options.make_runner(train_) : make_runner(train_, task_, recipe_.graph);
}

nn::NamedTensors Run::model_tensors() {
  nn::NamedTensors tensors;
  for (const auto& [name, module] : task_.modules()) {
    for (const auto& item : module->named_parameters()) {
      tensors["model." + name + "." + item.key()] = item.value();
    }
    for (const auto& item : module->named_buffers()) {
      tensors["model." + name + "." + item.key()] = item.value();
    }
  }
  return tensors;
}

std::string Run::resume_hint() const {
  return "tessera train --run " + options_.folder.string() + " --resume";
}

void Run::prepare_folder() {
  std::error_code failed;
  io::fs::create_directories(options_.folder, failed);
  TESSERA_CHECK(!failed, Io, "{}: cannot be made: {}", options_.folder.string(), failed.message());
  const std::vector<int64_t> steps = checkpoints_.steps();
  TESSERA_CHECK(options_.resume || steps.empty(), InvalidArgument,
                "{}: holds a run that reached step {}; go on with --resume, or choose another "
                "folder with --run",
                options_.folder.string(), steps.back());
  TESSERA_CHECK(!options_.resume || !steps.empty(), NotFound,
                "{}: no checkpoint to go on from; leave --resume out to start",
                options_.folder.string());
  if (options_.resume) {
    load(checkpoints_.load(steps.back()));
    log::info("going on from step {}", step_);
  }
  const io::fs::path recipe = options_.folder / "recipe.yaml";
  const std::string text = recipe_.resolved_yaml();
  if (options_.resume && io::fs::exists(recipe) && io::read_file(recipe) != text) {
    log::warning("the recipe differs from the one that this run was started with");
  }
  io::write_file(recipe, text);
  metrics_.emplace(options_.folder / "metrics.jsonl", step_);
}

void Run::load(const CheckpointState& state) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : model_tensors()) {
    const auto found = state.tensors.find(name);
    TESSERA_CHECK(found != state.tensors.end() && found->second.sizes() == tensor.sizes(),
                  CorruptFile,
                  "checkpoint of step {}: '{}' is missing or of another shape; it belongs to "
                  "another recipe",
                  state.step, name);
    tensor.copy_(found->second);
  }
  for (auto& [name, generator] : generators_) {
    const auto found = state.tensors.find("generator." + name);
    if (found != state.tensors.end()) {
      generator.set_state(found->second);
    } else {
      log::warning("the checkpoint has no random state for {}: its draws start anew", name);
    }
  }
  const io::Json& values = state.values;
  const auto number = [&](const char* key) {
    const auto found = values.find(key);
    TESSERA_CHECK(found != values.end() && found->is_number(), CorruptFile,
                  "checkpoint of step {}: state.json has no number '{}'", state.step, key);
    return found->get<double>();
  };
  train_.load_state(state.tensors, values.value("sums", io::Json::object()));
  task_.load_state(values.value("task", io::Json()));
  size_done_ = number("size_done");
  log_size_ = number("log_size");
  earlier_seconds_ = number("seconds");
  skipped_seen_ = static_cast<int64_t>(number("skipped_seen"));
  bad_steps_ = static_cast<int64_t>(number("bad_steps"));
  validation_loss_ = state.validation_loss;
  step_ = state.step;
  saved_step_ = step_;
}

void Run::save() {
  if (saved_step_ == step_) {
    return;
  }
  CheckpointState state{.step = step_, .validation_loss = validation_loss_};
  state.tensors = model_tensors();
  state.tensors.merge(train_.state());
  for (const auto& [name, generator] : generators_) {
    state.tensors["generator." + name] = generator.get_state();
  }
  state.values = {{"sums", train_.weights_state()}, {"task", task_.state()},
                  {"size_done", size_done_},        {"log_size", log_size_},
                  {"seconds", elapsed()},           {"skipped_seen", skipped_seen_},
                  {"bad_steps", bad_steps_}};
  checkpoints_.save(state);
  saved_step_ = step_;
}

// Where the schedule is, in steps; by time, the share of stop.minutes that is over.
double Run::position() const {
  const auto steps = static_cast<double>(recipe_.schedule.steps);
  return recipe_.schedule.by_time ? elapsed() / (60 * recipe_.stop_minutes) * steps
                                  : static_cast<double>(step_);
}

bool Run::out_of_time() const {
  if (recipe_.stop_minutes <= 0) {
    return false;
  }
  const double seconds = recipe_.schedule.by_time ? elapsed() : seconds_since(start_);
  return seconds >= 60 * recipe_.stop_minutes;
}

// False when the schedule is over.
bool Run::one_step() {
  const double at = position();
  if (at >= static_cast<double>(recipe_.schedule.steps)) {
    return false;
  }
  std::vector<Batch> micro;
  double size = 0;
  for (int64_t i = 0; i < recipe_.batch.accumulate; ++i) {
    micro.push_back(batches_->next());
    size += micro.back().size;
  }
  lr_factor_ = learning_rate_factor(recipe_.schedule, at);
  runner_->run(micro, lr_factor_, step_);
  {
    const at::NoGradGuard no_grad;
    task_.after_step(step_);
  }
  ++step_;
  size_done_ += size;
  log_size_ += size;
  return true;
}

void Run::write_log() {
  MetricRow row = train_.take_metrics();
  const int64_t window = std::min(recipe_.log.every, step_ - first_step_);
  guard_against_nan(window);
  row["step"] = static_cast<double>(step_);
  row[task_.unit()] = size_done_;
  row["lr"] = lr_factor_ * recipe_.optimizer.lr;
  row["seconds"] = elapsed();
  row["skipped"] = static_cast<double>(skipped_seen_);
  const double took = seconds_since(log_start_);
  row[task_.unit() + "_per_s"] = took > 0 ? log_size_ / took : 0;
  log_start_ = Clock::now();
  log_size_ = 0;
  metrics_->append(row);
  for (const auto& [name, value] : row) {
    last_[name] = value;
  }
}

// A few skipped steps are harmless; when all are, waiting helps nobody.
void Run::guard_against_nan(int64_t window) {
  constexpr int64_t kMostBadSteps = 20;
  const int64_t skipped = train_.skipped();
  const int64_t fresh = skipped - skipped_seen_;
  skipped_seen_ = skipped;
  bad_steps_ = fresh >= window ? bad_steps_ + fresh : 0;
  if (fresh > 0) {
    log::warning("step {}: gradients were not finite in {} of {} steps, which were skipped", step_,
                 fresh, window);
  }
  TESSERA_CHECK(bad_steps_ < kMostBadSteps, InvalidArgument,
                "step {}: the gradients were not finite for {} steps; lower optimizer.lr, lengthen "
                "schedule.warmup or lower optimizer.clip",
                step_, bad_steps_);
}

void Run::validate() {
  const AsideScope aside(task_, train_, generators_);
  MetricRow row{{"step", static_cast<double>(step_)}};
  if (task_.has_validation()) {
    std::vector<Batch> batches;
    Prefetch source([&](int64_t index) { return task_.make_batch(Split::kValidate, index); }, 0,
                    recipe_.batch.workers);
    for (int64_t i = 0; i < recipe_.validate.batches; ++i) {
      batches.push_back(source.next());
    }
    for (const auto& [name, value] : train_.evaluate(batches, step_)) {
      row["validate." + name] = value;
    }
  }
  for (const auto& [name, value] : task_.evaluate()) {
    row["validate." + name] = value;
  }
  if (row.size() == 1) {
    return;
  }
  metrics_->append(row);
  for (const auto& [name, value] : row) {
    last_[name] = value;
  }
  if (const auto loss = row.find("validate.loss"); loss != row.end()) {
    validation_loss_ = loss->second;
    log::debug("step {}: validation loss {:.4f}", step_, loss->second);
  }
}

void Run::sample() {
  const AsideScope aside(task_, train_, generators_);
  samples_ = task_.samples();
}

void Run::report(bool force) {
  if (!force && seconds_since(report_start_) < recipe_.log.report_seconds) {
    return;
  }
  io::write_file(
      options_.folder / "report.html",
      render_report({.title = recipe_.name,
                     .status = fmt::format("step {} of {}, {}, {}", step_, recipe_.schedule.steps,
                                           format_count(size_done_, task_.unit()),
                                           format_duration(elapsed())),
                     .recipe = recipe_.resolved_yaml(),
                     .metrics = &metrics_->rows(),
                     .samples = samples_}));
  report_start_ = Clock::now();
}

void Run::after_step() {
  if (due(recipe_.log.every)) {
    write_log();
  }
  const auto tokens = static_cast<uint64_t>(recipe_.batch.size * (step_ - first_step_));
  std::string note = fmt::format("step {}", step_);
  if (const auto loss = last_.find("loss"); loss != last_.end()) {
    note += fmt::format("  loss {:.3f}", loss->second);
  }
  if (recipe_.schedule.by_time) {
    note += "  " + format_duration(std::max(0.0, 60 * recipe_.stop_minutes - elapsed())) + " left";
  }
  progress_->note(std::move(note));
  progress_->set(tokens);
  if (due(recipe_.validate.every)) {
    validate();
  }
  if (due(recipe_.log.samples_every)) {
    sample();
  }
  if (due(recipe_.checkpoint.every)) {
    save();
  }
  report(false);
}

void Run::cancel() {
  progress_->finish();
  save();
  report(true);
  throw Cancelled("stopped at step {}, which is saved; go on with `{}`", step_, resume_hint());
}

void Run::finish() {
  progress_->finish();
  if (step_ > first_step_ && !due(recipe_.log.every)) {
    write_log();
  }
  if (!due(recipe_.validate.every)) {
    validate();
  }
  sample();
  save();
  {
    const AsideScope aside(task_, train_, generators_);
    task_.save(options_.folder / "model");
  }
  report(true);
}

RunResult Run::run() {
  prepare_folder();
  const StopSignal stop;
  first_step_ = step_;
  start_ = log_start_ = report_start_ = Clock::now();
  const int64_t first = step_ * recipe_.batch.accumulate;
  batches_ = std::make_unique<Prefetch>(
      [this](int64_t index) { return task_.make_batch(Split::kTrain, index); }, first,
      recipe_.batch.workers);
  const int64_t left = recipe_.schedule.by_time ? 0 : recipe_.schedule.steps - step_;
  progress_ = std::make_unique<Progress>(
      "training", static_cast<uint64_t>(std::max<int64_t>(0, left) * recipe_.batch.size),
      task_.unit());
  set_training(task_, true);
  bool finished = false;
  while (!out_of_time()) {
    if (!one_step()) {
      finished = true;
      break;
    }
    after_step();
    if (StopSignal::requested()) {
      cancel();
    }
  }
  finished = finished || recipe_.schedule.by_time;
  finish();
  if (!finished) {
    log::info("stop.minutes reached at step {}; go on with `{}`", step_, resume_hint());
  }
  return {.step = step_, .seconds = elapsed(), .finished = finished, .metrics = last_};
}

}  // namespace

RunResult run_training(const Recipe& recipe,
                       Task& task,
                       at::Device device,
                       const RunOptions& options) {
  return Run(recipe, task, device, options).run();
}

}  // namespace tessera::train
