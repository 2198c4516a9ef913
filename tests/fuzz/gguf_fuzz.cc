#include "core/error.h"
#include "io/gguf.h"
#include "touch_tensors.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto source = tessera::io::FileBytes::copy(std::as_bytes(std::span(data, size)), "fuzz");
    const tessera::io::GgufFile file = tessera::io::read_gguf(source);
    tessera::io::touch_tensors(file.table);
    for (const auto& [key, value] : file.metadata) {
      static_cast<void>(value.integer());
      static_cast<void>(value.number());
      static_cast<void>(value.boolean());
      static_cast<void>(value.text());
      static_cast<void>(value.integers());
      static_cast<void>(value.numbers());
      static_cast<void>(value.texts());
    }
  } catch (const tessera::Error&) {
    // Damaged files end here; anything else is a defect.
  }
  return 0;
}
