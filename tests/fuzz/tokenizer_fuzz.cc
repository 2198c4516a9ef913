// Input: the text of a tokenizer.json. Whatever parses must encode and decode without a crash.
#include "core/error.h"
#include "text/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  constexpr std::string_view kTexts[] = {"", "Hello  world 123, it's\n\n x!!",
                                         "\xFF\xE4\xBD<s> \xE2\x96\x81 a",
                                         "\xF0\x9F\x91\xA9\xE2\x80\x8D"};
  try {
    const auto tokenizer =
        text::parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "tokenizer.json");
    for (const std::string_view text : kTexts) {
      try {
        tokenizer->decode(tokenizer->encode(text));
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
