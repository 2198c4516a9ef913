// JSON files, read with a limit on size and depth and errors that name the file.
#pragma once

#include "io/file.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tessera::io {

using Json = nlohmann::json;                 // keys sorted
using OrderedJson = nlohmann::ordered_json;  // keys as in the file

/// Parses `text`; throws CorruptFile naming `source` and the byte position, also when nested deeper
/// than 512.
Json parse_json(std::string_view text, std::string_view source);
OrderedJson parse_ordered_json(std::string_view text, std::string_view source);

/// read_file + parse_json.
Json read_json(const fs::path& path);

}  // namespace tessera::io
