// SentencePiece model files: any bytes either fail to load with a tessera::Error or give a model
// that encodes and decodes any text.
#include "core/error.h"
#include "text/sentencepiece.h"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace std::string_view_literals;
  try {
    const auto model = tessera::text::SentencePiece::parse(
        {reinterpret_cast<const char*>(data), size}, "fuzz.model");
    for (const std::string_view text :
         {""sv, " ab  ab\xE2\x96\x81<u>b"sv, "\xFF\xC3\0AB\n<s>\xE4\xB8\x80"sv}) {
      model.decode(model.encode(text));
    }
    std::vector<int32_t> ids(static_cast<size_t>(model.size()));
    std::iota(ids.begin(), ids.end(), 0);
    model.decode(ids);
  } catch (const tessera::Error&) {
  }
  return 0;
}
