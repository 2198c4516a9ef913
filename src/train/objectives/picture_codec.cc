// Training of the picture codec on scenes of the synthetic world, drawn as they are needed.
//
// Recipe:
//   task:  {kind: picture_codec, l1: 1, laplacian: 1, edge: 0.1, objects: 1 (weight of the pixels
//           on and beside objects), kinds: 0 (weight of reading what is shown), commitment: 0.25,
//           codebook_decay: 0.99, restart_every: 100, learn: all|decoder,
//           discriminator_from: STEP, adversarial: 0.1, features: 1, samples: 8,
//           save_dtype: int8|fp32}
//   model: {config: {keys of config.json}} or {from: FOLDER}
//   data:  {assets: FOLDER, world: {emoji: 88, groups: 4}}
//   batch: {items: N}
#include "io/image.h"
#include "train/losses.h"
#include "train/objectives/codec_training.h"
#include "train/objectives/scene_batches.h"

#include <ATen/ATen.h>

namespace tessera::train {
namespace {

// fp32 [3, H, W] in [0, 1] as a picture.
Image to_image(const Tensor& pixels) {
  const Tensor bytes = (pixels.detach().to(at::kCPU).clamp(0, 1) * 255)
                           .round()
                           .to(at::kByte)
                           .permute({1, 2, 0})
                           .contiguous();
  Image image{.width = static_cast<int>(bytes.size(1)),
              .height = static_cast<int>(bytes.size(0)),
              .channels = 3,
              .pixels = {}};
  const auto* data = bytes.const_data_ptr<uint8_t>();
  image.pixels.assign(data, data + bytes.numel());
  return image;
}

class PictureCodecTask : public CodecTask {
 public:
  PictureCodecTask(const Recipe& recipe, at::Device device)
      : CodecTask(recipe, device, {{"architectures", {"TesseraPictureCodec"}}}),
        scenes_(recipe.section("data"), static_cast<int>(codec().info().image_size)) {
    const Options task = recipe.section("task");
    l1_ = task.number("l1", 1.0, {0, 1e4});
    laplacian_ = task.number("laplacian", 1.0, {0, 1e4});
    edge_ = task.number("edge", 0.1, {0, 1e4});
    objects_ = task.number("objects", 1.0, {0.01, 1e4});
    kinds_ = task.number("kinds", 0.0, {0, 1e4});
    samples_ = task.integer("samples", 8, {0, 64});
    if (kinds_ > 0) {
      reader_ = std::make_shared<KindHead>(reader_weights(), code_width(),
                                           static_cast<int64_t>(world::object_kinds().size()) + 1);
      set_reader(reader_);
    }
    make_discriminator<PatchDiscriminator>(recipe);
  }

  Batch make_batch(Split split, int64_t index) const override {
    std::vector<Rng> generators;
    for (int64_t i = 0; i < items(); ++i) {
      generators.push_back(rng_of(split, index, i));
    }
    SceneBatches::Drawn drawn = scenes_.draw(split, generators, needs_kinds());
    nn::NamedTensors tensors{{"pixels", drawn.pixels}};
    if (needs_kinds()) {
      tensors["kinds"] = drawn.kinds;
    }
    return make_items(std::move(tensors));
  }

  std::vector<Term> losses(const Batch& batch, int64_t step) override {
    const Tensor truth = batch.tensors.at("pixels").to(at::kFloat) / 255;
    const nn::CodecPass pass = codec().reconstruct(truth);
    const Tensor kinds = needs_kinds() ? batch.tensors.at("kinds") : Tensor();
    const PictureLoss loss = picture_loss(pass.media, truth, pixel_weights(kinds));
    std::vector<Term> terms{mean_term("l1", loss.l1, l1_),
                            mean_term("laplacian", loss.laplacian, laplacian_),
                            mean_term("edge", loss.edge, edge_)};
    if (reader_ != nullptr) {
      const Tensor scores = reader_->forward(pass.code.levels.front());
      const int64_t cell = kinds.size(1) / scores.size(2);
      const Tensor shown = at::slice(at::slice(kinds, 1, cell / 2, std::nullopt, cell), 2, cell / 2,
                                     std::nullopt, cell)
                               .to(at::kLong);
      terms.push_back(mean_term("kinds", at::cross_entropy_loss(scores, shown), kinds_));
    }
    add_terms(pass, truth, step, terms);
    return terms;
  }

  std::vector<Sample> samples() override {
    std::vector<Sample> samples;
    for (int64_t i = 0; i < samples_; ++i) {
      const Tensor truth = scenes_.draw(Split::kValidate, {rng_of(Split::kValidate, 0, i)})
                               .pixels.to(device_)
                               .to(at::kFloat) /
                           255;
      const Tensor decoded = codec().decode(codec().encode(truth));
      samples.push_back({.title = "truth | decoded",
                         .kind = Sample::Kind::kPng,
                         .bytes = io::encode_png(to_image(at::cat({truth[0], decoded[0]}, 2)))});
    }
    return samples;
  }

 private:
  bool needs_kinds() const { return objects_ != 1 || kinds_ > 0; }
  // Objects are a small part of most pictures, and what a picture is about.
  Tensor pixel_weights(const Tensor& kinds) const {
    if (objects_ == 1) {
      return {};
    }
    const Tensor on = kinds.unsqueeze(1).gt(0).to(at::kFloat);
    return at::max_pool2d(on, {5, 5}, {1, 1}, {2, 2}) * (objects_ - 1) + 1;
  }

  SceneBatches scenes_;
  std::shared_ptr<KindHead> reader_;  // null: kinds are not read
  double l1_ = 0;
  double laplacian_ = 0;
  double edge_ = 0;
  double objects_ = 1;
  double kinds_ = 0;
  int64_t samples_ = 0;
};

std::unique_ptr<Task> make_picture_codec(const Recipe& recipe, at::Device device) {
  return std::make_unique<PictureCodecTask>(recipe, device);
}

}  // namespace

extern const TaskInfo kPictureCodecTask;
const TaskInfo kPictureCodecTask{
    .kind = "picture_codec", .summary = "pictures to tokens and back", .make = make_picture_codec};

}  // namespace tessera::train
