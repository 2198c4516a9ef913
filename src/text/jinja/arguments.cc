// Arguments of built-in functions, matched to their parameters as Python does.
#include "text/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::text::jinja {

Bound::Bound(std::string_view function,
             Args args,
             std::vector<std::string_view> names,
             size_t required,
             bool positional_only)
    : function_(function), names_(std::move(names)), values_(names_.size()) {
  if (args.positional.size() > names_.size()) {
    type_error(fmt::format("{}() takes at most {} arguments ({} given)", function_, names_.size(),
                           args.positional.size()));
  }
  for (size_t i = 0; i < args.positional.size(); ++i) {
    values_[i] = std::move(args.positional[i]);
  }
  for (auto& [name, value] : args.named) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (positional_only || found == names_.end()) {
      type_error(fmt::format("{}() got an unexpected keyword argument '{}'", function_, name));
    }
    Value& slot = values_[static_cast<size_t>(found - names_.begin())];
    if (!slot.missing()) {
      type_error(fmt::format("{}() got multiple values for argument '{}'", function_, name));
    }
    slot = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (values_[i].missing()) {
      type_error(fmt::format("{}() missing required argument '{}'", function_, names_[i]));
    }
  }
}

int64_t Bound::integer(size_t i, int64_t fallback) const {
  if (values_[i].missing()) {
    return fallback;
  }
  if (values_[i].is(Kind::kUndefined)) {
    throw EvalError{ErrorKind::kUndefined, values_[i].as_string()};
  }
  if (!values_[i].is_whole()) {
    type_error(fmt::format("{}(): argument '{}' is '{}', expected an integer", function_, names_[i],
                           type_name(values_[i])));
  }
  return values_[i].as_int();
}

const std::string& Bound::string(size_t i) const {
  if (!values_[i].is(Kind::kString)) {
    type_error(fmt::format("{}(): argument '{}' is '{}', expected a string", function_, names_[i],
                           type_name(values_[i])));
  }
  return values_[i].as_string();
}

bool Bound::flag(size_t i, bool fallback) const {
  return values_[i].missing() ? fallback : truth(values_[i]);
}

}  // namespace tessera::text::jinja
