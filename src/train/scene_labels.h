// Scenes as the targets of the scene judge, and the judge's answers as scenes. A look is an emoji
// kind, or a shape in one colour.
#pragma once

#include "train/world/scene.h"

#include <vector>

namespace tessera::train {

/// Looks: emoji kinds in the world's order, then shape × colour, colours innermost.
int look_count();
int look_of(const world::Group& group);
/// A group of that look; its count is left open.
world::Group group_of(int look);

inline constexpr int kLookCounts = 5;      // 0 … 4 of a look
inline constexpr int kSceneRelations = 5;  // world::Relation up to kBelow

struct SceneLabels {
  std::vector<int64_t> counts;  // one a look
  int64_t background = 0;
  int64_t relation = 0;  // of the lower look to the higher one; 0 without two groups
};
/// `scene` must be truth.
SceneLabels labels_of(const world::Scene& scene);
/// The scene that labels describe, groups in the order of looks.
world::Scene scene_of(const SceneLabels& labels);

}  // namespace tessera::train
