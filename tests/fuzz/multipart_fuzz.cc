// Forms: the first line is the Content-Type, the rest the body. Also targets and base64.
#include "core/base64.h"
#include "serve/http.h"
#include "serve/media_input.h"
#include "serve/multipart.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera::serve;  // NOLINT(google-build-using-namespace)
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), size);
  const std::string_view body = input.substr(std::min(line + 1, size));
  if (const auto parts = parse_multipart(input.substr(0, line), body)) {
    for (const FormPart& part : *parts) {
      if (part.content.data() < body.data() ||
          part.content.data() + part.content.size() > body.data() + body.size()) {
        std::abort();
      }
    }
  }
  HttpRequest request;
  parse_target(input.substr(0, line), request);
  if (const auto bytes = decode_base64(body)) {
    if (decode_base64(tessera::base64(*bytes)) != bytes) {
      std::abort();
    }
  }
  return 0;
}
