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

/// parse_ordered_json of what a stranger sent: reading an OrderedJson takes quadratic time in the
/// members of an object, so that more than 4096 of them are refused (CorruptFile).
OrderedJson parse_small_json(std::string_view text, std::string_view source);

/// The text of a member's value as it stands in the text of a valid JSON object; empty when there
/// is none, or its name is written with escapes. Of equal names the last one counts, as in the
/// parsers.
std::string_view member_text(std::string_view object, std::string_view name);

/// read_file + parse_json.
Json read_json(const fs::path& path);

}  // namespace tessera::io
