// What the objectives of codecs and judges share: the model from a recipe, micro-batches of items,
// terms that are means over items, and the folder that is written.
#pragma once

#include "core/random.h"
#include "models/registry.h"
#include "train/data/world_sounds.h"
#include "train/task.h"

#include <optional>

namespace tessera::train {

class MediaTask : public Task {
 public:
  std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> modules() override {
    return {{"model", model_}};
  }
  bool has_validation() const override { return true; }
  std::string unit() const override { return "items"; }
  /// int8 unless the recipe says task.save_dtype: fp32.
  void save(const io::fs::path& folder) override;

 protected:
  /// Reads task.save_dtype and model: {from: FOLDER} or {config: …}; `defaults` are keys of
  /// config.json that the recipe need not give, "architectures" among them.
  MediaTask(const Recipe& recipe, at::Device device, io::Json defaults);

  /// Items of a micro-batch.
  int64_t items() const { return items_; }
  /// A generator for one item of one batch.
  Rng rng_of(Split split, int64_t index, int64_t item) const;
  /// A batch with `items` as every normaliser's value.
  Batch make_items(nn::NamedTensors tensors) const;
  /// A term from a mean over the batch.
  Term mean_term(std::string name, const Tensor& mean, double scale, size_t part = 0) const;

  models::ModelFolder folder_;
  std::shared_ptr<nn::Model> model_;
  at::Device device_;
  uint64_t seed_;

 private:
  int64_t items_;
  bool save_int8_;
};

/// Micro-batches of sounds: "wav" i16 [B, N], zeros behind shorter sounds, "samples" i64 [B], and
/// the truth "voice", "key", "metre" i64 [B]; with texts also "targets" i64 [B, S] and "lengths".
class SoundBatches {
 public:
  struct Options {
    int64_t samples = 0;       // N
    bool whole = false;        // whole sounds (longer ones are left out), else any part of one
    int64_t start_jitter = 0;  // whole: up to so many samples are cut off the front
    int64_t symbols = 0;       // S; 0: no texts
  };
  SoundBatches(std::vector<WorldSound> sounds, const Options& options);
  bool empty() const { return sounds_.empty(); }
  const std::vector<WorldSound>& sounds() const { return sounds_; }
  /// Draws one sound for each generator.
  nn::NamedTensors make(std::vector<Rng> generators) const;
  /// Sounds `from` … as one batch in order, without jitter.
  nn::NamedTensors at(size_t from, size_t count) const;

 private:
  struct Pick {
    const WorldSound* sound;
    int64_t start;
    float gain;
  };
  nn::NamedTensors build(const std::vector<Pick>& picks) const;

  std::vector<WorldSound> sounds_;
  Options options_;
};

/// i16 [B, N] -> fp32 [B, 1, N].
Tensor to_wave(const Tensor& pcm);
/// Share of rows whose largest logit is the target's.
Tensor accuracy(const Tensor& logits, const Tensor& target);

}  // namespace tessera::train
