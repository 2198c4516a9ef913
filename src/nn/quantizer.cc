// Look-ups and distances are fp32 whatever autocast says: a code must not depend on the precision
// of training. The finite scalar formula is the paper's appendix A.1 (bounds shrunk by 1e-3, half a
// step of shift for even counts).
#include "nn/quantizer.h"

#include "core/error.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cmath>

namespace tessera::nn {
namespace {

constexpr double kBoundShrink = 1e-3;

Tensor normalized(const Tensor& x) {
  return x / x.norm(2, -1, true).clamp_min(1e-12);
}

// Nearest row of `codebook` [S, C] for each of `latents` [N, C].
Tensor nearest(const Tensor& latents, const Tensor& codebook) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  // |z − c|² without |z|², which does not change the order.
  const Tensor norms = codebook.square().sum(-1);
  return at::addmm(norms, latents, codebook.t(), 1.0, -2.0).argmin(-1);
}

std::shared_ptr<Linear> projection(const Weights& weights, int64_t in, int64_t out) {
  const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
  return std::make_shared<Linear>(weights, in, out, LinearOptions{true, Init::normal(deviation)});
}

Tensor axis_tensor(const std::vector<double>& values, at::Device device) {
  return at::tensor(values, at::kFloat).to(device);
}

}  // namespace

void Quantizer::check_codes(const Tensor& codes) const {
  TESSERA_CHECK(codes.dim() == 3 && codes.size(1) >= 1 && codes.size(1) <= levels() &&
                    c10::isIntegralType(codes.scalar_type(), false),
                InvalidArgument, "codes must be i64 [B, 1 … {}, T], got {} axes of {}", levels(),
                codes.dim(), c10::toString(codes.scalar_type()));
  if (codes.numel() > 0) {
    const int64_t least = codes.min().item<int64_t>();
    const int64_t most = codes.max().item<int64_t>();
    TESSERA_CHECK(least >= 0 && most < codebook_size(), InvalidArgument,
                  "codes must be in 0 … {}, got {} … {}", codebook_size() - 1, least, most);
  }
}

ResidualVectorQuantizer::ResidualVectorQuantizer(const Weights& weights,
                                                 const QuantizerOptions& options)
    : Quantizer(weights), options_(options) {
  const auto list = register_module("levels", std::make_shared<torch::nn::Module>("levels"));
  for (int64_t i = 0; i < options.levels; ++i) {
    const Weights w = weights.child("levels").child(i);
    const auto level =
        list->register_module(std::to_string(i), std::make_shared<torch::nn::Module>("level"));
    in_proj_.push_back(level->register_module(
        "in_proj", projection(w.child("in_proj"), options.width, options.code_dim)));
    out_proj_.push_back(level->register_module(
        "out_proj", projection(w.child("out_proj"), options.code_dim, options.width)));
    const Tensor stored =
        w.small_tensor("codebook", {options.codebook_size, options.code_dim}, Init::normal(1.0));
    codebooks_.push_back(level->register_buffer(
        "codebook", options.cosine && weights.is_scratch() ? normalized(stored) : stored));
  }
}

Quantized ResidualVectorQuantizer::quantize(const Tensor& x) const {
  Quantized out;
  std::vector<Tensor> codes;
  Tensor rest = x;
  for (size_t i = 0; i < codebooks_.size(); ++i) {
    Tensor latent = in_proj_[i]->forward(rest).to(at::kFloat);  // [B, T, C]
    latent = options_.cosine ? normalized(latent) : latent;
    const Tensor flat = latent.detach().reshape({-1, options_.code_dim});
    const Tensor code = nearest(flat, codebooks_[i]);
    const Tensor found = at::embedding(codebooks_[i], code).view(latent.sizes());
    const Tensor distance = (latent - found).square().mean();
    out.commitment = i == 0 ? distance : out.commitment + distance;
    const Tensor share = out_proj_[i]->forward(latent + (found - latent).detach());
    out.vectors = i == 0 ? share : out.vectors + share;
    rest = rest - share;
    codes.push_back(code.view({x.size(0), x.size(1)}));
    out.levels.push_back(share);
    out.latents.push_back(flat);
  }
  out.codes = at::stack(codes, 1);
  tap(*this, out.vectors);
  return out;
}

Tensor ResidualVectorQuantizer::lookup(const Tensor& codes) const {
  check_codes(codes);
  Tensor sum;
  for (int64_t i = 0; i < codes.size(1); ++i) {
    const auto level = static_cast<size_t>(i);
    const Tensor found = at::embedding(codebooks_[level], codes.select(1, i).to(at::kLong));
    const Tensor share = out_proj_[level]->forward(found);
    sum = i == 0 ? share : sum + share;
  }
  return tap(*this, sum);
}

FiniteScalarQuantizer::FiniteScalarQuantizer(const Weights& weights,
                                             const QuantizerOptions& options)
    : Quantizer(weights), steps_(options.steps) {
  std::vector<double> count, half, stride;
  for (const int64_t steps : steps_) {
    count.push_back(static_cast<double>(steps));
    half.push_back(static_cast<double>(steps / 2));
    stride.push_back(static_cast<double>(size_));
    size_ *= steps;
  }
  const at::Device device = weights.options().device;
  count_ = axis_tensor(count, device);
  half_ = axis_tensor(half, device);
  stride_ = axis_tensor(stride, device);
  const auto axes = static_cast<int64_t>(steps_.size());
  in_proj_ = register_module("in_proj", projection(weights.child("in_proj"), options.width, axes));
  out_proj_ =
      register_module("out_proj", projection(weights.child("out_proj"), axes, options.width));
}

Tensor FiniteScalarQuantizer::round(const Tensor& latents) const {
  const Tensor reach = (count_ - 1) * (1 + kBoundShrink) / 2;
  const Tensor offset = at::where(count_.remainder(2) == 0, 0.5, 0.0);
  const Tensor shift = (offset / reach).atanh();
  const Tensor bounded = (latents + shift).tanh() * reach - offset;
  return (bounded + (bounded.round() - bounded).detach()) / half_;
}

Tensor FiniteScalarQuantizer::to_codes(const Tensor& values) const {
  return ((values * half_ + half_).round() * stride_).sum(-1).to(at::kLong);
}

Tensor FiniteScalarQuantizer::to_values(const Tensor& codes) const {
  const Tensor places = stride_.to(at::kLong);
  const Tensor digits = codes.unsqueeze(-1).floor_divide(places).remainder(count_.to(at::kLong));
  return (digits.to(at::kFloat) - half_) / half_;
}

Quantized FiniteScalarQuantizer::quantize(const Tensor& x) const {
  const Tensor latent = in_proj_->forward(x).to(at::kFloat);
  const Tensor values = round(latent);
  Quantized out;
  out.vectors = out_proj_->forward(values);
  out.codes = to_codes(values.detach()).unsqueeze(1);
  out.commitment = at::zeros({}, latent.options());
  out.levels = {out.vectors};
  tap(*this, out.vectors);
  return out;
}

Tensor FiniteScalarQuantizer::lookup(const Tensor& codes) const {
  check_codes(codes);
  return tap(*this, out_proj_->forward(to_values(codes.select(1, 0).to(at::kLong))));
}

std::shared_ptr<Quantizer> make_quantizer(const Weights& weights, const QuantizerOptions& options) {
  TESSERA_CHECK(options.width > 0, InvalidArgument, "quantizer: width must be positive");
  if (options.kind == "vq") {
    TESSERA_CHECK(options.levels > 0 && options.codebook_size > 0 && options.code_dim > 0,
                  InvalidArgument,
                  "quantizer: levels {}, codebook_size {} and code_dim {} must be positive",
                  options.levels, options.codebook_size, options.code_dim);
    return std::make_shared<ResidualVectorQuantizer>(weights, options);
  }
  TESSERA_CHECK(options.kind == "fsq", InvalidArgument,
                "quantizer: kind must be vq or fsq, got '{}'", options.kind);
  TESSERA_CHECK(options.levels == 1 && !options.steps.empty() && options.steps.size() <= 16,
                InvalidArgument, "quantizer: fsq needs 1 … 16 `steps` and has a single level");
  int64_t size = 1;
  for (const int64_t steps : options.steps) {
    TESSERA_CHECK(steps >= 2 && steps <= 256 && size <= (1 << 24) / steps, InvalidArgument,
                  "quantizer: fsq steps must be in 2 … 256 and their product below 2^24");
    size *= steps;
  }
  TESSERA_CHECK(options.codebook_size == 0 || options.codebook_size == size, InvalidArgument,
                "quantizer: codebook_size {} is not the product {} of the steps",
                options.codebook_size, size);
  return std::make_shared<FiniteScalarQuantizer>(weights, options);
}

CodebookAverages::CodebookAverages(std::shared_ptr<ResidualVectorQuantizer> quantizer, double decay)
    : quantizer_(std::move(quantizer)), decay_(decay) {
  for (int64_t i = 0; i < quantizer_->levels(); ++i) {
    const Tensor& codebook = quantizer_->codebook(i);
    const std::string name = std::to_string(i);
    levels_.push_back({.sums = register_buffer("sums" + name, at::zeros_like(codebook)),
                       .counts = register_buffer("counts" + name,
                                                 at::zeros({codebook.size(0)}, codebook.options())),
                       .recent = register_buffer("recent" + name, at::zeros_like(codebook))});
  }
}

void CodebookAverages::update(const Quantized& pass) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < levels_.size(); ++i) {
    Level& level = levels_[i];
    const Tensor& latents = pass.latents[i];
    const Tensor codes = pass.codes.select(1, static_cast<int64_t>(i)).reshape({-1});
    const Tensor ones = at::ones({codes.size(0)}, level.counts.options());
    level.counts.mul_(decay_).index_add_(0, codes, ones, 1 - decay_);
    level.sums.mul_(decay_).index_add_(0, codes, latents, 1 - decay_);
    const Tensor picks = at::randint(latents.size(0), {level.recent.size(0)}, codes.options());
    level.recent.copy_(latents.index_select(0, picks));
    const Tensor& codebook = quantizer_->codebook(static_cast<int64_t>(i));
    const Tensor seen = (level.counts > 1e-9).unsqueeze(1);
    Tensor mean = level.sums / level.counts.clamp_min(1e-9).unsqueeze(1);
    mean = quantizer_->options().cosine ? normalized(mean) : mean;
    codebook.copy_(at::where(seen, mean, codebook));
  }
}

void CodebookAverages::restart(double share) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < levels_.size(); ++i) {
    Level& level = levels_[i];
    const Tensor mean = level.counts.mean();
    const Tensor dead = level.counts <= share * mean;
    const Tensor rows = dead.unsqueeze(1);
    const Tensor& codebook = quantizer_->codebook(static_cast<int64_t>(i));
    codebook.copy_(at::where(rows, level.recent, codebook));
    level.sums.copy_(at::where(rows, level.recent * mean, level.sums));
    level.counts.copy_(at::where(dead, mean, level.counts));
  }
}

Tensor CodebookAverages::used(int64_t level, double share) const {
  const Tensor& counts = levels_[static_cast<size_t>(level)].counts;
  return (counts > share * counts.mean()).to(at::kFloat).mean();
}

Tensor CodebookAverages::perplexity(int64_t level) const {
  const Tensor& counts = levels_[static_cast<size_t>(level)].counts;
  const Tensor p = counts / counts.sum().clamp_min(1e-12);
  return (-(p * p.clamp_min(1e-12).log()).sum()).exp();
}

}  // namespace tessera::nn
