// What everything that is trained implements: a language model, a codec with its discriminator, a
// classifier. A task owns its modules and its data; the trainer owns optimizers, steps, checkpoints
// and reports, and knows no objective.
//
// Losses are sums, and every batch says by which weight each sum is divided ("normaliser"). The
// trainer divides by the normaliser of the whole step, so that splitting a step into micro-batches
// changes nothing.
#pragma once

#include "io/json.h"
#include "train/optimizer.h"
#include "train/recipe.h"

#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::train {

enum class Split { kTrain, kValidate };

/// One micro-batch, made on the host. For CUDA graphs its tensors have the same shapes every time.
struct Batch {
  nn::NamedTensors tensors;
  /// Normaliser of each term that the batch gives (Term::normaliser names one).
  std::map<std::string, double> weights;
  double size = 0;  // tokens or items, for the speed
};

/// One value of a micro-batch.
struct Term {
  std::string name;        // column in metrics.jsonl
  Tensor sum;              // scalar on the device, a sum over the micro-batch
  std::string normaliser;  // key of Batch::weights
  /// Share of the part's loss: loss(part) = Σ scale · sum / normaliser. 0: a metric, watched only.
  double scale = 1.0;
  size_t part = 0;  // which of Task::parts() it trains
};

/// Parameters with an optimizer of their own. All parts learn from one forward pass: the gradient
/// of a part's loss goes to that part's parameters alone, then all parts step together.
struct Part {
  std::string name;
  std::vector<ParameterGroup> groups;
  std::optional<OptimizerOptions> optimizer;  // unset: the recipe's
};

/// Something to look at or listen to in the report.
struct Sample {
  enum class Kind { kText, kPng, kWav };
  std::string title;
  Kind kind = Kind::kText;
  std::string bytes;
};

class Task {
 public:
  virtual ~Task() = default;

  /// Modules by name: their parameters and buffers make the checkpoint.
  virtual std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> modules() = 0;
  /// Default: one part "model" with every parameter of every module in default_groups.
  virtual std::vector<Part> parts();

  /// Micro-batch `index` ≥ 0 of the endless sequence of a split: a function of the recipe and
  /// `index` alone. Called from several worker threads at once, each of which may run libtorch on
  /// one thread. Shapes must not change when the run goes to CUDA graphs.
  virtual Batch make_batch(Split split, int64_t index) const = 0;
  virtual bool has_validation() const { return false; }

  /// Terms of a micro-batch whose tensors are on the training device. A part without terms with
  /// scale > 0 is not updated in that step. Which terms come may depend on phase(step) alone. No
  /// host synchronisation here (style: no item(), nonzero, boolean indexing): the step must be
  /// capturable.
  virtual std::vector<Term> losses(const Batch& batch, int64_t step) = 0;
  /// Steps of equal phase do the same work (a captured graph is good for one phase).
  virtual int64_t phase(int64_t /*step*/) const { return 0; }
  /// False when losses() waits for the device, so that no graph can hold it.
  virtual bool capturable() const { return true; }
  /// After every update, without gradients and outside captures: codebook restarts and the like.
  virtual void after_step(int64_t /*step*/) {}

  /// Further validation metrics, under averaged parameters and without gradients.
  virtual std::map<std::string, double> evaluate() { return {}; }
  /// For the report, likewise.
  virtual std::vector<Sample> samples() { return {}; }
  /// Writes the model folder that users open, likewise.
  virtual void save(const io::fs::path& folder) = 0;

  /// What Batch::size counts.
  virtual std::string unit() const { return "tokens"; }
  /// What a resumed run needs beside parameters and buffers.
  virtual io::Json state() const { return nullptr; }
  virtual void load_state(const io::Json& /*state*/) {}
};

/// Makes the task that the recipe names. `device` is where its modules are to live.
using TaskFactory = std::unique_ptr<Task> (*)(const Recipe& recipe, at::Device device);

struct TaskInfo {
  std::string_view kind;     // task.kind in recipes
  std::string_view summary;  // one line for people
  TaskFactory make;
};

/// Every parameter of a task's modules by "module.path".
std::vector<std::pair<std::string, Tensor>> all_parameters(Task& task);

/// The table in registry.cc; throws InvalidArgument for an unknown kind, naming the known ones, and
/// for keys of the recipe that nobody reads.
std::unique_ptr<Task> make_task(const Recipe& recipe, at::Device device);

}  // namespace tessera::train
