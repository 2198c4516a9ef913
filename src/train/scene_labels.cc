#include "train/scene_labels.h"

#include "core/error.h"

#include <algorithm>

namespace tessera::train {

using world::kColorCount;
using world::Relation;

int look_count() {
  const int kinds = static_cast<int>(world::object_kinds().size());
  return world::first_shape() + (kinds - world::first_shape()) * kColorCount;
}

int look_of(const world::Group& group) {
  if (!world::is_shape(group.kind)) {
    return group.kind;
  }
  TESSERA_CHECK(group.color.has_value(), InvalidArgument, "scene labels: a shape needs a colour");
  return world::first_shape() + (group.kind - world::first_shape()) * kColorCount +
         static_cast<int>(*group.color);
}

world::Group group_of(int look) {
  TESSERA_CHECK(look >= 0 && look < look_count(), InvalidArgument,
                "scene labels: look {} is not in 0 … {}", look, look_count() - 1);
  world::Group group{.kind = look, .count = world::kUnsaid};
  if (look >= world::first_shape()) {
    const int index = look - world::first_shape();
    group.kind = world::first_shape() + index / kColorCount;
    group.color = static_cast<world::Color>(index % kColorCount);
  }
  return group;
}

SceneLabels labels_of(const world::Scene& scene) {
  SceneLabels labels;
  labels.counts.resize(static_cast<size_t>(look_count()));
  for (const world::Group& group : scene.groups) {
    labels.counts[static_cast<size_t>(look_of(group))] += group.count;
  }
  for (int64_t& count : labels.counts) {
    count = std::clamp<int64_t>(count, 0, kLookCounts - 1);
  }
  labels.background = scene.background;
  if (scene.groups.size() == 2) {
    const bool turned = look_of(scene.groups[0]) > look_of(scene.groups[1]);
    const Relation relation = turned ? world::inverse(scene.relation) : scene.relation;
    labels.relation = static_cast<int64_t>(relation);
  }
  return labels;
}

world::Scene scene_of(const SceneLabels& labels) {
  world::Scene scene;
  for (size_t look = 0; look < labels.counts.size(); ++look) {
    if (labels.counts[look] > 0) {
      world::Group group = group_of(static_cast<int>(look));
      group.count = static_cast<int>(labels.counts[look]);
      scene.groups.push_back(group);
    }
  }
  scene.background = static_cast<int>(labels.background);
  scene.relation =
      scene.groups.size() == 2 ? static_cast<Relation>(labels.relation) : Relation::kNone;
  return scene;
}

}  // namespace tessera::train
