// Batches of drawn scenes with their truth.
#pragma once

#include "train/options.h"
#include "train/scene_labels.h"
#include "train/task.h"
#include "train/world/scene_render.h"

namespace tessera::train {

/// Reads "world" of the data section: {emoji: kinds, groups: most of a scene}; default: all.
world::SceneLimits read_scene_limits(const Options& data);

class SceneBatches {
 public:
  /// Reads "assets", the folder of renderers, and "world" of the data section. Throws
  /// InvalidArgument or NotFound when there are no renderers.
  SceneBatches(const Options& data, int image_size);

  struct Drawn {
    Tensor pixels;  // u8 [B, 3, S, S]
    std::vector<world::Scene> scenes;
  };
  /// One scene of the split for each generator. Thread-safe.
  Drawn draw(Split split, std::vector<Rng> generators) const;

 private:
  int image_size_;
  world::SceneRenderer renderer_;
  world::SceneLimits limits_;
};

}  // namespace tessera::train
