#include "train/world/foreign.h"

#include "core/random.h"
#include "io/resample.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace tessera::world {
namespace {

using Rgb = std::array<float, 3>;

// A few hues that the leaves of one picture share.
std::vector<Rgb> draw_palette(Rng& rng) {
  std::vector<Rgb> palette(2 + rng.below(5));
  const double saturation = rng.uniform(0.05, 0.6);
  for (Rgb& color : palette) {
    const double light = rng.uniform(0.05, 0.95);
    for (float& channel : color) {
      channel = static_cast<float>(
          std::clamp(light + saturation * rng.uniform(-0.5, 0.5), 0.0, 1.0) * 255);
    }
  }
  return palette;
}

struct Leaf {
  double x, y, width, height, cos, sin;
  bool box;
  Rgb color;
  double shade_x, shade_y;  // brighter towards this direction, in levels a pixel
  double grain;             // of its texture, in levels
};

Leaf draw_leaf(Rng& rng, int size, const std::vector<Rgb>& palette) {
  // Radii with density r^-3 between two pixels and half the picture.
  const double smallest = 2;
  const double largest = size / 2.0;
  const double u = rng.uniform();
  const double inverse =
      1 / (smallest * smallest) - u * (1 / (smallest * smallest) - 1 / (largest * largest));
  const double radius = 1 / std::sqrt(inverse);
  const double angle = rng.uniform(0, 3.14159265);
  Leaf leaf{.x = rng.uniform(0, size),
            .y = rng.uniform(0, size),
            .width = radius,
            .height = radius * rng.uniform(0.3, 1),
            .cos = std::cos(angle),
            .sin = std::sin(angle),
            .box = rng.uniform() < 0.3,
            .color = palette[rng.below(palette.size())],
            .shade_x = rng.uniform(-1, 1),
            .shade_y = rng.uniform(-1, 1),
            .grain = rng.uniform(0, 12)};
  for (float& channel : leaf.color) {
    channel += static_cast<float>(rng.uniform(-25, 25));
  }
  return leaf;
}

}  // namespace

Image render_foreign(int size, uint64_t seed) {
  Rng rng(seed, hash_name("foreign picture"));
  const std::vector<Rgb> palette = draw_palette(rng);
  // Painted from the back: first a leaf that covers all, then ever more of them.
  std::vector<Leaf> leaves(1 + 30 + rng.below(400), Leaf{});
  for (Leaf& leaf : leaves) {
    leaf = draw_leaf(rng, size, palette);
  }
  leaves.front().width = leaves.front().height = 4.0 * size;
  Image image{.width = size, .height = size, .channels = 3, .pixels = {}};
  image.pixels.resize(static_cast<size_t>(size) * size * 3);
  for (const Leaf& leaf : leaves) {
    const double reach = 1.5 * std::max(leaf.width, leaf.height);
    const auto low = [&](double middle) { return std::max(0, static_cast<int>(middle - reach)); };
    const auto high = [&](double middle) {
      return std::min(size, static_cast<int>(middle + reach) + 1);
    };
    for (int y = low(leaf.y); y < high(leaf.y); ++y) {
      for (int x = low(leaf.x); x < high(leaf.x); ++x) {
        const double u = (leaf.cos * (x - leaf.x) + leaf.sin * (y - leaf.y)) / leaf.width;
        const double v = (leaf.cos * (y - leaf.y) - leaf.sin * (x - leaf.x)) / leaf.height;
        if (leaf.box ? std::max(std::abs(u), std::abs(v)) > 1 : u * u + v * v > 1) {
          continue;
        }
        const double shade = leaf.shade_x * (x - leaf.x) + leaf.shade_y * (y - leaf.y) +
                             leaf.grain * rng.uniform(-1, 1);
        uint8_t* pixel = &image.pixels[(static_cast<size_t>(y) * size + x) * 3];
        for (size_t c = 0; c < 3; ++c) {
          pixel[c] = static_cast<uint8_t>(std::clamp(leaf.color[c] + shade, 0.0, 255.0));
        }
      }
    }
  }
  return image;
}

Audio perturb(const Audio& audio, uint64_t seed) {
  Rng rng(seed, hash_name("perturb"));
  constexpr int kSteps = 100;
  const int speed = kSteps + static_cast<int>(rng.below(21)) - 10;
  Audio out = audio;
  out.samples = io::resample(audio.samples, speed, kSteps);
  float peak = 1e-4F;
  for (const float sample : out.samples) {
    peak = std::max(peak, std::abs(sample));
  }
  const double gain = rng.uniform(0.2, 0.95) / peak;
  const double noise = rng.uniform() < 0.5 ? 0 : std::pow(10, rng.uniform(-4, -2));
  for (float& sample : out.samples) {
    sample = static_cast<float>(std::clamp(gain * sample + noise * rng.uniform(-1, 1), -1.0, 1.0));
  }
  return out;
}

}  // namespace tessera::world
