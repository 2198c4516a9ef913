// The order of a step is PyTorch's: clip_grad_norm_ (coefficient max_norm / (norm + 1e-6), at most
// 1), AdamW with decoupled decay, then average += (1 − ema)(parameter − average). The fused kernel
// does not count its steps: the counter is raised before and taken back when found_inf is 1.
#include "train/optimizer.h"

#include "core/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <set>

namespace tessera::train {

std::vector<ParameterGroup> default_groups(
    const std::vector<std::pair<std::string, Tensor>>& parameters) {
  ParameterGroup decayed;
  ParameterGroup plain{.parameters = {}, .decay = false};
  for (const auto& item : parameters) {
    (item.second.dim() >= 2 ? decayed : plain).parameters.push_back(item);
  }
  std::vector<ParameterGroup> groups;
  for (ParameterGroup* group : {&decayed, &plain}) {
    if (!group->parameters.empty()) {
      groups.push_back(std::move(*group));
    }
  }
  return groups;
}

AdamW::AdamW(std::vector<ParameterGroup> groups, const OptimizerOptions& options)
    : options_(options) {
  const at::NoGradGuard no_grad;
  std::set<std::string> seen;
  for (ParameterGroup& group : groups) {
    const size_t begin = parameters_.size();
    for (auto& [name, parameter] : group.parameters) {
      TESSERA_CHECK(parameter.scalar_type() == at::kFloat && parameter.is_leaf(), Internal,
                    "optimizer: '{}' must be an fp32 leaf, found {}", name,
                    c10::toString(parameter.scalar_type()));
      TESSERA_CHECK(seen.insert(name).second, Internal, "optimizer: '{}' is given twice", name);
      parameter.set_requires_grad(true);
      parameter.mutable_grad() = at::zeros_like(parameter);
      names_.push_back(name);
      parameters_.push_back(parameter);
      gradients_.push_back(parameter.grad());
      exp_avg_.push_back(at::zeros_like(parameter));
      exp_avg_sq_.push_back(at::zeros_like(parameter));
      if (has_average()) {
        average_.push_back(parameter.detach().clone());
      }
    }
    groups_.push_back({.begin = begin,
                       .end = parameters_.size(),
                       .lr_scale = group.lr_scale,
                       .weight_decay = group.decay ? options.weight_decay : 0.0,
                       .lr = {}});
  }
  TESSERA_CHECK(!parameters_.empty(), Internal, "optimizer: there is nothing to train");
  const auto scalar = at::TensorOptions().dtype(at::kFloat).device(parameters_.front().device());
  step_ = at::zeros({}, scalar);
  grad_norm_ = at::zeros({}, scalar);
  skipped_ = at::zeros({}, scalar);
  for (Group& group : groups_) {
    group.lr = at::zeros({}, scalar);
  }
  set_learning_rate(1.0);
}

void AdamW::set_learning_rate(double factor) {
  for (Group& group : groups_) {
    group.lr.fill_(factor * options_.lr * group.lr_scale);
  }
}

void AdamW::zero_grad() {
  at::_foreach_zero_(gradients_);
}

void AdamW::step() {
  const at::NoGradGuard no_grad;
  const std::vector<Tensor> norms = at::_foreach_norm(gradients_, 2, at::kFloat);
  grad_norm_.copy_(at::linalg_vector_norm(at::stack(norms)));
  const Tensor found_inf = at::isfinite(grad_norm_).logical_not().to(at::kFloat);
  if (options_.clip > 0) {
    const Tensor coefficient = (options_.clip / (grad_norm_ + 1e-6)).clamp_max(1.0);
    at::_foreach_mul_(gradients_, coefficient);
  }
  step_.add_(1.0);
  for (const Group& group : groups_) {
    const auto part = [&](const std::vector<Tensor>& list) {
      return at::TensorList(list).slice(group.begin, group.end - group.begin);
    };
    const std::vector<Tensor> steps(group.end - group.begin, step_);
    at::_fused_adamw_(part(parameters_), part(gradients_), part(exp_avg_), part(exp_avg_sq_), {},
                      steps, group.lr, options_.beta1, options_.beta2, group.weight_decay,
                      options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                      /*grad_scale=*/std::nullopt, found_inf);
  }
  step_.sub_(found_inf);
  skipped_.add_(found_inf);
  if (has_average()) {
    at::_foreach_lerp_(average_, parameters_, 1.0 - options_.ema);
  }
}

nn::NamedTensors AdamW::state() const {
  nn::NamedTensors state{{"step", step_}, {"skipped", skipped_}, {"grad_norm", grad_norm_}};
  for (size_t i = 0; i < names_.size(); ++i) {
    state["exp_avg." + names_[i]] = exp_avg_[i];
    state["exp_avg_sq." + names_[i]] = exp_avg_sq_[i];
    if (has_average()) {
      state["average." + names_[i]] = average_[i];
    }
  }
  return state;
}

void AdamW::load_state(const nn::NamedTensors& state) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : this->state()) {
    const auto found = state.find(name);
    TESSERA_CHECK(found != state.end() && found->second.sizes() == tensor.sizes(), CorruptFile,
                  "optimizer state '{}' is missing or of another shape; the checkpoint belongs to "
                  "another model or recipe",
                  name);
    tensor.copy_(found->second);
  }
}

AdamW::AverageScope::AverageScope(AdamW& optimizer) : optimizer_(optimizer) {
  if (optimizer.has_average()) {
    const at::NoGradGuard no_grad;
    for (const Tensor& parameter : optimizer.parameters_) {
      backup_.push_back(parameter.detach().clone());
    }
    at::_foreach_copy_(optimizer.parameters_, optimizer.average_);
  }
}

AdamW::AverageScope::~AverageScope() {
  if (!backup_.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(optimizer_.parameters_, backup_);
  }
}

}  // namespace tessera::train
