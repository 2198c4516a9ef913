// Calls of functions: which syntax templates teach, reading in any pieces, grammars of calls.
#include "text/tool_calls.h"

#include "core/error.h"
#include "core/random.h"
#include "text/constrain/tool_grammar.h"

#include <gtest/gtest.h>

#include <chrono>

namespace tessera::text {
namespace {

// "text|name(arguments)|text…": what a reader makes of a reply that comes in pieces of `step`
// bytes.
std::string read(ToolSyntax syntax, const std::string& reply, size_t step, bool opened = false) {
  ToolCallReader reader(syntax, {"f", "g"}, opened);
  std::string text, calls;
  const auto take = [&](const ToolCallReader::Piece& piece) {
    text += piece.text;
    for (const ToolCall& call : piece.calls) {
      EXPECT_TRUE(call.id.empty());
      calls += "|" + call.name + call.arguments;
    }
  };
  for (size_t at = 0; at < reply.size(); at += step) {
    take(reader.push(reply.substr(at, step)));
  }
  take(reader.finish());
  return text + calls;
}

void expect_read(ToolSyntax syntax,
                 const std::string& reply,
                 const std::string& expected,
                 bool opened = false) {
  for (size_t step = 1; step <= reply.size() + 1; ++step) {
    EXPECT_EQ(read(syntax, reply, step, opened), expected) << reply << " by " << step;
  }
}

TEST(ToolCalls, HermesCalls) {
  const auto expect = [](const std::string& reply, const std::string& expected) {
    expect_read(ToolSyntax::kHermes, reply, expected);
  };
  expect("Just words, <b>bold</b> and a < b.", "Just words, <b>bold</b> and a < b.");
  expect(" \n ", " \n ");
  expect("", "");
  expect("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {}]}}\n</tool_call>",
         "|f{\"a\": [1, {}]}");
  expect(
      "Yes.\n<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>\n{\"arguments\": {},\n\"name\": "
      "\"g\"}</tool_call>\n",
      "Yes.|f{}|g{}");
  expect("<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}</tool_call> and so",
         " and so|f{\"x\": 1}");
  // Numbers stay as they are spelled; the mark may be in a string; names need not be known.
  expect(
      "<tool_call>{\"name\":\"f\",\"arguments\":{\"n\":1.50,\"b\":123456789012345678901234}}</"
      "tool_call>",
      "|f{\"n\":1.50,\"b\":123456789012345678901234}");
  expect("<tool_call>{\"name\":\"h\",\"arguments\":{\"s\":\"</tool_call>\"}}</tool_call>",
         "|h{\"s\":\"</tool_call>\"}");
  // What is no call stays text, and calls after it are read.
  for (const std::string broken :
       {"<tool_call>{}</tool_call>", "<tool_call></tool_call>", "<tool_call>f(1)</tool_call>",
        "<tool_call>{\"name\":5}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
        "<tool_call>{\"name\":\"f\",\"arguments\":\"no\"}</tool_call>",
        "<tool_call>{\"name\": \"f\"", "a <tool_call", "<tool_call>"}) {
    expect(broken, broken);
  }
  expect("x <tool_call>no</tool_call> y <tool_call>{\"name\":\"f\"}</tool_call>",
         "x <tool_call>no</tool_call> y|f{}");
  expect("<tool_call>{\"name\":\"f\"}", "|f{}");  // complete but for the mark
  expect_read(ToolSyntax::kHermes, "{\"name\":\"f\"}\n</tool_call>", "|f{}", /*opened=*/true);
}

TEST(ToolCalls, TextBeforeACallIsNotHeldBack) {
  ToolCallReader reader(ToolSyntax::kHermes, {"f"});
  EXPECT_EQ(reader.push("Let me see").text, "Let me see");
  EXPECT_EQ(reader.push(": ").text, ":");
  EXPECT_EQ(reader.push("<tool").text, "");
  EXPECT_EQ(reader.push("s>").text, " <tools>");
}

TEST(ToolCalls, LlamaCalls) {
  const auto expect = [](const std::string& reply, const std::string& expected) {
    expect_read(ToolSyntax::kLlama, reply, expected);
  };
  expect("Hello { and }", "Hello { and }");
  expect("{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "|f{\"a\": 1}");
  expect(" <|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "|f{}");
  expect("{\"name\":\"f\",\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{\"b\":2}}",
         "|f{}|g{\"b\":2}");
  // An answer that is JSON, a function that there is not, code.
  for (const std::string text : {"{\"name\": \"Ann\", \"age\": 7}", "{\"a\": 1}",
                                 "{\"name\": \"f\", \"parameters\": {}} thanks",
                                 "<|python_tag|>print(1)", "<|python", "{"}) {
    expect(text, text);
  }
}

TEST(ToolCalls, MistralCalls) {
  const auto expect = [](const std::string& reply, const std::string& expected) {
    expect_read(ToolSyntax::kMistral, reply, expected);
  };
  expect("Hello [TOOL] x", "Hello [TOOL] x");
  expect("[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"s\": \"]\"}}, {\"name\": \"g\"}]",
         "|f{\"s\": \"]\"}|g{}");
  expect("First. [TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}] done", "First. done|f{}");
  expect("[TOOL_CALLS]nothing", "[TOOL_CALLS]nothing");
  expect("[TOOL_CALLS]", "[TOOL_CALLS]");
  expect_read(ToolSyntax::kMistral, "[{\"name\": \"f\", \"arguments\": {}}]", "|f{}", true);
}

TEST(ToolCalls, AnyBytesInAnyPieces) {
  const std::vector<std::string> parts = {"<tool_call>",
                                          "</tool_call>",
                                          "[TOOL_CALLS]",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "\"",
                                          "\\",
                                          "\"name\"",
                                          ":",
                                          "\"f\"",
                                          " ",
                                          "\n",
                                          "x",
                                          "\xFF",
                                          "<|python_tag|>",
                                          "<",
                                          ",",
                                          "\"arguments\"",
                                          "{}"};
  Rng rng(5);
  for (int round = 0; round < 3000; ++round) {
    std::string reply;
    for (uint64_t i = rng.below(14); i > 0; --i) {
      reply += parts[rng.below(parts.size())];
    }
    for (const ToolSyntax syntax :
         {ToolSyntax::kHermes, ToolSyntax::kLlama, ToolSyntax::kMistral}) {
      const std::string whole = read(syntax, reply, reply.size() + 1);
      EXPECT_EQ(read(syntax, reply, 1), whole) << reply;
      if (whole.find('|') == std::string::npos) {  // no call: nothing is lost
        EXPECT_EQ(whole, reply);
      }
    }
  }
}

TEST(ToolCalls, LongRepliesTakeLinearTime) {
  const auto begun = std::chrono::steady_clock::now();
  // Arguments, something that is no call, white space: a piece for each byte.
  for (const auto& [syntax, front, filling, back, call] :
       {std::tuple(ToolSyntax::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":\"", "}",
                   "\"}}</tool_call>", true),
        {ToolSyntax::kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"s\":[", " ",
         "]}}</tool_call>", true},
        {ToolSyntax::kHermes, "<tool_call>", "<", "</tool_call>", false},
        {ToolSyntax::kHermes, "<tool_call>", " ", "{\"name\":\"f\"}</tool_call>", true},
        {ToolSyntax::kHermes, "x", " ", "<tool_call>{\"name\":\"f\"}</tool_call>", true},
        {ToolSyntax::kHermes, "x", "<", "<tool_call>{\"name\":\"f\"}</tool_call>", true},
        {ToolSyntax::kMistral, "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{\"s\":\"", "]", "\"}}]",
         true},
        {ToolSyntax::kLlama, "", " ", "{\"name\":\"f\"}", true},
        {ToolSyntax::kLlama, "{\"name\":\"f\",\"parameters\":{\"s\":\"", "x", "\"}}", true}}) {
    ToolCallReader reader(syntax, {"f"});
    size_t calls = reader.push(front).calls.size();
    for (int i = 0; i < 1'000'000; ++i) {
      calls += reader.push(filling).calls.size();
      ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(60)) << front << i;
    }
    calls += reader.push(back).calls.size();
    calls += reader.finish().calls.size();
    EXPECT_EQ(calls, call ? 1U : 0U) << front << filling;
  }
}

TEST(ToolCalls, TemplatesTellTheSyntax) {
  EXPECT_EQ(tool_syntax_of("{% for m in messages %}<tool_call>{% endfor %}"), std::nullopt);
  EXPECT_EQ(tool_syntax_of("{% if tools %}<tool_call>\n{{ x }}</tool_call>"), ToolSyntax::kHermes);
  EXPECT_EQ(tool_syntax_of("{% if tools %}[AVAILABLE_TOOLS]{% endif %}[TOOL_CALLS]"),
            ToolSyntax::kMistral);
  EXPECT_EQ(tool_syntax_of("{% if tools %}{\"name\": x, \"parameters\": y}"), ToolSyntax::kLlama);
  EXPECT_EQ(tool_syntax_of("{% if tools %}<|python_tag|>"), ToolSyntax::kLlama);
  EXPECT_EQ(tool_syntax_of("{% if tools %}<tool_call><function=x>"), std::nullopt);
  EXPECT_EQ(tool_syntax_of("{% if tools %}[TOOL_CALLS]x[ARGS]"), std::nullopt);
  EXPECT_EQ(tool_syntax_of("{{ tools }}"), std::nullopt);
}

TEST(ToolCalls, GrammarsAllowCallsAlone) {
  const std::vector<Tool> tools = {
      {.name = "f",
       .definition = {},
       .parameters = R"({"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},
                         "required":["n"],"additionalProperties":false,
                         "$defs":{"n":{"type":"integer"}}})"},
      {.name = "g-1", .definition = {}, .parameters = "{}"}};
  const auto hermes = constrain::tool_call_grammar(ToolSyntax::kHermes, tools, true);
  const std::string call = "{\"name\": \"f\", \"arguments\": {\"n\": 5}}\n</tool_call>";
  EXPECT_TRUE(hermes.matches(call));
  EXPECT_TRUE(hermes.matches(call + "\n<tool_call>\n" + call));
  EXPECT_TRUE(hermes.matches("{\"name\": \"g-1\", \"arguments\": {\"any\": [1]}}\n</tool_call>"));
  EXPECT_FALSE(hermes.matches("{\"name\": \"g-1\", \"arguments\": 5}\n</tool_call>"));
  EXPECT_FALSE(hermes.matches("{\"name\": \"f\", \"arguments\": {\"n\": \"5\"}}\n</tool_call>"));
  EXPECT_FALSE(hermes.matches("{\"name\": \"h\", \"arguments\": {}}\n</tool_call>"));
  EXPECT_FALSE(hermes.matches("words"));
  EXPECT_FALSE(constrain::tool_call_grammar(ToolSyntax::kHermes, tools, false)
                   .matches(call + "\n<tool_call>\n" + call));
  const auto mistral = constrain::tool_call_grammar(ToolSyntax::kMistral, tools, true);
  const std::string item = "{\"name\": \"f\", \"arguments\": {\"n\": 5}}";
  EXPECT_TRUE(mistral.matches("[" + item + "]"));
  EXPECT_TRUE(mistral.matches("[" + item + ", " + item + "]"));
  EXPECT_FALSE(mistral.matches(item));
  const auto llama = constrain::tool_call_grammar(ToolSyntax::kLlama, tools, true);
  EXPECT_TRUE(llama.matches("{\"name\": \"f\", \"parameters\": {\"n\":5}}"));
  EXPECT_FALSE(llama.matches(item));
  // What a grammar allows, the reader reads.
  expect_read(ToolSyntax::kHermes, call + "\n<tool_call>\n" + call, "|f{\"n\": 5}|f{\"n\": 5}",
              true);
  EXPECT_THROW(constrain::tool_call_grammar(ToolSyntax::kHermes, {}, true), InvalidArgument);
  for (const char* schema : {R"({"type":"nothing"})", R"({"type":"string"})"}) {
    const std::vector<Tool> wrong = {{.name = "w", .definition = {}, .parameters = schema}};
    EXPECT_THROW(constrain::tool_call_grammar(ToolSyntax::kHermes, wrong, true), InvalidArgument)
        << schema;
  }
  const std::vector<Tool> wrong = {{.name = "w", .definition = {}, .parameters = "{"}};
  EXPECT_THROW(constrain::tool_call_grammar(ToolSyntax::kHermes, wrong, true), CorruptFile);
}

}  // namespace
}  // namespace tessera::text
