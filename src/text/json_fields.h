// Reading of one JSON object of a tokenizer file, with errors that name the object.
#pragma once

#include "core/error.h"
#include "io/json.h"

#include <string>
#include <string_view>

namespace tessera::text {

/// The member `key` of `object`; null when there is none.
inline const io::Json& member(const io::Json& object, std::string_view key) {
  static const io::Json kNull;
  if (!object.is_object()) {
    return kNull;
  }
  const auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

/// The `type` of a component, "" without one. `what`: "normalizer" etc.
inline std::string type_of(const io::Json& object, std::string_view what) {
  TESSERA_CHECK(object.is_object(), CorruptFile, "{}: found {}, expected an object with a type",
                what, object.type_name());
  const io::Json& type = member(object, "type");
  return type.is_string() ? type.get<std::string>() : std::string();
}

inline std::string string_field(const io::Json& object,
                                std::string_view key,
                                std::string_view what) {
  const io::Json& value = member(object, key);
  TESSERA_CHECK(value.is_string(), CorruptFile, "{}: `{}` is {}, expected a string", what, key,
                value.type_name());
  return value.get<std::string>();
}

inline std::string string_field(const io::Json& object,
                                std::string_view key,
                                std::string_view what,
                                std::string_view fallback) {
  return member(object, key).is_null() ? std::string(fallback) : string_field(object, key, what);
}

inline bool bool_field(const io::Json& object,
                       std::string_view key,
                       std::string_view what,
                       bool fallback) {
  const io::Json& value = member(object, key);
  TESSERA_CHECK(value.is_null() || value.is_boolean(), CorruptFile,
                "{}: `{}` is {}, expected true or false", what, key, value.type_name());
  return value.is_null() ? fallback : value.get<bool>();
}

inline int64_t int_field(const io::Json& object,
                         std::string_view key,
                         std::string_view what,
                         int64_t fallback) {
  const io::Json& value = member(object, key);
  TESSERA_CHECK(value.is_null() || value.is_number_integer(), CorruptFile,
                "{}: `{}` is {}, expected an integer", what, key, value.type_name());
  return value.is_null() ? fallback : value.get<int64_t>();
}

/// The list `key`; throws unless it is an array.
inline const io::Json& list_field(const io::Json& object,
                                  std::string_view key,
                                  std::string_view what) {
  const io::Json& value = member(object, key);
  TESSERA_CHECK(value.is_array(), CorruptFile, "{}: `{}` is {}, expected a list", what, key,
                value.type_name());
  return value;
}

}  // namespace tessera::text
