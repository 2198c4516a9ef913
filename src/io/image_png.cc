// PNG by libpng. Rows are read as 8-bit RGB or RGBA, except indexed and 16-bit grey pictures,
// which are expanded here as Pillow does: an index beyond the palette is black, and 16-bit grey is
// clipped at 255 (not scaled) while 16-bit colour keeps the high byte. No gamma, profile or
// background is applied. Known differences from Pillow: a wrong or missing checksum in the pixel
// data is an error; a tRNS colour key is compared at the file's own depth, as the PNG specification
// says; EXIF in the text chunk "Raw profile type exif" is not read.
#include "core/error.h"
#include "io/image_codecs.h"
#include "io/image_orientation.h"

#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

namespace tessera::io {
namespace {

uint32_t big_endian32(const std::byte* p) {
  return std::to_integer<uint32_t>(p[0]) << 24 | std::to_integer<uint32_t>(p[1]) << 16 |
         std::to_integer<uint32_t>(p[2]) << 8 | std::to_integer<uint32_t>(p[3]);
}

// The XMP packet of an iTXt chunk; empty when it is another text or compressed.
std::string_view xmp_of_text(std::string_view chunk) {
  using namespace std::string_view_literals;
  constexpr auto kKeyword = "XML:com.adobe.xmp\0\0"sv;  // keyword, end, compression flag 0
  return chunk.starts_with(kKeyword) ? chunk.substr(kKeyword.size()) : std::string_view();
}

// libpng drops an eXIf chunk behind the pixels unless the whole file is read, so the chunks are
// walked here.
int orientation_of_png(ImageBytes bytes) {
  int exif = 0;
  int xmp = 0;
  for (size_t at = 8; bytes.size() - at >= 12;) {
    const size_t length = big_endian32(bytes.data() + at);
    if (length > bytes.size() - at - 12) {
      break;
    }
    const ImageBytes data = bytes.subspan(at + 8, length);
    const std::string_view type(reinterpret_cast<const char*>(bytes.data()) + at + 4, 4);
    if (type == "eXIf") {
      exif = exif_orientation(data);
    } else if (type == "iTXt") {
      const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
      const int found = xmp_orientation(xmp_of_text(text));
      xmp = found != 0 ? found : xmp;
    }
    at += length + 12;
  }
  return exif != 0 ? exif : xmp != 0 ? xmp : 1;
}

// Owner of libpng's state. Errors leave libpng by longjmp to guarded(), which throws; a step given
// to guarded() must own nothing, since its destructors would be skipped.
class PngReader {
 public:
  PngReader(ImageBytes bytes, std::string_view source) : bytes_(bytes), source_(source) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &on_error, &on_warning);
    info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw OutOfMemory("{}: no memory for the PNG decoder", source);
    }
    png_set_read_fn(png_, this, &on_read);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Image read(const ImageReadOptions& options);

 private:
  enum class Layout { kDirect, kIndexed, kGrey16 };

  template <class Step>
  void guarded(const Step& step) {
    if (setjmp(png_jmpbuf(png_)) != 0) {
      throw CorruptFile("{}: broken PNG: {}; expected a complete PNG file", source_, message_);
    }
    step();
  }

  static void on_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof(self->message_), "%s", message);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep to, size_t size) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (self->bytes_.size() - self->at_ < size) {
      png_error(png, "the file is truncated");
    }
    std::memcpy(to, self->bytes_.data() + self->at_, size);
    self->at_ += size;
  }

  void read_header();
  Layout choose_transforms(bool keep_alpha);
  void read_rows(uint8_t* to, size_t row_bytes);
  void expand_indexed(const std::vector<uint8_t>& indices, Image* image) const;
  void expand_grey16(const std::vector<uint8_t>& samples, Image* image) const;

  ImageBytes bytes_;
  std::string_view source_;
  size_t at_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[256] = "";
};

void PngReader::read_header() {
  guarded([this] {
    // Sizes are checked by new_image(), with a better message.
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    // Of the ancillary chunks only tRNS is needed.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
  });
}

PngReader::Layout PngReader::choose_transforms(bool keep_alpha) {
  auto layout = Layout::kDirect;
  guarded([this, keep_alpha, &layout] {
    const int type = png_get_color_type(png_, info_);
    const int depth = png_get_bit_depth(png_, info_);
    if (type == PNG_COLOR_TYPE_PALETTE) {
      layout = Layout::kIndexed;
      png_set_packing(png_);
    } else if (type == PNG_COLOR_TYPE_GRAY && depth == 16) {
      layout = Layout::kGrey16;
    } else {
      if (type == PNG_COLOR_TYPE_GRAY) {
        png_set_expand_gray_1_2_4_to_8(png_);
      }
      png_set_strip_16(png_);
      png_set_gray_to_rgb(png_);
      if (!keep_alpha) {
        png_set_strip_alpha(png_);
      } else {
        png_set_tRNS_to_alpha(png_);
        png_set_add_alpha(png_, 0xff, PNG_FILLER_AFTER);
      }
    }
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  });
  return layout;
}

void PngReader::read_rows(uint8_t* to, size_t row_bytes) {
  TESSERA_CHECK(png_get_rowbytes(png_, info_) == row_bytes, Internal,
                "{}: PNG rows of {} bytes, expected {}", source_, png_get_rowbytes(png_, info_),
                row_bytes);
  guarded([this, to, row_bytes] {
    const int passes = png_get_interlace_type(png_, info_) == PNG_INTERLACE_NONE ? 1 : 7;
    const size_t height = png_get_image_height(png_, info_);
    for (int pass = 0; pass < passes; ++pass) {
      for (size_t y = 0; y < height; ++y) {
        png_read_row(png_, to + y * row_bytes, nullptr);
      }
    }
  });
}

void PngReader::expand_indexed(const std::vector<uint8_t>& indices, Image* image) const {
  uint8_t table[256][4] = {};
  for (auto& entry : table) {
    entry[3] = 255;
  }
  png_colorp palette = nullptr;
  int entries = 0;
  png_get_PLTE(png_, info_, &palette, &entries);
  for (int i = 0; i < entries && i < 256; ++i) {
    table[i][0] = palette[i].red;
    table[i][1] = palette[i].green;
    table[i][2] = palette[i].blue;
  }
  png_bytep alpha = nullptr;
  int alphas = 0;
  png_get_tRNS(png_, info_, &alpha, &alphas, nullptr);
  for (int i = 0; alpha != nullptr && i < alphas && i < 256; ++i) {
    table[i][3] = alpha[i];
  }
  const auto channels = static_cast<size_t>(image->channels);
  uint8_t* to = image->pixels.data();
  for (const uint8_t index : indices) {
    std::memcpy(to, table[index], channels);
    to += channels;
  }
}

void PngReader::expand_grey16(const std::vector<uint8_t>& samples, Image* image) const {
  png_color_16p key = nullptr;
  const bool keyed = png_get_tRNS(png_, info_, nullptr, nullptr, &key) != 0 && key != nullptr;
  uint8_t* to = image->pixels.data();
  for (size_t i = 0; i + 1 < samples.size(); i += 2) {
    const uint8_t value = samples[i] == 0 ? samples[i + 1] : 255;
    *to++ = value;
    *to++ = value;
    *to++ = value;
    if (image->channels == 4) {
      *to++ = keyed && key->gray == (samples[i] << 8 | samples[i + 1]) ? 0 : 255;
    }
  }
}

Image PngReader::read(const ImageReadOptions& options) {
  read_header();
  const size_t width = png_get_image_width(png_, info_);
  const size_t height = png_get_image_height(png_, info_);
  Image image = new_image(width, height, source_, options);
  const Layout layout = choose_transforms(options.keep_alpha);
  if (layout == Layout::kDirect) {
    read_rows(image.pixels.data(), width * static_cast<size_t>(image.channels));
    return image;
  }
  const size_t row_bytes = layout == Layout::kIndexed ? width : 2 * width;
  std::vector<uint8_t> raw(row_bytes * height);
  read_rows(raw.data(), row_bytes);
  if (layout == Layout::kIndexed) {
    expand_indexed(raw, &image);
  } else {
    expand_grey16(raw, &image);
  }
  return image;
}

// Owner of libpng's writing state; errors as in PngReader.
class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, &on_error, &on_warning);
    info_ = png_ != nullptr ? png_create_info_struct(png_) : nullptr;
    if (info_ == nullptr) {
      png_destroy_write_struct(&png_, nullptr);
      throw OutOfMemory("no memory for the PNG encoder");
    }
    png_set_write_fn(png_, this, &on_write, nullptr);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  std::string write(const Image& image) {
    if (setjmp(png_jmpbuf(png_)) != 0) {
      throw InvalidArgument("a PNG of {} x {} pixels cannot be written: {}", image.width,
                            image.height, message_);
    }
    const int type = image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                     : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                           : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8, type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    const size_t row_bytes = image.pixels.size() / static_cast<size_t>(image.height);
    for (size_t y = 0; y < static_cast<size_t>(image.height); ++y) {
      png_write_row(png_, image.pixels.data() + y * row_bytes);
    }
    png_write_end(png_, nullptr);
    return std::move(content_);
  }

 private:
  static void on_error(png_structp png, png_const_charp message) {
    auto* self = static_cast<PngWriter*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof(self->message_), "%s", message);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_write(png_structp png, png_bytep data, size_t size) {
    auto* self = static_cast<PngWriter*>(png_get_io_ptr(png));
    bool appended = true;
    // No exception may pass through libpng.
    try {
      self->content_.append(reinterpret_cast<const char*>(data), size);
    } catch (const std::exception&) {
      appended = false;
    }
    if (!appended) {
      png_error(png, "out of memory");
    }
  }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::string content_;
  char message_[256] = "";
};

}  // namespace

DecodedImage decode_png(ImageBytes bytes,
                        std::string_view source,
                        const ImageReadOptions& options) {
  DecodedImage out;
  out.image = PngReader(bytes, source).read(options);
  out.orientation = orientation_of_png(bytes);
  return out;
}

std::string encode_png(const Image& image) {
  check_image(image, "encode_png");
  return PngWriter().write(image);
}

}  // namespace tessera::io
