// Every recipe that ships names an objective that exists and holds no key that nobody reads (as far
// as that shows without its data).
#include "core/error.h"
#include "train/job.h"
#include "train/recipe.h"
#include "train/task.h"

#include <gtest/gtest.h>

#include <set>

namespace tessera::train {
namespace {

TEST(Recipes, AreRead) {
  const io::fs::path folder = io::fs::path(TESSERA_GOLDENS) / ".." / ".." / "recipes";
  std::set<std::string> kinds;
  for (const auto& item : io::fs::recursive_directory_iterator(folder)) {
    if (item.path().extension() == ".yaml") {
      const Recipe recipe = Recipe::read(item.path());
      EXPECT_FALSE(recipe.kind().empty()) << item.path();
      EXPECT_NE(is_task(recipe.kind()), find_job(recipe.kind()) != nullptr) << item.path();
      EXPECT_EQ(recipe.batch.size > 0, is_task(recipe.kind())) << item.path();
      kinds.insert(recipe.kind());
    }
  }
  for (const char* kind :
       {"picture_codec", "audio_codec", "scene_judge", "speech_recognizer", "speaker_judge",
        "music_judge", "language_model", "assets", "tokenizer", "world_tokens", "assemble"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

// Music needs no renderer from outside, so its recipes can run as they are, but for their size.
TEST(Recipes, OfMusicStart) {
  const io::fs::path folder =
      io::fs::path(TESSERA_GOLDENS) / ".." / ".." / "recipes" / "tessera-mini";
  for (const char* name : {"music_codec.yaml", "music_judge.yaml"}) {
    const std::vector<std::string> small = {"device=cpu", "precision=fp32", "data.train=2",
                                            "data.validate=0", "batch.items=1"};
    const Recipe recipe = Recipe::read(folder / name, small);
    const auto task = make_task(recipe, at::kCPU);
    EXPECT_FALSE(task->losses(task->make_batch(Split::kTrain, 0), 0).empty()) << name;
  }
}

}  // namespace
}  // namespace tessera::train
