#include "nn/step_graphs.h"

#include "ops/device.h"

namespace tessera::nn {

std::unique_ptr<StepGraphs> make_step_graphs(at::Device device) {
  using Maker = StepGraphs* (*)(c10::Device);
  const auto maker = reinterpret_cast<Maker>(ops::cuda_function("tessera_make_step_graphs"));
  return std::unique_ptr<StepGraphs>(maker == nullptr ? nullptr : maker(device));
}

}  // namespace tessera::nn
