// What language models can beside conversations: settings of the sampler, log-probabilities,
// structured outputs, tools. The scripted model says the user's words.
#include "unit/serve/serve_fixture.h"

namespace tessera::serve {
namespace {

using io::Json;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kBad = "invalid_request_error";
constexpr const char* kNo = "not_supported_error";
const ServedModel::Setup kLanguage = {.kind = ScriptedEngine::Kind::kLanguage};

// What the choice of a stream's events adds up to, in the form of a whole answer.
struct Streamed {
  explicit Streamed(const std::string& body) {
    for (const Json& event : events_of(body)) {
      if (!event.is_object() || event["choices"].empty()) {
        continue;
      }
      const Json& choice = event["choices"][0];
      text += choice["delta"].value("content", "");
      EXPECT_EQ(text.find("<tool"), std::string::npos);
      for (const Json& call : choice["delta"].value("tool_calls", Json::array())) {
        const size_t index = call["index"];
        if (index == calls.size()) {
          calls.push_back(call);
          calls.back().erase("index");
        } else {
          EXPECT_EQ(index + 1, calls.size());
          calls.back()["function"]["arguments"] =
              calls.back()["function"]["arguments"].get<std::string>() +
              call["function"]["arguments"].get<std::string>();
        }
      }
      if (!choice["logprobs"].is_null()) {
        for (const Json& token : choice["logprobs"]["content"]) {
          logprobs.push_back(token);
        }
      }
      reason = choice["finish_reason"];
    }
  }

  std::string text;
  Json calls = Json::array(), logprobs = Json::array(), reason;
};

TEST(OpenAiLanguage, SamplingSettingsReachTheModel) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const std::string more =
      R"("presence_penalty":0.5,"frequency_penalty":-1,"typical_p":0.7,"min_p":0.1,)"
      R"("repetition_penalty":1.5,"logit_bias":{"17":-100,"3":2.5})";
  EXPECT_EQ(client.post(kChat, chat_body("x", more)).status, 200);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":"x",)" + more + "}").status, 200);
  for (const GenerationRequest& request : served.control->requests) {
    const Sampling& sampling = request.sampling;
    EXPECT_EQ(sampling.presence_penalty, 0.5);
    EXPECT_EQ(sampling.frequency_penalty, -1);
    EXPECT_EQ(sampling.typical_p, 0.7);
    EXPECT_EQ(sampling.min_p, 0.1);
    EXPECT_EQ(sampling.repetition_penalty, 1.5);
    using Biases = std::vector<std::pair<int64_t, double>>;
    EXPECT_EQ(sampling.logit_bias, (Biases{{17, -100}, {3, 2.5}}));
    EXPECT_FALSE(request.top_logprobs.has_value());
    EXPECT_EQ(request.constraint.kind, Constraint::Kind::kNone);
  }
  const auto post = [&](const std::string& field) {
    return client.post(kChat, chat_body("x", field));
  };
  expect_error(post(R"("presence_penalty":2.1)"), 400, kBad, "presence_penalty");
  expect_error(post(R"("typical_p":0)"), 400, kBad, "typical_p");
  expect_error(post(R"("logit_bias":[1])"), 400, kBad, "logit_bias");
  expect_error(post(R"("logit_bias":{"x":1})"), 400, kBad, "logit_bias");
  expect_error(post(R"("logit_bias":{"-1":1})"), 400, kBad, "logit_bias");
  expect_error(post(R"("logit_bias":{"1":101})"), 400, kBad, "logit_bias");
  expect_error(post(R"("logit_bias":{"1":"2"})"), 400, kBad, "logit_bias");
}

TEST(OpenAiLanguage, LogprobsOfChats) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const std::string more = R"("logprobs":true,"top_logprobs":3)";
  const Json choice =
      Json::parse(client.post(kChat, chat_body("one zwei 三", more)).body)["choices"][0];
  const Json& tokens = choice["logprobs"]["content"];
  ASSERT_EQ(tokens.size(), 3U);
  EXPECT_EQ(tokens[1]["token"], " zwei");
  EXPECT_EQ(tokens[1]["bytes"], Json({32, 122, 119, 101, 105}));
  EXPECT_EQ(tokens[1]["logprob"], -0.5);
  ASSERT_EQ(tokens[1]["top_logprobs"].size(), 3U);
  EXPECT_EQ(
      tokens[1]["top_logprobs"][1],
      Json({{"token", " other"}, {"logprob", -1.0}, {"bytes", {32, 111, 116, 104, 101, 114}}}));
  EXPECT_EQ(tokens[1]["top_logprobs"][2]["token"], "\uFFFD");  // a part of a character
  EXPECT_EQ(tokens[1]["top_logprobs"][2]["bytes"], Json({0xC3}));
  EXPECT_EQ(tokens[1]["top_logprobs"][2]["logprob"], -9999.0);
  const Streamed streamed(
      client.post(kChat, chat_body("one zwei 三", more + R"(,"stream":true)")).body);
  EXPECT_EQ(streamed.logprobs, tokens);
  EXPECT_EQ(streamed.text, "one zwei 三");

  // What a stop string hides takes its tokens along.
  for (const char* stream : {"true", "false"}) {
    const std::string body =
        client
            .post(kChat,
                  chat_body("one two three four", more + R"(,"stop":"wo thr","stream":)" + stream))
            .body;
    const Json shown = std::string(stream) == "true"
                           ? Streamed(body).logprobs
                           : Json::parse(body)["choices"][0]["logprobs"]["content"];
    ASSERT_EQ(shown.size(), 2U) << body;
    EXPECT_EQ(shown[1]["token"], " two");  // of which " t" is shown
  }
  const Json none = Json::parse(client.post(kChat, chat_body("x", R"("logprobs":true)")).body);
  EXPECT_EQ(none["choices"][0]["logprobs"]["content"][0]["top_logprobs"], Json::array());
  const auto post = [&](const std::string& field) {
    return client.post(kChat, chat_body("x", field));
  };
  expect_error(post(R"("logprobs":true,"top_logprobs":21)"), 400, kBad, "top_logprobs");
  expect_error(post(R"("logprobs":true,"top_logprobs":-1)"), 400, kBad, "top_logprobs");
  expect_error(post(R"("top_logprobs":5)"), 400, kBad, "top_logprobs");
  expect_error(post(R"("logprobs":5)"), 400, kBad, "logprobs");
}

TEST(OpenAiLanguage, LogprobsOfCompletions) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const auto post = [&](const std::string& field) {
    return client.post("/v1/completions", R"({"prompt":"é two three",)" + field + "}");
  };
  const Json logprobs = Json::parse(post(R"("logprobs":3)").body)["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], Json({"é", " two", " three"}));
  EXPECT_EQ(logprobs["token_logprobs"], Json({-0.5, -0.5, -0.5}));
  EXPECT_EQ(logprobs["text_offset"], Json({0, 1, 5}));  // characters
  EXPECT_EQ(logprobs["top_logprobs"][1],
            Json({{" two", -0.5}, {" other", -1.0}, {"bytes:\\xc3", -9999.0}}));
  Json joined = {{"tokens", Json::array()}, {"text_offset", Json::array()}};
  for (const Json& event : events_of(post(R"("logprobs":3,"stream":true)").body)) {
    if (event.is_object()) {
      for (const char* name : {"tokens", "text_offset"}) {
        for (const Json& item : event["choices"][0]["logprobs"][name]) {
          joined[name].push_back(item);
        }
      }
    }
  }
  EXPECT_EQ(joined["tokens"], logprobs["tokens"]);
  EXPECT_EQ(joined["text_offset"], logprobs["text_offset"]);
  const Json chosen = Json::parse(post(R"("logprobs":0)").body)["choices"][0]["logprobs"];
  EXPECT_EQ(chosen["tokens"].size(), 3U);
  EXPECT_TRUE(chosen["top_logprobs"].is_null());
  EXPECT_TRUE(Json::parse(post(R"("logprobs":null)").body)["choices"][0]["logprobs"].is_null());
  expect_error(post(R"("logprobs":21)"), 400, kBad, "logprobs");
  expect_error(post(R"("logprobs":true)"), 400, kBad, "logprobs");
  expect_error(post(R"("logprobs":1,"echo":true)"), 501, kNo, "logprobs");
}

TEST(OpenAiLanguage, FormatsBecomeConstraints) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  using Kind = Constraint::Kind;
  const auto constraint = [&](const std::string& field) {
    const RawClient::Answer answer = client.post(kChat, chat_body("x", field));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return served.control->requests.back().constraint;
  };
  EXPECT_EQ(constraint(R"("response_format":{"type":"text"})").kind, Kind::kNone);
  EXPECT_EQ(constraint(R"("response_format":{"type":"json_object"})").kind, Kind::kJsonObject);
  // The order of members is the schema's.
  const std::string schema = R"({"type":"object","properties":{"z":{},"a":{}}})";
  for (
      const std::string& field :
      {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":)" +
           schema + "}}",
       R"("response_format":{"type":"json_object","schema":)" + schema + "}",
       R"("guided_json": )" + schema, "\"guided_json\":" + Json(schema).dump()}) {
    const Constraint got = constraint(field);
    EXPECT_EQ(got.kind, Kind::kJsonSchema);
    EXPECT_EQ(got.text, schema);
  }
  EXPECT_EQ(constraint(R"("grammar":"root ::= \"x\"")").text, "root ::= \"x\"");
  EXPECT_EQ(constraint(R"("guided_grammar":"root ::= \"x\"")").kind, Kind::kGrammar);
  EXPECT_EQ(constraint(R"("guided_regex":"[a-z]+")").kind, Kind::kRegex);
  EXPECT_EQ(constraint(R"("grammar":"","guided_json":null)").kind, Kind::kNone);
  // A name in escapes is the same name; its value counts, not that of another.
  EXPECT_EQ(
      constraint(R"("guided_json":{"type":"null"},"guided_j\u0073on":{"type":"string"})").text,
      R"({"type":"string"})");

  const auto post = [&](const std::string& field) {
    return client.post(kChat, chat_body("x", field));
  };
  expect_error(post(R"("response_format":"json")"), 400, kBad, "response_format");
  expect_error(post(R"("response_format":{"type":"xml"})"), 400, kBad, "response_format.type");
  expect_error(post(R"("response_format":{"type":"json_schema"})"), 400, kBad,
               "response_format.json_schema");
  expect_error(post(R"("response_format":{"type":"json_schema","json_schema":{"schema":{}}})"), 400,
               kBad, "response_format.json_schema.name");
  expect_error(post(R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})"), 400,
               kBad, "response_format.json_schema.schema");
  expect_error(
      post(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":"no"}})"),
      400, kBad, "response_format.json_schema.schema");
  expect_error(post(R"("guided_json":"{\"type\":")"), 400, kBad, "guided_json");
  expect_error(post(R"("guided_json":5)"), 400, kBad, "guided_json");
  expect_error(post(R"("grammar":5)"), 400, kBad, "grammar");
  expect_error(post(R"("grammar":"root ::= \"x\"","guided_regex":"x")"), 400, kBad, "guided_regex");
  expect_error(post("\"guided_regex\":\"" + std::string(300 << 10, 'x') + "\""), 400, kBad,
               "guided_regex");
  std::string wide = "{";  // quadratic to read
  for (int i = 0; i < 5000; ++i) {
    wide += (i > 0 ? "," : "") + Json("k" + std::to_string(i)).dump() + ":{}";
  }
  expect_error(post("\"guided_json\":" + wide + "}"), 400, kBad, "guided_json");
}

// ---- tools ----

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"get_weather","description":"d",
    "parameters":{"type":"object","properties":{"z":{"type":"string"},"a":{}}}}},
    {"type":"function","function":{"name":"now"}}])";

constexpr const char* kCall =
    R"(Let me see. <tool_call> {"name": "get_weather", "arguments": {"z": "Paris", "n": 1.50}} </tool_call>)";

TEST(OpenAiLanguage, CallsAreReadFromTheReply) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const std::string two = std::string(kCall) + " <tool_call> {\"name\": \"now\"} </tool_call>";
  const Json body = Json::parse(client.post(kChat, chat_body(two, kTools)).body);
  const Json& choice = body["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls") << body;
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  const Json& calls = choice["message"]["tool_calls"];
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_TRUE(calls[0]["id"].get<std::string>().starts_with("call_"));
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);
  EXPECT_EQ(calls[0]["type"], "function");
  EXPECT_EQ(calls[0]["function"],
            Json({{"name", "get_weather"}, {"arguments", R"({"z": "Paris", "n": 1.50})"}}));
  EXPECT_EQ(calls[1]["function"], Json({{"name", "now"}, {"arguments", "{}"}}));
  EXPECT_GT(body["usage"]["completion_tokens"], 5);

  const std::string stream = std::string(kTools) + R"(,"stream":true)";
  Streamed streamed(client.post(kChat, chat_body(two, stream)).body);
  EXPECT_EQ(streamed.text, "Let me see.");
  EXPECT_EQ(streamed.reason, "tool_calls");
  ASSERT_EQ(streamed.calls.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(streamed.calls[i]["function"], calls[i]["function"]);
    EXPECT_TRUE(streamed.calls[i]["id"].is_string());
  }
  // A call alone has no content; a second one is not wanted.
  const std::string alone = two.substr(two.find("<tool"));
  const Json one = Json::parse(
      client.post(kChat, chat_body(alone, std::string(kTools) + R"(,"parallel_tool_calls":false)"))
          .body);
  EXPECT_TRUE(one["choices"][0]["message"]["content"].is_null());
  EXPECT_EQ(one["choices"][0]["message"]["tool_calls"].size(), 1U);
  EXPECT_EQ(one["choices"][0]["finish_reason"], "tool_calls");
  // Without tools, and where the call is none, it is text.
  const Json text = Json::parse(client.post(kChat, chat_body(kCall)).body)["choices"][0];
  EXPECT_EQ(text["message"]["content"], kCall);
  EXPECT_FALSE(text["message"].contains("tool_calls"));
  const std::string broken = "a <tool_call> {broken} </tool_call> b";
  const Json kept = Json::parse(client.post(kChat, chat_body(broken, kTools)).body)["choices"][0];
  EXPECT_EQ(kept["message"]["content"], broken);
  EXPECT_EQ(kept["finish_reason"], "stop");
  const Json cut = Json::parse(
      client.post(kChat, chat_body(kCall, std::string(kTools) + R"(,"max_tokens":5)")).body);
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "length");
}

TEST(OpenAiLanguage, ToolsReachTheModel) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const auto task = [&](const std::string& more) {
    const RawClient::Answer answer = client.post(kChat, chat_body("x", std::string(kTools) + more));
    EXPECT_EQ(answer.status, 200) << answer.body;
    return std::get<ChatTask>(served.control->requests.back().task);
  };
  ChatTask got = task("");
  ASSERT_EQ(got.tools.size(), 2U);
  EXPECT_EQ(got.tools[0].name, "get_weather");
  EXPECT_EQ(got.tools[0].parameters,
            R"({"type":"object","properties":{"z":{"type":"string"},"a":{}}})");
  EXPECT_TRUE(got.tools[0].definition.starts_with(R"({"type":"function","function":{"name":)"));
  EXPECT_TRUE(got.must_call.empty() && got.many_calls);
  EXPECT_EQ(task(R"(,"tool_choice":"auto")").tools.size(), 2U);
  EXPECT_TRUE(task(R"(,"tool_choice":"none")").tools.empty());
  const std::string opened = R"({"name":"now"}</tool_call>)";
  const RawClient::Answer forced = client.post(
      kChat, chat_body(opened, std::string(kTools) +
                                   R"(,"tool_choice":"required","parallel_tool_calls":false)"));
  got = std::get<ChatTask>(served.control->requests.back().task);
  EXPECT_EQ(got.must_call, (std::vector<std::string>{"get_weather", "now"}));
  EXPECT_FALSE(got.many_calls);
  const Json choice = Json::parse(forced.body)["choices"][0];  // the prompt has opened the call
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["name"], "now") << forced.body;
  EXPECT_EQ(task(R"(,"tool_choice":{"type":"function","function":{"name":"now"}})").must_call,
            std::vector<std::string>{"now"});

  const auto post = [&](const std::string& field) {
    return client.post(kChat, chat_body("x", field));
  };
  const auto with = [&](const std::string& field) { return post(std::string(kTools) + field); };
  expect_error(with(R"(,"tool_choice":"maybe")"), 400, kBad, "tool_choice");
  expect_error(with(R"(,"tool_choice":5)"), 400, kBad, "tool_choice");
  expect_error(with(R"(,"tool_choice":{"type":"function","function":{"name":"other"}})"), 400, kBad,
               "tool_choice.function.name");
  expect_error(with(R"(,"tool_choice":{"type":"function"})"), 400, kBad, "tool_choice");
  expect_error(with(R"(,"response_format":{"type":"json_object"})"), 501, kNo, "tools");
  expect_error(post(R"("tool_choice":"required")"), 400, kBad, "tool_choice");
  expect_error(post(R"("tools":5)"), 400, kBad, "tools");
  expect_error(post(R"("tools":[5])"), 400, kBad, "tools[0]");
  expect_error(post(R"("tools":[{"type":"function"}])"), 400, kBad, "tools[0].function");
  expect_error(post(R"("tools":[{"type":"function","function":{}}])"), 400, kBad,
               "tools[0].function.name");
  expect_error(post(R"("tools":[{"type":"function","function":{"name":"a b"}}])"), 400, kBad,
               "tools[0].function.name");
  expect_error(post(R"("tools":[{"type":"function","function":{"name":"a","parameters":"x"}}])"),
               400, kBad, "tools[0].function.parameters");
  expect_error(post(R"("tools":[{"type":"search","function":{"name":"a"}}])"), 501, kNo,
               "tools[0].type");
  expect_error(post(R"("tools":[{"type":"function","function":{"name":"a"}},
                                {"type":"function","function":{"name":"a"}}])"),
               400, kBad, "tools[1].function.name");
  expect_error(post(R"("functions":[{"name":"a"}])"), 501, kNo, "functions");
}

TEST(OpenAiLanguage, CallsAndResultsGoBack) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const std::string call =
      R"({"id":"call_1","type":"function","function":{"name":"now","arguments":"{\"b\":1}"}})";
  const auto post = [&](const std::string& answer, const std::string& result) {
    return client.post(
        kChat, R"({"messages":[{"role":"user","content":"When?"},)" + answer + "," + result + "]}");
  };
  const std::string assistant =
      R"({"role":"assistant","content":null,"tool_calls":[)" + call + "]}";
  const std::string tool = R"({"role":"tool","tool_call_id":"call_1","content":"noon"})";
  ASSERT_EQ(post(assistant, tool).status, 200);
  const auto& messages = std::get<ChatTask>(served.control->requests.back().task).messages;
  ASSERT_EQ(messages.size(), 3U);
  ASSERT_EQ(messages[1].calls.size(), 1U);
  EXPECT_EQ(messages[1].calls[0].name, "now");
  EXPECT_EQ(messages[1].calls[0].arguments, R"({"b":1})");
  EXPECT_EQ(messages[2].role, Role::kTool);
  EXPECT_EQ(messages[2].call_id, "call_1");
  EXPECT_EQ(messages[2].name, "now");
  const auto broken = [&](const std::string& function) {
    return post(R"({"role":"assistant","tool_calls":[{"function":)" + function + "}]}", tool);
  };
  expect_error(broken(R"({"arguments":"{}"})"), 400, kBad,
               "messages[1].tool_calls[0].function.name");
  const std::string arguments = "messages[1].tool_calls[0].function.arguments";
  expect_error(broken(R"({"name":"a","arguments":"{"})"), 400, kBad, arguments);
  expect_error(broken(R"({"name":"a","arguments":"[]"})"), 400, kBad, arguments);
  expect_error(broken(R"({"name":"a","arguments":{}})"), 400, kBad, arguments);
  EXPECT_EQ(broken(R"({"name":"a","arguments":""})").status, 200);
  expect_error(post(assistant, R"({"role":"tool","tool_call_id":"call_1"})"), 400, kBad,
               "messages[2].content");
}

TEST(OpenAiLanguage, TemplatesAreShown) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const RawClient::Answer answer = client.post("/apply-template", chat_body("Hi", kTools));
  EXPECT_EQ(Json::parse(answer.body), Json({{"prompt", "1:Hi\n2 tools"}})) << answer.body;
  expect_error(client.post("/apply-template", "{}"), 400, kBad, "messages");
  ServedModel any;
  RawClient other(any.port());
  EXPECT_EQ(other.post("/apply-template", chat_body("Hi")).status, 200);
}

TEST(OpenAiLanguage, PromptsAreReadBesideTheModel) {
  ServedModel served(kLanguage);
  served.control->hold = true;
  RawClient busy(served.port());
  const std::string body = chat_body("x");
  busy.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
            std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(eventually([&] { return served.control->runs == 1; }));
  // The model is at work; what cannot be read is answered all the same.
  RawClient client(served.port());
  expect_error(client.post(kChat, chat_body("refuse:prompt")), 400, kBad);
  expect_error(client.post(kChat, chat_body("refuse:prompt", R"("n":3,"stream":true)")), 400, kBad);
  expect_error(client.post("/v1/completions", R"({"prompt":["a","refuse:prompt","b"]})"), 400,
               kBad);
  served.control->hold = false;
  EXPECT_EQ(busy.answer().status, 200);
  EXPECT_TRUE(eventually([&] { return served.queue->load().running == 0; }));
  const std::lock_guard lock(served.control->mutex);
  for (const auto& reader : served.control->readers) {
    EXPECT_NE(reader, served.control->runners.at(0));
  }
}

TEST(OpenAiLanguage, ChoicesShareTheirPrompt) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const auto reads = [&] {
    const std::lock_guard lock(served.control->mutex);
    return std::exchange(served.control->readers, {}).size();
  };
  EXPECT_EQ(client.post(kChat, chat_body("x", R"("n":5)")).status, 200);
  EXPECT_EQ(reads(), 1U);
  EXPECT_EQ(client.post("/v1/completions", R"({"prompt":["a","b","c"],"n":4})").status, 200);
  EXPECT_EQ(reads(), 3U);
  EXPECT_EQ(served.control->runs, 17);
  expect_error(client.post(kChat, chat_body("refuse:prompt", R"("n":5)")), 400, kBad);
  EXPECT_EQ(reads(), 1U);
}

// Sends a request and does not wait for its answer.
std::unique_ptr<RawClient> asking(const ServedModel& served,
                                  const std::string& path,
                                  const std::string& body) {
  auto client = std::make_unique<RawClient>(served.port());
  client->send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
  return client;
}

TEST(OpenAiLanguage, PromptsThatTakeLongHoldUpNobody) {
  ServedModel served({.queue = 6, .kind = ScriptedEngine::Kind::kLanguage});
  served.control->hold_reading = true;
  const std::string slow = chat_body("slow:prompt");
  std::vector<std::unique_ptr<RawClient>> clients;
  for (size_t i = 0; i < 6; ++i) {
    clients.push_back(asking(served, kChat, slow));
    ASSERT_TRUE(eventually([&] { return served.queue->load().waiting == i + 1; }));
  }
  ASSERT_TRUE(eventually([&] { return served.control->being_read == 2; }));
  RawClient client(served.port());
  for (const std::string path : {"/health", "/ready", "/metrics", "/v1/models", "/"}) {
    EXPECT_EQ(client.get(path).status, 200) << path;
  }
  EXPECT_NE(client.get("/metrics").body.find("num_requests_waiting{model_name=\"scripted\"} 6"),
            std::string::npos);
  // They count as waiting. One who goes makes room, and its prompt is not read.
  expect_error(client.post(kChat, slow), 429, "rate_limit_error");
  clients.pop_back();
  ASSERT_TRUE(eventually([&] { return served.queue->load().waiting == 5; }));
  expect_error(client.post(kChat, chat_body("x", R"("n":2)")), 429, "rate_limit_error");
  clients.erase(clients.begin());  // is being read
  ASSERT_TRUE(eventually([&] { return served.queue->load().waiting == 4; }));
  served.control->hold_reading = false;
  for (const auto& waiting : clients) {
    EXPECT_EQ(waiting->answer().status, 200);
  }
  EXPECT_TRUE(eventually([&] {
    const BackendLoad load = served.queue->load();
    return load.running + load.waiting == 0;
  }));
  const std::lock_guard lock(served.control->mutex);
  EXPECT_EQ(served.control->readers.size(), 5U);
  EXPECT_EQ(served.control->runs, 4);
}

TEST(OpenAiLanguage, TheServerTellsOfItselfWhateverItsWorkersDo) {
  ServedModel served(kLanguage);
  served.control->hold_reading = true;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 2; ++i) {  // as many as there are workers
    clients.push_back(asking(served, "/tokenize", R"({"prompt":"slow:prompt"})"));
  }
  ASSERT_TRUE(eventually([&] { return served.control->being_read == 2; }));
  RawClient client(served.port());
  for (const std::string path : {"/health", "/ready", "/version", "/metrics"}) {
    EXPECT_EQ(client.get(path).status, 200) << path;
  }
  client.send("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer(/*head_only=*/true).status, 200);
  served.service.set_draining();
  expect_error(client.get("/ready"), 503, "unavailable_error");
  EXPECT_EQ(client.get("/health").status, 200);
  served.control->hold_reading = false;
  for (const auto& waiting : clients) {
    EXPECT_EQ(waiting->answer().status, 200);
  }
}

TEST(DeviceQueue, ItsEndAnswersPromptsThatAreBeingRead) {
  struct Ends : GenerationListener {
    void on_text(std::string_view) override {}
    void on_sound(Modality, const Audio&) override {}
    void on_part(const Part&) override {}
    void on_done(const Outcome& outcome) override { reasons.push_back(outcome.reason); }
    std::vector<std::string> reasons;
  };
  const auto control = std::make_shared<ScriptedEngine::Control>();
  control->hold_reading = true;
  std::vector<std::shared_ptr<Ends>> heard;
  std::thread opener;
  {
    DeviceQueue queue(std::make_unique<ScriptedEngine>(control, ScriptedEngine::Kind::kLanguage),
                      64);
    for (int i = 0; i < 5; ++i) {
      GenerationRequest request;
      request.task = CompletionTask{.text = "slow:prompt", .ids = {}};
      Backend::Listeners listeners;
      for (int k = 0; k < 2; ++k) {
        listeners.push_back(heard.emplace_back(std::make_shared<Ends>()));
      }
      EXPECT_EQ(queue.submit(request, listeners).size(), 2U);
    }
    ASSERT_TRUE(eventually([&] { return control->being_read == 2; }));
    opener = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      control->hold_reading = false;
    });
  }
  opener.join();
  for (const auto& ends : heard) {
    EXPECT_EQ(ends->reasons, std::vector<std::string>{"interrupted"});
  }
  EXPECT_EQ(control->readers.size(), 2U);  // the others were not begun
  EXPECT_EQ(control->runs, 0);
}

// ---- thoughts and templates ----

const ServedModel::Setup kThinking = {.kind = ScriptedEngine::Kind::kThinking};

TEST(OpenAiLanguage, ThoughtsAreToldApart) {
  ServedModel served(kThinking);
  RawClient client(served.port());
  const auto message = [&](const std::string& said, const std::string& more = "") {
    return Json::parse(client.post(kChat, chat_body(said, more)).body)["choices"][0]["message"];
  };
  Json got = message("<think> Let me see. </think> Yes, it is.");
  EXPECT_EQ(got["reasoning_content"], "Let me see.");
  EXPECT_EQ(got["content"], "Yes, it is.");
  got = message("open:thoughts Let me see. </think> Yes.");
  EXPECT_EQ(got["reasoning_content"], "Let me see.");
  EXPECT_EQ(got["content"], "Yes.");
  got = message("<think> Let me see", R"("max_tokens":2)");
  EXPECT_EQ(got["reasoning_content"], "Let");
  EXPECT_EQ(got["content"], "");
  got = message("No thoughts. <think> a </think>");
  EXPECT_FALSE(got.contains("reasoning_content"));
  EXPECT_EQ(got["content"], "No thoughts. <think> a </think>");
  const std::string whole = "<think> a </think> b";
  EXPECT_EQ(message(whole, R"("reasoning_format":"none")")["content"], whole);
  EXPECT_EQ(message(whole, R"("reasoning_format":"deepseek")")["content"], "b");
  expect_error(client.post(kChat, chat_body("x", R"("reasoning_format":"other")")), 400, kBad,
               "reasoning_format");
  // Calls come after them; a call among them is none.
  const std::string call = "<tool_call> {\"name\": \"now\"} </tool_call>";
  got = message("<think> " + call + " </think> Well. " + call, kTools);
  EXPECT_EQ(got["reasoning_content"], call);
  EXPECT_EQ(got["content"], "Well.");
  ASSERT_EQ(got["tool_calls"].size(), 1U);
  EXPECT_EQ(Json::parse(client.get("/v1/models").body)["data"][0]["capabilities"],
            Json({"chat", "completion", "tools", "reasoning", "structured_outputs", "logprobs"}));
  // A model without thoughts.
  ServedModel plain(kLanguage);
  RawClient other(plain.port());
  got = Json::parse(other.post(kChat, chat_body(whole)).body)["choices"][0]["message"];
  EXPECT_EQ(got["content"], whole);
  EXPECT_FALSE(got.contains("reasoning_content"));
}

TEST(OpenAiLanguage, ThoughtsAreStreamed) {
  ServedModel served(kThinking);
  RawClient client(served.port());
  const std::string body = client
                               .post(kChat, chat_body("<think> Let me see. </think> Yes, it is.",
                                                      R"("stream":true,"n":2,"logprobs":true)"))
                               .body;
  std::vector<std::string> thoughts(2), texts(2);
  std::vector<size_t> tokens(2);
  for (const Json& event : events_of(body)) {
    if (!event.is_object()) {
      continue;
    }
    const Json& choice = event["choices"][0];
    const size_t index = choice["index"];
    const std::string text = choice["delta"].value("content", "");
    texts[index] += text;
    if (choice["delta"].contains("reasoning_content")) {
      EXPECT_EQ(texts[index], "");
      thoughts[index] += choice["delta"]["reasoning_content"].get<std::string>();
    }
    if (!choice["logprobs"].is_null()) {
      tokens[index] += choice["logprobs"]["content"].size();
    }
  }
  EXPECT_EQ(thoughts, (std::vector<std::string>{"Let me see.", "Let me see."}));
  EXPECT_EQ(texts, (std::vector<std::string>{"Yes, it is.", "Yes, it is."}));
  EXPECT_EQ(tokens, (std::vector<size_t>{8, 8}));  // those of marks and thoughts too
}

TEST(OpenAiLanguage, TemplatesTakeVariables) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const auto task = [&](const std::string& more, const std::string& body = "") {
    const RawClient::Answer answer = client.post(kChat, body.empty() ? chat_body("x", more) : body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return std::get<ChatTask>(served.control->requests.back().task);
  };
  EXPECT_EQ(task(R"("chat_template_kwargs":{"z":[1,{"b":1.50,"a":null}],"enable_thinking":false})")
                .variables,
            R"({"z":[1,{"b":1.5,"a":null}],"enable_thinking":false})");
  EXPECT_EQ(task(R"("chat_template_kwargs":{})").variables, "");
  EXPECT_EQ(task(R"("chat_template_kwargs":null)").variables, "");
  EXPECT_TRUE(task("").ask);
  EXPECT_FALSE(task(R"("add_generation_prompt":false)").ask);
  const std::string open =
      R"({"messages":[{"role":"user","content":"a"},
          {"role":"assistant","content":"b c","reasoning_content":"d"}],)";
  const ChatTask going_on = task("", open + R"("continue_final_message":true})");
  EXPECT_TRUE(going_on.go_on);
  EXPECT_FALSE(going_on.ask);
  EXPECT_EQ(going_on.messages.back().thoughts, "d");
  EXPECT_FALSE(task("", open + R"("add_generation_prompt":false})").go_on);

  const auto post = [&](const std::string& field) {
    return client.post(kChat, chat_body("x", field));
  };
  expect_error(client.post(kChat, open + "\"n\":1}"), 400, kBad, "messages");
  expect_error(post(R"("continue_final_message":true)"), 400, kBad, "messages");
  expect_error(
      client.post(kChat, open + R"("continue_final_message":true,"add_generation_prompt":true})"),
      400, kBad, "add_generation_prompt");
  expect_error(post(R"("continue_final_message":1)"), 400, kBad, "continue_final_message");
  expect_error(post(R"("chat_template_kwargs":[1])"), 400, kBad, "chat_template_kwargs");
  expect_error(post(R"("chat_template_kwargs":{"a":1,"tools":[]})"), 400, kBad,
               "chat_template_kwargs.tools");
  std::string wide = "{";  // quadratic to read
  for (int i = 0; i < 5000; ++i) {
    wide += (i > 0 ? "," : "") + Json("k" + std::to_string(i)).dump() + ":1";
  }
  expect_error(post("\"chat_template_kwargs\":" + wide + "}"), 400, kBad, "chat_template_kwargs");
  ServedModel any;  // has no template
  RawClient other(any.port());
  for (const std::string name : {"chat_template_kwargs", "continue_final_message"}) {
    const std::string value = name == "chat_template_kwargs" ? "{\"a\":1}" : "true";
    expect_error(other.post(kChat, chat_body("x", "\"" + name + "\":" + value)), 501, kNo, name);
  }
  EXPECT_EQ(other
                .post(kChat, chat_body("x", R"("chat_template_kwargs":{},
                                                "continue_final_message":false)"))
                .status,
            200);
}

// ---- embeddings ----

TEST(OpenAiLanguage, Embeddings) {
  ServedModel served(kLanguage);
  RawClient client(served.port());
  const auto post = [&](const std::string& body) { return client.post("/v1/embeddings", body); };
  const Json body = Json::parse(post(R"({"input":["one","three"],"model":"scripted"})").body);
  EXPECT_EQ(body["object"], "list");
  EXPECT_EQ(body["model"], "scripted");
  EXPECT_EQ(body["usage"], Json({{"prompt_tokens", 7}, {"total_tokens", 7}}));
  ASSERT_EQ(body["data"].size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(body["data"][i]["object"], "embedding");
    EXPECT_EQ(body["data"][i]["index"], i);
    EXPECT_EQ(body["data"][i]["embedding"].get<std::vector<float>>(),
              (std::vector<float>{i == 0 ? 3.0F : 5.0F, -0.5F, 1.0F / 3}));
  }
  // 3 is 0x40400000, -0.5 0xBF000000, a third 0x3EAAAAAB; the lowest byte comes first.
  EXPECT_EQ(Json::parse(
                post(R"({"input":"one","encoding_format":"base64"})").body)["data"][0]["embedding"],
            "AABAQAAAAL+rqqo+");
  for (const char* input : {"[5,6,7]", "[[5,6,7]]", "\"abc\"", "[\"abc\"]"}) {
    const Json one = Json::parse(post(fmt::format(R"({{"input":{}}})", input)).body);
    ASSERT_EQ(one["data"].size(), 1U) << one;
    EXPECT_EQ(one["data"][0]["embedding"][0], 3.0);
  }
  EXPECT_EQ(served.control->runs, 6);  // a request each, however many inputs it has
  expect_error(post("{}"), 400, kBad, "input");
  for (const char* input : {"[]", "5", "[[]]", "[-1]", "[\"a\",5]", "[null]", "{}"}) {
    expect_error(post(fmt::format(R"({{"input":{}}})", input)), 400, kBad, "input");
  }
  expect_error(post(R"({"input":"refuse:prompt"})"), 400, kBad);
  expect_error(post(R"({"input":"a","encoding_format":"int8"})"), 400, kBad, "encoding_format");
  expect_error(post(R"({"input":"a","dimensions":2})"), 501, kNo, "dimensions");
  expect_error(post(R"({"input":"a","model":"other"})"), 404, "not_found_error", "model");
  std::string many = "[";
  for (int i = 0; i < 2049; ++i) {
    many += i > 0 ? ",\"a\"" : "\"a\"";
  }
  expect_error(post("{\"input\":" + many + "]}"), 400, kBad, "input");
  EXPECT_EQ(client.get("/metrics").body.find("time_to_first_token_seconds_count{"),
            std::string::npos);  // no tokens are made
  ServedModel any;
  RawClient other(any.port());
  expect_error(other.post("/v1/embeddings", R"({"input":"a"})"), 501, kNo, "model");
}

}  // namespace
}  // namespace tessera::serve
