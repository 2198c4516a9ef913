// Batches of drawn scenes with their truth.
#pragma once

#include "train/options.h"
#include "train/scene_labels.h"
#include "train/task.h"
#include "train/world/scene_render.h"

namespace tessera::train {

class SceneBatches {
 public:
  /// Reads "assets", the folder of renderers, of the data section. Throws InvalidArgument or
  /// NotFound when there are none.
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
};

}  // namespace tessera::train
