// The training loop. A run is a folder:
//   recipe.yaml      the resolved recipe
//   checkpoints/     step-… folders (train/checkpoint.h)
//   metrics.jsonl    one line every log.every steps and for every validation
//   report.html      the same as curves, with samples
//   model/           the finished model (averaged parameters if the recipe keeps them)
#pragma once

#include "train/recipe.h"
#include "train/step.h"

#include <functional>
#include <map>
#include <string>

namespace tessera::train {

struct RunOptions {
  io::fs::path folder;
  bool resume = false;  // go on from the newest checkpoint; there must be one
  /// Makes the runner; unset: make_runner of train/step.h.
  std::function<std::unique_ptr<StepRunner>(TrainStep&)> make_runner = {};
};

struct RunResult {
  int64_t step = 0;
  double seconds = 0;                     // training time, earlier sittings included
  bool finished = false;                  // false: stop.minutes came first
  std::map<std::string, double> metrics;  // of the last lines of metrics.jsonl
};

/// Trains until the schedule's end or stop.minutes. Throws Cancelled after Ctrl-C or SIGTERM, with
/// a checkpoint written; InvalidArgument when the folder holds another run, or when gradients stay
/// not finite.
RunResult run_training(const Recipe& recipe,
                       Task& task,
                       at::Device device,
                       const RunOptions& options);

}  // namespace tessera::train
