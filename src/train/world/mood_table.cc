// Eighteen rows: five places and thirteen objects. Genres carry the region ("Irish jig").

#include "train/world/mood_table.h"

#include "core/error.h"

namespace tessera::world {

std::span<const MoodRow> mood_table() {
  static constexpr MoodRow kRows[] = {
      {"sea", "", kSea, {2, true}, Metre::k6_8, Tempo::kModerate, 13},     // English shanty
      {"night", "", kNight, {1, true}, Metre::k6_8, Tempo::kSlow, 16},     // Polish nocturne
      {"snow", "", kSnow, {3, false}, Metre::k3_4, Tempo::kSlow, 3},       // German lullaby
      {"meadow", "", kGrass, {7, false}, Metre::k6_8, Tempo::kLively, 0},  // Irish jig
      {"desert", "", kSand, {4, true}, Metre::k3_4, Tempo::kLively, 9},    // Spanish dance
      {"forest", "tree", kUnsaid, {11, true}, Metre::k2_4, Tempo::kModerate, 10},  // Russian song
      {"sun", "sun", kUnsaid, {2, false}, Metre::k2_4, Tempo::kLively, 12},  // American hoedown
      {"moon", "moon", kUnsaid, {8, false}, Metre::k3_4, Tempo::kSlow, 7},   // Welsh air
      {"panda", "panda", kUnsaid, {10, false}, Metre::k4_4, Tempo::kModerate, 6},    // Chinese song
      {"church", "church", kUnsaid, {0, false}, Metre::k4_4, Tempo::kSlow, 8},       // English hymn
      {"palace", "crown", kUnsaid, {10, false}, Metre::k3_4, Tempo::kModerate, 15},  // French
                                                                                     // minuet
      {"parade", "trumpet", kUnsaid, {0, false}, Metre::k2_4, Tempo::kModerate, 4},  // American
                                                                                     // march
      {"party", "balloon", kUnsaid, {4, false}, Metre::k2_4, Tempo::kLively, 5},     // Czech polka
      {"haunting", "ghost", kUnsaid, {0, true}, Metre::k2_4, Tempo::kLively, 17},  // Turkish march
      {"castle", "castle", kUnsaid, {9, true}, Metre::k4_4, Tempo::kLively, 1},    // Scottish reel
      {"garden", "butterfly", kUnsaid, {7, true}, Metre::k4_4, Tempo::kSlow, 14},  // Japanese song
      {"ball", "rose", kUnsaid, {5, false}, Metre::k3_4, Tempo::kModerate, 2},     // Viennese waltz
      {"boat trip", "sailboat", kUnsaid, {5, true}, Metre::k6_8, Tempo::kSlow, 11}  // barcarolle
  };
  return kRows;
}

std::optional<int> row_of(const Scene& scene) {
  const auto rows = mood_table();
  std::optional<int> found;
  for (const Group& group : scene.groups) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (object_kinds()[static_cast<size_t>(group.kind)].noun == rows[i].noun) {
        if (found && *found != static_cast<int>(i)) {
          return std::nullopt;
        }
        found = static_cast<int>(i);
      }
    }
  }
  for (size_t i = 0; i < rows.size() && !found; ++i) {
    if (rows[i].background != kUnsaid && rows[i].background == scene.background) {
      found = static_cast<int>(i);
    }
  }
  return found;
}

std::optional<int> row_of(Key key, Metre metre) {
  const auto rows = mood_table();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].key == key && rows[i].metre == metre) {
      return static_cast<int>(i);
    }
  }
  return std::nullopt;
}

std::vector<int> rows_within(const WorldLimits& limits) {
  std::vector<int> rows;
  const auto all = mood_table();
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].noun.empty() || within(limits, kind_of(all[i].noun))) {
      rows.push_back(static_cast<int>(i));
    }
  }
  return rows;
}

Scene draw_scene_of_row(Rng& rng, int row, Split split, const WorldLimits& limits) {
  const MoodRow& wanted = mood_table()[static_cast<size_t>(row)];
  for (int attempt = 0; attempt < 20000; ++attempt) {
    Scene scene = wanted.noun.empty() ? draw_scene(rng, limits)
                                      : draw_scene_with(rng, kind_of(wanted.noun), limits);
    if (row_of(scene) == row && split_of(scene) == split) {
      return scene;
    }
  }
  throw Internal("no {} picture of '{}' in 20000 draws", split_name(split), wanted.name);
}

Melody draw_melody_of_row(Rng& rng, int row, Split split) {
  const MoodRow& wanted = mood_table()[static_cast<size_t>(row)];
  return draw_melody(
      rng, split,
      {.key = wanted.key, .metre = wanted.metre, .tempo = wanted.tempo, .genre = wanted.genre});
}

}  // namespace tessera::world
