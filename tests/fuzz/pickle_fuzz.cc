#include "core/error.h"
#include "io/torch_file.h"
#include "touch_tensors.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto source = tessera::io::FileBytes::copy(std::as_bytes(std::span(data, size)), "fuzz");
    tessera::io::touch_tensors(tessera::io::read_torch(source));
  } catch (const tessera::Error&) {
    // Damaged files end here; anything else is a defect.
  }
  return 0;
}
