// Templates against what jinja2 renders in transformers' environment
// (tests/parity/chat_templates.py wrote the goldens), folders of chat templates, and hostile
// templates.
#include "text/chat_template.h"

#include "core/error.h"
#include "io/file.h"
#include "io/gguf.h"
#include "unit/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace tessera::text {
namespace {

using io::OrderedJson;
using io::fs::path;
using testing::HasSubstr;

OrderedJson json(std::string_view text) {
  return io::parse_ordered_json(text, "test");
}

const OrderedJson& goldens() {
  static const OrderedJson kGoldens = io::parse_ordered_json(
      io::read_file(path(TESSERA_GOLDENS) / "chat_templates" / "cases.json", 1 << 26),
      "cases.json");
  return kGoldens;
}

std::tm golden_date() {
  const OrderedJson& now = goldens()["now"];
  std::tm date{};
  date.tm_year = now[0].get<int>() - 1900;
  date.tm_mon = now[1].get<int>() - 1;
  date.tm_mday = now[2].get<int>();
  date.tm_hour = now[3].get<int>();
  date.tm_min = now[4].get<int>();
  date.tm_sec = now[5].get<int>();
  std::mktime(&date);  // day of the week and of the year
  return date;
}

/// Compares a rendering with a golden: the text, or that it is an error.
template <class Render>
void expect_golden(const OrderedJson& golden, Render&& render) {
  try {
    const std::string text = render();
    EXPECT_TRUE(golden.contains("text")) << "the reference raises " << golden["message"];
    if (golden.contains("text")) {
      EXPECT_EQ(text, golden["text"].get<std::string>());
    }
  } catch (const Error& error) {
    EXPECT_TRUE(golden.contains("error")) << error.what();
    if (golden.contains("error") && golden["error"] == "raised") {
      EXPECT_THAT(error.what(), HasSubstr(golden["message"].get<std::string>()));
    }
  }
}

std::string render(std::string_view source,
                   std::string_view variables = "{}",
                   TemplateLimits limits = {}) {
  return Template::parse(source, "test.jinja").render(json(variables), std::nullopt, limits).text;
}

std::string error_of(std::string_view source, TemplateLimits limits = {}) {
  try {
    render(source, "{}", limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Template, RendersAsTheReference) {
  const OrderedJson& all = goldens();
  ASSERT_GT(all["cases"].size(), 600U);
  for (const OrderedJson& golden : all["cases"]) {
    const auto source = golden["template"].get<std::string>();
    SCOPED_TRACE(source);
    expect_golden(golden, [&] {
      return Template::parse(source, "case").render(all["variables"], golden_date()).text;
    });
  }
}

TEST(ChatTemplate, RendersConversationsAsTheReference) {
  const OrderedJson& all = goldens();
  for (const OrderedJson& golden : all["chats"]) {
    const OrderedJson& request = all["requests"][golden["request"].get<size_t>()];
    const auto name = golden["template"].get<std::string>();
    SCOPED_TRACE(name + " " + request.dump());
    const ChatTemplate chat({{"default", all["templates"][name].get<std::string>()}}, {});
    ChatRequest asked;
    asked.messages = request["messages"];
    asked.tools = request["tools"];
    asked.documents = request["documents"];
    asked.add_generation_prompt = request["add_generation_prompt"].get<bool>();
    if (request["continue"].is_string()) {
      asked.continue_final_message = request["continue"].get<std::string>();
    }
    asked.extra = request["extra"];
    asked.now = golden_date();
    expect_golden(golden, [&] { return chat.render(asked).text; });
  }
}

TEST(Template, ErrorsNameTheLine) {
  EXPECT_THAT(error_of("a\n{{ 1 +\n}}"), HasSubstr("test.jinja, line 3"));
  EXPECT_THAT(error_of("a\nb\n{{ missing.x }}"), HasSubstr("line 3: 'missing' is undefined"));
  EXPECT_THAT(error_of("\n{% if x %}"), HasSubstr("Unexpected end of template"));
  EXPECT_THAT(error_of("\n\n{{ raise_exception('no') }}"),
              HasSubstr("no (raised by test.jinja, line 3)"));
  EXPECT_THROW(render("{% for %}"), CorruptFile);
  EXPECT_THROW(render("\xFF"), CorruptFile);
  EXPECT_THROW(render("{{ 1 / 0 }}"), InvalidArgument);
  EXPECT_THROW(render("{% include 'x' %}"), Unsupported);
  EXPECT_THROW(render("{{ 'a' | wordwrap }}"), Unsupported);
}

TEST(Template, IntegersBeyond64BitsAreAnError) {
  EXPECT_EQ(render("{{ 9223372036854775807 }} {{ -9223372036854775807 - 1 }}"),
            "9223372036854775807 -9223372036854775808");
  for (const char* source :
       {"{{ 9223372036854775808 }}", "{{ 9223372036854775807 + 1 }}", "{{ 2 ** 63 }}",
        "{{ -9223372036854775807 - 2 }}", "{{ 4294967296 * 4294967296 }}", "{{ ('9' * 30) | int }}",
        "{{ 1e300 | int }}", "{{ (-9223372036854775807 - 1) // -1 }}"}) {
    EXPECT_NE(error_of(source), "") << source;
  }
}

TEST(Template, GeneratedTextIsReported) {
  const Template source = Template::parse(
      "{% for m in messages %}<{{ m }}>{% generation %}[{{ m }}]{% endgeneration %}{% endfor %}",
      "test.jinja");
  const RenderedTemplate out = source.render(json(R"({"messages": ["a", "\u00e9"]})"));
  EXPECT_EQ(out.text, "<a>[a]<é>[é]");
  std::vector<std::string> parts;
  for (const auto& [begin, end] : out.generated) {
    parts.push_back(out.text.substr(begin, end - begin));
  }
  EXPECT_THAT(parts, testing::ElementsAre("[a]", "[é]"));
}

TEST(Template, HostileTemplatesEnd) {
  const std::string loop = "{% for a in range(100000) %}{% for b in range(100000) %}";
  const std::string ends = "{% endfor %}{% endfor %}";
  const std::string deep(5000, '(');
  const std::vector<std::string> sources = {
      loop + "x" + ends,
      loop + ends,
      "{{ 'x' * 1000000000000 }}",
      "{{ [1] * 1000000000000 }}",
      "{{ ['abcdefgh'] * 1000000 | join('abcdefgh' * 1000) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '{:999999999}'.format(1) }}",
      "{{ 'a' | center(999999999999) }}",
      "{{ 'a' | indent(999999999999) }}",
      "{{ [[1]] | tojson(indent=999999999999) }}",
      "{{ '\t'.expandtabs(9999999999) }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(a) %}{{ m([a, a]) }}{% endmacro %}{{ m(1) }}",
      "{% for a in [[[]]] recursive %}{{ loop([[[]]]) }}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
      "{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor "
      "%}",
      "{% set ns = namespace(a='') %}{% for i in range(99999) %}{% set ns.a = ns.a | map('list') "
      "%}{% endfor %}{{ ns.a | list }}",
      "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] "
      "%}{% endfor %}{{ ns.a }}",
      "{{ " + deep + "1" + std::string(5000, ')') + " }}",
      "{{ " + std::string(100000, '-') + "1 }}",
      "{{ x" + std::string(100000, '|') + " }}",
      [] {
        std::string out = "{{ 1";
        for (int i = 0; i < 50000; ++i) {
          out += " + 1";
        }
        return out + " }}";
      }(),
      [] {
        std::string out;
        for (int i = 0; i < 50000; ++i) {
          out += "{% if x %}";
        }
        return out;
      }(),
  };
  for (const std::string& source : sources) {
    EXPECT_NE(error_of(source, {.steps = 3'000'000, .text = 1 << 22}), "") << source.substr(0, 80);
  }
  // Long chains that are let go of at the end.
  EXPECT_EQ(error_of("{% set ns = namespace(a=0) %}{% for i in range(99999) %}"
                     "{% set ns.a = namespace(b=ns.a) %}{% endfor %}"),
            "");
  EXPECT_EQ(error_of("{% set ns = namespace(f=0) %}{% macro keep(x) %}{% macro f() %}{{ x }}"
                     "{% endmacro %}{% set ns.f = f %}{% endmacro %}"
                     "{% for i in range(9999) %}{{ keep(ns.f) }}{% endfor %}"),
            "");
}

class Folder : public testing::Test {
 protected:
  void SetUp() override { io::fs::create_directories(folder_); }
  void TearDown() override { io::fs::remove_all(folder_); }

  void write(const std::string& name, std::string_view text) {
    io::fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::string prompt(ChatRequest request = {}) {
    request.messages = json(R"([{"role": "user", "content": "Hi"}])");
    return ChatTemplate::from_folder(folder_).render(request).text;
  }

  path folder_ = temporary_path("chat_template");
};

TEST_F(Folder, ReadsTheConfigurationAndItsTokens) {
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<b>", "special": true}, "eos_token": "<e>", "pad_token": null,
            "image_token": "<i>", "chat_template":
            "{{ bos_token }}{{ eos_token }}{{ image_token }}{{ pad_token }}{{ messages[0].content }}"})");
  EXPECT_EQ(prompt(), "<b><e><i>Hi");
  EXPECT_EQ(prompt({.extra = json(R"({"eos_token": "X"})")}), "<b>X<i>Hi");
  EXPECT_TRUE(has_chat_template(folder_));
}

TEST_F(Folder, FilesGoBeforeTheConfiguration) {
  write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(prompt(), "config");
  write("chat_template.jinja", "file\n");
  EXPECT_EQ(prompt(), "file");
  write("additional_chat_templates/rag.jinja", "rag {{ documents[0].title }}");
  write("additional_chat_templates/tool_use.jinja", "tools {{ tools | length }}");
  EXPECT_EQ(prompt(), "file");
  EXPECT_EQ(prompt({.tools = json("[{}, {}]")}), "tools 2");
  EXPECT_EQ(prompt({.documents = json(R"([{"title": "T"}])"), .name = "rag"}), "rag T");
  EXPECT_THROW(prompt({.name = "other"}), NotFound);
}

TEST_F(Folder, ReadsNamedTemplatesOfTheConfiguration) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "T"},
                                                       {"name": "default", "template": "D"}]})");
  EXPECT_EQ(prompt(), "D");
  EXPECT_EQ(prompt({.tools = json("[]")}), "T");
  EXPECT_THAT(ChatTemplate::from_folder(folder_).names(),
              testing::ElementsAre("default", "tool_use"));
}

TEST_F(Folder, RefusesWhatIsNoTemplate) {
  EXPECT_THROW(prompt(), NotFound);
  EXPECT_FALSE(has_chat_template(folder_));
  for (const char* broken : {R"({"chat_template": 3})", R"({"chat_template": [{"name": "x"}]})",
                             R"({"chat_template": "{% if %}"})", "{"}) {
    write("tokenizer_config.json", broken);
    EXPECT_THROW(prompt(), CorruptFile) << broken;
  }
}

TEST_F(Folder, ReadsGgufFiles) {
  const path file = folder_ / "model.gguf";
  const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "a"};
  io::GgufWriter(file,
                 {{"tokenizer.ggml.tokens", tokens},
                  {"tokenizer.ggml.bos_token_id", uint32_t{1}},
                  {"tokenizer.ggml.eos_token_id", uint32_t{2}},
                  {"tokenizer.ggml.padding_token_id", uint32_t{9}},  // beyond the list
                  {"tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}"},
                  {"tokenizer.chat_template.tool_use", "{{ eos_token }}{{ tools | length }}"}},
                 {})
      .commit();
  for (const path& place : {file, folder_}) {
    ASSERT_TRUE(has_chat_template(place));
    const ChatTemplate chat = ChatTemplate::from_folder(place);
    EXPECT_THAT(chat.names(), testing::ElementsAre("default", "tool_use"));
    EXPECT_EQ(chat.special_tokens(),
              (ChatTemplate::SpecialTokens{{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
    ChatRequest request;
    request.messages = json(R"([{"role": "user", "content": "Hi"}])");
    EXPECT_EQ(chat.render(request).text, "<s>Hi");
    request.tools = json("[{}]");
    EXPECT_EQ(chat.render(request).text, "</s>1");
  }
  io::GgufWriter(file, {{"tokenizer.ggml.tokens", tokens}}, {}).commit();
  EXPECT_FALSE(has_chat_template(file));
  EXPECT_THROW(ChatTemplate::from_folder(file), NotFound);
}

TEST(ChatTemplate, RefusesBadRequests) {
  const ChatTemplate chat({{"default", "{{ messages[0].content }}"}}, {});
  const OrderedJson messages = json(R"([{"role": "user", "content": "Hi"}])");
  EXPECT_THROW(chat.render({}), InvalidArgument);
  EXPECT_THROW(chat.render({.messages = json("[]")}), InvalidArgument);
  EXPECT_THROW(chat.render({.messages = json("[1]")}), InvalidArgument);
  EXPECT_THROW(chat.render({.messages = messages, .tools = json("[1]")}), InvalidArgument);
  EXPECT_THROW(chat.render({.messages = messages, .documents = json("{}")}), InvalidArgument);
  EXPECT_THROW(chat.render({.messages = messages,
                            .add_generation_prompt = true,
                            .continue_final_message = "content"}),
               InvalidArgument);
  EXPECT_THROW(chat.render({.messages = messages, .continue_final_message = "nothing"}),
               InvalidArgument);
}

TEST(ChatTemplate, ContinuesTheLastMessage) {
  const ChatTemplate plain({{"default", "{% for m in messages %}<{{ m.content }}>{% endfor %}"}},
                           {});
  const ChatTemplate trimmed({{"default", "<{{ messages[0].content | trim }}>"}}, {});
  const OrderedJson messages = json(R"([{"role": "assistant", "content": "So "}])");
  EXPECT_EQ(plain.render({.messages = messages, .continue_final_message = "content"}).text, "<So ");
  EXPECT_EQ(trimmed.render({.messages = messages, .continue_final_message = "content"}).text,
            "<So");
}

}  // namespace
}  // namespace tessera::text
