// JSON and JSON Schema as grammars.
#pragma once

#include "io/json.h"
#include "text/constrain/grammar.h"
#include "text/constrain/json_text.h"

#include <string_view>

namespace tessera::constrain {

/// Any JSON value.
Grammar json_grammar(const JsonLayout& layout = {});
/// Any JSON object (`response_format: {"type": "json_object"}`).
Grammar json_object_grammar(const JsonLayout& layout = {});

/// The texts of the values that a JSON Schema (draft 2020-12, and draft 7's spellings) allows:
/// - type (also a list), enum, const, anyOf, oneOf (read as anyOf), allOf, $ref to #/… (recursive
///   too), $defs, definitions;
/// - properties, required, additionalProperties, patternProperties, minProperties, maxProperties;
///   members come in the order in which the schema names them, those that are not required may be
///   left out, and others come last;
/// - prefixItems (or a list as items), items, minItems, maxItems;
/// - minLength, maxLength, pattern, and format: date, time, date-time, duration, uuid, email,
///   hostname, ipv4, ipv6, uri, uri-reference, json-pointer, relative-json-pointer; other formats
///   are annotations;
/// - minimum, maximum, exclusiveMinimum, exclusiveMaximum for integers and numbers.
///
/// Every text of the grammar is valid; not every spelling of a valid value is a text (numbers with
/// bounds have no exponent, strings with a pattern and names of further members have no needless
/// escapes). Keywords that only annotate are ignored. Throws Unsupported naming the place and the
/// keyword for those that restrict and cannot be followed (not, if, multipleOf, uniqueItems …),
/// InvalidArgument for a malformed schema or one that no value fits.
Grammar json_schema_grammar(const io::OrderedJson& schema, const JsonLayout& layout = {});
/// The same from text. Throws CorruptFile for text that is not JSON.
Grammar parse_json_schema(std::string_view schema, const JsonLayout& layout = {});

}  // namespace tessera::constrain
