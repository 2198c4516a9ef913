// Reading of JSON Schemas: references, keywords, and validation of single values.
#pragma once

#include "io/json.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::constrain {

/// A schema inside of a document. `flattened`: its anyOf or oneOf was already taken.
struct SchemaPart {
  const io::OrderedJson* schema;
  std::string path;  // JSON pointer, for errors
  bool any_taken = false;
  bool one_taken = false;

  SchemaPart at(std::string_view key, const io::OrderedJson& child) const;
  SchemaPart at(std::string_view key, std::string_view name, const io::OrderedJson& child) const;
  /// The member, or null.
  const io::OrderedJson* find(std::string_view key) const;
};

/// Schemas that must all hold.
using SchemaParts = std::vector<SchemaPart>;

/// One document.
class SchemaDocument {
 public:
  explicit SchemaDocument(const io::OrderedJson& root) : root_(root) {}

  SchemaPart root() const { return {&root_, "#"}; }
  /// Follows $ref and allOf and drops `true`; the parts are objects without repetitions. False when
  /// one is `false`: nothing holds. Throws for malformed schemas and for keywords that restrict but
  /// are not supported.
  bool flatten(const SchemaParts& parts, SchemaParts& flat) const;
  /// Whether a value fits; `parts` as given to flatten.
  bool admits(const SchemaParts& parts, const io::OrderedJson& value, int depth = 0) const;

 private:
  const io::OrderedJson& resolve(const std::string& reference, const std::string& path) const;
  bool admits_one(const SchemaPart& part, const io::OrderedJson& value, int depth) const;
  bool admits_string(const SchemaPart& part, const std::string& text) const;
  bool admits_number(const SchemaPart& part, const io::OrderedJson& value) const;
  bool admits_array(const SchemaPart& part, const io::OrderedJson& value, int depth) const;
  bool admits_object(const SchemaPart& part, const io::OrderedJson& value, int depth) const;

  const io::OrderedJson& root_;
};

/// Types of JSON Schema as bits; a number that is not an integer is kFraction.
enum SchemaType : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127,
};
/// The value of `type`, all types without one.
unsigned schema_types(const SchemaPart& part);
/// The value of a keyword that is a count; `fallback` without one.
uint32_t schema_count(const SchemaPart& part, std::string_view key, uint32_t fallback);
/// Equality of JSON Schema: numbers by value, objects without order.
bool same_json(const io::OrderedJson& a, const io::OrderedJson& b);
/// Whether `text` (not as JSON) matches a pattern.
bool pattern_matches(const std::string& pattern, const std::string& text);

}  // namespace tessera::constrain
