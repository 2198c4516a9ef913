// Conversations in text: prompts by the template, where replies end, several turns, batches.
#include "pipelines/text_chat.h"

#include "core/error.h"
#include "pipelines/complete.h"
#include "unit/pipelines/any_to_any_folder.h"
#include "unit/temporary_folder.h"

#include <gtest/gtest.h>

namespace tessera::pipelines {
namespace {

constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
// As Gemma's: no system messages.
constexpr const char* kNoSystem =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}";

io::fs::path chat_folder(const std::string& name, const std::string& source) {
  const io::fs::path folder = temporary_path("chat-" + name);
  io::fs::remove_all(folder);
  io::fs::create_directories(folder);
  io::Json tokenizer = byte_tokenizer({"<|im_start|>", "<|im_end|>"});
  for (io::Json& token : tokenizer["added_tokens"]) {
    token["special"] = true;
  }
  io::write_file(folder / "tokenizer.json", tokenizer.dump());
  io::write_file(
      folder / "tokenizer_config.json",
      R"({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"})");
  if (!source.empty()) {
    io::write_file(folder / "chat_template.jinja", source);
  }
  return folder;
}

void write_llama(const io::fs::path& folder) {
  write_bundled(folder, "LlamaForCausalLM",
                {{"vocab_size", 261},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"max_position_embeddings", 400},
                 {"eos_token_id", 2},
                 {"initializer_range", 0.3}},
                3);
}

Message says(Role role, const std::string& text) {
  return {.role = role, .parts = {Part::text(text)}};
}

TEST(ChatFormat, RendersAndKnowsWhereATurnEnds) {
  const io::fs::path folder = chat_folder("chatml", kChatMl);
  const auto tokenizer = text::load_tokenizer(folder);
  const auto format = ChatFormat::open(folder, *tokenizer);
  ASSERT_NE(format, nullptr);
  EXPECT_EQ(format->end_ids(), (std::vector<int64_t>{2, 260}));  // </s> and <|im_end|>
  const std::vector<Message> talk = {
      says(Role::kSystem, "Be kind."),
      says(Role::kUser, "Hi"),
      says(Role::kAssistant, "Hello"),
      {.role = Role::kUser, .parts = {Part::text("one"), Part::text("two")}}};
  const std::vector<int32_t> ids = format->prompt(talk);
  EXPECT_EQ(tokenizer->decode(ids),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\none\ntwo<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(ids.front(), 259);
  EXPECT_THROW(format->prompt({}), InvalidArgument);
  const std::vector<Message> seen = {
      {.role = Role::kUser, .parts = {{Modality::kImage, Image{}, {}}}}};
  EXPECT_THROW(format->prompt(seen), InvalidArgument);
}

TEST(ChatFormat, PutsTheSystemsWordsBeforeTheUsers) {
  const io::fs::path folder = chat_folder("nosystem", kNoSystem);
  const auto tokenizer = text::load_tokenizer(folder);
  const auto format = ChatFormat::open(folder, *tokenizer);
  EXPECT_EQ(format->end_ids(), (std::vector<int64_t>{2}));
  const std::vector<Message> talk = {says(Role::kSystem, "Be kind."), says(Role::kUser, "Hi")};
  EXPECT_EQ(tokenizer->decode(format->prompt(talk)), "<s>[user] Be kind.\n\nHi</s>");
  EXPECT_EQ(ChatFormat::open(chat_folder("none", ""), *tokenizer), nullptr);
  EXPECT_THROW(ChatFormat::open(chat_folder("broken", "{% for %}"), *tokenizer), CorruptFile);
}

// As reasoning models' templates: thoughts of earlier turns are dropped, and of this one opened.
constexpr const char* kThinking =
    "{% if tools %}(write <tool_call> for {{ tools[0].function.name }}){% endif %}"
    "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content and loop.last %}"
    "<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content.split('</think>')[-1] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}[assistant]{% if effort %}({{ effort }}){% endif %}"
    "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% else %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}";

TEST(ChatFormat, KnowsThoughtsAndTakesVariables) {
  const io::fs::path folder = chat_folder("thinking", kThinking);
  const auto tokenizer = text::load_tokenizer(folder);
  const auto format = ChatFormat::open(folder, *tokenizer);
  EXPECT_TRUE(format->thinks());
  EXPECT_TRUE(format->thought_ids().empty());  // no special tokens here
  const std::vector<Message> talk = {says(Role::kUser, "What is <think>?")};
  const auto expect = [&](const PromptSettings& settings, const std::string& text, bool inside,
                          const std::vector<Message>& messages) {
    const ChatFormat::Text got = format->text(messages, settings);
    EXPECT_EQ(got.text, text);
    EXPECT_EQ(got.inside_thoughts, inside) << text;
    EXPECT_EQ(tokenizer->decode(format->encode(got.text)), text);
  };
  const std::string asked = "[user]What is <think>?</s>";
  expect({}, asked + "[assistant]<think>\n", true, talk);
  expect({.variables = R"({"enable_thinking":false})"},
         asked + "[assistant]<think>\n\n</think>\n\n", false, talk);
  expect({.variables = R"({"effort":"low"})"}, asked + "[assistant](low)<think>\n", true, talk);
  expect({.think = false}, asked + "[assistant]<think>\n</think>\n\n", false, talk);
  expect({.ask = false}, asked, false, talk);
  EXPECT_THROW(format->text(talk, {.variables = "[]"}), InvalidArgument);
  // The last message goes on, inside its thoughts or not.
  const auto begun = [&](const std::string& text) {
    return std::vector<Message>{says(Role::kUser, "Hi"), says(Role::kAssistant, text)};
  };
  const PromptSettings going_on = {.ask = false, .go_on = true};
  expect(going_on, "[user]Hi</s>[assistant]Hello, ", false, begun("Hello, "));
  expect(going_on, "[user]Hi</s>[assistant]<think>a", true, begun("<think>a"));
  std::vector<Message> thought = begun("Well");
  thought.back().thoughts = "hm";
  expect(going_on, "[user]Hi</s>[assistant]<think>hm</think>Well", false, thought);
  EXPECT_THROW(format->text(talk, {.go_on = true}), InvalidArgument);  // and asks
  // A call that must be made comes without thoughts.
  const std::vector<text::Tool> tools = {
      {.name = "f",
       .definition = R"({"type":"function","function":{"name":"f"}})",
       .parameters = "{}"}};
  expect({.tools = tools}, "(write <tool_call> for f)" + asked + "[assistant]<think>\n", true,
         talk);
  expect({.tools = tools, .call = true},
         "(write <tool_call> for f)" + asked + "[assistant]<think>\n</think>\n\n<tool_call>\n",
         false, talk);
  EXPECT_FALSE(ChatFormat::open(chat_folder("chatml", kChatMl), *tokenizer)->thinks());
}

TEST(TextChat, TurnsGiveWhatTheWholePromptGives) {
  const io::fs::path folder = chat_folder("llama", kChatMl);
  write_llama(folder);
  TextChat chat(folder.string(), {}, 3);
  TextCompleter plain(folder.string(), {});
  ConverseOptions options;
  options.seed = 7;
  options.max_new_tokens = 20;
  options.temperature = 0.9;
  std::vector<Message> talk;
  std::string prompt;
  for (const char* line : {"Hello", "And who are you?", "Bye"}) {
    talk.push_back(says(Role::kUser, line));
    std::string streamed;
    ConverseEvents events;
    events.on_text = [&](size_t row, std::string_view piece) {
      EXPECT_EQ(row, 0U);
      streamed += piece;
    };
    const Reply reply = chat.reply(talk, options, events);
    nn::GenerationOptions same = text_options(options, plain.defaults());
    same.end_ids.push_back(260);
    const auto ids = chat.batcher().chat()->prompt(talk);
    const Completion expected = plain.complete(ids, same, {}, {});
    EXPECT_EQ(std::get<std::string>(reply.message.parts[0].content), expected.text);
    EXPECT_EQ(streamed, expected.text);
    EXPECT_EQ(reply.prompt_tokens, static_cast<int64_t>(ids.size()));
    EXPECT_EQ(reply.new_tokens, static_cast<int64_t>(expected.ids.size()));
    talk.push_back(reply.message);
  }
  EXPECT_GT(chat.batcher().stats().cached_tokens, 0);  // of the turns before

  // A batch: each gets what it gets alone; one that is too long stops all.
  std::vector<std::vector<Message>> talks;
  std::vector<std::string> single;
  for (const char* line : {"One", "Two, please", "One"}) {
    talks.push_back({says(Role::kUser, line)});
    single.push_back(
        std::get<std::string>(chat.reply(talks.back(), options).message.parts[0].content));
  }
  const std::vector<Reply> replies = chat.reply(talks, options);
  for (size_t i = 0; i < talks.size(); ++i) {
    EXPECT_EQ(std::get<std::string>(replies[i].message.parts[0].content), single[i]);
  }
  talks.push_back({says(Role::kUser, std::string(500, 'a'))});
  EXPECT_THROW(chat.reply(talks, options), InvalidArgument);
  EXPECT_EQ(chat.batcher().stats().running, 0);

  int asked = 0;
  ConverseEvents events;
  events.go_on = [&] { return ++asked < 4; };
  const Reply cut = chat.reply({says(Role::kUser, "Hello")}, options, events);
  EXPECT_TRUE(cut.reason == "interrupted" ? cut.new_tokens == 4 : cut.new_tokens < 4);
  options.to = Modality::kImage;
  EXPECT_THROW(chat.reply(talks[0], options), InvalidArgument);
}

// A model has rows for ids that its tokenizer does not know, and a prompt may name them: no reason
// to end what others have asked for.
TEST(TextBatcher, UnknownIdsHarmNobody) {
  const io::fs::path folder = chat_folder("padded", kChatMl);
  write_bundled(folder, "LlamaForCausalLM",
                {{"vocab_size", 320},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"max_position_embeddings", 100},
                 {"initializer_range", 0.3}},
                3);
  TextBatcher batcher(folder.string(), {.dtype = at::kFloat}, {.sequences = 4});
  int done = 0;
  for (const std::vector<int32_t>& prompt :
       {std::vector<int32_t>{1, 319}, {300, 301, 302, 303, 304, 305}, {1, 50, 60}}) {
    nn::GenerationOptions options = batcher.defaults(false);
    options.max_new_tokens = 40;  // some of them beyond the tokenizer's 261
    options.sampling.greedy = false;
    batcher.submit({.prompt = prompt, .options = options, .on_done = [&](const TextResult& result) {
                      EXPECT_EQ(result.error, nullptr);
                      EXPECT_TRUE(result.reason == "stop" || result.reason == "length");
                      ++done;
                    }});
  }
  while (batcher.step()) {
  }
  EXPECT_EQ(done, 3);
}

// Completions do not need the template.
TEST(TextBatcher, ATemplateThatCannotBeReadTakesOnlyConversations) {
  const io::fs::path folder = chat_folder("odd", "{% frobnicate %}");
  write_llama(folder);
  const TextBatcher batcher(folder.string(), {.dtype = at::kFloat});
  EXPECT_EQ(batcher.chat(), nullptr);
  EXPECT_THROW(TextChat(folder.string(), {.dtype = at::kFloat}), Unsupported);
}

TEST(TextChat, SaysWhenThereIsNoTemplate) {
  const io::fs::path folder = chat_folder("bare", "");
  write_llama(folder);
  try {
    TextChat(folder.string(), {});
    FAIL() << "it has no template";
  } catch (const NotFound& error) {
    EXPECT_NE(std::string(error.what()).find("no chat template; use `tessera generate`"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace tessera::pipelines
