// Batches of drawn scenes with their truth.
#pragma once

#include "train/options.h"
#include "train/scene_labels.h"
#include "train/task.h"
#include "train/world/scene_render.h"

namespace tessera::train {

/// Reads "world" of the data section: {emoji: kinds, groups: most of a scene}; default: all.
world::WorldLimits read_world_limits(const Options& data);

/// Reads "assets", the folder of renderers. Throws InvalidArgument when it is not given, NotFound.
world::SceneRenderer open_scene_renderer(const Options& data);

class SceneBatches {
 public:
  /// Reads "assets", "world" and "every_split" of the data section.
  SceneBatches(const Options& data, int image_size);

  struct Drawn {
    Tensor pixels;  // u8 [B, 3, S, S]
    Tensor kinds;   // with_kinds: u8 [B, S, S], 0 the background, k + 1 an object of kind k
    std::vector<world::Scene> scenes;
  };
  /// One scene of the split for each generator; with every_split, which is for judges, of any
  /// split. Thread-safe.
  Drawn draw(Split split, std::vector<Rng> generators, bool with_kinds = false) const;

 private:
  int image_size_;
  world::SceneRenderer renderer_;
  world::WorldLimits limits_;
  bool every_split_;
};

}  // namespace tessera::train
