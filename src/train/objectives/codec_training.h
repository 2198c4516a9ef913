// The half of codec training that pictures and sound share: codebooks that follow the features, and
// the discriminator with its schedule.
#pragma once

#include "nn/codec.h"
#include "train/discriminators.h"
#include "train/objectives/media_task.h"

namespace tessera::train {

class CodecTask : public MediaTask {
 public:
  std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> modules() override;
  std::vector<Part> parts() override;
  int64_t phase(int64_t step) const override;
  void after_step(int64_t step) override;

 protected:
  /// Reads, from task: commitment, codebook_decay, restart_every, discriminator_from (a step;
  /// absent: none), adversarial, features, learn (all | decoder: encoder and codebooks stay as they
  /// are, so that tokens made before keep their meaning). `make` makes the discriminator.
  CodecTask(const Recipe& recipe, at::Device device, io::Json defaults);
  template <class Kind>
  void make_discriminator(const Recipe& recipe) {
    if (discriminator_from_ >= 0) {
      discriminator_ = std::make_shared<Kind>(
          nn::Weights::from_scratch(mix64(recipe.seed), {.dtype = at::kFloat, .device = device_}));
    }
  }

  /// A head that learns beside the codec and is not saved with it.
  void set_reader(std::shared_ptr<nn::Module> reader) { reader_ = std::move(reader); }
  /// Width of the features that the codes stand for.
  int64_t code_width() const;
  nn::Weights reader_weights() const;

  const nn::Codec& codec() const { return *codec_; }
  /// Commitment, use of the codebooks, and from discriminator_from on the adversarial terms. With
  /// gradients on, the codebooks move.
  void add_terms(const nn::CodecPass& pass,
                 const Tensor& truth,
                 int64_t step,
                 std::vector<Term>& terms);

 private:
  std::shared_ptr<nn::Codec> codec_;
  std::shared_ptr<nn::CodebookAverages> averages_;  // null: fsq
  std::shared_ptr<Discriminator> discriminator_;    // null: none
  std::shared_ptr<nn::Module> reader_;              // null: none
  double commitment_ = 0;
  double adversarial_ = 0;
  double features_ = 0;
  int64_t restart_every_ = 0;
  int64_t discriminator_from_ = -1;
  bool decoder_only_ = false;
};

}  // namespace tessera::train
