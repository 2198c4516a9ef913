// Gradient of row i with respect to its logits: weight · ((1 + 2 z lse) softmax − onehot(target)).
// The sum over rows is the loss, so that backward only scales what forward has kept: the cost is
// three matrix products, as for any linear layer, and the memory one chunk of logits.
#include "train/cross_entropy.h"

#include "core/error.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace tessera::train {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Logits of a chunk: enough rows to feed the matrix product, little enough for the caches (CPU) or
// for memory (CUDA).
int64_t chunk_rows(const Tensor& hidden, int64_t vocabulary) {
  const int64_t elements = hidden.is_cpu() ? int64_t{1} << 20 : int64_t{1} << 26;
  return std::clamp<int64_t>(elements / vocabulary, 64, 1 << 16);
}

struct Function : public torch::autograd::Function<Function> {
  static variable_list forward(AutogradContext* context,
                               const Tensor& hidden,
                               const Tensor& head,
                               const Tensor& targets,
                               const Tensor& weights,
                               double z_loss,
                               at::ScalarType type,
                               bool gradients) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    const int64_t rows = hidden.size(0);
    const auto fp32 = hidden.options().dtype(at::kFloat);
    const Tensor x = hidden.to(type);
    const Tensor w = head.to(type);
    Tensor loss = at::zeros({}, fp32);
    Tensor nll = at::empty({rows}, fp32);
    Tensor hidden_gradient = gradients ? at::empty({rows, hidden.size(1)}, fp32) : Tensor();
    Tensor head_gradient = gradients ? at::zeros(head.sizes(), fp32) : Tensor();
    const int64_t step = chunk_rows(hidden, head.size(0));
    for (int64_t begin = 0; begin < rows; begin += step) {
      const int64_t count = std::min(step, rows - begin);
      const auto part = [&](const Tensor& t) { return t.narrow(0, begin, count); };
      const Tensor chunk = part(x);                      // [n, D]
      const Tensor target = part(targets).unsqueeze(1);  // [n, 1]
      const Tensor weight = part(weights).unsqueeze(1);  // [n, 1]
      const Tensor logits = at::matmul(chunk, w.t()).to(at::kFloat);
      Tensor log_probability = at::_log_softmax(logits, 1, false);  // [n, V]
      const Tensor target_log = log_probability.gather(1, target);  // [n, 1]
      const Tensor lse = logits.gather(1, target) - target_log;
      part(nll).copy_(target_log.neg().squeeze(1));
      loss.add_(((lse.square() * z_loss - target_log) * weight).sum());
      if (!gradients) {
        continue;
      }
      Tensor slope = log_probability.exp_().mul_((lse * (2.0 * z_loss) + 1.0).mul_(weight));
      slope.scatter_add_(1, target, weight.neg());
      slope = slope.to(type);
      part(hidden_gradient).copy_(at::matmul(slope, w));
      if (type == at::kFloat) {
        head_gradient.addmm_(slope.t(), chunk);
      } else {
        head_gradient.add_(at::matmul(slope.t(), chunk));
      }
    }
    if (gradients) {
      context->save_for_backward({hidden_gradient.to(hidden.scalar_type()), head_gradient});
    }
    context->mark_non_differentiable({nll});
    return {loss, nll};
  }

  static variable_list backward(AutogradContext* context, variable_list outputs) {
    const variable_list saved = context->get_saved_variables();
    const Tensor& scale = outputs[0];
    return {saved[0] * scale.to(saved[0].scalar_type()), saved[1] * scale, {}, {}, {}, {}, {}};
  }
};

}  // namespace

CrossEntropy cross_entropy(const Tensor& hidden,
                           const Tensor& head,
                           const Tensor& targets,
                           const Tensor& weights,
                           double z_loss) {
  TESSERA_CHECK(hidden.dim() == 2 && head.dim() == 2 && hidden.size(1) == head.size(1) &&
                    targets.sizes() == weights.sizes() && targets.dim() == 1 &&
                    targets.size(0) == hidden.size(0),
                InvalidArgument, "cross entropy: hidden [N, D], head [V, D], targets [N] expected");
  const at::DeviceType device = hidden.device().type();
  const at::ScalarType type = at::autocast::is_autocast_enabled(device)
                                  ? at::autocast::get_autocast_dtype(device)
                                  : hidden.scalar_type();
  const bool gradients =
      at::GradMode::is_enabled() && (hidden.requires_grad() || head.requires_grad());
  const variable_list outputs =
      Function::apply(hidden, head, targets, weights, z_loss, type, gradients);
  return {outputs[0], outputs[1]};
}

}  // namespace tessera::train
