// What language models take beside prompts: constraints, log-probabilities, penalties, tools.
#include "io/json_text.h"
#include "models/registry.h"
#include "text/tool_calls.h"
#include "unit/serve/tensor/engine_fixture.h"

#include <ATen/ops/tensor.h>

#include <cmath>
#include <regex>

namespace tessera::serve {
namespace {

constexpr const char* kToolTemplate =
    "{{ bos_token }}{% if tools %}{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    "Write <tool_call>.\n{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls %}<tool_call>{\"name\": \"{{ c.function.name }}\", \"arguments\": "
    "{{ c.function.arguments | tojson }}, \"id\": \"{{ c.id }}\"}</tool_call>{% endfor %}"
    "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";

// The same in Mistral's syntax.
std::string mistral_template() {
  std::string source = kToolTemplate;
  for (const auto& [from, to] : {std::pair("<tool_call>.", "[TOOL_CALLS]."),
                                 {"<tool_call>{", "[TOOL_CALLS][{"},
                                 {"}</tool_call>", "}]"}}) {
    source.replace(source.find(from), std::string(from).size(), to);
  }
  return source;
}

std::string with_tools() {
  const std::string folder = golden("plain");
  io::write_file(io::fs::path(folder) / "chat_template.jinja", kToolTemplate);
  return folder;
}

text::Tool tool(const std::string& name, const std::string& parameters) {
  return {.name = name,
          .definition = R"({"type":"function","function":{"name":")" + name + R"(","parameters":)" +
                        parameters + "}}",
          .parameters = parameters};
}

std::vector<GenerationRequest> mixed_requests() {
  using Kind = Constraint::Kind;
  const std::vector<Constraint> constraints = {
      {Kind::kRegex, "[a-c]{5,9}"},
      {Kind::kNone},
      {Kind::kJsonSchema,
       R"({"type":"object","properties":{"n":{"type":"integer","maximum":999}},"required":["n"],
           "additionalProperties":false})"},
      {Kind::kGrammar, "root ::= (\"yes\" | \"no\") [.!]{1,3}"},
      {Kind::kJsonObject},
      {Kind::kRegex, "[a-c]{5,9}"}};
  std::vector<GenerationRequest> requests;
  for (uint64_t i = 0; i < 12; ++i) {
    requests.push_back(prompt_of("Tell me more" + std::string(i % 3, '!'), 40, i));
    requests.back().constraint = constraints[i % constraints.size()];
    requests.back().top_logprobs = static_cast<int64_t>(i % 4);
    requests.back().sampling.presence_penalty = i % 2 == 0 ? 0.0 : 1.5;
    requests.back().sampling.frequency_penalty = i % 5 == 0 ? 0.7 : 0.0;
    requests.back().sampling.logit_bias = {{40 + static_cast<int64_t>(i), 2.0}};
  }
  return requests;
}

// The same without any engine.
pipelines::Completion without_engine(pipelines::TextCompleter& model,
                                     const GenerationRequest& request) {
  using Kind = pipelines::ConstraintSpec::Kind;
  const Kind kinds[] = {Kind::kNone, Kind::kJsonObject, Kind::kJsonSchema, Kind::kGrammar,
                        Kind::kRegex};
  nn::GenerationOptions options = model.defaults();
  options.sampling.greedy = false;
  options.sampling.temperature = 0.8;
  options.sampling.presence_penalty = *request.sampling.presence_penalty;
  options.sampling.frequency_penalty = *request.sampling.frequency_penalty;
  options.sampling.logit_bias = request.sampling.logit_bias;
  options.max_new_tokens = request.max_new_tokens;
  options.seed = request.sampling.seed;
  options.constraint =
      model.constraint({kinds[static_cast<int>(request.constraint.kind)], request.constraint.text});
  return model.complete(std::get<CompletionTask>(request.task).text, options, {},
                        {.top_logprobs = request.top_logprobs});
}

void expect_same_tokens(const std::vector<TokenReport>& got,
                        const std::vector<nn::TokenLogprobs>& expected,
                        const text::Tokenizer& tokenizer) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].chosen.bytes, tokenizer.token_bytes(static_cast<int32_t>(expected[i].id)));
    EXPECT_NEAR(got[i].chosen.logprob, expected[i].logprob, 1e-4);
    ASSERT_EQ(got[i].top.size(), expected[i].top.size());
    for (size_t k = 0; k < got[i].top.size(); ++k) {
      EXPECT_NEAR(got[i].top[k].logprob, expected[i].top[k].second, 1e-4);
    }
  }
}

TEST(LanguageEngine, ConstraintsAndLogprobsAreTheSameAloneAndTogether) {
  const std::string folder = golden("plain");
  pipelines::TextCompleter model(folder, {});
  DeviceQueue queue(open_engine(folder, "", {}, {.requests = 8, .cache_tokens = 1024}), 64);
  const std::vector<GenerationRequest> requests = mixed_requests();
  std::vector<std::shared_ptr<Waiter>> heard;
  for (const GenerationRequest& request : requests) {
    heard.push_back(std::make_shared<Waiter>());
    queue.submit(request, heard.back());
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    const Outcome outcome = heard[i]->wait();
    ASSERT_FALSE(outcome.error.has_value()) << outcome.error->what();
    const pipelines::Completion expected = without_engine(model, requests[i]);
    EXPECT_EQ(heard[i]->text, expected.text);
    EXPECT_EQ(outcome.reason, expected.reason);
    std::vector<nn::TokenLogprobs> tokens = expected.logprobs;
    if (!tokens.empty() && tokens.back().id == 2) {  // the end token is not told of
      tokens.pop_back();
    }
    expect_same_tokens(heard[i]->tokens, tokens, model.tokenizer());
    if (outcome.reason == "stop") {
      const std::string& text = heard[i]->text;
      switch (i % 6) {
        case 0:
        case 5:
          EXPECT_TRUE(std::regex_match(text, std::regex("[a-c]{5,9}"))) << text;
          break;
        case 2:
          EXPECT_LE(io::Json::parse(text).at("n").get<int>(), 999) << text;
          break;
        case 3:
          EXPECT_TRUE(std::regex_match(text, std::regex("(yes|no)[.!]{1,3}"))) << text;
          break;
        default:
          break;
      }
    }
  }
  EXPECT_EQ(heard[0]->outcome.reason, "stop");
  EXPECT_EQ(heard[3]->outcome.reason, "stop");
}

TEST(LanguageEngine, TheyHoldWhereRequestsRunOneByOne) {
  const std::string folder = golden("longrope", false);
  pipelines::TextCompleter model(folder, {});
  DeviceQueue queue(open_engine(folder, "", {}), 64);
  GenerationRequest request = mixed_requests().front();
  request.max_new_tokens = 20;
  const auto heard = std::make_shared<Waiter>();
  queue.submit(request, heard);
  EXPECT_EQ(heard->wait().reason, "stop");  // the constraint is through, without an end token
  const pipelines::Completion expected = without_engine(model, request);
  EXPECT_EQ(heard->text, expected.text);
  expect_same_tokens(heard->tokens, expected.logprobs, model.tokenizer());
}

TEST(LanguageEngine, WhatIsWrongIsToldBeforeItsTurn) {
  DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 2}), 64);
  using Kind = Constraint::Kind;
  std::vector<GenerationRequest> wrong(6, prompt_of("Hello", 5, 1));
  wrong[0].constraint = {Kind::kJsonSchema, "{"};
  wrong[1].constraint = {Kind::kJsonSchema, R"({"type":"strange"})"};
  wrong[2].constraint = {Kind::kGrammar, "root ::= other"};
  wrong[3].constraint = {Kind::kRegex, "(a"};
  wrong[4].sampling.logit_bias = {{151, 1}};  // the model has 151 ids
  wrong[5].task = CompletionTask{.text = std::string(600, 'x'), .ids = {}};
  for (size_t i = 0; i < wrong.size(); ++i) {
    const auto heard = std::make_shared<Waiter>();
    queue.submit(wrong[i], heard);
    ASSERT_TRUE(heard->wait().error.has_value()) << i;
    EXPECT_EQ(heard->ends, 1);
    const ErrorCode code = heard->outcome.error->code();
    EXPECT_EQ(code, i == 0 ? ErrorCode::kCorruptFile : ErrorCode::kInvalidArgument)
        << heard->outcome.error->what();
  }
}

TEST(LanguageEngine, ChoicesAreTheAnswersOfTheirSeeds) {
  DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 4}), 64);
  const GenerationRequest request = talk_of("Tell me about the sea", 12, 20);
  std::vector<std::shared_ptr<Waiter>> together;
  Backend::Listeners listeners;
  for (int i = 0; i < 3; ++i) {
    listeners.push_back(together.emplace_back(std::make_shared<Waiter>()));
  }
  queue.submit(request, listeners);
  std::set<std::string> different;
  for (uint64_t i = 0; i < 3; ++i) {
    const auto single = std::make_shared<Waiter>();
    queue.submit(talk_of("Tell me about the sea", 12, 20 + i), single);
    single->wait();
    EXPECT_FALSE(together[i]->wait().error.has_value());
    EXPECT_EQ(together[i]->text, single->text);
    different.insert(single->text);
  }
  EXPECT_GT(different.size(), 1U);
}

TEST(LanguageEngine, BiasesPenaltiesAndTheCache) {
  DeviceQueue queue(open_engine(golden("plain"), "", {}, {.requests = 4}), 64);
  const int32_t z = queue.tokenize("z", false).at(0);
  GenerationRequest request = prompt_of("What the sea says to whoever hears it", 6, 1);
  request.sampling.logit_bias = {{z, 100}};
  const auto first = std::make_shared<Waiter>();
  queue.submit(request, first);
  EXPECT_EQ(first->wait().cached_tokens, 0);
  EXPECT_EQ(first->text, "zzzzzz");
  // Each z costs 60: the second time another is likelier. The prompt's whole pages are found.
  request.sampling.logit_bias = {{z, 60}};
  request.sampling.presence_penalty = 2;
  request.sampling.frequency_penalty = 2;
  request.sampling.temperature = 0;
  const auto second = std::make_shared<Waiter>();
  queue.submit(request, second);
  const Outcome outcome = second->wait();
  EXPECT_EQ(second->text, "zzzzzz");  // 4 a time are not enough
  EXPECT_GT(outcome.cached_tokens, 0);
  EXPECT_LT(outcome.cached_tokens, outcome.prompt_tokens);
  GenerationRequest free = prompt_of("What the sea says to whoever hears it", 30, 1);
  free.sampling.temperature = 0;
  const auto plain = std::make_shared<Waiter>();
  const auto varied = std::make_shared<Waiter>();
  queue.submit(free, plain);
  free.sampling.frequency_penalty = 2;
  queue.submit(free, varied);
  plain->wait();
  varied->wait();
  const auto kinds = [](const std::string& text) {
    return std::set(text.begin(), text.end()).size();
  };
  EXPECT_GE(kinds(varied->text), kinds(plain->text));
}

// ---- tools ----

TEST(LanguageEngine, ACallThatMustBeMadeIsMade) {
  const auto engine = open_engine(with_tools(), "", {}, {.requests = 4});
  ASSERT_EQ(engine->card().tools, text::ToolSyntax::kHermes);
  GenerationRequest request = talk_of("Hi", 200, 3);
  auto& task = std::get<ChatTask>(request.task);
  task.tools = {tool("add", R"({"type":"object","properties":{"x":{"type":"integer"},)"
                            R"("y":{"enum":["up","down"]}},"required":["x","y"],)"
                            R"("additionalProperties":false})"),
                tool("now", R"({"type":"object","properties":{},"additionalProperties":false})")};
  const std::string shown = engine->prompt_text(task);
  EXPECT_TRUE(shown.starts_with(R"(<s>{"type": "function", "function": {"name": "add")")) << shown;
  EXPECT_TRUE(shown.ends_with("user: Hi\nassistant: ")) << shown;
  for (const std::string wanted : {"add", "now", ""}) {
    task.must_call =
        wanted.empty() ? std::vector<std::string>{"add", "now"} : std::vector<std::string>{wanted};
    task.many_calls = false;
    EXPECT_TRUE(engine->prompt_text(task).ends_with("assistant: <tool_call>\n"));
    Heard heard;
    const Outcome outcome = run(*engine, request, heard, [] { return true; });
    EXPECT_EQ(outcome.reason, "stop");
    text::ToolCallReader reader(text::ToolSyntax::kHermes, {"add", "now"}, /*opened=*/true);
    const auto calls = reader.push(heard.text).calls;
    ASSERT_EQ(calls.size(), 1U) << heard.text;
    EXPECT_TRUE(wanted.empty() || calls[0].name == wanted);
    const io::Json arguments = io::Json::parse(calls[0].arguments);
    EXPECT_EQ(arguments.size(), calls[0].name == "add" ? 2U : 0U);
    if (calls[0].name == "add") {
      EXPECT_TRUE(arguments["x"].is_number_integer());
    }
  }
}

TEST(LanguageEngine, CallsAndResultsAreInThePrompt) {
  const auto engine = open_engine(with_tools(), "", {});
  ChatTask task;
  task.messages = {
      {.role = Role::kUser, .parts = {Part::text("When?")}},
      {.role = Role::kAssistant,
       .parts = {},
       .calls = {{.id = "call_7", .name = "now", .arguments = R"({"z": "UTC", "a": 1})"}}},
      {.role = Role::kTool, .parts = {Part::text("noon")}, .call_id = "call_7", .name = "now"}};
  EXPECT_EQ(engine->prompt_text(task),
            "<s>user: When?\nassistant: <tool_call>{\"name\": \"now\", \"arguments\": {\"z\": "
            "\"UTC\", \"a\": 1}, \"id\": \"call_7\"}</tool_call>\ntool: noon\nassistant: ");
  // Mistral's ids have nine letters and digits.
  const std::string folder = golden("plain");
  io::write_file(io::fs::path(folder) / "chat_template.jinja", mistral_template());
  task.messages[1].calls[0].id = "call_0123456789abcdef";
  EXPECT_NE(open_engine(folder, "", {})->prompt_text(task).find("\"id\": \"789abcdef\"}]"),
            std::string::npos);
  // A template without tools refuses them.
  const auto plain = open_engine(golden("plain"), "", {});
  EXPECT_FALSE(plain->card().tools.has_value());
  task.tools = {tool("now", "{}")};
  EXPECT_THROW(plain->prompt_text(task), InvalidArgument);
}

TEST(LanguageEngine, MarksOfCallsAreShownWhereThereAreTools) {
  const io::fs::path folder = temporary_path("marked-engine");
  write_bundled(folder, "LlamaForCausalLM",
                {{"vocab_size", 260},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 1},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"max_position_embeddings", 400},
                 {"eos_token_id", 2},
                 {"initializer_range", 0.3}},
                3);
  io::Json tokenizer = byte_tokenizer({"[TOOL_CALLS]"});
  tokenizer["added_tokens"].back()["special"] = true;
  io::write_file(folder / "tokenizer.json", tokenizer.dump());
  io::write_file(
      folder / "tokenizer_config.json",
      R"({"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"})");
  io::write_file(folder / "chat_template.jinja", mistral_template());
  const auto engine = open_engine(folder.string(), "", {});
  ASSERT_EQ(engine->card().tools, text::ToolSyntax::kMistral);
  GenerationRequest request = talk_of("Hi", 2, 3);
  request.sampling.logit_bias = {{259, 100}};
  Heard hidden;
  run(*engine, request, hidden, [] { return true; });
  EXPECT_EQ(hidden.text, "");
  std::get<ChatTask>(request.task).tools = {tool("now", "{}")};
  Heard shown;
  run(*engine, request, shown, [] { return true; });
  EXPECT_EQ(shown.text, "[TOOL_CALLS][TOOL_CALLS]");
}

TEST(LanguageEngine, ThoughtsThatThePromptOpensAreTold) {
  struct Told : Heard {
    void on_thoughts() override {
      EXPECT_EQ(text, "");
      ++told;
    }
    int told = 0;
  };
  const std::string folder = golden("plain");
  io::write_file(io::fs::path(folder) / "chat_template.jinja",
                 "{{ bos_token }}{% for m in messages %}{{ m.role }}: "
                 "{{ m.content.split('</think>')[-1] }}\n{% endfor %}"
                 "{% if add_generation_prompt %}assistant: {% if not quick %}<think>\n{% endif %}"
                 "{% endif %}");
  const auto engine = open_engine(folder, "", {}, {.requests = 2});
  EXPECT_TRUE(engine->card().thinks && engine->card().chat_template);
  const auto told = [&](const GenerationRequest& request) {
    Told heard;
    const Outcome outcome = run(*engine, request, heard, [] { return true; });
    EXPECT_FALSE(outcome.error.has_value());
    const std::string shown = engine->prompt_text(std::get<ChatTask>(request.task));
    const bool closed = request.constraint.kind != Constraint::Kind::kNone;
    EXPECT_EQ(outcome.prompt_tokens, static_cast<int64_t>(engine->tokenize(shown, false).size()) +
                                         (closed ? 10 : 0));  // "</think>\n\n" in bytes
    return heard.told;
  };
  GenerationRequest request = talk_of("Hi", 3, 1);
  EXPECT_EQ(told(request), 1);
  std::get<ChatTask>(request.task).variables = R"({"quick": true})";
  EXPECT_EQ(told(request), 0);
  std::get<ChatTask>(request.task).variables = "";
  request.constraint = {Constraint::Kind::kRegex, "[a-c]{3}"};  // is of the answer
  EXPECT_EQ(told(request), 0);
}

// ---- embeddings ----

struct Embedded : Waiter {
  void on_embedding(std::span<const float> values) override {
    const std::lock_guard lock(mutex);
    embeddings.emplace_back(values.begin(), values.end());
  }
  std::vector<std::vector<float>> embeddings;
};

GenerationRequest embedding_of(std::vector<CompletionTask> inputs) {
  GenerationRequest request;
  request.task = EmbeddingTask{std::move(inputs)};
  return request;
}

TEST(LanguageEngine, EmbeddingsAreMeansOfStates) {
  const std::string folder = golden("plain");
  const auto model = std::dynamic_pointer_cast<nn::SequenceModel>(
      models::load_model(models::open_folder(folder), {}));
  DeviceQueue queue(open_engine(folder, "", {}, {.requests = 2}), 64);
  const std::vector<std::string> texts = {"The sea", "A", "The wind over the sea, and rain"};
  std::vector<CompletionTask> inputs;
  int64_t tokens = 0;
  for (const std::string& text : texts) {
    inputs.push_back({.text = text, .ids = {}});
    tokens += static_cast<int64_t>(queue.tokenize(text, true).size());
  }
  inputs.push_back({.text = {}, .ids = queue.tokenize(texts[0], true)});
  tokens += static_cast<int64_t>(inputs.back().ids.size());
  // Beside others that generate.
  const auto beside = std::make_shared<Waiter>();
  queue.submit(prompt_of("Hello", 40, 1), beside);
  const auto heard = std::make_shared<Embedded>();
  queue.submit(embedding_of(inputs), heard);
  const Outcome outcome = heard->wait();
  ASSERT_FALSE(outcome.error.has_value()) << outcome.error->what();
  EXPECT_EQ(outcome.reason, "stop");
  EXPECT_EQ(outcome.prompt_tokens, tokens);
  EXPECT_EQ(outcome.new_tokens, 0);
  ASSERT_EQ(heard->embeddings.size(), 4U);
  EXPECT_EQ(heard->embeddings[3], heard->embeddings[0]);
  for (size_t i = 0; i < texts.size(); ++i) {
    // State by state: no mask, no cache, a token more each time.
    const std::vector<int32_t> ids = queue.tokenize(texts[i], true);
    std::vector<double> sum;
    for (size_t length = 1; length <= ids.size(); ++length) {
      const std::vector<int64_t> front(ids.begin(), ids.begin() + static_cast<long>(length));
      const at::Tensor states = model->hidden({.ids = at::tensor(front, at::kLong).unsqueeze(0),
                                               .positions = {},
                                               .key_mask = {},
                                               .last_only = true},
                                              nullptr);
      const at::Tensor last = states.flatten().to(at::kDouble).contiguous();
      sum.resize(static_cast<size_t>(last.numel()));
      for (size_t k = 0; k < sum.size(); ++k) {
        sum[k] += last.const_data_ptr<double>()[k];
      }
    }
    double square = 0;
    for (const double value : sum) {
      square += value * value;
    }
    ASSERT_EQ(heard->embeddings[i].size(), sum.size());
    for (size_t k = 0; k < sum.size(); ++k) {
      EXPECT_NEAR(heard->embeddings[i][k], sum[k] / std::sqrt(square), 1e-5) << i << " " << k;
    }
  }
  EXPECT_FALSE(beside->wait().error.has_value());
  // Wrong ids and empty inputs are refused as a whole.
  for (const CompletionTask& wrong : {CompletionTask{.text = {}, .ids = {151}},
                                      CompletionTask{.text = std::string(600, 'x'), .ids = {}}}) {
    const auto refused = std::make_shared<Embedded>();
    queue.submit(embedding_of({inputs[0], wrong}), refused);
    ASSERT_TRUE(refused->wait().error.has_value());
    EXPECT_EQ(refused->outcome.error->code(), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(refused->embeddings.empty());
  }
  // Many inputs end between two of them.
  const auto gone = std::make_shared<Embedded>();
  const Backend::Handle handle =
      queue.submit(embedding_of(std::vector<CompletionTask>(5000, inputs[2])), gone);
  ASSERT_TRUE(soon([&] {
    const std::lock_guard lock(gone->mutex);
    return !gone->embeddings.empty();
  }));
  queue.cancel(handle);
  EXPECT_EQ(gone->wait().reason, "interrupted");
  EXPECT_LT(gone->embeddings.size(), 5000U);
}

TEST(LanguageEngine, EmbeddingsWhereRequestsRunOneByOne) {
  DeviceQueue queue(open_engine(golden("longrope", false), "", {}), 64);
  const auto heard = std::make_shared<Embedded>();
  queue.submit(embedding_of({{.text = "The sea", .ids = {}}, {.text = "The wind", .ids = {}}}),
               heard);
  EXPECT_FALSE(heard->wait().error.has_value());
  ASSERT_EQ(heard->embeddings.size(), 2U);
  double square = 0;
  for (const float value : heard->embeddings[1]) {
    square += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(square, 1, 1e-6);
}

}  // namespace
}  // namespace tessera::serve
