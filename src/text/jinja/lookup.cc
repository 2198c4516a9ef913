// Attributes, items and calls of template values: `value.name` looks for a Python attribute first,
// `value[key]` for an item; what is found nowhere is an Undefined. Source: pallets/jinja 3.1,
// sandbox.
#include "text/jinja/builtins.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operators.h"

#include <fmt/format.h>

namespace tessera::text::jinja {
namespace {

[[noreturn]] void undefined_error(const Value& value) {
  throw EvalError{ErrorKind::kUndefined, value.as_string()};
}

std::string described(const Value& value) {
  return value.is(Kind::kNone) ? "None" : type_name(value) + " object";
}

}  // namespace

Value Interpreter::get_attribute(const Value& value, std::string_view name) {
  if (value.is(Kind::kUndefined)) {
    undefined_error(value);
  }
  if (name.starts_with("__") && name.ends_with("__")) {
    return Value::undefined(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(value)));
  }
  Value found =
      value.is(Kind::kObject) ? value.as_object().attribute(*this, name) : find_method(value, name);
  if (!found.missing()) {
    return found;
  }
  if (value.is(Kind::kDict)) {
    if (const Value* item = value.as_dict().find(name)) {
      return *item;
    }
  }
  return Value::undefined(fmt::format("'{}' has no attribute '{}'", described(value), name));
}

Value Interpreter::get_item(const Value& value, const Value& key) {
  if (value.is(Kind::kUndefined)) {
    undefined_error(value);
  }
  budget_.charge(key.is(Kind::kString) ? key.as_string().size() / 64 : 0);
  try {
    if (value.is(Kind::kDict)) {
      if (const Value* item = value.as_dict().find(key)) {
        return *item;
      }
    } else if (value.is(Kind::kObject)) {
      return value.as_object().item(key);
    } else if (key.is_whole() && (value.is_sequence() || value.is(Kind::kString))) {
      const int64_t length = length_of(value);
      const int64_t i = key.as_int() < 0 ? key.as_int() + length : key.as_int();
      if (i >= 0 && i < length) {
        return value.is_sequence()
                   ? value.items()[static_cast<size_t>(i)]
                   : slice(value, Value::integer(i), Value::integer(i + 1), Value(), budget_);
      }
    }
  } catch (const EvalError& error) {
    if (error.kind != ErrorKind::kType && error.kind != ErrorKind::kLookup) {
      throw;
    }
  }
  if (key.is(Kind::kString)) {
    Value found = value.is(Kind::kObject) ? value.as_object().attribute(*this, key.as_string())
                                          : find_method(value, key.as_string());
    if (!found.missing()) {
      return found;
    }
    return Value::undefined(
        fmt::format("'{}' has no attribute '{}'", described(value), key.as_string()));
  }
  return Value::undefined(
      fmt::format("{} has no element {}", described(value), repr(key, budget_)));
}

Value Interpreter::call(const Value& callee, Args args) {
  budget_.charge(1);
  budget_.check_stack();
  if (callee.is(Kind::kUndefined)) {
    undefined_error(callee);
  }
  if (!callee.is(Kind::kObject)) {
    type_error(fmt::format("'{}' object is not callable", type_name(callee)));
  }
  return callee.as_object().call(*this, std::move(args));
}

}  // namespace tessera::text::jinja
