// JPEG by libjpeg-turbo with its defaults (accurate integer DCT, smooth chroma upsampling), as
// Pillow uses it. Four-channel files are taken as Adobe writes them, inverted CMYK, whatever their
// markers say. Damage inside the entropy-coded data is passed over with what the decoder makes of
// it; data that end before the last row are an error. Known difference from Pillow 12: lossless
// JPEG is not read (libjpeg-turbo 2).
#include "core/error.h"
#include "io/image_codecs.h"
#include "io/image_orientation.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// jpeglib.h uses FILE without including <cstdio>.
#include <jerror.h>
#include <jpeglib.h>

namespace tessera::io {
namespace {

// Ordinary progressive files have about ten scans; each costs a pass over the whole picture.
constexpr int kMaxScans = 500;

// libjpeg's error handler. Errors leave libjpeg by longjmp to the setjmp of the caller.
struct ErrorHandler {
  jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr jpeg) {
  auto* handler = reinterpret_cast<ErrorHandler*>(jpeg->err);
  jpeg->err->format_message(jpeg, handler->message);
  std::longjmp(handler->back, 1);
}

void on_message(j_common_ptr) {}

void on_warning(j_common_ptr, int) {}

void install(ErrorHandler* handler) {
  jpeg_std_error(&handler->base);
  handler->base.error_exit = &on_error;
  handler->base.output_message = &on_message;
  handler->base.emit_message = &on_warning;
}

// Owner of the decoder. A step given to guarded() must own nothing, since an error skips its
// destructors.
class JpegReader {
 public:
  JpegReader(ImageBytes bytes, std::string_view source) : bytes_(bytes), source_(source) {
    install(&handler_);
    jpeg_.err = &handler_.base;
    guarded([this] { jpeg_create_decompress(&jpeg_); });
    jpeg_.progress = &progress_;
    progress_.progress_monitor = &on_progress;
    jpeg_.src = &input_;
    input_.init_source = [](j_decompress_ptr) {};
    input_.term_source = [](j_decompress_ptr) {};
    input_.resync_to_restart = &jpeg_resync_to_restart;
    input_.fill_input_buffer = [](j_decompress_ptr jpeg) -> boolean {
      ERREXIT(jpeg, JERR_INPUT_EOF);
      return FALSE;
    };
    input_.skip_input_data = &skip;
    input_.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    input_.bytes_in_buffer = bytes.size();
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Image read(const ImageReadOptions& options);
  int orientation() const;

 private:
  template <class Step>
  void guarded(const Step& step) {
    if (setjmp(handler_.back) != 0) {
      throw_broken();
    }
    step();
  }

  [[noreturn]] void throw_broken() const {
    const int code = handler_.base.msg_code;
    if (code == JERR_INPUT_EOF) {
      throw CorruptFile("{}: the JPEG is truncated: {} bytes end before the last row", source_,
                        bytes_.size());
    }
    TESSERA_CHECK(code != JERR_SOF_UNSUPPORTED && code != JERR_BAD_PRECISION, Unsupported,
                  "{}: {}; expected an 8-bit baseline or progressive JPEG", source_,
                  handler_.message);
    throw CorruptFile("{}: broken JPEG: {}; expected a complete JPEG file", source_,
                      handler_.message);
  }

  static void skip(j_decompress_ptr jpeg, long count) {
    if (count <= 0) {
      return;
    }
    if (static_cast<size_t>(count) > jpeg->src->bytes_in_buffer) {
      ERREXIT(jpeg, JERR_INPUT_EOF);
    }
    jpeg->src->next_input_byte += count;
    jpeg->src->bytes_in_buffer -= static_cast<size_t>(count);
  }
  static void on_progress(j_common_ptr common) {
    auto* jpeg = reinterpret_cast<j_decompress_ptr>(common);
    if (jpeg->input_scan_number > kMaxScans) {
      ERREXIT(jpeg, JERR_BAD_PROGRESSION);
    }
  }

  void read_rows(uint8_t* to, size_t row_bytes) {
    guarded([this, to, row_bytes] {
      jpeg_start_decompress(&jpeg_);
      while (jpeg_.output_scanline < jpeg_.output_height) {
        JSAMPROW row = to + jpeg_.output_scanline * row_bytes;
        jpeg_read_scanlines(&jpeg_, &row, 1);
      }
    });
  }

  ImageBytes bytes_;
  std::string_view source_;
  jpeg_decompress_struct jpeg_{};
  jpeg_source_mgr input_{};
  jpeg_progress_mgr progress_{};
  ErrorHandler handler_{};
};

// a * b / 255, rounded.
int multiply_255(int a, int b) {
  const int product = a * b + 128;
  return (product + (product >> 8)) >> 8;
}

// Inverted CMYK (255 is no ink) to RGB: the black part is taken off each colour.
void cmyk_to_rgb(const std::vector<uint8_t>& cmyk, Image* image) {
  uint8_t* to = image->pixels.data();
  for (size_t i = 0; i + 3 < cmyk.size(); i += 4) {
    const int light = cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) {
      *to++ = static_cast<uint8_t>(light - multiply_255(255 - cmyk[i + c], light));
    }
    if (image->channels == 4) {
      *to++ = 255;
    }
  }
}

Image JpegReader::read(const ImageReadOptions& options) {
  guarded([this] {
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg_, TRUE);
  });
  const int components = jpeg_.num_components;
  TESSERA_CHECK(components == 1 || components == 3 || components == 4, Unsupported,
                "{}: a JPEG with {} colour components, expected 1, 3 or 4", source_, components);
  Image image = new_image(jpeg_.image_width, jpeg_.image_height, source_, options);
  const size_t width = jpeg_.image_width;
  if (components == 4) {
    jpeg_.out_color_space = JCS_CMYK;
    std::vector<uint8_t> cmyk(4 * width * jpeg_.image_height);
    read_rows(cmyk.data(), 4 * width);
    cmyk_to_rgb(cmyk, &image);
  } else {
    jpeg_.out_color_space = options.keep_alpha ? JCS_EXT_RGBA : JCS_EXT_RGB;
    read_rows(image.pixels.data(), width * static_cast<size_t>(image.channels));
  }
  return image;
}

int JpegReader::orientation() const {
  using namespace std::string_view_literals;
  constexpr auto kExif = "Exif\0\0"sv;
  constexpr auto kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  std::string exif;  // a block of more than 64 KiB goes on in further markers
  std::string_view xmp;
  for (const jpeg_marker_struct* m = jpeg_.marker_list; m != nullptr; m = m->next) {
    const std::string_view data(reinterpret_cast<const char*>(m->data), m->data_length);
    if (data.starts_with(kExif)) {
      exif += data.substr(kExif.size());
    } else if (data.starts_with(kXmp)) {
      xmp = data.substr(kXmp.size());
    }
  }
  const int by_exif = exif_orientation(std::as_bytes(std::span(exif)));
  const int by_xmp = by_exif != 0 ? 0 : xmp_orientation(xmp);
  return by_exif != 0 ? by_exif : by_xmp != 0 ? by_xmp : 1;
}

// Owner of the encoder and of the memory that libjpeg allocates for the file.
class JpegWriter {
 public:
  JpegWriter() {
    install(&handler_);
    jpeg_.err = &handler_.base;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&jpeg_);
    std::free(content_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  std::string write(const Image& image, int quality) {
    if (setjmp(handler_.back) != 0) {
      throw InvalidArgument("a JPEG of {} x {} pixels cannot be written: {}", image.width,
                            image.height, handler_.message);
    }
    jpeg_create_compress(&jpeg_);
    jpeg_mem_dest(&jpeg_, &content_, &size_);
    jpeg_.image_width = static_cast<JDIMENSION>(image.width);
    jpeg_.image_height = static_cast<JDIMENSION>(image.height);
    jpeg_.input_components = image.channels;
    jpeg_.in_color_space = image.channels == 1   ? JCS_GRAYSCALE
                           : image.channels == 3 ? JCS_EXT_RGB
                                                 : JCS_EXT_RGBX;
    jpeg_set_defaults(&jpeg_);
    jpeg_set_quality(&jpeg_, quality, TRUE);
    jpeg_start_compress(&jpeg_, TRUE);
    const size_t row_bytes = image.pixels.size() / static_cast<size_t>(image.height);
    while (jpeg_.next_scanline < jpeg_.image_height) {
      // libjpeg's interface has no const; the row is only read. NOLINTNEXTLINE(*-const-cast)
      auto* row = const_cast<JSAMPROW>(image.pixels.data() + jpeg_.next_scanline * row_bytes);
      jpeg_write_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_compress(&jpeg_);
    return std::string(reinterpret_cast<const char*>(content_), size_);
  }

 private:
  jpeg_compress_struct jpeg_{};
  ErrorHandler handler_{};
  unsigned char* content_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace

DecodedImage decode_jpeg(ImageBytes bytes,
                         std::string_view source,
                         const ImageReadOptions& options) {
  JpegReader reader(bytes, source);
  DecodedImage out;
  out.image = reader.read(options);
  out.orientation = reader.orientation();
  return out;
}

std::string encode_jpeg(const Image& image, int quality) {
  check_image(image, "encode_jpeg");
  TESSERA_CHECK(quality >= 1 && quality <= 100, InvalidArgument,
                "encode_jpeg: quality {}, expected 1 to 100", quality);
  return JpegWriter().write(image, quality);
}

}  // namespace tessera::io
