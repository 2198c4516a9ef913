// Any bytes as a WAV file: an error of ours or samples, never more than the bytes can hold.
#include "core/error.h"
#include "core/log.h"
#include "io/wav.h"

#include <cstdlib>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  log::set_level(log::Level::kOff);
  try {
    io::WavReader reader(
        io::ByteSource::from_memory({reinterpret_cast<const std::byte*>(data), size}, "fuzz"));
    // An odd block, so that frames never fit evenly.
    std::vector<float> block(1009);
    size_t samples = 0;
    while (const size_t frames = reader.read(block)) {
      samples += frames * static_cast<size_t>(reader.channels());
    }
    if (samples > size) {
      std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
