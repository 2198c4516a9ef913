#include "nn/quantizer.h"

#include "core/error.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::nn {
namespace {

std::shared_ptr<ResidualVectorQuantizer> vector_quantizer(QuantizerOptions options) {
  return std::dynamic_pointer_cast<ResidualVectorQuantizer>(
      make_quantizer(Weights::from_scratch(3), options));
}

std::shared_ptr<FiniteScalarQuantizer> scalar_quantizer(std::vector<int64_t> steps) {
  return std::dynamic_pointer_cast<FiniteScalarQuantizer>(make_quantizer(
      Weights::from_scratch(3), {.kind = "fsq", .width = 6, .steps = std::move(steps)}));
}

TEST(VectorQuantizer, LookupGivesWhatQuantizeGave) {
  const at::NoGradGuard no_grad;
  for (const bool cosine : {true, false}) {
    const auto quantizer = vector_quantizer(
        {.width = 11, .levels = 3, .codebook_size = 17, .code_dim = 5, .cosine = cosine});
    const Tensor x = at::randn({2, 7, 11});
    const Quantized pass = quantizer->quantize(x);
    EXPECT_EQ(pass.codes.sizes(), (std::vector<int64_t>{2, 3, 7}));
    EXPECT_TRUE(at::allclose(quantizer->lookup(pass.codes), pass.vectors, 1e-5, 1e-5));
    EXPECT_TRUE(
        at::allclose(quantizer->lookup(pass.codes.narrow(1, 0, 1)), pass.levels[0], 1e-5, 1e-5));
    // Each code is the nearest one.
    const Tensor distances = at::cdist(pass.latents[0], quantizer->codebook(0));
    EXPECT_TRUE(distances.argmin(-1).equal(pass.codes.select(1, 0).flatten()));
  }
}

TEST(VectorQuantizer, GradientGoesStraightThrough) {
  const auto quantizer = vector_quantizer({.width = 4, .codebook_size = 8, .cosine = false});
  for (const Tensor& parameter : quantizer->parameters()) {
    parameter.requires_grad_(true);
  }
  const Tensor x = at::randn({1, 3, 4}).requires_grad_();
  const Quantized pass = quantizer->quantize(x);
  const Tensor direction = at::randn_like(pass.vectors);
  (pass.vectors * direction).sum().backward();
  // d(out · code)/dx with code ≈ latent: directionᵀ · W_out · W_in.
  const auto named = quantizer->named_parameters();
  const Tensor expected = at::matmul(at::matmul(direction, named["levels.0.out_proj.weight"]),
                                     named["levels.0.in_proj.weight"]);
  EXPECT_TRUE(at::allclose(x.grad(), expected.detach(), 1e-4, 1e-5));
}

TEST(VectorQuantizer, RefusesBadCodes) {
  const auto quantizer = vector_quantizer({.width = 4, .levels = 2, .codebook_size = 8});
  EXPECT_THROW(quantizer->lookup(at::full({1, 2, 3}, 8, at::kLong)), InvalidArgument);
  EXPECT_THROW(quantizer->lookup(at::full({1, 2, 3}, -1, at::kLong)), InvalidArgument);
  EXPECT_THROW(quantizer->lookup(at::zeros({1, 3, 3}, at::kLong)), InvalidArgument);
  EXPECT_THROW(quantizer->lookup(at::zeros({2, 3}, at::kLong)), InvalidArgument);
  EXPECT_THROW(quantizer->lookup(at::zeros({1, 2, 3})), InvalidArgument);
  EXPECT_EQ(quantizer->lookup(at::zeros({1, 2, 0}, at::kLong)).size(1), 0);
}

TEST(CodebookAverages, FollowTheFeaturesAndUseEveryCode) {
  const at::NoGradGuard no_grad;
  at::manual_seed(4);
  const auto quantizer =
      vector_quantizer({.width = 2, .codebook_size = 16, .code_dim = 2, .cosine = false});
  const auto named = quantizer->named_parameters();
  named["levels.0.in_proj.weight"].copy_(at::eye(2));
  // 16 narrow clusters far from where the codebook starts.
  const Tensor centres = at::randn({16, 2}) * 3 + 20;
  const auto batch = [&] {
    const Tensor which = at::randint(16, {512}, at::kLong);
    return (centres.index_select(0, which) + 0.01 * at::randn({512, 2})).unsqueeze(0);
  };
  CodebookAverages averages(quantizer, 0.9);
  const double before = quantizer->quantize(batch()).commitment.item<double>();
  for (int step = 0; step < 200; ++step) {
    averages.update(quantizer->quantize(batch()));
    if (step % 20 == 0) {
      averages.restart();
    }
  }
  const double after = quantizer->quantize(batch()).commitment.item<double>();
  EXPECT_LT(after, 1e-2 * before);
  EXPECT_GT(averages.used(0).item<double>(), 0.85);
  EXPECT_GT(averages.perplexity(0).item<double>(), 10);
}

TEST(CodebookAverages, CosineCodesStayOnTheSphere) {
  const at::NoGradGuard no_grad;
  const auto quantizer = vector_quantizer({.width = 9, .levels = 2, .codebook_size = 32});
  CodebookAverages averages(quantizer);
  for (int step = 0; step < 5; ++step) {
    averages.update(quantizer->quantize(at::randn({4, 25, 9})));
    averages.restart();
  }
  for (int64_t level = 0; level < 2; ++level) {
    const Tensor lengths = quantizer->codebook(level).norm(2, -1);
    EXPECT_TRUE(at::allclose(lengths, at::ones_like(lengths)));
  }
}

TEST(FiniteScalarQuantizer, CodesAndValuesAreOneToOne) {
  const at::NoGradGuard no_grad;
  for (const std::vector<int64_t>& steps :
       {std::vector<int64_t>{8, 5, 5, 5}, {4, 4, 4, 4, 4}, {3}, {2, 7}}) {
    const auto quantizer = scalar_quantizer(steps);
    const Tensor codes = at::arange(quantizer->codebook_size());
    const Tensor values = quantizer->to_values(codes);
    EXPECT_TRUE(quantizer->to_codes(values).equal(codes));
    EXPECT_LE(values.abs().max().item<float>(), 1.0F);
    // Far-out latents reach the outermost values, so that every code can be had.
    const Tensor extremes =
        quantizer->round(at::stack({at::full({static_cast<int64_t>(steps.size())}, -50.0),
                                    at::full({static_cast<int64_t>(steps.size())}, 50.0)}));
    EXPECT_EQ(quantizer->to_codes(extremes)[0].item<int64_t>(), 0);
    EXPECT_EQ(quantizer->to_codes(extremes)[1].item<int64_t>(), quantizer->codebook_size() - 1);
    // Rounding a value's own latent is stable.
    const Tensor x = at::randn({2, 9, 6});
    const Quantized pass = quantizer->quantize(x);
    EXPECT_TRUE(at::allclose(quantizer->lookup(pass.codes), pass.vectors, 1e-5, 1e-5));
  }
}

TEST(FiniteScalarQuantizer, GradientIsThatOfTheBound) {
  const auto quantizer = scalar_quantizer({5, 5, 5});
  const Tensor latent = at::randn({10, 3}).requires_grad_();
  quantizer->round(latent).sum().backward();
  EXPECT_TRUE((latent.grad() > 0).all().item<bool>());
}

TEST(MakeQuantizer, RefusesNonsense) {
  const auto make = [](QuantizerOptions options) {
    return make_quantizer(Weights::from_scratch(1), options);
  };
  EXPECT_THROW(make({.kind = "lfq", .width = 4}), InvalidArgument);
  EXPECT_THROW(make({.width = 4, .codebook_size = 0}), InvalidArgument);
  EXPECT_THROW(make({.kind = "fsq", .width = 4}), InvalidArgument);
  EXPECT_THROW(make({.kind = "fsq", .width = 4, .levels = 2, .steps = {4}}), InvalidArgument);
  EXPECT_THROW(make({.kind = "fsq", .width = 4, .codebook_size = 9, .steps = {4, 4}}),
               InvalidArgument);
  EXPECT_THROW(make({.kind = "fsq", .width = 4, .steps = {256, 256, 256, 256}}), InvalidArgument);
}

}  // namespace
}  // namespace tessera::nn
