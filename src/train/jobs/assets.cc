// Makes the folder of renderers that the recipes of tessera-mini draw their data with: emoji,
// speech programs, recorded prompts. Made once on a Debian machine, used where nothing is
// installed.
//
// Recipe:
//   task: {kind: assets}
//   data: {out: FOLDER, recordings: FOLDER of asterisk's g722 sounds ("": none),
//          prompts: their words}
#include "train/world/assets.h"

#include "core/log.h"
#include "train/job.h"
#include "train/recipe.h"

namespace tessera::train {
namespace {

io::OrderedJson run_assets(const Recipe& recipe, const JobContext& context) {
  const io::fs::path out = out_folder(recipe, context);
  world::AssetSources sources = world::AssetSources::debian();
  sources.prompts = recipe.section("data").string("prompts", "recipes/world/asterisk_prompts.tsv");
  recipe.finish();
  if (sources.prompts.empty()) {
    sources.asterisk.clear();
  }
  const world::AssetReport report = world::build_assets(sources, out);
  log::info("{:.1f} MB, {} recordings: {}", static_cast<double>(report.total()) / 1e6, report.clips,
            out.string());
  return {{"folder", out.string()}, {"bytes", report.total()}, {"recordings", report.clips}};
}

}  // namespace

extern const JobInfo kAssetsJob;
const JobInfo kAssetsJob{.kind = "assets",
                         .summary = "the folder of renderers that data is made with",
                         .run = run_assets};

}  // namespace tessera::train
