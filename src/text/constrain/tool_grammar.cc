// The frame of a call is spelled as Python's json.dumps does, which is what models have seen; the
// layout of the arguments is free.
#include "text/constrain/tool_grammar.h"

#include "core/error.h"
#include "text/constrain/schema_reader.h"

#include <memory>

namespace tessera::constrain {
namespace {

using Expr = GrammarBuilder::Expr;

// {"name": "f", "arguments": …} of any of the tools. `schemas` outlives the expressions' rules.
Expr one_call(GrammarBuilder& builder,
              std::span<const text::Tool> tools,
              const char* key,
              std::vector<std::unique_ptr<io::OrderedJson>>& schemas) {
  std::vector<Expr> calls;
  for (const text::Tool& tool : tools) {
    with_context("tool " + tool.name, [&] {
      schemas.push_back(std::make_unique<io::OrderedJson>(
          io::parse_ordered_json(tool.parameters, "JSON schema of the parameters")));
      schemas.push_back(std::make_unique<io::OrderedJson>(io::OrderedJson{{"type", "object"}}));
      const io::OrderedJson& schema = *schemas[schemas.size() - 2];
      SchemaReader reader(builder, schema, {});
      const Expr arguments = reader.value(
          {SchemaDocument(schema).root(), {.schema = schemas.back().get(), .path = "#"}});
      reader.define_pending();
      const std::string name = io::OrderedJson(tool.name).dump();
      calls.push_back(builder.sequence({builder.bytes("{\"name\": " + name + ", \"" + key + "\": "),
                                        arguments, builder.bytes("}")}));
    });
  }
  return builder.choice(std::move(calls));
}

}  // namespace

Grammar tool_call_grammar(text::ToolSyntax syntax, std::span<const text::Tool> tools, bool many) {
  TESSERA_CHECK(!tools.empty(), InvalidArgument, "a call needs at least one tool");
  GrammarBuilder builder;
  std::vector<std::unique_ptr<io::OrderedJson>> schemas;
  const bool llama = syntax == text::ToolSyntax::kLlama;
  const Expr call = one_call(builder, tools, llama ? "parameters" : "arguments", schemas);
  const auto more = [&](const char* before, const char* after) {
    return many ? builder.repeat(
                      builder.sequence({builder.bytes(before), call, builder.bytes(after)}), 0)
                : builder.empty();
  };
  switch (syntax) {
    case text::ToolSyntax::kHermes:
      return builder.build(builder.sequence(
          {call, builder.bytes("\n</tool_call>"), more("\n<tool_call>\n", "\n</tool_call>")}));
    case text::ToolSyntax::kMistral:
      return builder.build(
          builder.sequence({builder.bytes("["), call, more(", ", ""), builder.bytes("]")}));
    case text::ToolSyntax::kLlama:
      break;
  }
  return builder.build(call);  // this format knows one call a reply
}

}  // namespace tessera::constrain
