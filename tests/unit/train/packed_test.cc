// Packed documents give what the documents give apart: values and gradients.
#include "core/error.h"
#include "models/registry.h"
#include "nn/attention.h"
#include "train/cross_entropy.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace tessera::train {
namespace {

std::shared_ptr<nn::SequenceModel> tiny_model() {
  models::ModelFolder folder;
  folder.config = io::parse_json(
      R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "attention_bias": true, "max_position_embeddings": 64})",
      "test");
  const auto model = models::find_model(folder).load(folder, nn::Weights::from_scratch(4));
  for (at::Tensor& parameter : model->parameters()) {
    parameter.set_requires_grad(true);
  }
  return std::dynamic_pointer_cast<nn::SequenceModel>(model);
}

at::Tensor loss_of(nn::SequenceModel& model, const nn::Step& step, const at::Tensor& targets) {
  const at::Tensor hidden = model.hidden(step, nullptr).squeeze(0);
  return cross_entropy(hidden, model.head(), targets, at::ones({targets.size(0)}), 1e-3).loss;
}

std::vector<at::Tensor> take_gradients(nn::SequenceModel& model) {
  std::vector<at::Tensor> gradients;
  for (at::Tensor& parameter : model.parameters()) {
    gradients.push_back(parameter.grad().clone());
    parameter.mutable_grad() = at::Tensor();
  }
  return gradients;
}

TEST(PackedAttention, LossAndGradientsOfDocumentsApart) {
  const auto model = tiny_model();
  const std::vector<int64_t> lengths{5, 1, 17, 2, 9};
  std::vector<at::Tensor> ids;
  std::vector<at::Tensor> positions;
  std::vector<at::Tensor> targets;
  std::vector<int32_t> bounds{0};
  at::Tensor apart;
  for (const int64_t length : lengths) {
    ids.push_back(at::randint(50, {length}, at::kLong));
    targets.push_back(at::randint(50, {length}, at::kLong));
    positions.push_back(at::arange(length));
    bounds.push_back(bounds.back() + static_cast<int32_t>(length));
    const at::Tensor loss = loss_of(
        *model, {.ids = ids.back().unsqueeze(0), .positions = {}, .key_mask = {}}, targets.back());
    apart = apart.defined() ? apart + loss : loss;
  }
  torch::autograd::backward({apart});
  const std::vector<at::Tensor> expected = take_gradients(*model);
  bounds.push_back(bounds.back());  // empty documents fill up to a fixed size
  bounds.push_back(bounds.back());
  const nn::Step step{.ids = at::cat(ids).unsqueeze(0),
                      .positions = at::cat(positions).unsqueeze(0),
                      .key_mask = {},
                      .cu_seqlens = at::tensor(at::ArrayRef<int32_t>(bounds)),
                      .max_document = 17};
  const at::Tensor packed = loss_of(*model, step, at::cat(targets));
  EXPECT_NEAR(packed.item<double>(), apart.item<double>(), 1e-4);
  torch::autograd::backward({packed});
  const std::vector<at::Tensor> actual = take_gradients(*model);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_LE((actual[i] - expected[i]).abs().max().item<double>(), 2e-5) << i;
  }
}

TEST(PackedAttention, BadBoundsAreRefused) {
  const at::Tensor q = at::randn({1, 2, 6, 4});
  const auto attempt = [&](const std::vector<int32_t>& bounds) {
    nn::attend_packed(q, q, q, at::tensor(at::ArrayRef<int32_t>(bounds)), 6, {.scale = 1.0});
  };
  EXPECT_NO_THROW(attempt({0, 2, 6}));
  EXPECT_THROW(attempt({0, 2, 5}), InvalidArgument);
  EXPECT_THROW(attempt({0, 4, 2, 6}), InvalidArgument);
  EXPECT_THROW(attempt({1, 6}), InvalidArgument);
  EXPECT_THROW(attempt({}), InvalidArgument);
}

}  // namespace
}  // namespace tessera::train
