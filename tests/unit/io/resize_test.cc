// Resizing against Pillow's pixels (tests/parity/images.py), crops, borders and wrong arguments.
#include "io/resize.h"

#include "core/error.h"
#include "io/file.h"
#include "io/json.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

namespace tessera::io {
namespace {

const fs::path kGoldens = fs::path(TESSERA_GOLDENS) / "images";

Image expected_image(const Json& where) {
  static const std::string pixels = read_file(kGoldens / "pixels.bin");
  Image image{where.at("width"), where.at("height"), where.at("channels"), {}};
  const size_t size = static_cast<size_t>(image.width) * static_cast<size_t>(image.height) *
                      static_cast<size_t>(image.channels);
  const std::string part = pixels.substr(where.at("offset"), size);
  image.pixels.assign(part.begin(), part.end());
  return image;
}

// Grey pixels 0, 1, 2, … row by row.
Image counted(int width, int height) {
  Image image{width, height, 1, std::vector<uint8_t>(static_cast<size_t>(width * height))};
  std::iota(image.pixels.begin(), image.pixels.end(), uint8_t{0});
  return image;
}

TEST(Resize, BytesEqualPillow) {
  const Json cases = read_json(kGoldens / "cases.json");
  ASSERT_GE(cases.at("resize").size(), 200U);
  for (const Json& one : cases.at("resize")) {
    const Image want = expected_image(one);
    std::optional<Box> box;
    if (!one.at("box").is_null()) {
      const auto b = one.at("box").get<std::vector<float>>();
      box = Box{b[0], b[1], b[2], b[3]};
    }
    const Image got = resize(expected_image(one.at("source")), want.width, want.height,
                             parse_filter(one.at("filter").get<std::string>()), box);
    EXPECT_EQ(got.width, want.width);
    EXPECT_EQ(got.height, want.height);
    EXPECT_EQ(got.channels, want.channels);
    EXPECT_EQ(got.pixels, want.pixels) << one.dump();
  }
}

TEST(Resize, WrongArgumentsAreRefused) {
  const Image image = counted(4, 3);
  EXPECT_THROW(resize({}, 2, 2, Filter::kBox), InvalidArgument);
  EXPECT_THROW(resize(image, 0, 2, Filter::kBox), InvalidArgument);
  EXPECT_THROW(resize(image, 2, -1, Filter::kBox), InvalidArgument);
  EXPECT_THROW(resize(image, 1 << 15, 1 << 15, Filter::kBox), InvalidArgument);
  EXPECT_THROW(resize(image, 2, 2, Filter::kBox, Box{-1, 0, 2, 2}), InvalidArgument);
  EXPECT_THROW(resize(image, 2, 2, Filter::kBox, Box{0, 0, 4.5F, 2}), InvalidArgument);
  EXPECT_THROW(resize(image, 2, 2, Filter::kBox, Box{2, 0, 2, 2}), InvalidArgument);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(resize(image, 2, 2, Filter::kBox, Box{nan, 0, 2, 2}), InvalidArgument);
  EXPECT_THROW(resize(image, 2, 2, Filter::kNearest, Box{0, 0, nan, 2}), InvalidArgument);
  // A picture between the two passes of 2^16 x 2^16 pixels.
  const Image tall{1, 1 << 16, 1, std::vector<uint8_t>(1 << 16)};
  EXPECT_THROW(resize(tall, 1 << 16, 1, Filter::kBox), InvalidArgument);
}

TEST(Resize, LongRowsKeepTheirMean) {
  // Weights of 2^-20 still add up: 2^20 equal pixels become the same pixel.
  const Image row{1 << 20, 1, 1, std::vector<uint8_t>(1 << 20, 200)};
  EXPECT_EQ(resize(row, 1, 1, Filter::kBox).pixels, std::vector<uint8_t>{200});
}

TEST(Resize, FiltersByNameAndNumber) {
  EXPECT_EQ(parse_filter("lanczos"), Filter::kLanczos);
  EXPECT_EQ(parse_filter("nearest"), Filter::kNearest);
  EXPECT_THROW(parse_filter("Bicubic"), InvalidArgument);
  EXPECT_EQ(filter_by_number(1), Filter::kLanczos);
  EXPECT_EQ(filter_by_number(3), Filter::kBicubic);
  EXPECT_THROW(filter_by_number(6), InvalidArgument);
  EXPECT_THROW(filter_by_number(-1), InvalidArgument);
}

TEST(Resize, ShorterSideTruncatesTheLonger) {
  const Image wide = resize_shorter_side(counted(17, 13), 8, Filter::kBicubic);
  EXPECT_EQ(wide.width, 10);  // int(8 * 17 / 13) = int(10.46)
  EXPECT_EQ(wide.height, 8);
  const Image tall = resize_shorter_side(counted(13, 17), 20, Filter::kNearest);
  EXPECT_EQ(tall.width, 20);
  EXPECT_EQ(tall.height, 26);  // int(26.15)
  EXPECT_THROW(resize_shorter_side(counted(2, 2), 0, Filter::kBox), InvalidArgument);
  EXPECT_THROW(resize_shorter_side(counted(100, 1), 1 << 20, Filter::kBox), InvalidArgument);
}

TEST(Resize, CropTakesTheNamedPixels) {
  EXPECT_EQ(crop(counted(4, 3), 1, 1, 2, 2).pixels, (std::vector<uint8_t>{5, 6, 9, 10}));
  EXPECT_THROW(crop(counted(4, 3), 3, 0, 2, 1), InvalidArgument);
  EXPECT_THROW(crop(counted(4, 3), -1, 0, 2, 1), InvalidArgument);
  EXPECT_THROW(crop(counted(4, 3), 0, 0, std::numeric_limits<int>::max(), 1), InvalidArgument);
}

TEST(Resize, CenterCropRoundsHalvesToEven) {
  // (5 - 4) / 2 = 0.5 starts at 0; (7 - 4) / 2 = 1.5 starts at 2.
  EXPECT_EQ(center_crop(counted(5, 1), 4, 1).pixels, (std::vector<uint8_t>{0, 1, 2, 3}));
  EXPECT_EQ(center_crop(counted(7, 1), 4, 1).pixels, (std::vector<uint8_t>{2, 3, 4, 5}));
  // Too narrow by three: one column of zeros before and two behind.
  EXPECT_EQ(center_crop(Image{1, 1, 1, {9}}, 4, 1).pixels, (std::vector<uint8_t>{0, 9, 0, 0}));
}

TEST(Resize, PadFillsWithTheColour) {
  const Image out = pad(Image{1, 1, 3, {1, 2, 3}}, 1, 0, 0, 1, {7, 8, 9, 0});
  EXPECT_EQ(out.width, 2);
  EXPECT_EQ(out.height, 2);
  EXPECT_EQ(out.pixels, (std::vector<uint8_t>{7, 8, 9, 1, 2, 3, 7, 8, 9, 7, 8, 9}));
  EXPECT_THROW(pad(counted(1, 1), 0, 0, -1, 0), InvalidArgument);
  EXPECT_THROW(pad(counted(1, 1), std::numeric_limits<int>::max(), 0, 1, 0), InvalidArgument);
}

}  // namespace
}  // namespace tessera::io
