// Taps are one branch on a thread-local pointer when nobody listens.
#include "nn/module.h"

#include "core/error.h"

namespace tessera::nn {
namespace {

thread_local TapCollector* active_collector = nullptr;

std::regex compile(const std::string& pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error&) {
    throw InvalidArgument("taps: '{}' is not a regular expression; example: 'layers\\.[01]$'",
                          pattern);
  }
}

}  // namespace

Tensor Module::parameter(const std::string& name, Tensor value) {
  return register_parameter(name, std::move(value), /*requires_grad=*/false);
}

TapCollector::TapCollector(const std::string& pattern)
    : pattern_(compile(pattern)), previous_(active_collector) {
  active_collector = this;
}

TapCollector::~TapCollector() {
  active_collector = previous_;
}

const Tensor& tap(const Module& module, const Tensor& output) {
  if (active_collector != nullptr && std::regex_search(module.path(), active_collector->pattern_)) {
    active_collector->tensors_[module.path()] = output.detach().clone();
  }
  return output;
}

}  // namespace tessera::nn
