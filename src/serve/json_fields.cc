#include "serve/json_fields.h"

#include <fmt/format.h>

#include <cmath>

namespace tessera::serve {

io::Json JsonFields::parse_body(std::string_view body) {
  io::Json json;
  try {
    json = io::parse_json(body, "the request's body");
  } catch (const Error& error) {
    throw ApiError(400, error.what(), {}, "invalid_json");
  }
  if (!json.is_object()) {
    throw ApiError(400, "the request's body must be a JSON object", {}, "invalid_json");
  }
  return json;
}

JsonFields::JsonFields(const io::Json& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw bad_request(path_, fmt::format("'{}' must be an object", path_));
  }
}

const io::Json* JsonFields::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::string JsonFields::name_of(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void JsonFields::fail(std::string_view name, std::string_view expected) const {
  throw bad_request(name_of(name), fmt::format("'{}' must be {}", name_of(name), expected));
}

std::optional<std::string> JsonFields::text(const char* name) const {
  const io::Json* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_string()) {
    fail(name, "a string");
  }
  return value->get<std::string>();
}

std::optional<bool> JsonFields::flag(const char* name) const {
  const io::Json* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_boolean()) {
    fail(name, "true or false");
  }
  return value->get<bool>();
}

std::optional<int64_t> JsonFields::integer(const char* name, int64_t least, int64_t most) const {
  const io::Json* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const auto wrong = [&] { fail(name, fmt::format("an integer of {} to {}", least, most)); };
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::max<int64_t>(most, 0))) {
    wrong();
  }
  int64_t result = 0;
  if (value->is_number_integer()) {
    result = value->get<int64_t>();
  } else if (value->is_number_float()) {  // 128.0, as some clients write
    const double number = value->get<double>();
    if (!(std::abs(number) < 9e15) || number != std::floor(number)) {
      wrong();
    }
    result = static_cast<int64_t>(number);
  } else {
    wrong();
  }
  if (result < least || result > most) {
    wrong();
  }
  return result;
}

std::optional<double> JsonFields::number(const char* name, double least, double most) const {
  const io::Json* value = find(name);
  if (value == nullptr) {
    return std::nullopt;
  }
  const double result = value->is_number() ? value->get<double>() : std::nan("");
  if (!(result >= least && result <= most)) {
    fail(name, fmt::format("a number of {} to {}", least, most));
  }
  return result;
}

const io::Json* JsonFields::object(const char* name) const {
  const io::Json* value = find(name);
  if (value != nullptr && !value->is_object()) {
    fail(name, "an object");
  }
  return value;
}

const io::Json* JsonFields::array(const char* name) const {
  const io::Json* value = find(name);
  if (value != nullptr && !value->is_array()) {
    fail(name, "an array");
  }
  return value;
}

std::string JsonFields::required_text(const char* name) const {
  std::optional<std::string> value = text(name);
  if (!value.has_value()) {
    throw bad_request(name_of(name),
                      fmt::format("'{}' is missing; it must be a string", name_of(name)));
  }
  return std::move(*value);
}

}  // namespace tessera::serve
