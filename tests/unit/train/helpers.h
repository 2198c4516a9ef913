// A tiny synthetic language and the recipes that the trainer's tests share.
#pragma once

#include "core/progress.h"
#include "core/random.h"
#include "io/image.h"
#include "train/data/token_file.h"
#include "train/recipe.h"
#include "train/task.h"
#include "train/world/pack.h"
#include "train/world/vocabulary.h"

#include <ATen/Parallel.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

namespace tessera::train {

constexpr int32_t kVocabulary = 32;

/// One thread (tiny tensors gain nothing from two, and ctest runs tests side by side), no bars.
inline void prepare_test() {
  at::set_num_threads(1);
  set_progress_mode(ProgressMode::kOff);
}

/// A folder of its own for each test, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (io::fs::temp_directory_path() / "tessera-train-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    io::fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  io::fs::path operator/(const std::string& name) const { return path_ / name; }
  const io::fs::path& path() const { return path_; }

 private:
  io::fs::path path_;
};

/// sprites.pack of opaque squares, which stand for all emoji.
inline void write_square_sprites(const io::fs::path& folder) {
  Image square{.width = 16, .height = 16, .channels = 4, .pixels = {}};
  for (int i = 0; i < 256; ++i) {
    square.pixels.insert(square.pixels.end(), {255, 0, 255, 255});
  }
  std::map<std::string, world::PackedFile> files;
  for (int kind = 0; kind < world::first_shape(); ++kind) {
    const auto emoji =
        static_cast<uint32_t>(world::object_kinds()[static_cast<size_t>(kind)].emoji);
    files[fmt::format("{:04x}.png", emoji)] = {.content = io::encode_png(square)};
  }
  world::write_pack(folder / "sprites.pack", files);
}

/// Documents where every token follows from the one before, next = 5 · token + 3 mod 32, but for
/// one in `noise`. The first four tokens of each are of the class "prompt", the rest "text".
inline void write_language(const io::fs::path& path,
                           int64_t documents,
                           uint64_t seed,
                           double noise = 0.05) {
  TokenFileWriter writer(path, kVocabulary, {"prompt", "text"});
  Rng rng(seed);
  for (int64_t i = 0; i < documents; ++i) {
    std::vector<int32_t> tokens{static_cast<int32_t>(rng.below(kVocabulary))};
    const size_t length = 6 + rng.below(30);
    while (tokens.size() < length) {
      const bool random = rng.uniform() < noise;
      tokens.push_back(random ? static_cast<int32_t>(rng.below(kVocabulary))
                              : (5 * tokens.back() + 3) % kVocabulary);
    }
    const TokenRun runs[] = {{4, 0}, {static_cast<uint32_t>(length - 4), 1}};
    writer.add(tokens, runs);
  }
  writer.commit();
}

/// A two-layer Llama on the files a.tok and b.tok of `folder`.
inline std::string tiny_recipe(const io::fs::path& folder) {
  return "name: tiny\nseed: 3\n"
         "task: {kind: language_model, z_loss: 1e-4}\n"
         "model: {config: {vocab_size: 32, hidden_size: 32, intermediate_size: 48, "
         "num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, "
         "max_position_embeddings: 64, eos_token_id: 1}}\n"
         "data: {train: " +
         (folder / "a.tok").string() + ", validate: " + (folder / "b.tok").string() +
         ", sequence: 64, documents: 16, weights: {prompt: 0.5}}\n"
         "optimizer: {lr: 1e-2, ema: 0.9}\n"
         "schedule: {steps: 12, warmup: 3}\n"
         "batch: {tokens: 256, workers: 2}\n"
         "checkpoint: {every: 4, keep: 2}\n"
         "validate: {every: 4, batches: 2}\n"
         "log: {every: 1, report_seconds: 1000}\n";
}

}  // namespace tessera::train
