// Order of a save: files (each synced), the temporary folder, rename, the parent folder, then the
// removal of old ones: at every moment the previous checkpoint or the new one is whole on disk.
#include "train/checkpoint.h"

#include "core/error.h"
#include "core/log.h"
#include "nn/tensor_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>

namespace tessera::train {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kTemporary = ".writing-";

void sync_folder(const io::fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  TESSERA_CHECK(fd >= 0, Io, "{}: cannot open: {}", folder.string(), std::strerror(errno));
  const int failed = ::fsync(fd);
  const int reason = errno;
  ::close(fd);
  TESSERA_CHECK(failed == 0 || reason == EINVAL, Io, "{}: {}", folder.string(),
                std::strerror(reason));
}

std::optional<int64_t> step_of(const io::fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [stop, failed] = std::from_chars(name.data() + kPrefix.size(), end, step);
  return failed == std::errc() && stop == end ? std::optional(step) : std::nullopt;
}

std::optional<double> validation_loss(const io::Json& json) {
  const auto found = json.find("validation_loss");
  return found != json.end() && found->is_number() ? std::optional(found->get<double>())
                                                   : std::nullopt;
}

}  // namespace

CheckpointStore::CheckpointStore(io::fs::path folder, int64_t keep)
    : folder_(std::move(folder)), keep_(keep) {
  std::error_code failed;
  for (const auto& item : io::fs::directory_iterator(folder_, failed)) {
    if (item.path().filename().string().starts_with(kTemporary)) {
      std::error_code ignored;
      io::fs::remove_all(item.path(), ignored);
    }
  }
}

// Renamed first: a folder under its own name is whole even when the removal is interrupted.
void CheckpointStore::discard(const io::fs::path& target) const {
  if (!io::fs::exists(target)) {
    return;
  }
  const io::fs::path doomed = folder_ / (std::string(kTemporary) + "old");
  std::error_code failed;
  io::fs::remove_all(doomed, failed);
  io::fs::rename(target, doomed, failed);
  if (!failed) {
    io::fs::remove_all(doomed, failed);
  }
  if (failed) {
    log::warning("{}: old checkpoint cannot be removed: {}", target.string(), failed.message());
  }
}

io::fs::path CheckpointStore::path(int64_t step) const {
  return folder_ / fmt::format("{}{:09}", kPrefix, step);
}

void CheckpointStore::save(const CheckpointState& state) {
  const io::fs::path target = path(state.step);
  const io::fs::path temporary = folder_ / fmt::format("{}{:09}", kTemporary, state.step);
  std::error_code failed;
  io::fs::remove_all(temporary, failed);
  io::fs::create_directories(temporary, failed);
  TESSERA_CHECK(!failed, Io, "{}: cannot be made: {}", temporary.string(), failed.message());
  try {
    nn::write_tensors(temporary / "state.safetensors", state.tensors);
    io::Json json = {{"step", state.step}, {"values", state.values}};
    if (state.validation_loss.has_value() && std::isfinite(*state.validation_loss)) {
      json["validation_loss"] = *state.validation_loss;
    }
    io::write_file(temporary / "state.json", json.dump(1) + "\n");
    sync_folder(temporary);
  } catch (...) {
    io::fs::remove_all(temporary, failed);
    throw;
  }
  discard(target);  // the same step again
  io::fs::rename(temporary, target, failed);
  TESSERA_CHECK(!failed, Io, "{}: cannot rename into place: {}", target.string(), failed.message());
  sync_folder(folder_);
  remove_old();
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> steps;
  std::error_code failed;
  for (const auto& item : io::fs::directory_iterator(folder_, failed)) {
    if (const auto step = step_of(item.path())) {
      steps.push_back(*step);
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<int64_t> CheckpointStore::best() const {
  std::optional<int64_t> best;
  double least = 0;
  for (const int64_t step : steps()) {
    const auto loss = validation_loss(io::read_json(path(step) / "state.json"));
    if (loss.has_value() && (!best.has_value() || *loss < least)) {
      best = step;
      least = *loss;
    }
  }
  return best;
}

CheckpointState CheckpointStore::load(int64_t step) const {
  const io::fs::path folder = path(step);
  return with_context("loading " + folder.string(), [&] {
    CheckpointState state;
    const io::Json json = io::read_json(folder / "state.json");
    TESSERA_CHECK(json.is_object() && json.contains("values") && json["values"].is_object() &&
                      json.contains("step") && json["step"] == step,
                  CorruptFile, "state.json: step {} and values expected", step);
    state.step = step;
    state.values = json["values"];
    state.validation_loss = validation_loss(json);
    state.tensors = nn::read_tensors(folder / "state.safetensors");
    return state;
  });
}

void CheckpointStore::remove_old() const {
  const std::vector<int64_t> all = steps();
  const std::optional<int64_t> kept = best();
  for (size_t i = 0; i + static_cast<size_t>(keep_) < all.size(); ++i) {
    if (kept.has_value() && *kept == all[i]) {
      continue;
    }
    discard(path(all[i]));
  }
}

}  // namespace tessera::train
