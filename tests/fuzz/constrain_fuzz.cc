// Input: a JSON Schema when it begins with '{', otherwise a GBNF grammar or (after '/') a regular
// expression. Whatever compiles must give masks that agree with `allows`, without a crash or a
// hang.
#include "core/error.h"
#include "text/constrain/gbnf.h"
#include "text/constrain/json_schema.h"
#include "text/constrain/matcher.h"
#include "text/constrain/regex_grammar.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace tessera;
using namespace tessera::constrain;

std::shared_ptr<const Vocabulary> make_vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    tokens.emplace_back(1, static_cast<char>(byte));
  }
  for (const char* piece :
       {"{\"", "\":", "\", \"", "]}", "null", "true", "12", "aa", "\n  ", "\xC3\xA9"}) {
    tokens.emplace_back(piece);
  }
  tokens.emplace_back();
  const auto end = static_cast<int32_t>(tokens.size() - 1);
  return std::make_shared<const Vocabulary>(std::move(tokens), std::vector<int32_t>{end});
}

Grammar read(std::string_view text) {
  if (text.starts_with('{')) {
    return parse_json_schema(text);
  }
  return text.starts_with('/') ? parse_regex(text.substr(1)) : parse_gbnf(text);
}

void walk(const Grammar& grammar, uint32_t seed) {
  static const std::shared_ptr<const Vocabulary> kVocabulary = make_vocabulary();
  Matcher matcher(std::make_shared<Constraint>(grammar, kVocabulary));
  std::vector<uint32_t> bits(kVocabulary->mask_words());
  constexpr int kSteps = 24;
  for (int step = 0; step < kSteps && matcher.mask(bits); ++step) {
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < kVocabulary->size(); ++id) {
      const bool is_set = (bits[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0;
      if (is_set != matcher.allows(id)) {
        std::abort();
      }
      if (is_set) {
        allowed.push_back(id);
      }
    }
    seed = seed * 1664525 + 1013904223;
    if (!matcher.accept(allowed[(seed >> 8) % allowed.size()])) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    walk(read(text), static_cast<uint32_t>(size));
  } catch (const Error&) {
  }
  return 0;
}
