#include "compress/int8.h"

#include "core/error.h"
#include "io/file.h"
#include "nn/tensor_file.h"
#include "unit/models/bundled.h"
#include "unit/train/helpers.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

namespace tessera::compress {
namespace {

using train::TemporaryFolder;

void write_model(const TemporaryFolder& folder,
                 const io::Json& config,
                 const nn::NamedTensors& tensors) {
  nn::write_tensors(folder / "model.safetensors", tensors);
  io::write_file(folder / "config.json", config.dump());
}

// The worked example of compressed-tensors' own arithmetic.
TEST(Int8, EqualsTheReferencesExample) {
  const Tensor weight = at::tensor({1.0, -2.0, 0.5, 0.3}, at::kFloat).view({1, 4});
  const Int8Weight q = quantize_channels(weight);
  EXPECT_NEAR(q.scale.item<float>(), 0.01568628F, 1e-8);
  EXPECT_TRUE(q.values.equal(at::tensor({64, -127, 32, 19}, at::kChar).view({1, 4})));
  const Int8Weight low = quantize_channels(at::tensor({-127.4, 1.0}, at::kFloat).view({1, 2}));
  EXPECT_EQ(low.values[0][0].item<int>(), -128);
}

TEST(Int8, ZeroRowsAndKernels) {
  const Tensor weight = at::randn({6, 3, 5});
  weight.select(0, 2).zero_();
  const Int8Weight q = quantize_channels(weight);
  EXPECT_EQ(q.values.sizes(), weight.sizes());
  EXPECT_EQ(q.scale.sizes(), (std::vector<int64_t>{6, 1}));
  EXPECT_EQ(q.scale[2].item<float>(), 1.1920929e-07F);
  const Tensor error = (q.values.to(at::kFloat) * q.scale.unsqueeze(-1) - weight).abs();
  EXPECT_TRUE((error <= 0.501 * q.scale.unsqueeze(-1)).all().item<bool>());
  EXPECT_THROW(quantize_channels(at::randn({4})), InvalidArgument);
  EXPECT_THROW(quantize_channels(at::full({2, 2}, INFINITY)), InvalidArgument);
}

// Parts of a codec that a training leaves alone are read and stored again; codes must stay.
TEST(Int8, WhatWasInt8StaysTheSame) {
  for (const int64_t width : {1, 2, 7, 300}) {
    const Int8Weight once = quantize_channels(at::randn({64, width}));
    const Int8Weight again = quantize_channels(once.values.to(at::kFloat) * once.scale);
    EXPECT_TRUE(again.values.equal(once.values)) << width;
    EXPECT_TRUE(again.scale.allclose(once.scale, 2e-7, 0)) << width;
  }
}

struct Case {
  const char* architecture;
  io::Json config;
  const char* input;
  std::vector<int64_t> shape;
};

std::vector<Case> cases() {
  return {{"TesseraPictureCodec", tiny_picture_config(), "pixel_values", {1, 3, 24, 24}},
          {"TesseraAudioCodec", tiny_audio_config(), "wav", {1, 1, 1000}},
          {"TesseraSpeakerJudge", io::Json::object(), "wav", {1, 1, 4000}},
          {"TesseraSceneJudge", {{"looks", 9}}, "pixel_values", {1, 3, 96, 96}}};
}

// The stored model gives exactly what one with the rounded weights gives, whether the weights are
// widened when it is opened or not.
TEST(Int8, StoredModelsRunAsTheirRoundedWeights) {
  train::prepare_test();
  for (const Case& item : cases()) {
    const TemporaryFolder folder;
    io::Json config = item.config;
    config["architectures"] = {item.architecture};
    config["quantization_config"] = int8_config();
    const auto model = bundled_model(item.architecture, item.config);
    const nn::NamedTensors stored = quantize_int8(*model);
    write_model(folder, config, stored);
    {
      const at::NoGradGuard no_grad;
      for (const auto& parameter : model->named_parameters()) {
        const auto scale = stored.find(parameter.key() + "_scale");
        if (scale != stored.end()) {
          std::vector<int64_t> shape(static_cast<size_t>(parameter.value().dim()), 1);
          shape[0] = -1;
          parameter.value().copy_(stored.at(parameter.key()).to(at::kFloat) *
                                  scale->second.view(shape));
        }
      }
    }
    const models::ModelFolder opened = models::open_folder(folder.path().string());
    const models::ModelInfo& info = models::find_model(opened);
    const nn::NamedTensors inputs = {{item.input, at::rand(item.shape)}};
    const std::string entry = info.entries.front().name;
    const auto kept = models::load_model(opened, {});
    const auto widened = models::load_model(opened, {.dtype = at::kFloat});
    const c10::InferenceMode inference;
    for (const auto& [name, expected] : models::run_entry(*model, info, entry, inputs)) {
      for (const auto& loaded : {kept, widened}) {
        const Tensor actual = models::run_entry(*loaded, info, entry, inputs).at(name);
        EXPECT_TRUE(at::allclose(actual.to(at::kFloat), expected.to(at::kFloat), 1e-3, 1e-4))
            << item.architecture << " " << name;
      }
    }
    // Quantising the int8 model again changes no Linear (kernels were widened when it was opened).
    for (const auto& [name, tensor] : quantize_int8(*kept)) {
      ASSERT_TRUE(stored.contains(name)) << name;
      if (tensor.scalar_type() == at::kChar && tensor.dim() == 2) {
        EXPECT_TRUE(tensor.equal(stored.at(name))) << name;
      }
    }
  }
}

TEST(Int8, MissingScaleIsNamed) {
  const TemporaryFolder folder;
  io::Json config = tiny_picture_config();
  config["architectures"] = {"TesseraPictureCodec"};
  config["quantization_config"] = int8_config();
  nn::NamedTensors stored = quantize_int8(*bundled_model("TesseraPictureCodec", config));
  stored.erase("encoder.stem.weight_scale");
  write_model(folder, config, stored);
  try {
    models::load_model(models::open_folder(folder.path().string()), {});
    FAIL() << "no error";
  } catch (const CorruptFile& error) {
    EXPECT_NE(std::string(error.what()).find("encoder.stem.weight_scale"), std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::compress
