#include "train/objectives/codec_training.h"

#include "core/error.h"

#include <ATen/ATen.h>

namespace tessera::train {

CodecTask::CodecTask(const Recipe& recipe, at::Device device, io::Json defaults)
    : MediaTask(recipe, device, std::move(defaults)),
      codec_(std::dynamic_pointer_cast<nn::Codec>(model_)) {
  const Options task = recipe.section("task");
  commitment_ = task.number("commitment", 0.25, {0, 100});
  restart_every_ = task.integer("restart_every", 100, {1, 1e9});
  discriminator_from_ = task.integer("discriminator_from", -1, {-1, 1e9});
  adversarial_ = task.number("adversarial", 0.1, {0, 100});
  features_ = task.number("features", 1.0, {0, 100});
  const std::string learn[] = {"all", "decoder"};
  decoder_only_ = task.choice("learn", "all", learn) == "decoder";
  const double decay = task.number("codebook_decay", 0.99, {0, 0.999999});
  if (const auto vectors =
          std::dynamic_pointer_cast<nn::ResidualVectorQuantizer>(codec_->quantizer())) {
    TESSERA_CHECK(recipe.optimizer.ema == 0, InvalidArgument,
                  "optimizer.ema must be 0: codebooks follow the parameters themselves, and would "
                  "not fit their average");
    averages_ = std::make_shared<nn::CodebookAverages>(vectors, decay);
  }
}

std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> CodecTask::modules() {
  auto list = MediaTask::modules();
  if (averages_ != nullptr) {
    list.emplace_back("codebooks", averages_);
  }
  if (discriminator_ != nullptr) {
    list.emplace_back("discriminator", discriminator_);
  }
  if (reader_ != nullptr) {
    list.emplace_back("reader", reader_);
  }
  return list;
}

std::vector<Part> CodecTask::parts() {
  using Parameters = std::vector<std::pair<std::string, Tensor>>;
  const auto add = [](Parameters& list, const std::string& name, const torch::nn::Module& module,
                      std::string_view prefix = "") {
    for (const auto& item : module.named_parameters()) {
      if (item.key().starts_with(prefix)) {
        list.emplace_back(name + "." + item.key(), item.value());
      }
    }
  };
  Parameters learnt;
  add(learnt, "model", *model_, decoder_only_ ? "decoder." : "");
  if (reader_ != nullptr) {
    add(learnt, "reader", *reader_);
  }
  std::vector<Part> list{
      {.name = "model", .groups = default_groups(learnt), .optimizer = std::nullopt}};
  if (discriminator_ != nullptr) {
    Parameters critic;
    add(critic, "discriminator", *discriminator_);
    list.push_back(
        {.name = "discriminator", .groups = default_groups(critic), .optimizer = std::nullopt});
  }
  return list;
}

int64_t CodecTask::code_width() const {
  const auto one = at::zeros({1, 1, 1}, at::TensorOptions(at::kLong).device(device_));
  return codec_->quantizer()->lookup(one).size(2);
}

nn::Weights CodecTask::reader_weights() const {
  return nn::Weights::from_scratch(hash_name("reader") ^ seed_,
                                   {.dtype = at::kFloat, .device = device_});
}

int64_t CodecTask::phase(int64_t step) const {
  return discriminator_ != nullptr && step >= discriminator_from_ ? 1 : 0;
}

void CodecTask::after_step(int64_t step) {
  if (averages_ != nullptr && !decoder_only_ && step % restart_every_ == 0) {
    averages_->restart();
  }
}

void CodecTask::add_terms(const nn::CodecPass& pass,
                          const Tensor& truth,
                          int64_t step,
                          std::vector<Term>& terms) {
  terms.push_back(mean_term("commitment", pass.code.commitment, decoder_only_ ? 0.0 : commitment_));
  if (averages_ != nullptr) {
    if (at::GradMode::is_enabled() && !decoder_only_) {
      averages_->update(pass.code);
    }
    for (int64_t level = 0; level < codec_->quantizer()->levels(); ++level) {
      const std::string name = std::to_string(level);
      terms.push_back(mean_term("used." + name, averages_->used(level), 0));
      terms.push_back(mean_term("perplexity." + name, averages_->perplexity(level), 0));
    }
  }
  if (phase(step) == 0) {
    return;
  }
  const Opinion real = discriminator_->judge(truth);
  const Opinion fake = discriminator_->judge(pass.media);
  terms.push_back(mean_term("adversarial", generator_loss(fake), adversarial_));
  terms.push_back(mean_term("features", feature_matching_loss(real, fake), features_));
  const Tensor margin = discriminator_loss(real, discriminator_->judge(pass.media.detach()));
  terms.push_back(mean_term("discriminator", margin, 1.0, 1));
}

}  // namespace tessera::train
