// Pictures against Pillow's pixels (tests/parity/images.py), and files that are no pictures.
#include "io/image.h"

#include "core/error.h"
#include "io/image_orientation.h"
#include "io/json.h"
#include "unit/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace tessera::io {
namespace {

using testing::HasSubstr;

const fs::path kGoldens = fs::path(TESSERA_GOLDENS) / "images";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Image expected_image(const Json& where) {
  static const std::string pixels = read_file(kGoldens / "pixels.bin");
  Image image{where.at("width"), where.at("height"), where.at("channels"), {}};
  const size_t size = static_cast<size_t>(image.width) * static_cast<size_t>(image.height) *
                      static_cast<size_t>(image.channels);
  const size_t offset = where.at("offset");
  image.pixels.assign(pixels.begin() + static_cast<ptrdiff_t>(offset),
                      pixels.begin() + static_cast<ptrdiff_t>(offset + size));
  return image;
}

void expect_equal(const Image& got, const Image& want, const std::string& what) {
  ASSERT_EQ(got.width, want.width) << what;
  ASSERT_EQ(got.height, want.height) << what;
  ASSERT_EQ(got.channels, want.channels) << what;
  ASSERT_EQ(got.pixels.size(), want.pixels.size()) << what;
  const auto differs = std::mismatch(got.pixels.begin(), got.pixels.end(), want.pixels.begin());
  EXPECT_EQ(differs.first, got.pixels.end())
      << what << ": first difference at byte " << differs.first - got.pixels.begin();
}

// Runs decode_image on bytes that must fail with `Type`; gives the message.
template <class Type>
std::string failure(std::string_view content, const ImageReadOptions& options = {}) {
  try {
    decode_image(bytes_of(content), "picture", options);
  } catch (const Type& error) {
    return error.what();
  } catch (const Error& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

std::string be32(uint32_t value) {
  std::string out(4, '\0');
  for (size_t i = 0; i < 4; ++i) {
    out[i] = static_cast<char>(value >> (24 - 8 * i));
  }
  return out;
}

uint32_t crc_of(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
    }
  }
  return ~crc;
}

// The golden PNG with another width and height in its header.
std::string resized_header(std::string png, uint32_t width, uint32_t height) {
  png.replace(16, 8, be32(width) + be32(height));
  png.replace(29, 4, be32(crc_of(std::string_view(png).substr(12, 17))));
  return png;
}

TEST(Image, PixelsEqualPillow) {
  const Json cases = read_json(kGoldens / "cases.json");
  ASSERT_GE(cases.at("decode").size(), 90U);
  for (const Json& one : cases.at("decode")) {
    const std::string name = one.at("file");
    const ImageReadOptions options{.keep_alpha = one.at("keep_alpha"),
                                   .upright = one.at("upright")};
    expect_equal(read_image(kGoldens / name, options), expected_image(one), one.dump());
  }
}

TEST(Image, NothingReadableIsNamed) {
  EXPECT_THAT(failure<CorruptFile>(""), HasSubstr("picture: the file is empty (0 bytes)"));
  EXPECT_THAT(failure<CorruptFile>("<!DOCTYPE html>\n<html><body>404</body></html>"),
              HasSubstr("expected PNG, JPEG or WebP; found HTML"));
  EXPECT_THAT(failure<CorruptFile>("\xef\xbb\xbf \n<HTML>"), HasSubstr("found HTML"));
  EXPECT_THAT(failure<CorruptFile>("<?xml version='1.0'?><Error/>"), HasSubstr("XML"));
  EXPECT_THAT(failure<Unsupported>("<?xml version='1.0'?><svg/>"), HasSubstr("SVG"));
  EXPECT_THAT(failure<Unsupported>("GIF89a"), HasSubstr("GIF"));
  EXPECT_THAT(failure<Unsupported>(std::string("\0\0\0\x1c", 4) + "ftypavif"), HasSubstr("AVIF"));
  EXPECT_THAT(failure<CorruptFile>("version https://git-lfs.github.com/spec/v1"),
              HasSubstr("Git LFS"));
  EXPECT_THAT(failure<CorruptFile>("\x01\x02"), HasSubstr("found bytes 01 02"));
  EXPECT_THAT(failure<CorruptFile>("RIFF\x04\0\0\0WAVE"), HasSubstr("found bytes 52 49"));
  EXPECT_THROW(read_image(kGoldens / "absent.png"), NotFound);
  EXPECT_THROW(read_image(kGoldens), InvalidArgument);
}

TEST(Image, EveryTruncationIsAnErrorOrTheWholePicture) {
  for (const char* name :
       {"rgb8_interlaced.png", "palette4.png", "baseline_420.jpg", "progressive_444.jpg",
        "cmyk.jpg", "lossy.webp", "lossless_alpha.webp", "animated_part.webp"}) {
    const std::string whole = read_file(kGoldens / name);
    const Image want = decode_image(bytes_of(whole), name);
    for (size_t size = 0; size < whole.size(); ++size) {
      try {
        const Image got = decode_image(bytes_of(std::string_view(whole).substr(0, size)), name);
        EXPECT_EQ(got.pixels, want.pixels) << name << " cut to " << size;
        EXPECT_GE(size + 16, whole.size()) << name;
      } catch (const CorruptFile&) {
      }
    }
  }
}

TEST(Image, TruncationIsNamed) {
  for (const char* name : {"rgb8.png", "baseline_420.jpg", "progressive_444.jpg", "lossy.webp"}) {
    const std::string whole = read_file(kGoldens / name);
    EXPECT_THAT(failure<CorruptFile>(std::string_view(whole).substr(0, whole.size() * 2 / 3)),
                HasSubstr("truncated"));
  }
}

TEST(Image, HugeSizesAreRefusedBeforeAllocation) {
  const std::string png = read_file(kGoldens / "rgb8.png");
  EXPECT_THAT(failure<CorruptFile>(resized_header(png, 16385, 16384)),
              HasSubstr("16385 x 16384 pixels, expected at most 268435456"));
  EXPECT_THAT(failure<CorruptFile>(resized_header(png, 0x7fffffff, 0x7fffffff)),
              HasSubstr("pixels"));
  failure<CorruptFile>(resized_header(png, 0, 1));
  failure<CorruptFile>(resized_header(png, 0xffffffff, 1));

  std::string jpeg = read_file(kGoldens / "baseline_444.jpg");
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  EXPECT_THAT(failure<CorruptFile>(jpeg), HasSubstr("65500 x 65500 pixels"));

  const ImageReadOptions small{.max_pixels = 19 * 11 - 1};
  EXPECT_THAT(failure<CorruptFile>(png, small), HasSubstr("19 x 11"));
  EXPECT_EQ(decode_image(bytes_of(png), "png", {.max_pixels = 19 * 11}).width, 19);
}

TEST(Image, DamageIsAnErrorAndPrintsNothing) {
  std::string png = read_file(kGoldens / "rgb8.png");
  png[png.find("IDAT") + 6] ^= 0x55;
  std::string twelve_bits = read_file(kGoldens / "baseline_444.jpg");
  twelve_bits[twelve_bits.find("\xff\xc0") + 4] = 12;
  std::string webp = read_file(kGoldens / "lossless.webp");
  std::fill(webp.begin() + 25, webp.begin() + 60, '\xff');
  testing::internal::CaptureStderr();
  EXPECT_THAT(failure<CorruptFile>(png), HasSubstr("broken PNG"));
  EXPECT_THAT(failure<Unsupported>(twelve_bits), HasSubstr("precision 12"));
  failure<CorruptFile>(webp);
  failure<CorruptFile>("\xff\xd8\xff\xd9");
  failure<CorruptFile>("\x89PNG\r\n\x1a\n");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Image, DamagedExifIsUpright) {
  EXPECT_EQ(exif_orientation({}), 0);
  EXPECT_EQ(exif_orientation(bytes_of("Exif")), 0);
  EXPECT_EQ(exif_orientation(bytes_of(std::string(64, 'M'))), 0);
  using namespace std::string_literals;
  const std::string head = "II*\0\x08\0\0\0\x01\0"s;
  const std::string entry = "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"s;
  EXPECT_EQ(exif_orientation(bytes_of(head + entry)), 6);
  EXPECT_EQ(exif_orientation(bytes_of("Exif\0\0Exif\0\0"s + head + entry)), 6);
  for (size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(exif_orientation(bytes_of((head + entry).substr(0, size))), 0) << size;
  }
  EXPECT_EQ(exif_orientation(bytes_of("II*\0\xff\xff\xff\xff\x01\0"s + entry)), 0);
  EXPECT_EQ(exif_orientation(bytes_of("II*\0\x08\0\0\0\xff\xff"s + entry)), 6);
  EXPECT_EQ(xmp_orientation("tiff:Orientation tiff:Orientation>8</"), 8);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\""), 0);
  EXPECT_EQ(xmp_orientation("tiff:Orientation=\"9\""), 1);
}

TEST(Image, PngRoundTripIsExact) {
  const fs::path folder = temporary_path("images");
  for (const int channels : {1, 3, 4}) {
    for (const auto& [width, height] : {std::pair(1, 1), std::pair(7, 300), std::pair(129, 2)}) {
      Image image{width, height, channels, {}};
      for (int i = 0; i < width * height * channels; ++i) {
        image.pixels.push_back(static_cast<uint8_t>(i * 37 + i / 11));
      }
      write_png(folder / "round.png", image);
      Image back = read_image(folder / "round.png", {.keep_alpha = channels == 4});
      if (channels == 1) {  // comes back as RGB
        Image grey{width, height, 1, {}};
        for (size_t i = 0; i < back.pixels.size(); i += 3) {
          grey.pixels.push_back(back.pixels[i]);
        }
        back = grey;
      }
      expect_equal(back, image, fmt::format("{} x {} x {}", width, height, channels));
    }
  }
  fs::remove_all(folder);
}

TEST(Image, JpegEqualsPillowAtTheSameQuality) {
  const fs::path path = temporary_path("image.jpg");
  const Json cases = read_json(kGoldens / "cases.json");
  for (const Json& one : cases.at("jpeg")) {
    write_jpeg(path, expected_image(one.at("source")), one.at("quality"));
    expect_equal(read_image(path), expected_image(one), one.dump());
  }
  fs::remove(path);
  const Image rgba{2, 1, 4, {255, 0, 0, 0, 255, 0, 0, 255}};
  const Image red = decode_image(bytes_of(encode_jpeg(rgba, 95)), "jpeg");
  EXPECT_GT(red.pixels[0], 250);  // alpha is dropped
  EXPECT_EQ(red.pixels[0], red.pixels[3]);
}

TEST(Image, WritersCheckTheirInput) {
  const Image image{2, 2, 3, std::vector<uint8_t>(12)};
  EXPECT_THROW(encode_png({}), InvalidArgument);
  EXPECT_THROW(encode_png({2, 2, 2, std::vector<uint8_t>(8)}), InvalidArgument);
  EXPECT_THROW(encode_png({2, 2, 3, std::vector<uint8_t>(11)}), InvalidArgument);
  EXPECT_THROW(encode_png({-2, -2, 3, std::vector<uint8_t>(12)}), InvalidArgument);
  EXPECT_THROW(encode_jpeg(image, 0), InvalidArgument);
  EXPECT_THROW(encode_jpeg(image, 101), InvalidArgument);
  EXPECT_THROW(encode_jpeg({70000, 1, 1, std::vector<uint8_t>(70000)}, 80), InvalidArgument);
  EXPECT_THROW(write_png("/proc/nowhere/x.png", image), Io);
}

}  // namespace
}  // namespace tessera::io
