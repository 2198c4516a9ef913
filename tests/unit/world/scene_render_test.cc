#include "train/world/scene_render.h"

#include "core/error.h"
#include "io/json.h"
#include "train/world/emoji_font.h"

#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>

#include <cmath>
#include <set>

namespace tessera::world {

constexpr const char* kFont = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";

// A stand-in for every emoji, so that these tests need no font: an opaque 16 x 16 magenta square.
std::string magenta_png() {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = 16;
  image.format = PNG_FORMAT_RGBA;
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 256; ++i) {
    pixels.insert(pixels.end(), {255, 0, 255, 255});
  }
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr);
  std::string png(size, '\0');
  png_image_write_to_memory(&image, png.data(), &size, 0, pixels.data(), 0, nullptr);
  png.resize(size);
  return png;
}

const SceneRenderer& renderer() {
  static const SceneRenderer kRenderer(
      std::vector<std::string>(static_cast<size_t>(first_shape()), magenta_png()));
  return kRenderer;
}

/// Mean position of the pixels that are near a colour, and how many there are.
struct Blob {
  double x = 0, y = 0;
  int pixels = 0;
};
Blob find(const Image& image, int r, int g, int b) {
  Blob blob;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = &image.pixels[(static_cast<size_t>(y) * image.width + x) * 3];
      if (std::abs(p[0] - r) + std::abs(p[1] - g) + std::abs(p[2] - b) < 60) {
        blob.x += x;
        blob.y += y;
        ++blob.pixels;
      }
    }
  }
  blob.x /= std::max(1, blob.pixels);
  blob.y /= std::max(1, blob.pixels);
  return blob;
}

TEST(SceneRender, RelationsCountsAndSizesAreInThePixels) {
  for (const int size : {48, 96, 97}) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      for (int r = 1; r <= 4; ++r) {
        Scene scene{.groups = {{.kind = kind_of("cat")},
                               {.kind = kind_of("square"), .count = 1, .color = Color::kRed}},
                    .relation = static_cast<Relation>(r),
                    .background = kPlaceCount + static_cast<int>(Color::kWhite)};
        const Image image = renderer().render(scene, size, seed);
        const Blob cat = find(image, 255, 0, 255);
        const Blob square = find(image, 222, 40, 40);
        ASSERT_GT(cat.pixels, size * size / 40);
        ASSERT_GT(square.pixels, size * size / 60);
        const double gap = scene.relation == Relation::kLeftOf    ? square.x - cat.x
                           : scene.relation == Relation::kRightOf ? cat.x - square.x
                           : scene.relation == Relation::kAbove   ? square.y - cat.y
                                                                  : cat.y - square.y;
        const double across = scene.relation <= Relation::kRightOf ? std::abs(square.y - cat.y)
                                                                   : std::abs(square.x - cat.x);
        EXPECT_GT(gap, size * 0.3);
        EXPECT_LT(across, size * 0.3);
      }
    }
  }
}

TEST(SceneRender, KindsAreWhereTheObjectsAre) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    const Scene scene = draw_scene(rng, Split::kTrain);
    std::vector<uint8_t> kinds;
    const Image image = renderer().render(scene, 64, seed, &kinds);
    EXPECT_EQ(image.pixels, renderer().render(scene, 64, seed).pixels);
    ASSERT_EQ(kinds.size(), 64U * 64U);
    std::set<int> shown(kinds.begin(), kinds.end());
    EXPECT_EQ(shown.erase(0), 1U);
    std::set<int> said;
    for (const Group& group : scene.groups) {
      said.insert(group.kind + 1);
    }
    EXPECT_EQ(shown, said);
    // Every sprite is magenta here: what is magenta is marked as an emoji.
    for (size_t i = 0; i < kinds.size(); ++i) {
      const uint8_t* p = &image.pixels[3 * i];
      if (p[0] == 255 && p[1] == 0 && p[2] == 255) {
        EXPECT_TRUE(kinds[i] >= 1 && kinds[i] <= first_shape());
      }
    }
  }
}

TEST(SceneRender, SizesAreApart) {
  int areas[3] = {};
  for (int s = 0; s < 3; ++s) {
    Scene scene{.groups = {{.kind = kind_of("cat"), .count = 1, .size = static_cast<Size>(s)}},
                .relation = Relation::kNone,
                .background = kSand};
    areas[s] = find(renderer().render(scene, 96, 3), 255, 0, 255).pixels;
  }
  EXPECT_GT(areas[0], 2 * areas[1]);
  EXPECT_GT(areas[2], 2 * areas[0]);
}

TEST(SceneRender, ObjectsOfAPictureDoNotOverlap) {
  for (uint64_t i = 0; i < 3000; ++i) {
    Rng rng(8, i);
    const Scene scene = draw_scene(rng);
    const std::vector<Placement> placed = place(scene, rng);
    for (size_t a = 0; a < placed.size(); ++a) {
      EXPECT_GE(placed[a].x - placed[a].side / 2, -0.01F);
      EXPECT_LE(placed[a].y + placed[a].side / 2, 1.01F);
      for (size_t b = 0; b < a; ++b) {
        const float reach = (placed[a].side + placed[b].side) / 2 - 0.001F;
        EXPECT_TRUE(std::abs(placed[a].x - placed[b].x) > reach ||
                    std::abs(placed[a].y - placed[b].y) > reach);
      }
    }
  }
}

TEST(SceneRender, SameSeedSamePixels) {
  Rng rng(1);
  const Scene scene = draw_scene(rng);
  EXPECT_EQ(renderer().render(scene, 96, 5).pixels, renderer().render(scene, 96, 5).pixels);
  EXPECT_NE(renderer().render(scene, 96, 5).pixels, renderer().render(scene, 96, 6).pixels);
}

TEST(SceneRender, OpenSlotsAndBadSizesAreErrors) {
  const Scene cat{
      .groups = {{.kind = kind_of("cat")}}, .relation = Relation::kNone, .background = kSea};
  EXPECT_THROW(renderer().render(cat, 4, 0), InvalidArgument);
  EXPECT_THROW(renderer().render(cat, 100000, 0), InvalidArgument);
  Scene open = cat;
  open.background = kUnsaid;
  EXPECT_THROW(renderer().render(open, 96, 0), InvalidArgument);
  open = cat;
  open.groups[0].kind = kind_of("star");
  EXPECT_THROW(renderer().render(open, 96, 0), InvalidArgument);
  open.groups.clear();
  EXPECT_THROW(renderer().render(open, 96, 0), InvalidArgument);
  EXPECT_THROW(SceneRenderer({}), InvalidArgument);
  EXPECT_THROW(decode_sprite("no picture"), CorruptFile);
}

// Oracle: fontTools and the emoji package; tests/parity/emoji_font.py.
TEST(EmojiFont, PicturesEqualFontTools) {
  const io::Json golden = io::read_json(std::string(TESSERA_GOLDENS) + "/world/emoji_font.json");
  ASSERT_EQ(golden.at("pngs").size(), static_cast<size_t>(first_shape()));
  const bool have_font = io::fs::exists(kFont);
  for (int kind = 0; kind < first_shape(); ++kind) {
    const auto& row = golden.at("pngs").at(static_cast<size_t>(kind));
    const ObjectKind& object = object_kinds()[static_cast<size_t>(kind)];
    EXPECT_EQ(object.noun, row.at(0).get<std::string>());
    EXPECT_EQ(static_cast<uint32_t>(object.emoji), row.at(1).get<uint32_t>());
    EXPECT_EQ(object.cldr, row.at(2).get<std::string>());
  }
  ASSERT_TRUE(have_font) << kFont << " is not installed (fonts-noto-color-emoji)";
  const EmojiFont font(kFont);
  for (const auto& row : golden.at("pngs")) {
    const std::string_view png = font.png(row.at(1).get<uint32_t>());
    EXPECT_EQ(png.size(), row.at(3).get<size_t>());
    EXPECT_EQ(crc32(0, reinterpret_cast<const Bytef*>(png.data()), static_cast<uInt>(png.size())),
              row.at(4).get<uint32_t>());
  }
  EXPECT_THROW(font.png(U'\u0416'), NotFound);
}

TEST(EmojiFont, BrokenFontsAreErrors) {
  ASSERT_TRUE(io::fs::exists(kFont)) << kFont << " is not installed (fonts-noto-color-emoji)";
  const std::string whole = io::read_file(kFont);
  const io::fs::path path = io::fs::temp_directory_path() / fmt::format("font-{}.ttf", getpid());
  Rng rng(6);
  for (int i = 0; i < 60; ++i) {
    std::string bytes = whole.substr(0, i < 30 ? rng.below(4000) : 400000);
    for (int k = 0; k < 40 && bytes.size() > 300; ++k) {
      bytes[rng.below(k % 2 == 0 ? 300 : bytes.size())] = static_cast<char>(rng.next());
    }
    io::write_file(path, bytes);
    try {
      const EmojiFont font(path);
      font.png(U'\U0001F431');
    } catch (const Error&) {
      continue;
    }
  }
  io::fs::remove(path);
  EXPECT_THROW(EmojiFont("/nonexistent.ttf"), NotFound);
}

}  // namespace tessera::world
