// Which syntax of calls templates teach: each row has the marks and the structure of a family of
// published templates, in our own words.
#include "text/tool_syntax.h"

#include <gtest/gtest.h>

namespace tessera::text {
namespace {

// A template that introduces tools with `tools`, and writes a call as `call`; the head of each turn
// is "<role>".
std::string with_calls(const std::string& tools, const std::string& call) {
  return "{% if tools %}" + tools +
         "{% for t in tools %}{{ t | tojson }}{% endfor %}{% endif %}"
         "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}"
         "{% for c in m.tool_calls %}{% set f = c.function %}" +
         call +
         "{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}";
}

std::optional<ToolSyntax> syntax_of(const std::string& source) {
  return tool_syntax_of(ChatTemplate({{"default", source}}, {}));
}

constexpr const char* kObject =
    R"({"name": "{{ f.name }}", "arguments": {{ f.arguments|tojson }}})";

TEST(ToolSyntax, FamiliesOfTemplates) {
  const std::string object = kObject;
  const std::string hermes = "Write <tool_call>{\"name\": …}</tool_call>.";
  const std::string llama = R"(Write {"name": function name, "parameters": its arguments}.)";
  struct Row {
    const char* name;
    std::string tools, call;
    std::optional<ToolSyntax> syntax;
  };
  const std::vector<Row> rows = {
      {"Qwen 2.5 and 3, QwQ, Bielik", hermes, "\n<tool_call>\n" + object + "\n</tool_call>",
       ToolSyntax::kHermes},
      {"Hermes 2 Pro, without spaces", hermes,
       R"(<tool_call>{"name":"{{ f.name }}","arguments":{{ f.arguments|tojson }}}</tool_call>)",
       ToolSyntax::kHermes},
      {"the object as tojson has it", hermes, "<tool_call>{{ f|tojson }}</tool_call>",
       ToolSyntax::kHermes},
      {"Llama 3.1 to 3.3", llama,
       R"({"name": "{{ f.name }}", "parameters": {{ f.arguments|tojson }}})", ToolSyntax::kLlama},
      {"Llama 3.1 with its tag", llama,
       R"(<|python_tag|>{"name": "{{ f.name }}", "parameters": {{ f.arguments|tojson }}})",
       ToolSyntax::kLlama},
      {"Mistral 7B v0.3, Nemo", "[AVAILABLE_TOOLS]",
       "[TOOL_CALLS][" + object.substr(0, object.size() - 1) + R"(, "id": "{{ c.id }}"}])",
       ToolSyntax::kMistral},
      {"Mistral with spaces", "[AVAILABLE_TOOLS]", "[TOOL_CALLS] [" + object + "]",
       ToolSyntax::kMistral},
      {"Mistral from 2506 on", "[AVAILABLE_TOOLS]",
       "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments|tojson }}", std::nullopt},
      {"Qwen 3 Coder, Qwen 3.5, Seed, Step", hermes,
       "<tool_call>\n<function={{ f.name }}><parameter=place>{{ f.arguments.place }}</parameter>"
       "</function></tool_call>",
       std::nullopt},
      {"GLM 4.5 and later", hermes,
       "<tool_call>{{ f.name }}<arg_key>place</arg_key><arg_value>{{ f.arguments.place }}"
       "</arg_value></tool_call>",
       std::nullopt},
      {"Apriel, Hunyuan: a list of calls", hermes, "<tool_calls>[" + object + "]</tool_calls>",
       std::nullopt},
      {"Command R7B: actions", llama,
       R"(<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "{{ f.name }}", "parameters": )"
       "{{ f.arguments|tojson }}}]<|END_ACTION|>",
       std::nullopt},
      {"InternLM 2: plugins", llama, "<|action_start|><|plugin|>\n" + object + "<|action_end|>",
       std::nullopt},
      {"Llama 3.2: lists of Python", llama, "[{{ f.name }}(place='{{ f.arguments.place }}')]",
       std::nullopt},
      {"DeepSeek", "", "<tool▁call▁begin>function<tool▁sep>{{ f.name }}{{ f.arguments|tojson }}",
       std::nullopt},
      {"Gemma 4", "", "<|tool_call>call:{{ f.name }}{place:{{ f.arguments.place }}}<tool_call|>",
       std::nullopt},
      {"it tells how, but shows no calls of before", hermes, "", ToolSyntax::kHermes},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(syntax_of(with_calls(row.tools, row.call)), row.syntax) << row.name;
  }
}

TEST(ToolSyntax, ToolsMustBeShownAndTaken) {
  // Under another variable, as SmolLM 3 has them.
  EXPECT_EQ(syntax_of("{% if xml_tools %}{{ tools }}<tool_call>{% endif %}"
                      "{% for m in messages %}{{ m.content }}{% endfor %}"),
            std::nullopt);
  EXPECT_EQ(syntax_of("{% if tools %}<tool_call>{{ raise_exception('no') }}{% endif %}"),
            std::nullopt);
  EXPECT_EQ(syntax_of("{% for m in messages %}{{ m.content }}{% endfor %}"), std::nullopt);
  // Calls of before are refused.
  EXPECT_EQ(syntax_of("{% if tools %}<tool_call>{{ tools }}{% endif %}"
                      "{% if messages|length > 1 %}{{ raise_exception('no') }}{% endif %}"),
            ToolSyntax::kHermes);
}

TEST(ToolSyntax, ATemplateOfItsOwnForTools) {
  const std::string plain = "{% for m in messages %}{{ m.content }}{% endfor %}";
  const std::string own = with_calls("<tool_call>", "<tool_call>" + std::string(kObject));
  EXPECT_EQ(tool_syntax_of(ChatTemplate({{"default", plain}, {"tool_use", own}}, {})),
            ToolSyntax::kHermes);
  EXPECT_EQ(tool_syntax_of(ChatTemplate({{"rag", own}, {"other", own}}, {})), std::nullopt);
  EXPECT_EQ(tool_syntax_of(ChatTemplate({{"default", own}, {"tool_use", plain}}, {})),
            std::nullopt);
}

}  // namespace
}  // namespace tessera::text
