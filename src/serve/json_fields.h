// Typed reading of a request's JSON: what is absent or null is absent, what has the wrong type is
// an error that names the field, and what nobody asks for is ignored.
#pragma once

#include "io/json.h"
#include "serve/api_error.h"

#include <optional>
#include <string>
#include <string_view>

namespace tessera::serve {

class JsonFields {
 public:
  /// Reads a body; throws ApiError for what is no JSON object. `path` stands before names.
  static io::Json parse_body(std::string_view body);

  explicit JsonFields(const io::Json& object, std::string path = {});

  /// The value itself; null when it is absent or null.
  const io::Json* find(const char* name) const;
  /// "messages[2].content": how errors name a field.
  std::string name_of(std::string_view name) const;

  std::optional<std::string> text(const char* name) const;
  std::optional<bool> flag(const char* name) const;
  /// A whole number in [least, most].
  std::optional<int64_t> integer(const char* name, int64_t least, int64_t most) const;
  /// A finite number in [least, most].
  std::optional<double> number(const char* name, double least, double most) const;
  const io::Json* object(const char* name) const;
  const io::Json* array(const char* name) const;

  /// text() that must be there.
  std::string required_text(const char* name) const;

  [[noreturn]] void fail(std::string_view name, std::string_view expected) const;

 private:
  const io::Json& object_;
  std::string path_;
};

}  // namespace tessera::serve
