// Checkpoints of a run: folders step-000001200 with state.safetensors and state.json. A folder is
// written under a temporary name, synced, then renamed, so that one that exists under its own name
// is whole; the newest ones and the best one are kept.
#pragma once

#include "nn/module.h"

#include <optional>
#include <vector>

namespace tessera::train {

struct CheckpointState {
  int64_t step = 0;
  nn::NamedTensors tensors = {};
  io::Json values = io::Json::object();
  std::optional<double> validation_loss = {};  // decides which checkpoint is the best
};

class CheckpointStore {
 public:
  /// `folder` need not exist. Removes what an interrupted write left.
  CheckpointStore(io::fs::path folder, int64_t keep);

  /// Throws Io; the earlier checkpoints are then untouched.
  void save(const CheckpointState& state);
  /// Steps of the whole checkpoints, rising.
  std::vector<int64_t> steps() const;
  /// Throws NotFound, CorruptFile.
  CheckpointState load(int64_t step) const;
  /// Step with the least validation loss, if any has one.
  std::optional<int64_t> best() const;
  io::fs::path path(int64_t step) const;

 private:
  void remove_old() const;
  void discard(const io::fs::path& target) const;

  io::fs::path folder_;
  int64_t keep_;
};

}  // namespace tessera::train
