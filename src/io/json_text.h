// JSON that strangers send: reading it with the order of its keys, and the text of its members.
#pragma once

#include "io/json.h"

#include <string_view>

namespace tessera::io {

/// parse_ordered_json of what a stranger sent: reading an OrderedJson takes quadratic time in the
/// members of an object, so that more than 4096 of them are refused (CorruptFile).
OrderedJson parse_small_json(std::string_view text, std::string_view source);

/// The text of a member's value as it stands in the text of a valid JSON object; empty when there
/// is none, or its name is written with escapes. Of equal names the last one counts, as in the
/// parsers.
std::string_view member_text(std::string_view object, std::string_view name);

}  // namespace tessera::io
