// TesseraPictureCodec: pictures of a fixed size to a small grid of tokens and back, own design.
// Space-to-depth stem, ConvNeXt stages (arXiv 2201.03545) with strided convolutions between them,
// a vector quantiser over l2-normalised low dimensional codes (arXiv 2110.04627), and the same
// stages in reverse with depth-to-space. Activations [B, C, H, W], channels last in memory.
// Pictures are fp32 RGB in [0, 1]; codes are [B, 1, T] in row order.
#include "core/error.h"
#include "models/codec.h"
#include "nn/conv.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::models {
namespace {

using at::Tensor;

struct PictureCodecConfig {
  int64_t image_size = 96;                          // image_size: side in pixels
  int64_t patch = 2;                                // patch_size: space-to-depth of the stem
  int64_t kernel = 5;                               // kernel_size of the depthwise convolutions
  std::vector<int64_t> widths = {48, 96, 224};      // widths of the stages
  std::vector<int64_t> strides = {2, 3};            // strides between them
  std::vector<int64_t> encoder_blocks = {1, 2, 2};  // encoder_blocks of each stage
  std::vector<int64_t> decoder_blocks = {2, 3, 3};  // decoder_blocks of each stage
  nn::QuantizerOptions quantizer;                   // quantizer

  int64_t grid() const {
    int64_t stride = patch;
    for (const int64_t step : strides) {
      stride *= step;
    }
    return image_size / stride;
  }

  static PictureCodecConfig from_json(const io::Json& json) {
    PictureCodecConfig c;
    const ConfigReader read(json, "config.json");
    c.image_size = read.positive("image_size", c.image_size);
    c.patch = read.positive("patch_size", c.patch);
    c.kernel = read.positive("kernel_size", c.kernel);
    c.widths = read.positives("widths", c.widths);
    c.strides = read.positives("strides", c.strides);
    c.encoder_blocks = read.positives("encoder_blocks", c.encoder_blocks);
    c.decoder_blocks = read.positives("decoder_blocks", c.decoder_blocks);
    const size_t stages = c.widths.size();
    TESSERA_CHECK(c.strides.size() + 1 == stages && c.encoder_blocks.size() == stages &&
                      c.decoder_blocks.size() == stages,
                  CorruptFile,
                  "config.json: {} widths need as many encoder_blocks and decoder_blocks and one "
                  "stride less",
                  stages);
    TESSERA_CHECK(c.kernel % 2 == 1 && c.kernel <= 31, CorruptFile,
                  "config.json: kernel_size must be odd and at most 31, got {}", c.kernel);
    int64_t side = c.image_size;
    std::vector<int64_t> steps = c.strides;
    steps.push_back(c.patch);
    for (const int64_t step : steps) {
      TESSERA_CHECK(side % step == 0, CorruptFile,
                    "config.json: image_size {} must be a multiple of patch_size and all strides",
                    c.image_size);
      side /= step;
    }
    c.quantizer = read_quantizer(json, c.widths.back());
    TESSERA_CHECK(c.quantizer.levels == 1, CorruptFile,
                  "config.json: a picture codec has a single level of codes");
    return c;
  }
};

// A list of modules under one name, as torch::nn::ModuleList without its weight of header.
template <class Item>
class Stages : public torch::nn::Module {
 public:
  explicit Stages(const std::string& name) : torch::nn::Module(name) {}
  void add(std::shared_ptr<Item> item) {
    items_.push_back(register_module(std::to_string(items_.size()), std::move(item)));
  }
  const Item& operator[](size_t index) const { return *items_[index]; }

 private:
  std::vector<std::shared_ptr<Item>> items_;
};

class PictureEncoder : public nn::Module {
 public:
  PictureEncoder(const nn::Weights& w, const PictureCodecConfig& c) : Module(w), patch_(c.patch) {
    stem_ =
        register_module("stem", std::make_shared<nn::Conv2d>(w.child("stem"), 3 * c.patch * c.patch,
                                                             c.widths[0], nn::Conv2dOptions{3}));
    stages_ = register_module("stages", std::make_shared<Stages<nn::ConvNext2dStack>>("stages"));
    down_ = register_module("down", std::make_shared<Stages<nn::Conv2d>>("down"));
    for (size_t i = 0; i < c.widths.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      stages_->add(std::make_shared<nn::ConvNext2dStack>(w.child("stages").child(index),
                                                         c.encoder_blocks[i], c.widths[i],
                                                         nn::ConvNextOptions{.kernel = c.kernel}));
      if (i + 1 < c.widths.size()) {
        down_->add(std::make_shared<nn::Conv2d>(
            w.child("down").child(index), c.widths[i], c.widths[i + 1],
            nn::Conv2dOptions{.kernel = c.strides[i], .stride = c.strides[i], .padding = 0}));
      }
    }
    steps_ = c.strides.size();
    norm_ =
        register_module("norm", std::make_shared<nn::LayerNorm>(w.child("norm"), c.widths.back()));
  }

  // [B, 3, S, S] -> [B, T, width].
  Tensor forward(const Tensor& x) const {
    Tensor h = stem_->forward(at::pixel_unshuffle(x * 2 - 1, patch_));
    for (size_t i = 0; i <= steps_; ++i) {
      h = (*stages_)[i].forward(h);
      h = i < steps_ ? (*down_)[i].forward(h) : h;
    }
    return nn::tap(*this, norm_->forward(h.flatten(2).transpose(1, 2)));
  }

 private:
  int64_t patch_;
  size_t steps_ = 0;
  std::shared_ptr<nn::Conv2d> stem_;
  std::shared_ptr<Stages<nn::ConvNext2dStack>> stages_;
  std::shared_ptr<Stages<nn::Conv2d>> down_;
  std::shared_ptr<nn::LayerNorm> norm_;
};

// Stages are numbered from the smallest grid up.
class PictureDecoder : public nn::Module {
 public:
  PictureDecoder(const nn::Weights& w, const PictureCodecConfig& c)
      : Module(w),
        patch_(c.patch),
        grid_(c.grid()),
        strides_(c.strides.rbegin(), c.strides.rend()) {
    stages_ = register_module("stages", std::make_shared<Stages<nn::ConvNext2dStack>>("stages"));
    up_ = register_module("up", std::make_shared<Stages<nn::Conv2d>>("up"));
    for (size_t i = 0; i < c.widths.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      const size_t level = c.widths.size() - 1 - i;
      stages_->add(std::make_shared<nn::ConvNext2dStack>(w.child("stages").child(index),
                                                         c.decoder_blocks[level], c.widths[level],
                                                         nn::ConvNextOptions{.kernel = c.kernel}));
      if (level > 0) {
        const int64_t step = strides_[i];
        up_->add(std::make_shared<nn::Conv2d>(w.child("up").child(index), c.widths[level],
                                              c.widths[level - 1] * step * step,
                                              nn::Conv2dOptions{1}));
      }
    }
    head_ = register_module(
        "head", std::make_shared<nn::Conv2d>(w.child("head"), c.widths[0], 3 * c.patch * c.patch,
                                             nn::Conv2dOptions{3}));
  }

  // [B, T, width] -> [B, 3, S, S].
  Tensor forward(const Tensor& x) const {
    Tensor h = x.transpose(1, 2).unflatten(2, {grid_, grid_});
    for (size_t i = 0; i <= strides_.size(); ++i) {
      h = (*stages_)[i].forward(h);
      if (i < strides_.size()) {
        h = at::pixel_shuffle((*up_)[i].forward(h), strides_[i]);
      }
    }
    h = at::pixel_shuffle(head_->forward(h).to(at::kFloat), patch_);
    return nn::tap(*this, h * 0.5 + 0.5);
  }

 private:
  int64_t patch_;
  int64_t grid_;
  std::vector<int64_t> strides_;
  std::shared_ptr<Stages<nn::ConvNext2dStack>> stages_;
  std::shared_ptr<Stages<nn::Conv2d>> up_;
  std::shared_ptr<nn::Conv2d> head_;
};

class PictureCodec : public nn::Codec {
 public:
  PictureCodec(const nn::Weights& w, const PictureCodecConfig& config) : Codec(w), config_(config) {
    encoder_ =
        register_module("encoder", std::make_shared<PictureEncoder>(w.child("encoder"), config));
    quantizer_ =
        register_module("quantizer", nn::make_quantizer(w.child("quantizer"), config.quantizer));
    decoder_ =
        register_module("decoder", std::make_shared<PictureDecoder>(w.child("decoder"), config));
  }

  nn::CodecInfo info() const override {
    return {.image_size = config_.image_size,
            .frames = config_.grid() * config_.grid(),
            .levels = 1,
            .codebook_size = quantizer_->codebook_size()};
  }

  Tensor encode(const Tensor& media) const override {
    return quantizer_->quantize(features(media)).codes;
  }

  Tensor decode(const Tensor& codes) const override {
    const int64_t tokens = config_.grid() * config_.grid();
    TESSERA_CHECK(codes.dim() == 3 && codes.size(2) == tokens, InvalidArgument,
                  "a picture has {} tokens, got codes with {} axes and {} tokens", tokens,
                  codes.dim(), codes.dim() > 0 ? codes.size(-1) : 0);
    return nn::tap(*this, decoder_->forward(quantizer_->lookup(codes)).clamp(0, 1));
  }

  std::unique_ptr<nn::CodecStream> stream() const override {
    throw Unsupported("a picture is decoded at once, when all its tokens are there; use decode");
  }

  nn::CodecPass reconstruct(const Tensor& media) const override {
    nn::CodecPass pass;
    pass.code = quantizer_->quantize(features(media));
    pass.media = decoder_->forward(pass.code.vectors);
    return pass;
  }

  Tensor features(const Tensor& media) const override {
    TESSERA_CHECK(media.dim() == 4 && media.size(1) == 3 && media.size(2) == config_.image_size &&
                      media.size(3) == config_.image_size && media.is_floating_point(),
                  InvalidArgument,
                  "pictures must be floats [B, 3, {0}, {0}] in [0, 1]; resize them first",
                  config_.image_size);
    return encoder_->forward(media);
  }

  const std::shared_ptr<nn::Quantizer>& quantizer() const override { return quantizer_; }

  nn::NamedTensors run(std::string_view entry, const nn::NamedTensors& inputs) override {
    return run_codec_entry(*this, "pixel_values", entry, inputs);
  }

 private:
  PictureCodecConfig config_;
  std::shared_ptr<PictureEncoder> encoder_;
  std::shared_ptr<nn::Quantizer> quantizer_;
  std::shared_ptr<PictureDecoder> decoder_;
};

}  // namespace

std::shared_ptr<nn::Model> load_picture_codec(const ModelFolder& folder,
                                              const nn::Weights& weights) {
  return std::make_shared<PictureCodec>(weights, PictureCodecConfig::from_json(folder.config));
}

}  // namespace tessera::models
