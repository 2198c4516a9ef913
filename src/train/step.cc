#include "train/step.h"

#include "core/error.h"
#include "core/log.h"
#include "ops/device.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

namespace tessera::train {
namespace {

// bf16 for matrix products and attention while it lives, on this thread. The cache of cast weights
// is off: it would be captured in a graph, and every weight is used once a micro-batch anyway.
class Autocast {
 public:
  Autocast(at::DeviceType device, bool enabled)
      : device_(device),
        was_enabled_(at::autocast::is_autocast_enabled(device)),
        dtype_(at::autocast::get_autocast_dtype(device)),
        cache_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_cache_enabled(false);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_cache_enabled(cache_);
    at::autocast::set_autocast_enabled(device_, was_enabled_);
    at::autocast::set_autocast_dtype(device_, dtype_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  at::DeviceType device_;
  bool was_enabled_;
  at::ScalarType dtype_;
  bool cache_;
};

double mean_of(double sum, double weight) {
  return weight > 0 ? sum / weight : 0.0;
}

}  // namespace

TrainStep::TrainStep(Task& task, const Recipe& recipe, at::Device device)
    : task_(task), device_(device), bf16_(recipe.bf16) {
  for (Part& part : task.parts()) {
    parts_.push_back(
        {part.name, std::make_unique<AdamW>(std::move(part.groups),
                                            part.optimizer.value_or(recipe.optimizer))});
  }
}

std::vector<Term> TrainStep::losses(const Batch& batch, int64_t step) {
  const Autocast autocast(device_.type(), bf16_);
  return task_.losses(batch, step);
}

void TrainStep::prepare(double lr_factor, const std::vector<Batch>& batches) {
  totals_.clear();
  for (const Batch& batch : batches) {
    for (const auto& [name, weight] : batch.weights) {
      totals_[name] += weight;
    }
  }
  for (const auto& [name, total] : totals_) {
    Tensor& inverse = inverse_[name];
    if (!inverse.defined()) {
      inverse = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device_));
    }
    inverse.fill_(total > 0 ? 1.0 / total : 0.0);
  }
  for (PartState& part : parts_) {
    part.optimizer->set_learning_rate(lr_factor);
  }
}

void TrainStep::compute(const std::vector<Batch>& batches, int64_t step) {
  for (PartState& part : parts_) {
    part.optimizer->zero_grad();
  }
  std::vector<TermInfo>& infos = terms_[task_.phase(step)];
  infos.clear();
  std::vector<bool> active(parts_.size(), false);
  for (size_t micro = 0; micro < batches.size(); ++micro) {
    std::vector<Tensor> totals(parts_.size());
    for (const Term& term : losses(batches[micro], step)) {
      Mean& mean = means_[term.name];
      if (!mean.sum.defined()) {
        mean.sum = at::zeros({}, at::TensorOptions().dtype(at::kDouble).device(device_));
      }
      mean.sum.add_(term.sum.detach());
      if (micro == 0) {
        infos.push_back({term.name, term.normaliser, term.scale, term.part});
      }
      if (term.scale == 0) {
        continue;
      }
      const auto inverse = inverse_.find(term.normaliser);
      TESSERA_CHECK(term.part < parts_.size() && inverse != inverse_.end(), Internal,
                    "term '{}': no part {} or no batch weight '{}'", term.name, term.part,
                    term.normaliser);
      const Tensor loss = term.sum * (inverse->second * term.scale);
      Tensor& total = totals[term.part];
      total = total.defined() ? total + loss : loss;
    }
    size_t left = static_cast<size_t>(
        std::count_if(totals.begin(), totals.end(), [](const Tensor& t) { return t.defined(); }));
    for (size_t i = 0; i < totals.size(); ++i) {
      if (totals[i].defined()) {
        active[i] = true;
        torch::autograd::backward({totals[i]}, {}, /*retain_graph=*/--left > 0,
                                  /*create_graph=*/false, parts_[i].optimizer->parameters());
      }
    }
  }
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (active[i]) {
      parts_[i].optimizer->step();
    }
  }
}

void TrainStep::account(int64_t step) {
  for (const TermInfo& info : terms_.at(task_.phase(step))) {
    Mean& mean = means_[info.name];
    mean.weight += totals_[info.normaliser];
    mean.scale = info.scale;
    mean.part = info.part;
  }
}

Batch TrainStep::to_device(const Batch& batch) const {
  Batch moved{.tensors = {}, .weights = batch.weights, .size = batch.size};
  for (const auto& [name, tensor] : batch.tensors) {
    moved.tensors[name] = tensor.to(device_, /*non_blocking=*/true);
  }
  return moved;
}

std::map<std::string, double> TrainStep::combine(const std::map<std::string, Mean>& means) const {
  std::map<std::string, double> result;
  std::vector<double> losses(parts_.size(), 0.0);
  std::vector<bool> active(parts_.size(), false);
  for (const auto& [name, mean] : means) {
    if (mean.weight <= 0) {
      continue;
    }
    const double value = mean_of(mean.sum.item<double>(), mean.weight);
    result[name] = value;
    if (mean.scale != 0) {
      losses[mean.part] += mean.scale * value;
      active[mean.part] = true;
    }
  }
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (active[i]) {
      result[i == 0 ? "loss" : "loss." + parts_[i].name] = losses[i];
    }
  }
  return result;
}

std::map<std::string, double> TrainStep::evaluate(const std::vector<Batch>& batches, int64_t step) {
  const at::NoGradGuard no_grad;
  std::map<std::string, Mean> means;
  for (const Batch& batch : batches) {
    for (const Term& term : losses(to_device(batch), step)) {
      Mean& mean = means[term.name];
      const Tensor sum = term.sum.to(at::kDouble);
      mean.sum = mean.sum.defined() ? mean.sum + sum : sum;
      const auto weight = batch.weights.find(term.normaliser);
      mean.weight += weight == batch.weights.end() ? 0.0 : weight->second;
      mean.scale = term.scale;
      mean.part = term.part;
    }
  }
  return combine(means);
}

std::map<std::string, double> TrainStep::take_metrics() {
  std::map<std::string, double> metrics = combine(means_);
  for (auto& [name, mean] : means_) {
    mean.sum.zero_();
    mean.weight = 0;
  }
  for (size_t i = 0; i < parts_.size(); ++i) {
    metrics[i == 0 ? "grad_norm" : "grad_norm." + parts_[i].name] =
        parts_[i].optimizer->grad_norm().item<double>();
  }
  return metrics;
}

int64_t TrainStep::skipped() const {
  double total = 0;
  for (const PartState& part : parts_) {
    total += part.optimizer->skipped().item<double>();
  }
  return std::llround(total);
}

nn::NamedTensors TrainStep::state() const {
  nn::NamedTensors state;
  for (const PartState& part : parts_) {
    for (const auto& [name, tensor] : part.optimizer->state()) {
      state["optimizer." + part.name + "." + name] = tensor;
    }
  }
  for (const auto& [name, mean] : means_) {
    state["sum." + name] = mean.sum;
  }
  return state;
}

io::Json TrainStep::weights_state() const {
  io::Json state = io::Json::object();
  for (const auto& [name, mean] : means_) {
    state[name] = {mean.weight, mean.scale, mean.part};
  }
  return state;
}

void TrainStep::load_state(const nn::NamedTensors& tensors, const io::Json& weights) {
  for (const PartState& part : parts_) {
    const std::string prefix = "optimizer." + part.name + ".";
    nn::NamedTensors own;
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with(prefix)) {
        own[name.substr(prefix.size())] = tensor;
      }
    }
    part.optimizer->load_state(own);
  }
  means_.clear();
  for (const auto& [name, value] : weights.items()) {
    const auto sum = tensors.find("sum." + name);
    TESSERA_CHECK(sum != tensors.end() && value.is_array() && value.size() == 3 &&
                      value[0].is_number() && value[1].is_number() &&
                      value[2].is_number_unsigned() && value[2].get<size_t>() < parts_.size(),
                  CorruptFile, "checkpoint: the sum of '{}' is missing or malformed", name);
    means_[name] = {.sum = sum->second.to(device_).to(at::kDouble).clone(),
                    .weight = value[0].get<double>(),
                    .scale = value[1].get<double>(),
                    .part = value[2].get<size_t>()};
  }
}

void EagerRunner::run(const std::vector<Batch>& batches, double lr_factor, int64_t step) {
  step_.prepare(lr_factor, batches);
  std::vector<Batch> moved;
  for (const Batch& batch : batches) {
    moved.push_back(step_.to_device(batch));
  }
  step_.compute(moved, step);
  step_.account(step);
}

std::unique_ptr<StepRunner> make_runner(TrainStep& step, const Task& task, bool graph) {
  if (!graph || !step.device().is_cuda()) {
    return std::make_unique<EagerRunner>(step);
  }
  if (!task.capturable()) {
    log::info("this task waits for the GPU in its step: it runs operator by operator");
    return std::make_unique<EagerRunner>(step);
  }
  using Maker = StepRunner* (*)(TrainStep*);
  const auto maker = reinterpret_cast<Maker>(ops::cuda_function("tessera_make_graph_runner"));
  if (maker == nullptr) {
    log::warning("libtessera_cuda.so is not there: the step runs operator by operator, slower");
    return std::make_unique<EagerRunner>(step);
  }
  return std::unique_ptr<StepRunner>(maker(&step));
}

void set_training(Task& task, bool training) {
  for (const auto& [name, module] : task.modules()) {
    module->train(training);
  }
}

}  // namespace tessera::train
