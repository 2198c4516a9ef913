// Weighted cross entropy of a language model's head without ever holding all logits.
#pragma once

#include <ATen/core/Tensor.h>

namespace tessera::train {

using at::Tensor;

struct CrossEntropy {
  Tensor loss;  // scalar: Σ weight · (nll + z · lse²), differentiable
  Tensor nll;   // fp32 [N], without gradient
};

/// hidden [N, D] and head [V, D] give logits hidden · headᵀ, chunk by chunk; targets i64 [N] in
/// 0 … V − 1 (also where the weight is 0); weights fp32 [N]. `z_loss` pulls the log of the
/// partition function (lse) towards 0 (PaLM, arXiv 2204.02311). With gradients on, those of hidden
/// and head are computed in the same pass and kept instead of the logits. Under autocast the
/// products are in its dtype and everything else in fp32.
CrossEntropy cross_entropy(const Tensor& hidden,
                           const Tensor& head,
                           const Tensor& targets,
                           const Tensor& weights,
                           double z_loss = 0.0);

}  // namespace tessera::train
