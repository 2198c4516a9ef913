// TesseraSceneJudge: what a picture of the bundled world shows, own design. A small ConvNeXt;
// pooled features tell how many of each look there are, a flattened grid tells background and
// relation. A look is an object kind, or a shape in one colour, so that counts say kinds, colours
// and counts at once. Judges score benches and are used by no pipeline.
#include "core/error.h"
#include "models/config.h"
#include "nn/conv.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::models {
namespace {

using at::Tensor;

struct SceneJudgeConfig {
  int64_t image_size = 96;   // image_size: side in pixels, a multiple of 16
  int64_t looks = 163;       // looks
  int64_t counts = 5;        // counts: 0 … counts − 1 of a look
  int64_t backgrounds = 14;  // backgrounds
  int64_t relations = 5;     // relations of the lower to the higher look; 0 = none
  std::vector<int64_t> widths = {64, 128, 192};  // widths of the three stages

  static SceneJudgeConfig from_json(const io::Json& json) {
    SceneJudgeConfig c;
    const ConfigReader read(json, "config.json");
    c.image_size = read.positive("image_size", c.image_size);
    c.looks = read.positive("looks", c.looks);
    c.counts = read.positive("counts", c.counts);
    c.backgrounds = read.positive("backgrounds", c.backgrounds);
    c.relations = read.positive("relations", c.relations);
    c.widths = read.positives("widths", c.widths);
    TESSERA_CHECK(c.image_size % 16 == 0 && c.widths.size() == 3, CorruptFile,
                  "config.json: image_size {} must be a multiple of 16 and widths three numbers",
                  c.image_size);
    return c;
  }
};

constexpr int64_t kPatch = 4;       // pixels of the stem's space-to-depth
constexpr int64_t kBlocks = 2;      // of each stage
constexpr int64_t kCellWidth = 32;  // channels of the flattened grid
constexpr int64_t kPlaceWidth = 128;

std::shared_ptr<nn::Linear> linear(const nn::Weights& w, int64_t in, int64_t out) {
  const double deviation = 1.0 / std::sqrt(static_cast<double>(in));
  return std::make_shared<nn::Linear>(w, in, out,
                                      nn::LinearOptions{true, nn::Init::normal(deviation)});
}

class SceneJudge : public nn::Model {
 public:
  SceneJudge(const nn::Weights& w, const SceneJudgeConfig& c) : Model(w), config_(c) {
    stem_ =
        register_module("stem", std::make_shared<nn::Conv2d>(w.child("stem"), 3 * kPatch * kPatch,
                                                             c.widths[0], nn::Conv2dOptions{3}));
    const auto stages = register_module("stages", std::make_shared<torch::nn::Module>("stages"));
    const auto down = register_module("down", std::make_shared<torch::nn::Module>("down"));
    for (size_t i = 0; i < c.widths.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      stages_.push_back(stages->register_module(
          std::to_string(i),
          std::make_shared<nn::ConvNext2dStack>(w.child("stages").child(index), kBlocks,
                                                c.widths[i], nn::ConvNextOptions{})));
      if (i + 1 < c.widths.size()) {
        const nn::Conv2dOptions halve{.kernel = 2, .stride = 2, .padding = 0};
        down_.push_back(down->register_module(
            std::to_string(i), std::make_shared<nn::Conv2d>(w.child("down").child(index),
                                                            c.widths[i], c.widths[i + 1], halve)));
      }
    }
    const int64_t width = c.widths.back();
    const int64_t side = c.image_size / (4 * kPatch);
    norm_ = register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), width));
    cell_ = register_module("cell", linear(w.child("cell"), width, kCellWidth));
    place_ =
        register_module("place", linear(w.child("place"), kCellWidth * side * side, kPlaceWidth));
    counts_ = register_module("counts", linear(w.child("counts"), 2 * width, c.looks * c.counts));
    const int64_t all = kPlaceWidth + 2 * width;
    background_ = register_module("background", linear(w.child("background"), all, c.backgrounds));
    relation_ = register_module("relation", linear(w.child("relation"), all, c.relations));
  }

  nn::NamedTensors run(std::string_view /*entry*/, const nn::NamedTensors& inputs) override {
    const Tensor& x = inputs.at("pixel_values");
    TESSERA_CHECK(x.dim() == 4 && x.size(1) == 3 && x.size(2) == config_.image_size &&
                      x.size(3) == config_.image_size,
                  InvalidArgument, "pixel_values must be [B, 3, {0}, {0}]", config_.image_size);
    Tensor h = stem_->forward(at::pixel_unshuffle(x * 2 - 1, kPatch));
    for (size_t i = 0; i < stages_.size(); ++i) {
      h = stages_[i]->forward(h);
      h = i < down_.size() ? down_[i]->forward(h) : h;
    }
    h = norm_->forward(h.flatten(2).transpose(1, 2));  // [B, cells, C]
    const Tensor pooled = at::cat({h.mean(1), h.amax(1)}, -1);
    const Tensor cells = at::gelu(cell_->forward(h)).flatten(1);
    const Tensor all = at::cat({at::gelu(place_->forward(cells)), pooled}, -1);
    return {{"counts", counts_->forward(pooled).unflatten(1, {config_.looks, config_.counts})},
            {"background", background_->forward(all)},
            {"relation", relation_->forward(all)}};
  }

 private:
  SceneJudgeConfig config_;
  std::shared_ptr<nn::Conv2d> stem_;
  std::vector<std::shared_ptr<nn::ConvNext2dStack>> stages_;
  std::vector<std::shared_ptr<nn::Conv2d>> down_;
  std::shared_ptr<nn::LayerNorm> norm_;
  std::shared_ptr<nn::Linear> cell_, place_, counts_, background_, relation_;
};

}  // namespace

std::shared_ptr<nn::Model> load_scene_judge(const ModelFolder& folder, const nn::Weights& weights) {
  return std::make_shared<SceneJudge>(weights, SceneJudgeConfig::from_json(folder.config));
}

}  // namespace tessera::models
