// Pictures of scenes: emoji sprites and shapes on painted backgrounds, antialiased, at any square
// size.
#pragma once

#include "core/media.h"
#include "train/world/scene.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::world {

/// Where one object stands: centre and side of its box in units of the picture, y downwards.
struct Placement {
  int group = 0;
  float x = 0, y = 0;
  float side = 0;
  float angle = 0;  // radians
};

/// Places a scene's objects as its relation, counts and sizes say, without overlap.
std::vector<Placement> place(const Scene& scene, Rng& rng);

/// An emoji as premultiplied RGBA floats at full size and successive halves; every level has a
/// transparent rim of one texel.
struct Sprite {
  struct Level {
    int width, height;
    std::vector<float> rgba;  // height * width * 4

    Level(int w, int h) : width(w), height(h), rgba(static_cast<size_t>(w) * h * 4) {}
    float* at(int x, int y) { return &rgba[(static_cast<size_t>(y) * width + x) * 4]; }
    const float* at(int x, int y) const { return &rgba[(static_cast<size_t>(y) * width + x) * 4]; }
  };
  std::vector<Level> levels;
};

/// Decodes one PNG strike into a sprite, trimmed to its opaque part. Throws CorruptFile.
Sprite decode_sprite(std::string_view png);

/// Draws scenes. Thread-safe after construction.
class SceneRenderer {
 public:
  /// `pngs`: one PNG for each emoji kind, in the order of object_kinds(). Throws InvalidArgument
  /// when the number differs.
  explicit SceneRenderer(const std::vector<std::string>& pngs);

  /// The scene as size × size RGB; the seed decides jitter, texture and unstated details. `scene`
  /// must be truth: counts, colours and background said. Throws InvalidArgument otherwise, or for a
  /// size outside 8-1024. With `kinds` also says what each pixel shows (size × size, rows first): 0
  /// the background, k + 1 an object of kind k.
  Image render(const Scene& scene,
               int size,
               uint64_t seed,
               std::vector<uint8_t>* kinds = nullptr) const;

 private:
  std::vector<Sprite> sprites_;
};

}  // namespace tessera::world
