// Input: a template. Whatever parses is rendered over a conversation with small limits: errors are
// fine, crashes, hangs and huge allocations are not.
#include "core/error.h"
#include "text/jinja/template.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  static const io::OrderedJson kVariables = io::parse_ordered_json(
      R"({"messages": [{"role": "system", "content": "S \u00e9"}, {"role": "user", "content": "Hi"},
          {"role": "assistant", "content": [{"type": "text", "text": "a"}], "n": 1.5}],
          "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": [1, null]}}}],
          "add_generation_prompt": true, "bos_token": "<s>", "n": 7, "s": "Hello, World"})",
      "variables");
  std::tm now{};
  now.tm_year = 124;
  try {
    text::Template::parse({reinterpret_cast<const char*>(data), size}, "template")
        .render(kVariables, now, {.steps = 200'000, .text = 1 << 20});
  } catch (const Error&) {
  }
  return 0;
}
