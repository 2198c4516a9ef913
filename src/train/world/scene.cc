// Drawing of scenes. One group (35 %), two groups with a relation (50 %), or three to four single
// objects (15 %). Sizes are said only of single objects in scenes of one or two groups, where there
// is room to show them. A shape never has the colour of its background.

#include "train/world/scene.h"

#include "core/error.h"

#include <algorithm>

namespace tessera::world {

Scene canonical(Scene scene) {
  if (scene.groups.size() == 2 &&
      (scene.relation == Relation::kRightOf || scene.relation == Relation::kBelow)) {
    std::swap(scene.groups[0], scene.groups[1]);
    scene.relation = inverse(scene.relation);
  }
  return scene;
}

namespace {

std::string key_of(const Group& group, std::string_view place) {
  const std::string_view color = group.color ? color_name(*group.color) : "-";
  return fmt::format("scene/{}/{}/{}/{}", object_kinds()[group.kind].noun, color, group.count,
                     place);
}

Group draw_group(Rng& rng, int kind, int background) {
  Group group;
  group.kind = kind;
  if (is_shape(kind)) {
    const Color own_ground = background_hides(background);
    do {
      group.color = static_cast<Color>(rng.below(kColorCount));
    } while (*group.color == own_ground);
  }
  return group;
}

int draw_kind(Rng& rng, const WorldLimits& limits) {
  const int shapes = first_shape();
  const int kinds = static_cast<int>(object_kinds().size());
  return chance(rng, 0.35) ? shapes + static_cast<int>(rng.below(kinds - shapes))
                           : static_cast<int>(rng.below(std::min(shapes, limits.emoji)));
}

/// An emoji that would vanish on a plain ground of its own colour.
bool hidden(int kind, int background) {
  return background >= kPlaceCount && object_kinds()[kind].natural == background_hides(background);
}

bool same_look(const Group& a, const Group& b) {
  return a.kind == b.kind && a.color == b.color;
}

void draw_size(Rng& rng, Group& group) {
  if (group.count == 1 && chance(rng, 0.3)) {
    group.size = chance(rng, 0.5) ? Size::kSmall : Size::kBig;
  }
}

void draw_counts(Rng& rng, Scene& scene) {
  if (scene.groups.size() == 1) {
    scene.groups[0].count = 1 + static_cast<int>(rng.below(4));
  } else if (scene.groups.size() == 2) {
    constexpr int kPairs[][2] = {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 2}, {2, 1},
                                 {1, 2}, {2, 1}, {2, 2}, {1, 3}, {3, 1}};
    const auto& pair = pick(rng, kPairs);
    scene.groups[0].count = pair[0];
    scene.groups[1].count = pair[1];
  }
}

Scene draw(Rng& rng, int first_kind, const WorldLimits& limits) {
  Scene scene;
  do {
    scene.background = static_cast<int>(chance(rng, 0.65) ? rng.below(kPlaceCount)
                                                          : kPlaceCount + rng.below(kColorCount));
  } while (hidden(first_kind, scene.background));
  const double u = rng.uniform();
  const size_t groups = std::min<size_t>(u < 0.35   ? 1
                                         : u < 0.85 ? 2
                                         : u < 0.95 ? 3
                                                    : 4,
                                         limits.groups);
  scene.groups.push_back(draw_group(rng, first_kind, scene.background));
  while (scene.groups.size() < groups) {
    const Group group = draw_group(rng, draw_kind(rng, limits), scene.background);
    if (!hidden(group.kind, scene.background) &&
        std::none_of(scene.groups.begin(), scene.groups.end(),
                     [&](const Group& other) { return same_look(group, other); })) {
      scene.groups.push_back(group);
    }
  }
  draw_counts(rng, scene);
  if (groups == 2) {
    scene.relation = static_cast<Relation>(1 + rng.below(4));
  }
  if (groups <= 2) {
    for (Group& group : scene.groups) {
      draw_size(rng, group);
    }
  }
  return scene;
}

}  // namespace

std::vector<std::string> combination_keys(const Scene& scene) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < scene.groups.size(); ++i) {
    std::string_view place = scene.groups.size() == 1 ? "alone" : "among";
    if (scene.groups.size() == 2) {
      place = relation_name(i == 0 ? scene.relation : inverse(scene.relation));
    }
    keys.push_back(key_of(scene.groups[i], place));
  }
  return keys;
}

bool within(const WorldLimits& limits, const Scene& scene) {
  return static_cast<int>(scene.groups.size()) <= limits.groups &&
         std::all_of(scene.groups.begin(), scene.groups.end(),
                     [&](const Group& group) { return within(limits, group.kind); });
}

Split split_of(const Scene& scene) {
  Split split = Split::kTrain;
  for (const std::string& key : combination_keys(scene)) {
    split = worse(split, split_of_key(key));
  }
  return split;
}

Scene draw_scene(Rng& rng, const WorldLimits& limits) {
  return draw(rng, draw_kind(rng, limits), limits);
}

Scene draw_scene_with(Rng& rng, int kind, const WorldLimits& limits) {
  return draw(rng, kind, limits);
}

Scene draw_scene(Rng& rng, Split split, const WorldLimits& limits) {
  for (int attempt = 0; attempt < 10000; ++attempt) {
    Scene scene = draw_scene(rng, limits);
    if (split_of(scene) == split) {
      return scene;
    }
  }
  throw Internal("no scene of the {} split in 10000 draws", split_name(split));
}

CombinationCounts count_combinations() {
  constexpr std::string_view kPlaces[] = {"alone", "left", "right", "above", "below", "among"};
  CombinationCounts counts;
  for (int kind = 0; kind < static_cast<int>(object_kinds().size()); ++kind) {
    for (int color = 0; color < (is_shape(kind) ? kColorCount : 1); ++color) {
      for (const std::string_view place : kPlaces) {
        const int most = place == "alone" ? 4 : place == "among" ? 1 : 3;
        for (int count = 1; count <= most; ++count) {
          Group group{.kind = kind, .count = count};
          if (is_shape(kind)) {
            group.color = static_cast<Color>(color);
          }
          const Split split = split_of_key(key_of(group, place));
          ++counts.total;
          counts.validation += split == Split::kValidation ? 1 : 0;
          counts.test += split == Split::kTest ? 1 : 0;
        }
      }
    }
  }
  return counts;
}

}  // namespace tessera::world
