// `tessera bench any2any`.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "train/any2any/any2any.h"
#include "train/any2any/page.h"

#include <ATen/Parallel.h>

#include <cstdio>

namespace tessera::cli {
namespace {

// Small, so that the last one ends soon after the time is up.
constexpr size_t kQuickBatch = 4;
constexpr size_t kQuickSingles = 2;

any2any::Result measure(const BenchAny2AnyOptions& options, const nn::LoadOptions& load) {
  pipelines::AnyToAny model(options.model, load);
  const any2any::Subject subject = any2any::subject_of(model, options.seed);
  const any2any::Judges judges = any2any::open_judges(options.judges, load);
  const any2any::Suite suite({.seed = options.seed,
                              .limits = subject.limits,
                              .data = options.data,
                              .photos = options.photos,
                              .only = options.pairs,
                              .modalities = subject.modalities,
                              .sizes = subject.sizes},
                             any2any::open_studio(options.assets));
  any2any::Settings settings;
  settings.items = static_cast<size_t>(options.items);
  settings.seed = options.seed;
  if (options.quick) {
    settings.batch = kQuickBatch;
    settings.singles = kQuickSingles;
    settings.seconds = options.seconds;
  }
  any2any::Result result = any2any::run_bench(subject, judges, suite, settings);
  result.model = options.model;
  result.quick = options.quick;
  result.device = options.device;
  result.threads = at::get_num_threads();
  return result;
}

}  // namespace

int run_bench_any2any(const BenchAny2AnyOptions& options) {
  translate_torch_errors([&] {
    const nn::LoadOptions load = prepare(options);
    const io::fs::path page = io::fs::path(options.out) / "report.html";
    if (!options.out.empty()) {  // before the work, not after it
      std::error_code error;
      io::fs::create_directories(options.out, error);
      TESSERA_CHECK(!error, Io, "{}: {}", options.out, error.message());
    }
    const any2any::Result result = measure(options, load);
    const std::string text =
        options.json ? any2any::to_json(result).dump() + "\n" : any2any::to_text(result);
    TESSERA_CHECK(std::fwrite(text.data(), 1, text.size(), stdout) == text.size(), Io,
                  "stdout: cannot be written");
    if (!options.out.empty()) {
      io::AtomicFile file(page);
      file.write(any2any::render_page(result));
      file.commit();
      log::info("report: {}", page.string());
    }
  });
  return 0;
}

}  // namespace tessera::cli
