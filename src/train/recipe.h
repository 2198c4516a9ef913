// A recipe: everything that a training run is made of, in one YAML file. Sections that every run
// has are typed here; `task`, `model` and `data` belong to the objective, which reads them itself.
//
//   name: tessera-mini
//   seed: 1
//   task:       {kind: language_model, z_loss: 1e-4}
//   model:      {config: {…}}          # or {from: FOLDER}
//   data:       {train: [a.tok], validate: [b.tok], sequence: 2048}
//   optimizer:  {lr: 1e-3, weight_decay: 0.1, clip: 1, ema: 0.999}
//   schedule:   {kind: wsd, steps: 10000, warmup: 0.02, decay: 0.2}
//   batch:      {tokens: 16384, accumulate: 2}
//   precision: bf16
//   device: cuda
#pragma once

#include "train/optimizer.h"
#include "train/options.h"
#include "train/schedule.h"

#include <span>
#include <string>

namespace tessera::train {

struct BatchOptions {
  int64_t size = 0;        // tokens (language models) or items a step: `tokens` or `items`
  int64_t accumulate = 1;  // micro-batches that a step is split into
  int64_t workers = 1;     // threads that make batches; 0 = the training thread itself
};

struct CheckpointOptions {
  int64_t every = 1000;  // steps; 0 = only at the end
  int64_t keep = 2;      // newest ones kept, beside the best
};

struct ValidateOptions {
  int64_t every = 500;  // steps; 0 = never
  int64_t batches = 8;  // micro-batches a validation
};

struct LogOptions {
  int64_t every = 10;          // steps between lines of metrics.jsonl
  int64_t samples_every = 0;   // steps; 0 = only at the end
  double report_seconds = 30;  // least time between two writings of report.html
};

/// The typed part of a recipe, and the sections that the objective reads.
class Recipe {
 public:
  /// Reads a YAML file and lays `overrides` ("key.sub=value") over it. Throws NotFound,
  /// CorruptFile, InvalidArgument.
  static Recipe read(const io::fs::path& path, std::span<const std::string> overrides = {});
  /// The same from text; `source` names it in errors.
  static Recipe parse(std::string_view text,
                      std::string_view source,
                      std::span<const std::string> overrides = {});

  std::string name;
  uint64_t seed = 0;
  std::string device = "cpu";  // cpu | cuda
  bool bf16 = false;           // bf16 autocast with fp32 masters
  bool graph = true;           // on CUDA, capture the step as a graph where the task allows it
  OptimizerOptions optimizer;
  ScheduleOptions schedule;
  BatchOptions batch;
  CheckpointOptions checkpoint;
  ValidateOptions validate;
  LogOptions log;
  double stop_minutes = 0;  // 0 = no limit

  // Recipes of jobs (train/job.h) have name, seed, device, `task`, `model` and `data` alone.

  /// "task", "model" or "data", for the objective.
  Options section(std::string_view key) const { return options_.section(key); }
  /// `task.kind`.
  const std::string& kind() const { return kind_; }

  /// Throws for keys that nobody read; call after the objective has been made.
  void finish() const { options_.finish(); }
  /// The recipe with overrides and defaults filled in, as YAML.
  std::string resolved_yaml() const { return to_yaml(options_.resolved()); }

 private:
  explicit Recipe(Options options);
  void read_training();
  Options options_;
  std::string kind_;
};

/// Reads lr, betas, eps, weight_decay, clip and ema; for objectives with a second optimizer, whose
/// defaults are the first one's.
OptimizerOptions read_optimizer(const Options& options, const OptimizerOptions& defaults);

}  // namespace tessera::train
