// What templates find without defining it: filters, tests, globals and the methods of values.
#pragma once

#include "text/jinja/interpreter.h"
#include "text/jinja/value.h"

#include <string>
#include <string_view>
#include <vector>

namespace tessera::text::jinja {

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
/// `value | name(args)`; throws for an unknown name.
Value call_filter(std::string_view name, Interpreter& interpreter, const Value& value, Args args);
/// `value is name(args)`.
bool call_test(std::string_view name, Interpreter& interpreter, const Value& value, Args args);
/// A global of the environment, missing without.
Value find_global(std::string_view name);

/// The method `name` of a str, list, tuple, dict or number; missing without. Methods that would
/// change a list or dict give an Undefined that raises when it is called.
Value find_method(const Value& value, std::string_view name);
/// Methods of str: missing when there is no such method.
Value call_text_method(Interpreter& interpreter,
                       const Value& self,
                       std::string_view name,
                       Args args);
bool is_text_method(std::string_view name);

/// Splits off white space, or the characters of `*characters`, at the sides asked for.
std::string strip(std::string_view text, const std::string* characters, bool left, bool right);
/// Python's splitlines.
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

/// One table of filters; filters.cc and filters_sequence.cc have one each.
using FilterFunction = Value (*)(Interpreter&, const Value&, Args);
struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};
extern const std::vector<FilterEntry> kTextFilters;
extern const std::vector<FilterEntry> kSequenceFilters;

}  // namespace tessera::text::jinja
