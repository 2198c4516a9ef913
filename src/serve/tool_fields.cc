// With tool_choice "none" the model is shown no tools, so that it cannot call any.
#include "serve/tool_fields.h"

#include "serve/generation_fields.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::serve {
namespace {

constexpr size_t kMaxTools = 128;
constexpr size_t kMaxName = 128;
constexpr size_t kMaxToolBytes = 256 << 10;  // of all definitions

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '_' || c == '-' || c == '.';
         });
}

text::Tool read_tool(const io::Json& json, const io::OrderedJson& ordered, std::string path) {
  const JsonFields fields(json, std::move(path));
  if (fields.required_text("type") != "function") {
    throw not_supported(fields.name_of("type"), "tools other than functions are not supported");
  }
  const io::Json* object = fields.object("function");
  if (object == nullptr) {
    fields.fail("function", "an object with 'name' and 'parameters'");
  }
  const JsonFields function(*object, fields.name_of("function"));
  text::Tool tool{.name = function.required_text("name"),
                  .definition = ordered.dump(),
                  .parameters = R"({"type":"object","properties":{}})"};
  if (!is_name(tool.name)) {
    function.fail("name", fmt::format("1 to {} letters, digits, '_', '-' and '.'", kMaxName));
  }
  function.text("description");
  function.flag("strict");
  if (function.object("parameters") != nullptr) {
    tool.parameters = ordered["function"]["parameters"].dump();
  }
  return tool;
}

void read_choice(const JsonFields& fields, ChatTask& task) {
  const io::Json* value = fields.find("tool_choice");
  if (value == nullptr) {
    return;
  }
  constexpr const char* kExpected =
      "none, auto, required, or an object that names one of the functions in 'tools'";
  if (value->is_object()) {
    const JsonFields choice(*value, fields.name_of("tool_choice"));
    const io::Json* function = choice.object("function");
    if (choice.required_text("type") != "function" || function == nullptr) {
      fields.fail("tool_choice", kExpected);
    }
    const JsonFields named(*function, choice.name_of("function"));
    const std::string name = named.required_text("name");
    if (std::none_of(task.tools.begin(), task.tools.end(),
                     [&](const text::Tool& tool) { return tool.name == name; })) {
      named.fail("name", "the name of one of the functions in 'tools'");
    }
    task.must_call = {name};
    return;
  }
  const std::string choice = value->is_string() ? value->get<std::string>() : "";
  if (choice == "none") {
    task.tools.clear();
  } else if (choice == "required") {
    if (task.tools.empty()) {
      throw bad_request(fields.name_of("tool_choice"), "'tool_choice' is required without 'tools'");
    }
    for (const text::Tool& tool : task.tools) {
      task.must_call.push_back(tool.name);
    }
  } else if (choice != "auto") {
    fields.fail("tool_choice", kExpected);
  }
}

}  // namespace

void read_tools(const JsonFields& fields, const RequestContext& context, ChatTask& task) {
  if (!is_empty(fields.array("functions"))) {
    throw not_supported("functions", "'functions' are not supported; use 'tools'");
  }
  task.many_calls = fields.flag("parallel_tool_calls").value_or(true);
  const io::Json* list = fields.array("tools");
  if (!is_empty(list)) {
    if (!context.card.tools.has_value()) {
      throw not_supported(fields.name_of("tools"),
                          "this model has no format for tools; leave them out");
    }
    if (list->size() > kMaxTools) {
      fields.fail("tools", fmt::format("an array of at most {} functions", kMaxTools));
    }
    const io::OrderedJson ordered = ordered_member(fields, "tools", context);
    size_t bytes = 0;
    for (size_t i = 0; i < list->size(); ++i) {
      const std::string path = fmt::format("{}[{}]", fields.name_of("tools"), i);
      text::Tool tool = read_tool((*list)[i], ordered[i], path);
      bytes += tool.definition.size();
      if (std::any_of(task.tools.begin(), task.tools.end(),
                      [&](const text::Tool& other) { return other.name == tool.name; })) {
        throw bad_request(path + ".function.name",
                          fmt::format("there are two tools '{}'", tool.name));
      }
      task.tools.push_back(std::move(tool));
    }
    if (bytes > kMaxToolBytes) {
      fields.fail("tools", fmt::format("at most {} bytes", kMaxToolBytes));
    }
  }
  read_choice(fields, task);
}

}  // namespace tessera::serve
