// WebP by libwebp: lossy, lossless, with or without alpha. Of an animation the first picture is
// taken, on a transparent black canvas when it covers only a part of it (as WebPAnimDecoder and
// Pillow do; the background colour of the file is ignored).
#include "core/error.h"
#include "io/image_codecs.h"
#include "io/image_orientation.h"

#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

namespace tessera::io {
namespace {

struct DemuxerDelete {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
using Demuxer = std::unique_ptr<WebPDemuxer, DemuxerDelete>;

Demuxer open_webp(ImageBytes bytes, std::string_view source) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  Demuxer demuxer(WebPDemuxPartial(&data, &state));
  TESSERA_CHECK(state != WEBP_DEMUX_PARSING_HEADER && state != WEBP_DEMUX_PARSED_HEADER,
                CorruptFile, "{}: the WebP is truncated: {} bytes end before the picture does",
                source, bytes.size());
  TESSERA_CHECK(demuxer != nullptr && state == WEBP_DEMUX_DONE, CorruptFile,
                "{}: broken WebP: its chunks contradict each other", source);
  return demuxer;
}

// First chunk of a type, empty when there is none.
ImageBytes find_chunk(const Demuxer& demuxer, const char* type) {
  WebPChunkIterator it{};
  ImageBytes found;
  if (WebPDemuxGetChunk(demuxer.get(), type, 1, &it) != 0) {
    found = {reinterpret_cast<const std::byte*>(it.chunk.bytes), it.chunk.size};
  }
  WebPDemuxReleaseChunkIterator(&it);
  return found;
}

int orientation_of_webp(const Demuxer& demuxer) {
  const int exif = exif_orientation(find_chunk(demuxer, "EXIF"));
  if (exif != 0) {
    return exif;
  }
  const ImageBytes xmp = find_chunk(demuxer, "XMP ");
  const int found = xmp_orientation({reinterpret_cast<const char*>(xmp.data()), xmp.size()});
  return found != 0 ? found : 1;
}

}  // namespace

DecodedImage decode_webp(ImageBytes bytes,
                         std::string_view source,
                         const ImageReadOptions& options) {
  const Demuxer demuxer = open_webp(bytes, source);
  DecodedImage out;
  out.orientation = orientation_of_webp(demuxer);
  out.image = new_image(WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH),
                        WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT), source, options);
  WebPIterator frame{};
  TESSERA_CHECK(WebPDemuxGetFrame(demuxer.get(), 1, &frame) != 0, CorruptFile,
                "{}: the WebP holds no picture", source);
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> owner(&frame,
                                                                     &WebPDemuxReleaseIterator);
  Image& image = out.image;
  const auto channels = static_cast<size_t>(image.channels);
  const size_t stride = static_cast<size_t>(image.width) * channels;
  TESSERA_CHECK(frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 && frame.height > 0 &&
                    frame.width <= image.width - frame.x_offset &&
                    frame.height <= image.height - frame.y_offset,
                CorruptFile, "{}: broken WebP: a picture reaches beyond the canvas", source);
  const size_t offset =
      static_cast<size_t>(frame.y_offset) * stride + static_cast<size_t>(frame.x_offset) * channels;
  const auto decode = channels == 4 ? &WebPDecodeRGBAInto : &WebPDecodeRGBInto;
  TESSERA_CHECK(decode(frame.fragment.bytes, frame.fragment.size, image.pixels.data() + offset,
                       image.pixels.size() - offset, static_cast<int>(stride)) != nullptr,
                CorruptFile, "{}: broken WebP: its pixel data are damaged or cut short", source);
  // A file that declares no alpha is opaque, whatever its frames hold or leave uncovered.
  WebPBitstreamFeatures features{};
  const bool known = WebPGetFeatures(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                     &features) == VP8_STATUS_OK;
  if (channels == 4 && known && features.has_alpha == 0) {
    for (size_t i = 3; i < image.pixels.size(); i += 4) {
      image.pixels[i] = 255;
    }
  }
  return out;
}

}  // namespace tessera::io
