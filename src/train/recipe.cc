#include "train/recipe.h"

#include "core/error.h"
#include "train/job.h"

#include <cmath>

namespace tessera::train {
namespace {

constexpr double kMany = 1e12;  // upper bound of counts

ScheduleOptions read_schedule(const Options& options) {
  const std::string kinds[] = {"cosine", "wsd", "constant"};
  const std::string ends[] = {"steps", "time"};
  ScheduleOptions schedule;
  const std::string kind = options.choice("kind", "cosine", kinds);
  schedule.kind = kind == "cosine" ? ScheduleKind::kCosine
                  : kind == "wsd"  ? ScheduleKind::kWarmupStableDecay
                                   : ScheduleKind::kConstant;
  schedule.steps = options.integer("steps", 1000, {1, kMany});
  schedule.by_time = options.choice("until", "steps", ends) == "time";
  schedule.min_lr = options.number("min_lr", 0.0, {0, 1});
  // Below 1: a share of all steps.
  const auto steps_of = [&](const char* key, double fallback) {
    const double value = options.number(key, fallback, {0, kMany});
    return static_cast<int64_t>(
        std::llround(value < 1 ? value * static_cast<double>(schedule.steps) : value));
  };
  schedule.warmup = steps_of("warmup", 0.02);
  schedule.decay = steps_of("decay", kind == "wsd" ? 0.2 : 0.0);
  TESSERA_CHECK(schedule.warmup + schedule.decay <= schedule.steps, InvalidArgument,
                "{}: warmup {} and decay {} do not fit into {} steps", options.where(),
                schedule.warmup, schedule.decay, schedule.steps);
  TESSERA_CHECK(kind == "wsd" || schedule.decay == 0, InvalidArgument,
                "{}: only the kind wsd has a decay phase", options.where("decay"));
  return schedule;
}

BatchOptions read_batch(const Options& options) {
  BatchOptions batch;
  TESSERA_CHECK(options.has("tokens") != options.has("items"), InvalidArgument,
                "{}: give either tokens (language models) or items, the size of a whole step",
                options.where());
  batch.size = options.integer(options.has("tokens") ? "tokens" : "items", 1, {1, kMany});
  batch.accumulate = options.integer("accumulate", 1, {1, 65536});
  batch.workers = options.integer("workers", 1, {0, 256});
  return batch;
}

}  // namespace

OptimizerOptions read_optimizer(const Options& options, const OptimizerOptions& defaults) {
  OptimizerOptions result = defaults;
  result.lr = options.number("lr", defaults.lr, {0, 1e3});
  if (options.has("betas")) {
    const std::vector<io::Json> betas = options.list("betas");
    const auto valid = [](const io::Json& b) {
      return b.is_number() && b.get<double>() >= 0 && b.get<double>() < 1;
    };
    TESSERA_CHECK(betas.size() == 2 && valid(betas[0]) && valid(betas[1]), InvalidArgument,
                  "{}: must be two numbers in [0, 1), as [0.9, 0.95]", options.where("betas"));
    result.beta1 = betas[0].get<double>();
    result.beta2 = betas[1].get<double>();
  }
  result.epsilon = options.number("eps", defaults.epsilon, {0, 1});
  result.weight_decay = options.number("weight_decay", defaults.weight_decay, {0, 1e3});
  result.clip = options.number("clip", defaults.clip, {0, 1e9});
  result.ema = options.number("ema", defaults.ema, {0, 0.9999999});
  return result;
}

Recipe Recipe::parse(std::string_view text,
                     std::string_view source,
                     std::span<const std::string> overrides) {
  io::Json root = parse_yaml(text, source);
  for (const std::string& assignment : overrides) {
    apply_override(root, assignment);
  }
  return Recipe(Options(std::move(root), std::string(source)));
}

Recipe Recipe::read(const io::fs::path& path, std::span<const std::string> overrides) {
  return parse(io::read_file(path, uint64_t{16} << 20), path.string(), overrides);
}

Recipe::Recipe(Options options) : options_(std::move(options)) {
  const std::string devices[] = {"cpu", "cuda"};
  constexpr double kTwo53 = 9007199254740992.0;
  name = options_.string("name", "run");
  seed = static_cast<uint64_t>(options_.integer("seed", 0, {0, kTwo53}));
  kind_ = options_.section("task").string("kind", "");
  device = options_.choice("device", "cpu", devices);
  const bool trains = find_job(kind_) == nullptr;
  if (trains) {
    const std::string precisions[] = {"fp32", "bf16"};
    bf16 = options_.choice("precision", "fp32", precisions) == "bf16";
    TESSERA_CHECK(!bf16 || device == "cuda", InvalidArgument,
                  "{}: precision bf16 needs device cuda; on the CPU it has no advantage, use fp32",
                  options_.where());
    graph = options_.boolean("graph", true);
  }
  options_.section("model");
  options_.section("data");
  if (trains) {
    read_training();
  }
}

void Recipe::read_training() {
  const Options size = options_.section("batch");
  if (!size.has("tokens") && !size.has("items") && !is_task(kind_)) {
    throw_unknown_kind(kind_);  // the likelier mistake: jobs have no batch
  }
  optimizer = read_optimizer(options_.section("optimizer"), {});
  schedule = read_schedule(options_.section("schedule"));
  batch = read_batch(options_.section("batch"));
  const Options saving = options_.section("checkpoint");
  checkpoint.every = saving.integer("every", checkpoint.every, {0, kMany});
  checkpoint.keep = saving.integer("keep", checkpoint.keep, {1, 1000});
  const Options validation = options_.section("validate");
  validate.every = validation.integer("every", validate.every, {0, kMany});
  validate.batches = validation.integer("batches", validate.batches, {1, kMany});
  const Options logging = options_.section("log");
  log.every = logging.integer("every", log.every, {1, kMany});
  log.samples_every = logging.integer("samples_every", log.samples_every, {0, kMany});
  log.report_seconds = logging.number("report_seconds", log.report_seconds, {0, 1e9});
  stop_minutes = options_.section("stop").number("minutes", 0.0, {0, 1e9});
  TESSERA_CHECK(!schedule.by_time || stop_minutes > 0, InvalidArgument,
                "{}: schedule.until time needs stop.minutes", options_.where());
}

}  // namespace tessera::train
