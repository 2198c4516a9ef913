// The committed table between pictures and music: a picture of the row's thing or place belongs to
// music in the row's key and metre, and the other way round.
#pragma once

#include "train/world/melody.h"
#include "train/world/scene.h"

#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace tessera::world {

/// One row. Key and metre together are unique, so that music determines the row.
struct MoodRow {
  std::string_view name;  // "sea", "night", "forest"
  std::string_view noun;  // the object that makes a picture belong to the row; "" = the background
  int background;         // kUnsaid for rows of an object
  Key key;
  Metre metre;
  Tempo tempo;
  int genre;  // index of genres()
};
std::span<const MoodRow> mood_table();

/// Row of a picture: of its object that has one, else of its background. None when objects of two
/// rows are there, or for a plain background without such an object.
std::optional<int> row_of(const Scene& scene);
/// Row of music, by key and metre.
std::optional<int> row_of(Key key, Metre metre);

/// Rows whose pictures are inside the limits; never empty.
std::vector<int> rows_within(const WorldLimits& limits);
/// A picture of a row, of the given split; the row must be within the limits.
Scene draw_scene_of_row(Rng& rng, int row, Split split, const WorldLimits& limits = {});
/// Music of a row, of the given split.
Melody draw_melody_of_row(Rng& rng, int row, Split split);

}  // namespace tessera::world
