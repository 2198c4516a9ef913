// JSON that strangers send: reading it with the order of its keys, and the text of its members and
// strings.
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

/// Index behind the quote that ends the string whose first quote is at `at`; the size of a text in
/// which it does not end.
size_t string_end(std::string_view text, size_t at);

}  // namespace tessera::io
