#include "io/json.h"

#include "core/error.h"
#include "io/json_text.h"

namespace tessera::io {
namespace {

constexpr int kMaxDepth = 512;

// A deeply nested document would overflow the stack in the destructor, so depth is checked on the
// text before anything is built.
void check_depth(std::string_view text, std::string_view source) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      i = string_end(text, i) - 1;
    } else if (c == '[' || c == '{') {
      TESSERA_CHECK(++depth <= kMaxDepth, CorruptFile, "{}: JSON nested deeper than {}", source,
                    kMaxDepth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

template <class Document>
Document parse(std::string_view text, std::string_view source) {
  check_depth(text, source);
  try {
    return Document::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw CorruptFile("{}: not valid JSON at byte {}", source, error.byte);
  } catch (const nlohmann::json::exception& error) {
    throw CorruptFile("{}: not valid JSON: {}", source, error.what());
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view source) {
  return parse<Json>(text, source);
}

OrderedJson parse_ordered_json(std::string_view text, std::string_view source) {
  return parse<OrderedJson>(text, source);
}

Json read_json(const fs::path& path) {
  return parse_json(read_file(path, uint64_t{1} << 30), path.string());
}

}  // namespace tessera::io
