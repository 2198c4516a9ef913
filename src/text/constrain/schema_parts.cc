// Keywords of JSON Schema, drafts 7 and 2020-12 (json-schema.org). Unknown keywords are
// annotations, as the specification has it; known ones that are not followed here are refused.
#include "text/constrain/schema_parts.h"

#include "core/error.h"
#include "core/strings.h"
#include "text/constrain/json_text.h"
#include "text/constrain/regex_grammar.h"

#include <algorithm>
#include <array>
#include <limits>

namespace tessera::constrain {
namespace {

using io::OrderedJson;

constexpr int kMaxDepth = 200;
constexpr size_t kMaxParts = 1000;

constexpr std::array<std::string_view, 18> kRefused = {
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "multipleOf",
    "uniqueItems",
    "$dynamicRef",
    "$recursiveRef",
    "contentSchema",
};

/// Values with which a refused keyword restricts nothing.
bool is_harmless(std::string_view key, const OrderedJson& value, const OrderedJson& schema) {
  if (key == "uniqueItems") {
    return value.is_boolean() && !value.get<bool>();
  }
  if (key == "multipleOf") {
    const auto type = schema.find("type");
    return value.is_number_integer() && value == 1 && type != schema.end() && *type == "integer";
  }
  if (key == "then" || key == "else") {
    return !schema.contains("if");
  }
  if (key == "minContains" || key == "maxContains") {
    return !schema.contains("contains");
  }
  return value.is_boolean() && value.get<bool>();
}

void check_keywords(const SchemaPart& part) {
  for (const std::string_view key : kRefused) {
    const OrderedJson* value = part.find(key);
    TESSERA_CHECK(
        value == nullptr || is_harmless(key, *value, *part.schema), Unsupported,
        "JSON schema, {}: the keyword '{}' is not supported in constrained decoding; leave "
        "it out and check the value afterwards",
        part.path, key);
  }
}

std::string unescape_pointer(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
      out.push_back(token[++i] == '0' ? '~' : '/');
    } else if (token[i] == '%' && i + 2 < token.size() &&
               std::isxdigit(static_cast<unsigned char>(token[i + 1])) &&
               std::isxdigit(static_cast<unsigned char>(token[i + 2]))) {
      out.push_back(static_cast<char>(std::stoi(std::string(token.substr(i + 1, 2)), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(token[i]);
    }
  }
  return out;
}

size_t count_chars(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

unsigned type_bit(const SchemaPart& part, const OrderedJson& name) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 7> kNames = {
      {{"null", kNull},
       {"boolean", kBoolean},
       {"integer", kInteger},
       {"number", kInteger | kFraction},
       {"string", kString},
       {"array", kArray},
       {"object", kObject}}};
  for (const auto& [known, bits] : kNames) {
    if (name.is_string() && name.get_ref<const std::string&>() == known) {
      return bits;
    }
  }
  throw InvalidArgument(
      "JSON schema, {}: type is {}; expected null, boolean, integer, number, string, array or "
      "object",
      part.path, name.dump());
}

unsigned type_of_value(const OrderedJson& value) {
  switch (value.type()) {
    case OrderedJson::value_t::null:
      return kNull;
    case OrderedJson::value_t::boolean:
      return kBoolean;
    case OrderedJson::value_t::string:
      return kString;
    case OrderedJson::value_t::array:
      return kArray;
    case OrderedJson::value_t::object:
      return kObject;
    case OrderedJson::value_t::number_float: {
      const double number = value.get<double>();
      return number == static_cast<double>(static_cast<int64_t>(std::clamp(number, -1e18, 1e18)))
                 ? kInteger
                 : kFraction;
    }
    default:
      return kInteger;
  }
}

/// Sorted keys, and numbers in one representation.
io::Json plain(const OrderedJson& json) {
  return io::Json::parse(json.dump());
}

}  // namespace

SchemaPart SchemaPart::at(std::string_view key, const OrderedJson& child) const {
  return {&child, fmt::format("{}/{}", path, key)};
}

SchemaPart SchemaPart::at(std::string_view key,
                          std::string_view name,
                          const OrderedJson& child) const {
  return {&child, fmt::format("{}/{}/{}", path, key, name)};
}

const OrderedJson* SchemaPart::find(std::string_view key) const {
  const auto it = schema->find(std::string(key));
  return it == schema->end() ? nullptr : &*it;
}

unsigned schema_types(const SchemaPart& part) {
  const OrderedJson* type = part.find("type");
  if (type == nullptr) {
    return kAnyType;
  }
  if (!type->is_array()) {
    return type_bit(part, *type);
  }
  unsigned bits = 0;
  for (const OrderedJson& name : *type) {
    bits |= type_bit(part, name);
  }
  return bits;
}

uint32_t schema_count(const SchemaPart& part, std::string_view key, uint32_t fallback) {
  const OrderedJson* value = part.find(key);
  if (value == nullptr) {
    return fallback;
  }
  const bool whole = value->is_number() && type_of_value(*value) == kInteger;
  const double number = whole ? value->get<double>() : -1;
  TESSERA_CHECK(number >= 0, InvalidArgument, "JSON schema, {}: {} is {}; expected a count",
                part.path, key, value->dump());
  constexpr double kMost = 1e9;
  TESSERA_CHECK(number <= kMost, Unsupported, "JSON schema, {}: {} is {}; at most 1e9 is supported",
                part.path, key, value->dump());
  return static_cast<uint32_t>(number);
}

bool same_json(const OrderedJson& a, const OrderedJson& b) {
  return plain(a) == plain(b);
}

bool pattern_matches(const std::string& pattern, const std::string& text) {
  GrammarBuilder builder;
  RegexOptions options;
  options.search = true;
  const auto expr = add_regex(builder, pattern, options);
  return builder.build(builder.choice({expr, builder.bytes("\xFF")})).matches(text);
}

const OrderedJson& SchemaDocument::resolve(const std::string& reference,
                                           const std::string& path) const {
  TESSERA_CHECK(reference.starts_with('#'), Unsupported,
                "JSON schema, {}: $ref '{}' is outside of the schema; only #/… can be followed",
                path, reference);
  const OrderedJson* at = &root_;
  TESSERA_CHECK(reference.size() == 1 || reference[1] == '/', Unsupported,
                "JSON schema, {}: $ref '{}' is an anchor; only #/… can be followed", path,
                reference);
  if (reference.size() > 1) {
    for (const std::string& token : split(std::string_view(reference).substr(2), '/')) {
      const std::string key = unescape_pointer(token);
      const OrderedJson* next = nullptr;
      if (at->is_object() && at->contains(key)) {
        next = &(*at)[key];
      } else if (at->is_array() && !key.empty() && key.size() < 9 &&
                 key.find_first_not_of("0123456789") == key.npos) {
        const auto index = static_cast<size_t>(std::stoul(key));
        next = index < at->size() ? &(*at)[index] : nullptr;
      }
      TESSERA_CHECK(next != nullptr, InvalidArgument,
                    "JSON schema, {}: $ref '{}' leads nowhere: there is no '{}'", path, reference,
                    key);
      at = next;
    }
  }
  return *at;
}

bool SchemaDocument::flatten(const SchemaParts& parts, SchemaParts& flat) const {
  SchemaParts todo(parts.rbegin(), parts.rend());
  while (!todo.empty()) {
    const SchemaPart part = std::move(todo.back());
    todo.pop_back();
    if (part.schema->is_boolean()) {
      if (!part.schema->get<bool>()) {
        return false;
      }
      continue;
    }
    TESSERA_CHECK(part.schema->is_object(), InvalidArgument,
                  "JSON schema, {}: found {}, expected an object, true or false", part.path,
                  part.schema->type_name());
    if (std::any_of(flat.begin(), flat.end(),
                    [&](const SchemaPart& known) { return known.schema == part.schema; })) {
      continue;
    }
    TESSERA_CHECK(flat.size() < kMaxParts, Unsupported,
                  "JSON schema, {}: more than {} schemas restrict one value", part.path, kMaxParts);
    check_keywords(part);
    flat.push_back(part);
    if (const OrderedJson* all = part.find("allOf")) {
      TESSERA_CHECK(all->is_array(), InvalidArgument,
                    "JSON schema, {}: allOf is {}, expected a list", part.path, all->type_name());
      for (size_t i = all->size(); i-- > 0;) {
        todo.push_back(part.at("allOf", std::to_string(i), (*all)[i]));
      }
    }
    if (const OrderedJson* reference = part.find("$ref")) {
      TESSERA_CHECK(reference->is_string(), InvalidArgument,
                    "JSON schema, {}: $ref is {}, expected a string", part.path,
                    reference->type_name());
      const auto& name = reference->get_ref<const std::string&>();
      todo.push_back({&resolve(name, part.path), name});
    }
  }
  return true;
}

bool SchemaDocument::admits(const SchemaParts& parts, const OrderedJson& value, int depth) const {
  TESSERA_CHECK(depth < kMaxDepth, Unsupported,
                "JSON schema: the check of an enum value goes deeper than {} levels", kMaxDepth);
  SchemaParts flat;
  if (!flatten(parts, flat)) {
    return false;
  }
  return std::all_of(flat.begin(), flat.end(),
                     [&](const SchemaPart& part) { return admits_one(part, value, depth); });
}

bool SchemaDocument::admits_one(const SchemaPart& part, const OrderedJson& value, int depth) const {
  if ((schema_types(part) & type_of_value(value)) == 0) {
    return false;
  }
  if (const OrderedJson* constant = part.find("const"); constant && !same_json(*constant, value)) {
    return false;
  }
  if (const OrderedJson* list = part.find("enum");
      list != nullptr && std::none_of(list->begin(), list->end(), [&](const OrderedJson& item) {
        return same_json(item, value);
      })) {
    return false;
  }
  for (const auto& [key, taken] : {std::pair("anyOf", part.any_taken), {"oneOf", part.one_taken}}) {
    const OrderedJson* branches = part.find(key);
    if (branches != nullptr && !taken &&
        std::none_of(branches->begin(), branches->end(), [&](const OrderedJson& branch) {
          return admits({part.at(key, branch)}, value, depth + 1);
        })) {
      return false;
    }
  }
  if (value.is_string()) {
    return admits_string(part, value.get_ref<const std::string&>());
  }
  if (value.is_number()) {
    return admits_number(part, value);
  }
  if (value.is_array()) {
    return admits_array(part, value, depth);
  }
  return !value.is_object() || admits_object(part, value, depth);
}

bool SchemaDocument::admits_string(const SchemaPart& part, const std::string& text) const {
  const size_t size = count_chars(text);
  if (size < schema_count(part, "minLength", 0) ||
      size > schema_count(part, "maxLength", std::numeric_limits<uint32_t>::max())) {
    return false;
  }
  const OrderedJson* pattern = part.find("pattern");
  if (pattern != nullptr && pattern->is_string() &&
      !pattern_matches(pattern->get<std::string>(), text)) {
    return false;
  }
  const OrderedJson* format = part.find("format");
  if (format == nullptr || !format->is_string()) {
    return true;
  }
  GrammarBuilder builder;
  JsonText json(builder, {});
  const auto expr = json.format(format->get_ref<const std::string&>());
  return !expr || builder.build(json.quoted(*expr)).matches(OrderedJson(text).dump());
}

bool SchemaDocument::admits_number(const SchemaPart& part, const OrderedJson& value) const {
  const auto fits = [&](const char* key, auto compare) {
    const OrderedJson* bound = part.find(key);
    return bound == nullptr || !bound->is_number() || compare(value, *bound);
  };
  return fits("minimum", [](const auto& x, const auto& bound) { return x >= bound; }) &&
         fits("maximum", [](const auto& x, const auto& bound) { return x <= bound; }) &&
         fits("exclusiveMinimum", [](const auto& x, const auto& bound) { return x > bound; }) &&
         fits("exclusiveMaximum", [](const auto& x, const auto& bound) { return x < bound; });
}

bool SchemaDocument::admits_array(const SchemaPart& part,
                                  const OrderedJson& value,
                                  int depth) const {
  if (value.size() < schema_count(part, "minItems", 0) ||
      value.size() > schema_count(part, "maxItems", std::numeric_limits<uint32_t>::max())) {
    return false;
  }
  const OrderedJson* prefix = part.find("prefixItems");
  const OrderedJson* rest = part.find("items");
  if (rest != nullptr && rest->is_array()) {
    prefix = rest;
    rest = part.find("additionalItems");
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const OrderedJson* schema = prefix != nullptr && i < prefix->size() ? &(*prefix)[i] : rest;
    if (schema != nullptr && !admits({part.at("items", *schema)}, value[i], depth + 1)) {
      return false;
    }
  }
  return true;
}

bool SchemaDocument::admits_object(const SchemaPart& part,
                                   const OrderedJson& value,
                                   int depth) const {
  if (value.size() < schema_count(part, "minProperties", 0) ||
      value.size() > schema_count(part, "maxProperties", std::numeric_limits<uint32_t>::max())) {
    return false;
  }
  if (const OrderedJson* required = part.find("required")) {
    for (const OrderedJson& name : *required) {
      if (name.is_string() && !value.contains(name.get_ref<const std::string&>())) {
        return false;
      }
    }
  }
  const OrderedJson* properties = part.find("properties");
  const OrderedJson* patterns = part.find("patternProperties");
  const OrderedJson* additional = part.find("additionalProperties");
  for (const auto& [name, item] : value.items()) {
    SchemaParts schemas;
    if (properties != nullptr && properties->contains(name)) {
      schemas.push_back(part.at("properties", (*properties)[name]));
    }
    if (patterns != nullptr) {
      for (const auto& [pattern, schema] : patterns->items()) {
        if (pattern_matches(pattern, name)) {
          schemas.push_back(part.at("patternProperties", schema));
        }
      }
    }
    if (schemas.empty() && additional != nullptr) {
      schemas.push_back(part.at("additionalProperties", *additional));
    }
    if (!admits(schemas, item, depth + 1)) {
      return false;
    }
  }
  return true;
}

}  // namespace tessera::constrain
