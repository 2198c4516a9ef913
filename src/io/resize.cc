// Separable resampling as in Pillow (src/libImaging/Resample.c describes the arithmetic): weights
// in double, rounded to 22 fractional bits; the horizontal pass first; each pass rounds and clips
// to 8 bits. Nearest adds up the source position step by step, like Pillow's affine transform.
// Rows are interleaved bytes; a pass writes rows of `out_width * channels` bytes. Crop and shorter
// side follow torchvision. Known differences: none.
#include "io/resize.h"

#include "core/error.h"
#include "io/image_codecs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

namespace tessera::io {
namespace {

constexpr int kWeightBits = 22;
constexpr uint32_t kHalf = 1U << (kWeightBits - 1);
constexpr double kHalfPixel = 0.5;
constexpr int64_t kMaxPixels = int64_t{1} << 28;

double sinc(double x) {
  if (x == 0.0) {
    return 1.0;
  }
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

// Half-width of a filter, in pixels of the result's grid.
double filter_support(Filter filter) {
  switch (filter) {
    case Filter::kNearest:
    case Filter::kBox:
      return 0.5;
    case Filter::kBilinear:
    case Filter::kHamming:
      return 1.0;
    case Filter::kBicubic:
      return 2.0;
    case Filter::kLanczos:
      return 3.0;
  }
  return 0.5;
}

double filter_value(Filter filter, double x) {
  const double distance = std::fabs(x);
  switch (filter) {
    case Filter::kNearest:
    case Filter::kBox:
      return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case Filter::kBilinear:
      return distance < 1.0 ? 1.0 - distance : 0.0;
    case Filter::kHamming:
      // The window's constants are floats in the reference; as doubles they change low bits.
      return distance >= 1.0 ? 0.0
                             : sinc(distance) * (static_cast<double>(0.54F) +
                                                 static_cast<double>(0.46F) *
                                                     std::cos(distance * std::numbers::pi));
    case Filter::kBicubic: {
      constexpr double kA = -0.5;
      if (distance < 1.0) {
        return ((kA + 2.0) * distance - (kA + 3.0)) * distance * distance + 1;
      }
      return distance < 2.0 ? (((distance - 5) * distance + 8) * distance - 4) * kA : 0.0;
    }
    case Filter::kLanczos:
      return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
  }
  return 0.0;
}

// Which source pixels make each pixel of the result along one axis, and their weights.
struct Taps {
  struct Window {
    int first;
    int count;
    size_t weights;  // index of the first weight
  };
  std::vector<Window> windows;
  std::vector<uint32_t> weights;  // two's complement

  int first_source() const { return windows.front().first; }
  int end_source() const { return windows.back().first + windows.back().count; }
};

Taps make_taps(int in_size, float in_begin, float in_end, int out_size, Filter filter) {
  const double scale = static_cast<double>(in_end - in_begin) / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter_support(filter) * filter_scale;
  const double inverse_scale = 1.0 / filter_scale;
  Taps taps;
  taps.windows.reserve(static_cast<size_t>(out_size));
  std::vector<double> row;
  for (int i = 0; i < out_size; ++i) {
    const double center = in_begin + (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + kHalfPixel), 0);
    const int end = std::min(static_cast<int>(center + support + kHalfPixel), in_size);
    const int count = std::max(end - first, 0);
    row.clear();
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      row.push_back(filter_value(filter, (k + first - center + 0.5) * inverse_scale));
      sum += row.back();
    }
    taps.windows.push_back({first, count, taps.weights.size()});
    for (const double weight : row) {
      const double scaled = (sum != 0.0 ? weight / sum : weight) * (1 << kWeightBits);
      const auto rounded = static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
      taps.weights.push_back(static_cast<uint32_t>(rounded));
    }
  }
  return taps;
}

// Sums are kept unsigned: rounded weights of a million taps may wrap, which is then defined.
uint8_t to_byte(uint32_t sum) {
  return static_cast<uint8_t>(std::clamp(static_cast<int32_t>(sum) >> kWeightBits, 0, 255));
}

template <int kChannels>
void resample_row(const uint8_t* in, const Taps& taps, uint8_t* out) {
  for (const Taps::Window& window : taps.windows) {
    const uint8_t* from = in + static_cast<ptrdiff_t>(window.first) * kChannels;
    const uint32_t* weights = taps.weights.data() + window.weights;
    uint32_t sums[kChannels];
    std::fill_n(sums, kChannels, kHalf);
    for (int k = 0; k < window.count; ++k, from += kChannels) {
      for (int c = 0; c < kChannels; ++c) {
        sums[c] += from[c] * weights[k];
      }
    }
    for (int c = 0; c < kChannels; ++c) {
      *out++ = to_byte(sums[c]);
    }
  }
}

// Rows [first, end) of `image` at the new width.
Image resample_columns(const Image& image, const Taps& taps, int first, int end) {
  Image out{static_cast<int>(taps.windows.size()), end - first, image.channels, {}};
  const auto channels = static_cast<size_t>(image.channels);
  const size_t in_stride = static_cast<size_t>(image.width) * channels;
  const size_t out_stride = static_cast<size_t>(out.width) * channels;
  out.pixels.resize(out_stride * static_cast<size_t>(out.height));
  const auto row = channels == 1   ? &resample_row<1>
                   : channels == 3 ? &resample_row<3>
                                   : &resample_row<4>;
  for (int y = first; y < end; ++y) {
    row(image.pixels.data() + static_cast<size_t>(y) * in_stride, taps,
        out.pixels.data() + static_cast<size_t>(y - first) * out_stride);
  }
  return out;
}

// `image` starts at row `offset` of the picture that the taps count in.
Image resample_rows(const Image& image, const Taps& taps, int offset) {
  Image out{image.width, static_cast<int>(taps.windows.size()), image.channels, {}};
  const size_t stride = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  out.pixels.resize(stride * static_cast<size_t>(out.height));
  std::vector<uint32_t> sums(stride);
  uint8_t* to = out.pixels.data();
  for (const Taps::Window& window : taps.windows) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int k = 0; k < window.count; ++k) {
      const uint32_t weight = taps.weights[window.weights + static_cast<size_t>(k)];
      const uint8_t* from =
          image.pixels.data() + static_cast<size_t>(window.first - offset + k) * stride;
      uint32_t* sum = sums.data();
      for (size_t i = 0; i < stride; ++i) {
        sum[i] += from[i] * weight;
      }
    }
    for (size_t i = 0; i < stride; ++i) {
      to[i] = to_byte(sums[i]);
    }
    to += stride;
  }
  return out;
}

bool whole_axis(int in_size, float begin, float end, int out_size) {
  return out_size == in_size && begin == 0 && end == static_cast<float>(in_size);
}

Image resample(const Image& image, int width, int height, Filter filter, const Box& box) {
  const bool horizontal = !whole_axis(image.width, box.left, box.right, width);
  const bool vertical = !whole_axis(image.height, box.top, box.bottom, height);
  if (!vertical) {
    return resample_columns(image, make_taps(image.width, box.left, box.right, width, filter), 0,
                            image.height);
  }
  const Taps rows = make_taps(image.height, box.top, box.bottom, height, filter);
  if (!horizontal) {
    return resample_rows(image, rows, 0);
  }
  const int64_t used = rows.end_source() - rows.first_source();
  TESSERA_CHECK(
      used * width <= 4 * kMaxPixels, InvalidArgument,
      "resize: {} x {} pixels to {} x {} needs an intermediate picture of {} x {}: resize "
      "in two steps",
      image.width, image.height, width, height, width, used);
  const Taps columns = make_taps(image.width, box.left, box.right, width, filter);
  const Image narrow = resample_columns(image, columns, rows.first_source(), rows.end_source());
  return resample_rows(narrow, rows, rows.first_source());
}

// Source positions of each pixel of the result along one axis.
std::vector<int> nearest_positions(int in_size, float begin, float end, int out_size) {
  const double step = static_cast<double>(end - begin) / out_size;
  double at = begin + step * 0.5;
  std::vector<int> positions(static_cast<size_t>(out_size));
  for (int& position : positions) {
    position = std::min(static_cast<int>(at), in_size - 1);
    at += step;
  }
  return positions;
}

Image nearest(const Image& image, int width, int height, const Box& box) {
  const std::vector<int> columns = nearest_positions(image.width, box.left, box.right, width);
  const std::vector<int> rows = nearest_positions(image.height, box.top, box.bottom, height);
  const auto channels = static_cast<size_t>(image.channels);
  Image out{width, height, image.channels, {}};
  out.pixels.resize(columns.size() * rows.size() * channels);
  uint8_t* to = out.pixels.data();
  for (const int y : rows) {
    const uint8_t* row =
        image.pixels.data() + static_cast<size_t>(y) * static_cast<size_t>(image.width) * channels;
    for (const int x : columns) {
      std::memcpy(to, row + static_cast<size_t>(x) * channels, channels);
      to += channels;
    }
  }
  return out;
}

Image premultiplied(Image image) {
  for (size_t i = 0; i < image.pixels.size(); i += 4) {
    const int alpha = image.pixels[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int product = image.pixels[i + c] * alpha + 128;
      image.pixels[i + c] = static_cast<uint8_t>((product + (product >> 8)) >> 8);
    }
  }
  return image;
}

Image unpremultiplied(Image image) {
  for (size_t i = 0; i < image.pixels.size(); i += 4) {
    const int alpha = image.pixels[i + 3];
    if (alpha == 0 || alpha == 255) {
      continue;
    }
    for (size_t c = 0; c < 3; ++c) {
      image.pixels[i + c] = static_cast<uint8_t>(std::min(255 * image.pixels[i + c] / alpha, 255));
    }
  }
  return image;
}

bool is_whole_number(float value) {
  return value == std::trunc(value);
}

void check_box(const Image& image, const Box& box) {
  // Written so that NaN is refused.
  TESSERA_CHECK(box.left >= 0 && box.top >= 0 && box.right <= static_cast<float>(image.width) &&
                    box.bottom <= static_cast<float>(image.height) && box.left < box.right &&
                    box.top < box.bottom,
                InvalidArgument, "resize: box ({}, {}, {}, {}), expected a part of {} x {} pixels",
                box.left, box.top, box.right, box.bottom, image.width, image.height);
}

void check_size(int64_t width, int64_t height, std::string_view user) {
  TESSERA_CHECK(width > 0 && height > 0 && width <= kMaxPixels && height <= kMaxPixels / width,
                InvalidArgument, "{}: {} x {} pixels, expected at least 1 x 1 and at most 2^28",
                user, width, height);
}

// Python's int(round(excess / 2)): halves go to the even number.
int half_to_even(int excess) {
  const int half = excess / 2;
  return excess % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

}  // namespace

Filter parse_filter(std::string_view name) {
  constexpr std::string_view kNames[] = {"nearest", "box",     "bilinear",
                                         "hamming", "bicubic", "lanczos"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  TESSERA_CHECK(
      found != std::end(kNames), InvalidArgument,
      "resampling filter '{}', expected nearest, box, bilinear, hamming, bicubic or lanczos", name);
  return static_cast<Filter>(found - std::begin(kNames));
}

Filter filter_by_number(int64_t number) {
  constexpr Filter kNumbers[] = {Filter::kNearest, Filter::kLanczos, Filter::kBilinear,
                                 Filter::kBicubic, Filter::kBox,     Filter::kHamming};
  TESSERA_CHECK(number >= 0 && number < 6, InvalidArgument,
                "resampling filter number {}, expected 0 to 5 (Pillow's numbers)", number);
  return kNumbers[number];
}

Image resize(
    const Image& image, int width, int height, Filter filter, const std::optional<Box>& box) {
  check_image(image, "resize");
  check_size(width, height, "resize");
  const Box all{0, 0, static_cast<float>(image.width), static_cast<float>(image.height)};
  const Box part = box.value_or(all);
  check_box(image, part);
  if (whole_axis(image.width, part.left, part.right, width) &&
      whole_axis(image.height, part.top, part.bottom, height)) {
    return image;
  }
  const bool weighted = image.channels == 4 && filter != Filter::kNearest;
  Image copy;
  if (weighted) {
    copy = premultiplied(image);
  }
  const Image& source = weighted ? copy : image;
  Image out;
  if (is_whole_number(part.left) && is_whole_number(part.top) &&
      part.right - part.left == static_cast<float>(width) &&
      part.bottom - part.top == static_cast<float>(height)) {
    out = crop(source, static_cast<int>(part.left), static_cast<int>(part.top), width, height);
  } else if (filter == Filter::kNearest) {
    out = nearest(source, width, height, part);
  } else {
    out = resample(source, width, height, filter, part);
  }
  return weighted ? unpremultiplied(std::move(out)) : out;
}

Image resize_shorter_side(const Image& image, int side, Filter filter) {
  check_image(image, "resize_shorter_side");
  const int64_t shorter = std::min(image.width, image.height);
  const int64_t longer = std::max(image.width, image.height);
  const int64_t other = side * longer / shorter;
  check_size(side, other, "resize_shorter_side");
  const bool wide = image.width >= image.height;
  return resize(image, wide ? static_cast<int>(other) : side, wide ? side : static_cast<int>(other),
                filter);
}

Image crop(const Image& image, int left, int top, int width, int height) {
  check_image(image, "crop");
  TESSERA_CHECK(left >= 0 && top >= 0 && width > 0 && height > 0 && left < image.width &&
                    top < image.height && width <= image.width - left &&
                    height <= image.height - top,
                InvalidArgument, "crop: {} x {} pixels at ({}, {}), expected a part of {} x {}",
                width, height, left, top, image.width, image.height);
  const auto channels = static_cast<size_t>(image.channels);
  const size_t row_bytes = static_cast<size_t>(width) * channels;
  Image out{width, height, image.channels, {}};
  out.pixels.resize(row_bytes * static_cast<size_t>(height));
  const size_t stride = static_cast<size_t>(image.width) * channels;
  const uint8_t* from = image.pixels.data() + static_cast<size_t>(top) * stride +
                        static_cast<size_t>(left) * channels;
  for (size_t y = 0; y < static_cast<size_t>(height); ++y) {
    std::memcpy(out.pixels.data() + y * row_bytes, from + y * stride, row_bytes);
  }
  return out;
}

Image center_crop(const Image& image, int width, int height) {
  check_image(image, "center_crop");
  check_size(width, height, "center_crop");
  const int missing_x = std::max(width - image.width, 0);
  const int missing_y = std::max(height - image.height, 0);
  if (missing_x > 0 || missing_y > 0) {
    const Image padded = pad(image, missing_x / 2, missing_y / 2, missing_x - missing_x / 2,
                             missing_y - missing_y / 2);
    return center_crop(padded, width, height);
  }
  return crop(image, half_to_even(image.width - width), half_to_even(image.height - height), width,
              height);
}

Image pad(const Image& image,
          int left,
          int top,
          int right,
          int bottom,
          const std::array<uint8_t, 4>& fill) {
  check_image(image, "pad");
  TESSERA_CHECK(left >= 0 && top >= 0 && right >= 0 && bottom >= 0, InvalidArgument,
                "pad: borders {}, {}, {}, {}, expected no negative one", left, top, right, bottom);
  const int64_t width = int64_t{image.width} + left + right;
  const int64_t height = int64_t{image.height} + top + bottom;
  check_size(width, height, "pad");
  const auto channels = static_cast<size_t>(image.channels);
  Image out{static_cast<int>(width), static_cast<int>(height), image.channels, {}};
  out.pixels.resize(static_cast<size_t>(width * height) * channels);
  for (size_t i = 0; i < out.pixels.size(); i += channels) {
    std::copy_n(fill.begin(), channels, out.pixels.begin() + static_cast<ptrdiff_t>(i));
  }
  const size_t in_row = static_cast<size_t>(image.width) * channels;
  const size_t out_row = static_cast<size_t>(width) * channels;
  uint8_t* to =
      out.pixels.data() + static_cast<size_t>(top) * out_row + static_cast<size_t>(left) * channels;
  for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) {
    std::memcpy(to + y * out_row, image.pixels.data() + y * in_row, in_row);
  }
  return out;
}

}  // namespace tessera::io
