// The objectives of codecs and judges on very small recipes: they train, resume exactly, and write
// folders that open.
#include "core/error.h"
#include "io/image.h"
#include "models/registry.h"
#include "train/scene_labels.h"
#include "train/trainer.h"
#include "train/world/pack.h"
#include "train/world/speech.h"
#include "unit/models/bundled.h"
#include "unit/train/helpers.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cmath>

namespace tessera::train {
namespace {

std::string recipe_text(const std::string& task, const std::string& data, const io::Json& config) {
  return "name: tiny\nseed: 5\ntask: {" + task + "}\nmodel: {config: " + config.dump() +
         "}\ndata: {" + data +
         "}\noptimizer: {lr: 2e-3, weight_decay: 0}\nschedule: {steps: 6, warmup: 1}\n"
         "batch: {items: 4, accumulate: 2, workers: 2}\ncheckpoint: {every: 3, keep: 4}\n"
         "validate: {every: 6, batches: 1}\nlog: {every: 1, report_seconds: 1000}\n";
}

class MediaObjectives : public testing::Test {
 protected:
  MediaObjectives() {
    prepare_test();
    write_square_sprites(folder_.path());
  }

  RunResult train(const std::string& name,
                  const std::string& text,
                  std::vector<std::string> overrides = {},
                  bool resume = false) {
    const Recipe recipe = Recipe::parse(text, "tiny.yaml", overrides);
    const auto task = make_task(recipe, at::kCPU);
    return run_training(recipe, *task, at::kCPU, {.folder = folder_ / name, .resume = resume});
  }

  // Runs six steps at once, and again as three and three: equal parameters. Gives the model.
  std::shared_ptr<nn::Model> train_twice(const std::string& text) {
    const RunResult whole = train("whole", text);
    EXPECT_TRUE(whole.finished);
    for (const auto& [name, value] : whole.metrics) {
      EXPECT_TRUE(std::isfinite(value)) << name;
    }
    train("parts", text);
    io::fs::remove_all(folder_ / "parts" / "checkpoints" / "step-000000006");
    io::fs::remove_all(folder_ / "parts" / "model");
    const RunResult parts = train("parts", text, {}, true);
    EXPECT_EQ(parts.metrics.at("loss"), whole.metrics.at("loss"));
    const models::ModelFolder opened = models::open_folder((folder_ / "whole" / "model").string());
    return models::load_model(opened, {.dtype = at::kFloat});
  }

  std::string assets() const { return "assets: " + folder_.path().string(); }

  TemporaryFolder folder_;
};

TEST_F(MediaObjectives, PictureCodec) {
  const auto model = train_twice(
      recipe_text("kind: picture_codec, discriminator_from: 2, restart_every: 2, samples: 1",
                  assets(), tiny_picture_config()));
  const auto codec = std::dynamic_pointer_cast<nn::Codec>(model);
  ASSERT_NE(codec, nullptr);
  const c10::InferenceMode inference;
  EXPECT_EQ(codec->encode(at::rand({1, 3, 24, 24})).size(2), 16);
}

TEST_F(MediaObjectives, PictureCodecThatReadsKinds) {
  const RunResult result =
      train("kinds", recipe_text("kind: picture_codec, kinds: 0.1, objects: 4, samples: 0",
                                 assets(), tiny_picture_config()));
  EXPECT_GT(result.metrics.at("kinds"), 0.0);
  EXPECT_GT(result.metrics.at("validate.kinds"), 0.0);
  const auto saved = models::open_folder((folder_ / "kinds" / "model").string());
  EXPECT_NO_THROW(
      models::load_model(saved, {.dtype = at::kFloat}));  // the reader is not part of it
}

// The decoder goes on learning under tokens that keep their meaning.
TEST_F(MediaObjectives, DecoderAlone) {
  train("first", recipe_text("kind: picture_codec, samples: 0", assets(), tiny_picture_config()));
  std::string more =
      recipe_text("kind: picture_codec, learn: decoder, samples: 0, restart_every: 1", assets(),
                  tiny_picture_config());
  more.replace(more.find("model: {"), more.find("data:") - more.find("model: {"),
               "model: {from: " + (folder_ / "first" / "model").string() + "}\n");
  train("second", more);
  const auto open = [&](const char* name) {
    return std::dynamic_pointer_cast<nn::Codec>(models::load_model(
        models::open_folder((folder_ / name / "model").string()), {.dtype = at::kFloat}));
  };
  const c10::InferenceMode inference;
  const Tensor pictures = at::rand({3, 3, 24, 24});
  const Tensor codes = open("first")->encode(pictures);
  EXPECT_TRUE(at::equal(open("second")->encode(pictures), codes));
  EXPECT_FALSE(at::equal(open("second")->decode(codes), open("first")->decode(codes)));
}

TEST_F(MediaObjectives, AudioCodecOfMusic) {
  io::Json config = tiny_audio_config();
  config.update({{"sample_rate", 16000}, {"hop_length", 128}, {"n_fft", 512}});
  const auto model = train_twice(
      recipe_text("kind: audio_codec, discriminator_from: 4, samples: 1",
                  "kind: music, train: 6, validate: 2, seconds: 1, clip: 0.25", config));
  EXPECT_NE(std::dynamic_pointer_cast<nn::Codec>(model), nullptr);
}

TEST_F(MediaObjectives, SpeechWithCharacters) {
  const std::vector<std::string> missing = world::SpeechTools::installed().missing();
  ASSERT_TRUE(missing.empty()) << missing.front();
  io::Json config = tiny_audio_config();
  config.update({{"sample_rate", 16000}, {"hop_length", 160}, {"n_fft", 640}});
  const std::string data = "kind: speech, train: 8, validate: 4, clip: 4, threads: 2";
  const RunResult codec = train(
      "codec",
      recipe_text("kind: audio_codec, characters: 1, agreement: 1, samples: 1", data, config));
  EXPECT_GT(codec.metrics.at("characters"), 0.0);
  EXPECT_GT(codec.metrics.at("agreement"), 0.0);
  const RunResult recognizer = train(
      "recognizer", recipe_text("kind: speech_recognizer", data, {{"blocks", 1}, {"width", 16}}));
  EXPECT_GT(recognizer.metrics.at("validate.word_error_rate"), 0.0);
  const RunResult speaker =
      train("speaker", recipe_text("kind: speaker_judge", data, {{"blocks", 1}, {"width", 16}}));
  EXPECT_TRUE(speaker.metrics.contains("validate.right.voice"));
}

TEST_F(MediaObjectives, SceneAndMusicJudges) {
  train_twice(recipe_text("kind: scene_judge", assets() + ", every_split: true",
                          {{"image_size", 48}, {"widths", {8, 8, 8}}}));
  const RunResult music =
      train("music", recipe_text("kind: music_judge",
                                 "kind: music, train: 6, validate: 2, seconds: 1, clip: 1, "
                                 "every_split: true",
                                 {{"width", 8}, {"pitch_n_fft", 1024}, {"lags", 20}}));
  EXPECT_TRUE(music.metrics.contains("validate.right.key"));
  EXPECT_THROW(
      train("speech", recipe_text("kind: music_judge", "kind: speech, train: 1, validate: 0",
                                  io::Json::object())),
      Error);
}

TEST_F(MediaObjectives, BadRecipesAreNamed) {
  const auto refuses = [&](const std::string& text, const std::string& words) {
    try {
      train("bad", text);
      ADD_FAILURE() << "no error about " << words;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  refuses(recipe_text("kind: picture_codec", "assets: ''", tiny_picture_config()), "assets");
  refuses(recipe_text("kind: picture_codec, edges: 1", assets(), tiny_picture_config()), "edges");
  refuses(recipe_text("kind: picture_codec", "assets: /nowhere", tiny_picture_config()),
          "/nowhere");
  std::string averaged = recipe_text("kind: picture_codec", assets(), tiny_picture_config());
  averaged.replace(averaged.find("lr: 2e-3"), 8, "ema: 0.9");
  refuses(averaged, "ema");
}

TEST(SceneLabels, DescribeEveryScene) {
  EXPECT_EQ(look_count(),
            world::first_shape() +
                8 * (static_cast<int>(world::object_kinds().size()) - world::first_shape()));
  for (int look = 0; look < look_count(); ++look) {
    EXPECT_EQ(look_of(group_of(look)), look);
  }
  EXPECT_THROW(group_of(look_count()), InvalidArgument);
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    const world::Scene scene = world::draw_scene(rng);
    const SceneLabels labels = labels_of(scene);
    const world::Scene again = scene_of(labels);
    ASSERT_EQ(again.groups.size(), scene.groups.size());
    EXPECT_EQ(again.background, scene.background);
    const SceneLabels twice = labels_of(again);
    EXPECT_EQ(twice.counts, labels.counts);
    EXPECT_EQ(twice.relation, labels.relation);
  }
}

}  // namespace
}  // namespace tessera::train
