// A small software painter on an RGB float canvas. Sprites are drawn by inverse mapping: two by two
// bilinear samples a pixel from the mip level whose texels are between half a pixel and one pixel.
// Shapes are polygons filled by scanlines, four to a pixel, with exact horizontal coverage; each
// has a darker (or lighter) rim so that it shows on a similar ground. Everything random comes from
// the seed, so a picture can be made again.

#include "train/world/scene_render.h"

#include "core/error.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <optional>

namespace tessera::world {

namespace {

constexpr float kPi = std::numbers::pi_v<float>;

struct Canvas {
  int size;
  std::vector<float> rgb;  // size * size * 3, 0-255

  explicit Canvas(int side) : size(side), rgb(static_cast<size_t>(side) * side * 3) {}
  float* at(int x, int y) { return &rgb[(static_cast<size_t>(y) * size + x) * 3]; }
};

void blend(float* pixel, const Rgb& color, float alpha) {
  pixel[0] += (color.r - pixel[0]) * alpha;
  pixel[1] += (color.g - pixel[1]) * alpha;
  pixel[2] += (color.b - pixel[2]) * alpha;
}

Rgb mix(const Rgb& a, const Rgb& b, float t) {
  return {a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

// Backgrounds. Colours move a little from picture to picture; textures stay fainter than objects.

Rgb jittered(Rng& rng, Rgb color, double amount) {
  const auto shift = [&](float v) {
    return std::clamp(v + static_cast<float>(rng.uniform(-amount, amount)), 0.0F, 255.0F);
  };
  const float r = shift(color.r);
  const float g = shift(color.g);
  return {r, g, shift(color.b)};
}

void paint_gradient(Canvas& canvas, const Rgb& top, const Rgb& bottom) {
  for (int y = 0; y < canvas.size; ++y) {
    const Rgb row = mix(top, bottom, static_cast<float>(y) / static_cast<float>(canvas.size));
    for (int x = 0; x < canvas.size; ++x) {
      float* pixel = canvas.at(x, y);
      pixel[0] = row.r;
      pixel[1] = row.g;
      pixel[2] = row.b;
    }
  }
}

/// A soft dot with a radius in pixels.
void paint_dot(Canvas& canvas, float cx, float cy, float radius, const Rgb& color, float alpha) {
  const int reach = static_cast<int>(std::ceil(radius)) + 1;
  for (int y = static_cast<int>(cy) - reach; y <= static_cast<int>(cy) + reach; ++y) {
    for (int x = static_cast<int>(cx) - reach; x <= static_cast<int>(cx) + reach; ++x) {
      if (x < 0 || y < 0 || x >= canvas.size || y >= canvas.size) {
        continue;
      }
      const float dx = static_cast<float>(x) + 0.5F - cx;
      const float dy = static_cast<float>(y) + 0.5F - cy;
      const float distance = std::sqrt(dx * dx + dy * dy);
      const float cover = std::clamp(radius + 0.5F - distance, 0.0F, 1.0F);
      blend(canvas.at(x, y), color, cover * alpha);
    }
  }
}

void paint_dots(Canvas& canvas, Rng& rng, int count, float radius, const Rgb& color, float alpha) {
  const float scale = static_cast<float>(canvas.size) / 96.0F;
  for (int i = 0; i < count; ++i) {
    const float x = static_cast<float>(rng.uniform()) * static_cast<float>(canvas.size);
    const float y = static_cast<float>(rng.uniform()) * static_cast<float>(canvas.size);
    paint_dot(canvas, x, y, radius * scale, color, alpha);
  }
}

void paint_waves(Canvas& canvas, Rng& rng) {
  const float rows = static_cast<float>(rng.uniform(6, 9));
  const float phase = static_cast<float>(rng.uniform(0, 6.28));
  const float bends = static_cast<float>(rng.uniform(2, 4));
  // sin(a + b) by the addition theorem: one sine a row and one a column instead of one a pixel.
  std::vector<std::array<float, 2>> columns(static_cast<size_t>(canvas.size));
  for (int x = 0; x < canvas.size; ++x) {
    const float u = static_cast<float>(x) / static_cast<float>(canvas.size);
    const float bend = 1.5F * std::sin(2 * kPi * bends * u + phase);
    columns[static_cast<size_t>(x)] = {std::sin(bend), std::cos(bend)};
  }
  for (int y = 0; y < canvas.size; ++y) {
    const float v = static_cast<float>(y) / static_cast<float>(canvas.size);
    const float row = 2 * kPi * rows * v + phase;
    const float row_sin = std::sin(row);
    const float row_cos = std::cos(row);
    for (int x = 0; x < canvas.size; ++x) {
      const auto& [bend_sin, bend_cos] = columns[static_cast<size_t>(x)];
      const float crest = row_sin * bend_cos + row_cos * bend_sin;
      if (crest > 0.55F) {
        blend(canvas.at(x, y), {150, 215, 235}, (crest - 0.55F) * 0.6F);
      }
    }
  }
}

void paint_blades(Canvas& canvas, Rng& rng) {
  const float scale = static_cast<float>(canvas.size) / 96.0F;
  for (int i = 0; i < 70; ++i) {
    const float x = static_cast<float>(rng.uniform()) * static_cast<float>(canvas.size);
    const float y = static_cast<float>(rng.uniform()) * static_cast<float>(canvas.size);
    const Rgb color = chance(rng, 0.5) ? Rgb{70, 140, 45} : Rgb{150, 205, 95};
    for (int step = 0; step < 3; ++step) {
      paint_dot(canvas, x, y - static_cast<float>(step) * 1.6F * scale, 0.5F * scale, color, 0.55F);
    }
  }
}

void paint_background(Canvas& canvas, Rng& rng, int background) {
  if (background >= kPlaceCount) {
    const Rgb plain = jittered(rng, color_rgb(static_cast<Color>(background - kPlaceCount)), 6);
    paint_gradient(canvas, plain, plain);
    return;
  }
  constexpr Rgb kTop[] = {{95, 170, 240}, {35, 130, 185},  {118, 185, 75},
                          {14, 18, 52},   {240, 216, 160}, {214, 226, 240}};
  constexpr Rgb kBottom[] = {{190, 225, 250}, {15, 80, 140},   {95, 160, 55},
                             {40, 45, 95},    {225, 190, 125}, {245, 249, 253}};
  paint_gradient(canvas, jittered(rng, kTop[background], 8), jittered(rng, kBottom[background], 8));
  switch (background) {
    case kSea:
      paint_waves(canvas, rng);
      break;
    case kGrass:
      paint_blades(canvas, rng);
      break;
    case kNight:
      paint_dots(canvas, rng, 26, 0.5F, {255, 250, 215}, 0.9F);
      break;
    case kSand:
      paint_dots(canvas, rng, 110, 0.5F, {175, 135, 80}, 0.6F);
      break;
    case kSnow:
      paint_dots(canvas, rng, 45, 1.1F, {255, 255, 255}, 0.95F);
      break;
    default:
      break;
  }
}

// Shapes, as polygons in a box from -1 to 1, y downwards.

using Polygon = std::vector<std::array<float, 2>>;

Polygon regular(int corners, float start, float inner = 1.0F) {
  Polygon points;
  for (int i = 0; i < corners; ++i) {
    const float angle = start + 2 * kPi * static_cast<float>(i) / static_cast<float>(corners);
    const float radius = i % 2 == 0 ? 1.0F : inner;
    points.push_back({radius * std::cos(angle), radius * std::sin(angle)});
  }
  return points;
}

Polygon heart() {
  Polygon points;
  for (int i = 0; i < 48; ++i) {
    const float t = 2 * kPi * static_cast<float>(i) / 48;
    const float s = std::sin(t);
    points.push_back(
        {s * s * s,
         (-13 * std::cos(t) + 5 * std::cos(2 * t) + 2 * std::cos(3 * t) + std::cos(4 * t)) / 16.5F -
             0.1F});
  }
  return points;
}

const Polygon& polygon_of(Shape shape) {
  constexpr float kThird = 0.34F;
  static const std::array<Polygon, 8> kPolygons = {
      regular(48, 0),
      Polygon{{-0.84F, -0.84F}, {0.84F, -0.84F}, {0.84F, 0.84F}, {-0.84F, 0.84F}},
      Polygon{{0, -0.92F}, {1, 0.84F}, {-1, 0.84F}},
      regular(10, -kPi / 2, 0.42F),
      heart(),
      Polygon{{0, -1}, {0.66F, 0}, {0, 1}, {-0.66F, 0}},
      regular(6, 0),
      Polygon{{-kThird, -1},
              {kThird, -1},
              {kThird, -kThird},
              {1, -kThird},
              {1, kThird},
              {kThird, kThird},
              {kThird, 1},
              {-kThird, 1},
              {-kThird, kThird},
              {-1, kThird},
              {-1, -kThird},
              {-kThird, -kThird}},
  };
  return kPolygons[static_cast<size_t>(shape)];
}

/// Adds the coverage of the span [left, right) to a row of pixels.
void cover_span(std::vector<float>& row, float left, float right, float weight) {
  left = std::clamp(left, 0.0F, static_cast<float>(row.size()));
  right = std::clamp(right, 0.0F, static_cast<float>(row.size()));
  for (int x = static_cast<int>(left); x < static_cast<int>(std::ceil(right)); ++x) {
    const float begin = std::max(left, static_cast<float>(x));
    const float end = std::min(right, static_cast<float>(x + 1));
    row[static_cast<size_t>(x)] += std::max(0.0F, end - begin) * weight;
  }
}

void fill_polygon(Canvas& canvas, const Polygon& points, const Rgb& color) {
  constexpr int kLines = 4;
  const auto by_y = [](const auto& a, const auto& b) { return a[1] < b[1]; };
  const auto [low, high] = std::minmax_element(points.begin(), points.end(), by_y);
  const int first = std::max(0, static_cast<int>((*low)[1]));
  const int last = std::min(canvas.size - 1, static_cast<int>((*high)[1]));
  std::vector<float> row(static_cast<size_t>(canvas.size));
  std::vector<float> crossings;
  for (int y = first; y <= last; ++y) {
    std::fill(row.begin(), row.end(), 0.0F);
    for (int line = 0; line < kLines; ++line) {
      const float at = static_cast<float>(y) + (static_cast<float>(line) + 0.5F) / kLines;
      crossings.clear();
      for (size_t i = 0; i < points.size(); ++i) {
        const auto& a = points[i];
        const auto& b = points[(i + 1) % points.size()];
        if ((a[1] <= at) != (b[1] <= at)) {
          crossings.push_back(a[0] + (at - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
        }
      }
      std::sort(crossings.begin(), crossings.end());
      for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
        cover_span(row, crossings[i], crossings[i + 1], 1.0F / kLines);
      }
    }
    for (int x = 0; x < canvas.size; ++x) {
      if (row[static_cast<size_t>(x)] > 0) {
        blend(canvas.at(x, y), color, std::min(1.0F, row[static_cast<size_t>(x)]));
      }
    }
  }
}

void draw_shape(Canvas& canvas, Rng& rng, const Group& group, const Placement& at) {
  const Rgb color = jittered(rng, color_rgb(*group.color), 8);
  const bool dark = *group.color == Color::kBlack;
  const Rgb rim = mix(color, dark ? Rgb{255, 255, 255} : Rgb{0, 0, 0}, 0.38F);
  const float side = static_cast<float>(canvas.size);
  const Polygon& unit = polygon_of(static_cast<Shape>(group.kind - first_shape()));
  const float c = std::cos(at.angle);
  const float s = std::sin(at.angle);
  for (const bool outer : {true, false}) {
    const float scale = at.side * side / 2 * (outer ? 1.0F : 0.84F);
    Polygon points = unit;
    for (auto& point : points) {
      point = {at.x * side + scale * (c * point[0] - s * point[1]),
               at.y * side + scale * (s * point[0] + c * point[1])};
    }
    fill_polygon(canvas, points, outer ? rim : color);
  }
}

// Sprites.

using Pixel4 = float __attribute__((vector_size(16)));

Pixel4 load(const float* texel) {
  Pixel4 value;
  std::memcpy(&value, texel, sizeof(value));
  return value;
}

/// The bilinear sample at (u, v) in texels of a level, which has a transparent rim of one texel.
Pixel4 sample(const Sprite::Level& level, float u, float v) {
  const int x = static_cast<int>(u - 0.5F);
  const int y = static_cast<int>(v - 0.5F);
  const float du = u - 0.5F - static_cast<float>(x);
  const float dv = v - 0.5F - static_cast<float>(y);
  const float* top = &level.rgba[(static_cast<size_t>(y) * level.width + x) * 4];
  const float* bottom = top + static_cast<size_t>(level.width) * 4;
  const Pixel4 above = load(top) * (1 - du) + load(top + 4) * du;
  const Pixel4 below = load(bottom) * (1 - du) + load(bottom + 4) * du;
  return above * (1 - dv) + below * dv;
}

void draw_sprite(Canvas& canvas, const Sprite& sprite, const Placement& at) {
  const float side = static_cast<float>(canvas.size);
  const Sprite::Level& full = sprite.levels.front();
  const float longest = static_cast<float>(std::max(full.width, full.height) - 2);
  const float per_pixel = longest / (at.side * side);  // texels of the full sprite a pixel
  const int level_index = std::clamp(static_cast<int>(std::floor(std::log2(per_pixel))), 0,
                                     static_cast<int>(sprite.levels.size()) - 1);
  const Sprite::Level& level = sprite.levels[static_cast<size_t>(level_index)];
  const float step = per_pixel / static_cast<float>(1 << level_index);
  const float c = std::cos(at.angle) * step;
  const float s = std::sin(at.angle) * step;
  const float reach = at.side * side * 0.72F + 1;
  const float cx = at.x * side;
  const float cy = at.y * side;
  const int x0 = std::max(0, static_cast<int>(cx - reach));
  const int x1 = std::min(canvas.size - 1, static_cast<int>(cx + reach));
  const int y0 = std::max(0, static_cast<int>(cy - reach));
  const int y1 = std::min(canvas.size - 1, static_cast<int>(cy + reach));
  const float last_u = static_cast<float>(level.width) - 0.5F;
  const float last_v = static_cast<float>(level.height) - 0.5F;
  const float middle_u = static_cast<float>(level.width) / 2;
  const float middle_v = static_cast<float>(level.height) / 2;
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      Pixel4 sum = {};
      for (int k = 0; k < 4; ++k) {
        const float px = static_cast<float>(x) + 0.25F + 0.5F * static_cast<float>(k % 2) - cx;
        const float py = static_cast<float>(y) + 0.25F + 0.5F * static_cast<float>(k / 2) - cy;
        const float u = middle_u + c * px + s * py;
        const float v = middle_v - s * px + c * py;
        if (u >= 0.5F && v >= 0.5F && u < last_u && v < last_v) {
          sum += sample(level, u, v);
        }
      }
      if (sum[3] > 0) {
        float* pixel = canvas.at(x, y);
        for (int k = 0; k < 3; ++k) {
          pixel[k] = pixel[k] * (1 - sum[3] / 4) + sum[k] / 4;
        }
      }
    }
  }
}

// Placing.

struct Box {
  float x, y, w, h;
};

/// Range of an object's side by its size word, before the cell's limit.
std::array<float, 2> side_range(Size size, bool alone) {
  switch (size) {
    case Size::kSmall:
      return alone ? std::array{0.23F, 0.28F} : std::array{0.20F, 0.23F};
    case Size::kBig:
      return alone ? std::array{0.68F, 0.82F} : std::array{0.44F, 0.47F};
    default:
      return alone ? std::array{0.40F, 0.48F} : std::array{0.31F, 0.36F};
  }
}

void place_group(const Group& group,
                 int index,
                 const Box& box,
                 bool alone,
                 Rng& rng,
                 std::vector<Placement>& out) {
  int columns = 1;
  int rows = 1;
  if (group.count == 4 || (group.count == 3 && std::abs(box.w - box.h) < 0.1F)) {
    columns = rows = 2;
  } else if (group.count > 1) {
    const bool wide = box.w > box.h + 0.1F || (std::abs(box.w - box.h) < 0.1F && chance(rng, 0.5));
    (wide ? columns : rows) = group.count;
  }
  const float cell_w = box.w / static_cast<float>(columns);
  const float cell_h = box.h / static_cast<float>(rows);
  const auto range = side_range(group.size, alone);
  const float limit = std::min(cell_w, cell_h) * 0.94F;
  const float side = std::min(limit, static_cast<float>(rng.uniform(range[0], range[1])));
  const int gap = group.count == 3 && columns == 2 ? static_cast<int>(rng.below(4)) : -1;
  for (int cell = 0; cell < columns * rows; ++cell) {
    if (cell == gap) {
      continue;
    }
    const float play_x = std::min(0.12F, (cell_w - side) / 2);
    const float play_y = std::min(0.12F, (cell_h - side) / 2);
    Placement placement;
    placement.group = index;
    placement.side = side * static_cast<float>(rng.uniform(0.94, 1.0));
    placement.x = box.x + (static_cast<float>(cell % columns) + 0.5F) * cell_w +
                  static_cast<float>(rng.uniform(-play_x, play_x));
    placement.y = box.y + (static_cast<float>(cell / columns) + 0.5F) * cell_h +
                  static_cast<float>(rng.uniform(-play_y, play_y));
    placement.angle = static_cast<float>(rng.uniform(-0.12, 0.12));
    out.push_back(placement);
  }
}

std::vector<Box> boxes_of(const Scene& scene, Rng& rng) {
  constexpr float kMargin = 0.02F;
  constexpr float kInner = 1 - 2 * kMargin;
  if (scene.groups.size() == 1) {
    return {{kMargin, kMargin, kInner, kInner}};
  }
  if (scene.groups.size() == 2) {
    const Box low = scene.relation == Relation::kLeftOf || scene.relation == Relation::kRightOf
                        ? Box{kMargin, kMargin, kInner / 2, kInner}
                        : Box{kMargin, kMargin, kInner, kInner / 2};
    Box high = low;
    (low.w < low.h ? high.x : high.y) = 0.5F;
    const bool first_low =
        scene.relation == Relation::kLeftOf || scene.relation == Relation::kAbove;
    return first_low ? std::vector{low, high} : std::vector{high, low};
  }
  std::vector<Box> quarters;
  for (int i = 0; i < 4; ++i) {
    quarters.push_back(
        {i % 2 == 0 ? kMargin : 0.5F, i < 2 ? kMargin : 0.5F, kInner / 2, kInner / 2});
  }
  for (size_t i = 3; i > 0; --i) {
    std::swap(quarters[i], quarters[rng.below(i + 1)]);
  }
  return quarters;
}

void check_truth(const Scene& scene, int size) {
  TESSERA_CHECK(size >= 8 && size <= 1024, InvalidArgument, "picture size {} is outside 8 to 1024",
                size);
  TESSERA_CHECK(!scene.groups.empty() && scene.groups.size() <= 4, InvalidArgument,
                "a scene has {} groups; expected 1 to 4", scene.groups.size());
  TESSERA_CHECK(scene.background >= 0 && scene.background < kBackgroundCount, InvalidArgument,
                "a scene to draw needs a background, got {}", scene.background);
  const bool related = scene.relation != Relation::kNone && scene.relation != Relation::kNextTo;
  TESSERA_CHECK(scene.groups.size() != 2 || related, InvalidArgument,
                "a scene of two groups needs left, right, above or below to be drawn, got '{}'",
                relation_name(scene.relation));
  for (const Group& group : scene.groups) {
    TESSERA_CHECK(group.kind >= 0 && group.kind < static_cast<int>(object_kinds().size()) &&
                      group.count >= 1 && group.count <= 4,
                  InvalidArgument, "a group to draw needs a kind and a count of 1 to 4, got {}, {}",
                  group.kind, group.count);
    TESSERA_CHECK(!is_shape(group.kind) || group.color, InvalidArgument,
                  "a {} to draw needs a colour", object_kinds()[group.kind].noun);
  }
}

/// Writes `value` where a canvas differs from what it was.
void mark_changes(const Canvas& canvas,
                  const Canvas& before,
                  uint8_t value,
                  std::vector<uint8_t>& marks) {
  for (size_t i = 0; i < marks.size(); ++i) {
    const float* now = &canvas.rgb[3 * i];
    const float* then = &before.rgb[3 * i];
    if (now[0] != then[0] || now[1] != then[1] || now[2] != then[2]) {
      marks[i] = value;
    }
  }
}

/// Half the size by averaging two by two texels inside the rim.
Sprite::Level halve(const Sprite::Level& above) {
  Sprite::Level half((above.width - 2) / 2 + 2, (above.height - 2) / 2 + 2);
  for (int y = 1; y < half.height - 1; ++y) {
    for (int x = 1; x < half.width - 1; ++x) {
      for (int k = 0; k < 4; ++k) {
        const float* top = above.at(2 * x - 1, 2 * y - 1) + k;
        const float* bottom = above.at(2 * x - 1, 2 * y) + k;
        half.at(x, y)[k] = (top[0] + top[4] + bottom[0] + bottom[4]) / 4;
      }
    }
  }
  return half;
}

}  // namespace

std::vector<Placement> place(const Scene& scene, Rng& rng) {
  const std::vector<Box> boxes = boxes_of(scene, rng);
  std::vector<Placement> placements;
  for (size_t i = 0; i < scene.groups.size(); ++i) {
    place_group(scene.groups[i], static_cast<int>(i), boxes[i], scene.groups.size() == 1, rng,
                placements);
  }
  return placements;
}

Sprite decode_sprite(std::string_view png) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  TESSERA_CHECK(png_image_begin_read_from_memory(&image, png.data(), png.size()), CorruptFile,
                "sprite: {}", image.message);
  if (image.width > 512 || image.height > 512) {
    png_image_free(&image);
    throw CorruptFile("sprite is {}x{}; expected at most 512x512", image.width, image.height);
  }
  image.format = PNG_FORMAT_RGBA;
  std::vector<uint8_t> bytes(PNG_IMAGE_SIZE(image));
  TESSERA_CHECK(png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr), CorruptFile,
                "sprite: {}", image.message);
  const int width = static_cast<int>(image.width);
  const int height = static_cast<int>(image.height);
  int x0 = width, x1 = -1, y0 = height, y1 = -1;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      if (bytes[(static_cast<size_t>(y) * width + x) * 4 + 3] > 8) {
        x0 = std::min(x0, x);
        x1 = std::max(x1, x);
        y0 = std::min(y0, y);
        y1 = std::max(y1, y);
      }
    }
  }
  TESSERA_CHECK(x1 >= 0, CorruptFile, "sprite is empty: every pixel is transparent");
  Sprite sprite;
  Sprite::Level& full = sprite.levels.emplace_back(x1 - x0 + 3, y1 - y0 + 3);
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) {
      const uint8_t* pixel = &bytes[(static_cast<size_t>(y) * width + x) * 4];
      const float alpha = static_cast<float>(pixel[3]) / 255.0F;
      float* texel = full.at(x - x0 + 1, y - y0 + 1);
      for (int k = 0; k < 3; ++k) {
        texel[k] = static_cast<float>(pixel[k]) * alpha;
      }
      texel[3] = alpha;
    }
  }
  while (sprite.levels.back().width > 10 && sprite.levels.back().height > 10) {
    sprite.levels.push_back(halve(sprite.levels.back()));
  }
  return sprite;
}

SceneRenderer::SceneRenderer(const std::vector<std::string>& pngs) {
  TESSERA_CHECK(static_cast<int>(pngs.size()) == first_shape(), InvalidArgument,
                "got {} sprites, the world has {} emoji; make the assets again", pngs.size(),
                first_shape());
  for (const std::string& png : pngs) {
    sprites_.push_back(decode_sprite(png));
  }
}

Image SceneRenderer::render(const Scene& scene,
                            int size,
                            uint64_t seed,
                            std::vector<uint8_t>* kinds) const {
  check_truth(scene, size);
  Rng rng(seed, hash_name("scene render"));
  Canvas canvas(size);
  paint_background(canvas, rng, scene.background);
  if (kinds != nullptr) {
    kinds->assign(static_cast<size_t>(size) * size, 0);
  }
  for (const Placement& at : place(scene, rng)) {
    const Group& group = scene.groups[static_cast<size_t>(at.group)];
    const std::optional<Canvas> before = kinds != nullptr ? std::optional(canvas) : std::nullopt;
    if (is_shape(group.kind)) {
      draw_shape(canvas, rng, group, at);
    } else {
      draw_sprite(canvas, sprites_[static_cast<size_t>(group.kind)], at);
    }
    if (before) {
      mark_changes(canvas, *before, static_cast<uint8_t>(group.kind + 1), *kinds);
    }
  }
  Image image{.width = size, .height = size, .channels = 3, .pixels = {}};
  image.pixels.reserve(canvas.rgb.size());
  for (const float value : canvas.rgb) {
    image.pixels.push_back(static_cast<uint8_t>(std::clamp(value + 0.5F, 0.0F, 255.0F)));
  }
  return image;
}

}  // namespace tessera::world
