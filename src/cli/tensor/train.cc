// `tessera train`: a recipe becomes a run folder with a model in it.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "train/job.h"
#include "train/trainer.h"

#include <cmath>
#include <cstdio>

namespace tessera::cli {
namespace {

void print_json(const io::OrderedJson& json) {
  const std::string text = json.dump() + "\n";
  TESSERA_CHECK(std::fwrite(text.data(), 1, text.size(), stdout) == text.size(), Io,
                "stdout: cannot be written");
}

void print_result(const train::RunResult& result, const io::fs::path& folder) {
  io::OrderedJson out = {{"run", folder.string()},
                         {"step", result.step},
                         {"seconds", result.seconds},
                         {"finished", result.finished}};
  for (const auto& [name, value] : result.metrics) {
    if (name != "step" && name != "seconds") {
      out["metrics"][name] = std::isfinite(value) ? io::OrderedJson(value) : io::OrderedJson();
    }
  }
  print_json(out);
}

}  // namespace

int run_train(const TrainOptions& options) {
  translate_torch_errors([&] {
    const io::fs::path source = options.recipe.empty() ? io::fs::path(options.run) / "recipe.yaml"
                                                       : io::fs::path(options.recipe);
    std::vector<std::string> overrides = options.overrides;
    if (!options.chosen_device.empty()) {
      overrides.push_back("device=" + options.chosen_device);
    }
    const train::Recipe recipe = train::Recipe::read(source, overrides);
    CommonOptions common = options;
    common.device = recipe.device;
    const at::Device device = prepare(common).device;
    if (const train::JobInfo* job = train::find_job(recipe.kind())) {
      const io::OrderedJson made = job->run(recipe, {.device = recipe.device, .out = options.run});
      if (options.json) {
        print_json(made);
      }
      return;
    }
    const std::unique_ptr<train::Task> task = train::make_task(recipe, device);
    const io::fs::path folder =
        options.run.empty() ? io::fs::path("runs") / recipe.name : io::fs::path(options.run);
    const train::RunResult result = train::run_training(
        recipe, *task, device, {.folder = folder, .resume = options.resume, .make_runner = {}});
    log::info("{} steps in {}: {}", result.step, format_duration(result.seconds),
              (folder / "report.html").string());
    if (options.json) {
      print_result(result, folder);
    }
  });
  return 0;
}

}  // namespace tessera::cli
