// A picture's exact truth: up to four groups of objects, how the first two stand to each other, and
// the background; drawn from a seed, and split by the combinations it contains.
#pragma once

#include "train/world/limits.h"

#include <string>
#include <vector>

namespace tessera::world {

inline constexpr int kUnsaid = -1;  // a slot that a text leaves open

/// `count` objects of one kind. Truth has every slot; a parsed text may leave count and colour
/// open.
struct Group {
  int kind = 0;
  int count = 1;  // 1-4; kUnsaid in a text such as "cats"
  std::optional<Color> color =
      std::nullopt;  // shapes only (a true colour word of an emoji is dropped by parsing)
  Size size = Size::kNormal;

  bool operator==(const Group&) const = default;
};

/// What a picture shows. With two groups `relation` says how groups[0] stands to groups[1]; with
/// one, three or four groups it is kNone.
struct Scene {
  std::vector<Group> groups;
  Relation relation = Relation::kNone;
  int background = kUnsaid;

  bool operator==(const Scene&) const = default;
};

/// The same picture told from the left or from above: right-of and below are turned round.
Scene canonical(Scene scene);

/// The combinations of a scene, one key a group: object × colour × count × place ("alone", "left",
/// "right", "above", "below", "among").
std::vector<std::string> combination_keys(const Scene& scene);

/// Test when any combination of the scene is a test combination, else validation likewise.
Split split_of(const Scene& scene);

/// Whether things of a kind occur inside the limits; shapes always do.
inline bool within(const WorldLimits& limits, int kind) {
  return is_shape(kind) || kind < limits.emoji;
}
/// Whether a whole scene is inside the limits.
bool within(const WorldLimits& limits, const Scene& scene);

/// Draws a scene of any split.
Scene draw_scene(Rng& rng, const WorldLimits& limits = {});
/// Draws a scene that holds `kind` in its first group.
Scene draw_scene_with(Rng& rng, int kind, const WorldLimits& limits = {});
/// Draws until the split fits; the same generator state gives the same scene.
Scene draw_scene(Rng& rng, Split split, const WorldLimits& limits = {});

/// How many combinations exist and how many the rule keeps from training.
struct CombinationCounts {
  int total = 0;
  int validation = 0;
  int test = 0;
};
CombinationCounts count_combinations();

}  // namespace tessera::world
