#include "bundled.h"
#include "core/error.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using at::Tensor;
using Shape = std::vector<int64_t>;

nn::NamedTensors judge(const std::string& architecture,
                       const nn::NamedTensors& inputs,
                       const io::Json& config = io::Json::object()) {
  const models::ModelInfo& info = models::find_model(bundled_folder(architecture, config));
  const auto model = bundled_model(architecture, config);
  const c10::InferenceMode inference;
  return models::run_entry(*model, info, "forward", inputs);
}

TEST(Judges, FitTheirBudget) {
  int64_t total = 0;
  for (const char* name : {"TesseraSceneJudge", "TesseraSpeechRecognizer", "TesseraSpeakerJudge",
                           "TesseraMusicJudge"}) {
    const int64_t count = parameter_count(*bundled_model(name));
    RecordProperty(name, static_cast<int>(count));
    total += count;
  }
  EXPECT_LE(parameter_count(*bundled_model("TesseraSpeechRecognizer")), 1'000'000);
  EXPECT_LE(total, 2'950'000);  // one byte each, and the scales
}

TEST(Judges, SceneShapes) {
  const auto out = judge("TesseraSceneJudge", {{"pixel_values", at::rand({3, 3, 96, 96})}});
  EXPECT_EQ(out.at("counts").sizes(), (Shape{3, 163, 5}));
  EXPECT_EQ(out.at("background").sizes(), (Shape{3, 14}));
  EXPECT_EQ(out.at("relation").sizes(), (Shape{3, 5}));
  EXPECT_EQ(judge("TesseraSceneJudge", {{"pixel_values", at::rand({1, 3, 48, 48})}},
                  {{"image_size", 48}, {"looks", 7}})
                .at("counts")
                .sizes(),
            (Shape{1, 7, 5}));
  EXPECT_THROW(judge("TesseraSceneJudge", {{"pixel_values", at::rand({1, 3, 95, 96})}}),
               InvalidArgument);
}

TEST(Judges, SpeechShapesAtOddLengths) {
  for (const int64_t samples : {1, 319, 320, 321, 16001}) {
    const nn::NamedTensors wav = {{"wav", at::randn({2, 1, samples})}};
    const auto text = judge("TesseraSpeechRecognizer", wav, {{"blocks", 1}});
    EXPECT_EQ(text.at("log_probs").sizes(), (Shape{2, (samples + 319) / 320, 29}));
    const Tensor sums = text.at("log_probs").exp().sum(-1);
    EXPECT_TRUE(at::allclose(sums, at::ones_like(sums), 1e-4, 1e-4));
    const auto voice = judge("TesseraSpeakerJudge", wav);
    EXPECT_EQ(voice.at("logits").sizes(), (Shape{2, 8}));
    EXPECT_TRUE(voice.at("logits").isfinite().all().item<bool>());
  }
  EXPECT_THROW(judge("TesseraSpeakerJudge", {{"wav", at::randn({1, 1, 0})}}), InvalidArgument);
}

TEST(Judges, MusicShapesAndSilence) {
  for (const int64_t samples : {1, 4000, 80000}) {
    for (const double gain : {0.0, 0.3}) {
      const auto out = judge("TesseraMusicJudge", {{"wav", at::randn({2, 1, samples}) * gain}});
      EXPECT_EQ(out.at("key").sizes(), (Shape{2, 24}));
      EXPECT_EQ(out.at("metre").sizes(), (Shape{2, 4}));
      EXPECT_TRUE(out.at("key").isfinite().all().item<bool>());
      EXPECT_TRUE(out.at("metre").isfinite().all().item<bool>());
    }
  }
}

}  // namespace
}  // namespace tessera
