// The protocol over a scripted model: answers, streams, errors, cancellation, the queue.
#include "core/base64.h"
#include "io/image.h"
#include "io/wav.h"
#include "serve/api_error.h"
#include "serve/media_input.h"
#include "serve/web_files.h"
#include "unit/serve/serve_fixture.h"
#include "unit/temporary_folder.h"

namespace tessera::serve {
namespace {

using io::Json;

TEST(OpenAi, AnswersAConversation) {
  ServedModel served;
  RawClient client(served.port());
  const RawClient::Answer answer =
      client.post("/v1/chat/completions", chat_body("one two three", R"("seed":5,"foo":1)"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = Json::parse(answer.body);
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["model"], "scripted");
  EXPECT_TRUE(body["created"].is_number_integer());
  ASSERT_EQ(body["choices"].size(), 1U);
  EXPECT_EQ(body["choices"][0]["index"], 0);
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "one two three");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["usage"], Json({{"prompt_tokens", 7},
                                 {"completion_tokens", 3},
                                 {"total_tokens", 10},
                                 {"prompt_tokens_details", {{"cached_tokens", 3}}}}));
  EXPECT_EQ(body["timings"]["cache_n"], 3);
  EXPECT_EQ(body["timings"]["prompt_n"], 4);
  EXPECT_EQ(body["timings"]["predicted_n"], 3);
  for (const char* name :
       {"prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second"}) {
    EXPECT_TRUE(body["timings"][name].is_number()) << name;
  }
  ASSERT_EQ(served.control->requests.size(), 1U);
  EXPECT_EQ(served.control->requests[0].sampling.seed, 5U);
  EXPECT_EQ(std::get<ChatTask>(served.control->requests[0].task).to, Modality::kText);
  // The same path without /v1.
  EXPECT_EQ(client.post("/chat/completions", chat_body("x")).status, 200);
}

TEST(OpenAi, StreamsAConversation) {
  ServedModel served;
  RawClient client(served.port());
  const RawClient::Answer answer = client.post(
      "/v1/chat/completions",
      chat_body("one two 三", R"("stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.headers.at("content-type"), "text/event-stream");
  for (const std::string& chunk : answer.chunks) {  // an event is never split over chunks
    EXPECT_TRUE(chunk.starts_with("data: ") && chunk.ends_with("\n\n"));
  }
  const std::vector<Json> events = events_of(answer.body);
  ASSERT_EQ(events.size(), 7U);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    EXPECT_TRUE(events[i]["usage"].is_null());
    text += events[i]["choices"][0]["delta"].value("content", "");
    EXPECT_EQ(events[i]["choices"][0]["finish_reason"], i == 4 ? Json("stop") : Json(nullptr));
  }
  EXPECT_EQ(text, "one two 三");
  EXPECT_EQ(events[5]["choices"], Json::array());
  EXPECT_EQ(events[5]["usage"]["completion_tokens"], 3);
  EXPECT_EQ(events[6], "[DONE]");
}

TEST(OpenAi, ManyChoicesAreToldApart) {
  ServedModel served;
  RawClient client(served.port());
  const Json body =
      Json::parse(client.post("/v1/chat/completions", chat_body("a b", R"("n":3,"seed":10)")).body);
  ASSERT_EQ(body["choices"].size(), 3U);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(body["choices"][i]["index"], i);
    EXPECT_EQ(body["choices"][i]["message"]["content"], "a b");
    EXPECT_EQ(served.control->requests[i].sampling.seed, 10U + static_cast<unsigned>(i));
  }
  EXPECT_EQ(body["usage"]["prompt_tokens"], 7);
  EXPECT_EQ(body["usage"]["completion_tokens"], 6);
}

TEST(OpenAi, StopStringsEndAnAnswerAndAreNeverShown) {
  ServedModel served;
  RawClient client(served.port());
  for (const std::string stream : {"true", "false"}) {
    const RawClient::Answer answer = client.post(
        "/v1/chat/completions",
        chat_body("one two three flood", R"("stop":["two thr","zzz"],"stream":)" + stream));
    std::string text;
    Json reason;
    if (stream == "true") {
      for (const Json& event : events_of(answer.body)) {
        if (event.is_object()) {
          text += event["choices"][0]["delta"].value("content", "");
          reason = event["choices"][0]["finish_reason"];
        }
      }
    } else {
      const Json body = Json::parse(answer.body);
      text = body["choices"][0]["message"]["content"];
      reason = body["choices"][0]["finish_reason"];
    }
    EXPECT_EQ(text, "one ");
    EXPECT_EQ(reason, "stop");
  }
  // The model is told to stop, which may come too late for so short an answer.
  EXPECT_TRUE(
      eventually([&] { return served.control->interrupted + served.control->finished == 2; }));
}

TEST(OpenAi, LengthIsTold) {
  ServedModel served;
  RawClient client(served.port());
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    const Json body =
        Json::parse(client
                        .post("/v1/chat/completions",
                              chat_body("one two three", "\"" + std::string(name) + "\":2"))
                        .body);
    EXPECT_EQ(body["choices"][0]["message"]["content"], "one two");
    EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  }
}

TEST(OpenAi, MediaComeInAndGoOut) {
  ServedModel served;
  RawClient client(served.port());
  const Image image{.width = 3, .height = 2, .channels = 3, .pixels = std::vector<uint8_t>(18, 77)};
  const std::string url = "data:image/png;base64," + base64(io::encode_png(image));
  const std::string wav = base64(io::encode_wav(ScriptedEngine::tone()));
  const Json request = {
      {"modalities", {"text", "image", "audio", "music"}},
      {"audio", {{"voice", "sally"}, {"format", "wav"}}},
      {"messages",
       {{{"role", "system"}, {"content", "Be kind."}},
        {{"role", "user"},
         {"content",
          {{{"type", "image_url"}, {"image_url", {{"url", url}}}},
           {{"type", "input_audio"}, {"input_audio", {{"data", wav}, {"format", "wav"}}}},
           {{"type", "text"}, {"text", "make:image make:speech make:music words"}}}}}}}};
  const RawClient::Answer answer = client.post("/v1/chat/completions", request.dump());
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json message = Json::parse(answer.body)["choices"][0]["message"];
  EXPECT_EQ(message["content"], "Be words Use the voice of Sally.");
  ASSERT_EQ(message["images"].size(), 1U);
  const std::string back = message["images"][0]["image_url"]["url"];
  const Image picture = read_picture(read_url(back, {}, "x"), {}, "x");
  EXPECT_EQ(picture.width, 2);
  EXPECT_EQ(picture.pixels, std::vector<uint8_t>(12, 9));
  for (const char* key : {"audio", "music"}) {
    const std::string bytes = decode_base64(message[key]["data"].get<std::string>()).value();
    EXPECT_EQ(bytes, io::encode_wav(ScriptedEngine::tone())) << key;
    EXPECT_TRUE(message[key]["id"].is_string());
  }
  const auto& parts = std::get<ChatTask>(served.control->requests.at(0).task).messages.at(0).parts;
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(std::get<Image>(parts[0].content).pixels, image.pixels);
  EXPECT_EQ(std::get<Audio>(parts[1].content).samples.size(), 8000U);
  EXPECT_EQ(parts[1].modality, Modality::kSpeech);
  EXPECT_EQ(std::get<std::string>(parts[2].content).substr(0, 9), "Be kind.\n");

  // The answer goes back as history: the sound by its id, the picture as it came.
  const Json follow = {{"messages",
                        {{{"role", "user"}, {"content", "x"}},
                         {{"role", "assistant"},
                          {"content", "y"},
                          {"images", message["images"]},
                          {"audio", {{"id", message["audio"]["id"]}}}},
                         {{"role", "user"}, {"content", "z"}}}}};
  EXPECT_EQ(client.post("/v1/chat/completions", follow.dump()).status, 200);
  const auto& history = std::get<ChatTask>(served.control->requests.at(1).task).messages;
  ASSERT_EQ(history.size(), 3U);
  ASSERT_EQ(history[1].parts.size(), 3U);
  EXPECT_EQ(std::get<Audio>(history[1].parts[2].content).samples, ScriptedEngine::tone().samples);
}

TEST(OpenAi, OneMediumThatIsAskedForMustBeInTheAnswer) {
  ServedModel served;
  RawClient client(served.port());
  client.post("/v1/chat/completions", chat_body("x", R"("modalities":["text","image"])"));
  client.post("/v1/chat/completions", chat_body("x", R"("modalities":["text","image","music"])"));
  client.post("/v1/chat/completions", chat_body("make:image x", R"("modalities":["text"])"));
  const RawClient::Answer chosen =
      client.post("/v1/chat/completions", chat_body("make:image x", R"("modalities":["auto"])"));
  const auto& requests = served.control->requests;
  EXPECT_EQ(std::get<ChatTask>(requests.at(3).task).to, std::nullopt);
  EXPECT_EQ(Json::parse(chosen.body)["choices"][0]["message"]["images"].size(), 1U);
  EXPECT_EQ(std::get<ChatTask>(requests.at(0).task).to, Modality::kImage);
  EXPECT_EQ(std::get<ChatTask>(requests.at(1).task).to, std::nullopt);
  EXPECT_EQ(std::get<ChatTask>(requests.at(2).task).to, Modality::kText);
}

TEST(OpenAi, SoundStreamsAsItIsMade) {
  ServedModel served;
  RawClient client(served.port());
  const RawClient::Answer answer = client.post(
      "/v1/chat/completions",
      chat_body("make:speech",
                R"("stream":true,"modalities":["text","audio"],"audio":{"format":"wav"})"));
  std::string bytes;
  int pieces = 0;
  for (const Json& event : events_of(answer.body)) {
    if (event.is_object() && event["choices"][0]["delta"].contains("audio")) {
      bytes +=
          decode_base64(event["choices"][0]["delta"]["audio"]["data"].get<std::string>()).value();
      ++pieces;
    }
  }
  EXPECT_EQ(pieces, 8);
  const std::string whole = io::encode_wav(ScriptedEngine::tone());
  ASSERT_EQ(bytes.size(), whole.size());
  EXPECT_EQ(bytes.substr(44), whole.substr(44));  // the samples are those of the file
}

TEST(OpenAi, WrongFieldsAreNamed) {
  ServedModel served;
  RawClient client(served.port());
  const auto post = [&](const std::string& more) {
    return client.post("/v1/chat/completions", chat_body("x", more));
  };
  const std::string bad = "invalid_request_error";
  expect_error(post(R"("temperature":"hot")"), 400, bad, "temperature");
  expect_error(post(R"("temperature":2.5)"), 400, bad, "temperature");
  expect_error(post(R"("top_p":-1)"), 400, bad, "top_p");
  expect_error(post(R"("n":0)"), 400, bad, "n");
  expect_error(post(R"("n":17)"), 400, bad, "n");
  expect_error(post(R"("n":1.5)"), 400, bad, "n");
  expect_error(post(R"("max_tokens":99999999999999999999999)"), 400, bad, "max_tokens");
  expect_error(post(R"("seed":18446744073709551615)"), 400, bad, "seed");
  expect_error(post(R"("stream":1)"), 400, bad, "stream");
  expect_error(post(R"("stop":[1])"), 400, bad, "stop");
  expect_error(post(R"("stream_options":{"include_usage":"yes"})"), 400, bad,
               "stream_options.include_usage");
  expect_error(post(R"("modalities":["smell"])"), 400, bad, "modalities");
  expect_error(post(R"("audio":{"format":"tape"},"modalities":["audio"])"), 400, bad,
               "audio.format");
  expect_error(post(R"("audio":{"voice":"Nobody"},"modalities":["audio"])"), 400, bad,
               "audio.voice");
  const std::string no = "not_supported_error";
  expect_error(post(R"("presence_penalty":0.5)"), 501, no, "presence_penalty");
  expect_error(post(R"("frequency_penalty":0.5)"), 501, no, "frequency_penalty");
  expect_error(post(R"("logprobs":true)"), 501, no, "logprobs");
  expect_error(post(R"("logit_bias":{"5":1})"), 501, no, "logit_bias");
  expect_error(post(R"("tools":[{"type":"function"}])"), 501, no, "tools");
  expect_error(post(R"("response_format":{"type":"json_object"})"), 501, no, "response_format");
  expect_error(post(R"("min_p":0.1)"), 501, no, "min_p");
  expect_error(post(R"("model":"gpt-9")"), 404, "not_found_error", "model");
  // What changes nothing is taken.
  EXPECT_EQ(post(R"("presence_penalty":0,"logprobs":false,"tools":[],"logit_bias":{},
                    "response_format":{"type":"text"},"temperature":null,"max_tokens":5.0,
                    "user":"me","metadata":{}, "model":"scripted")")
                .status,
            200);
}

TEST(OpenAi, WrongMessagesAreNamed) {
  ServedModel served;
  RawClient client(served.port());
  const auto post = [&](const std::string& messages) {
    return client.post("/v1/chat/completions", R"({"messages":)" + messages + "}");
  };
  const std::string bad = "invalid_request_error";
  expect_error(post("[]"), 400, bad, "messages");
  expect_error(post("5"), 400, bad, "messages");
  expect_error(post("[5]"), 400, bad, "messages[0]");
  expect_error(post(R"([{"content":"x"}])"), 400, bad, "messages[0].role");
  expect_error(post(R"([{"role":"cat","content":"x"}])"), 400, bad, "messages[0].role");
  expect_error(post(R"([{"role":"user"}])"), 400, bad, "messages[0].content");
  expect_error(post(R"([{"role":"user","content":7}])"), 400, bad, "messages[0].content");
  expect_error(post(R"([{"role":"assistant","content":"x"}])"), 400, bad, "messages");
  expect_error(post(R"([{"role":"user","content":[{"type":"text"}]}])"), 400, bad,
               "messages[0].content[0].text");
  expect_error(post(R"([{"role":"user","content":[{"type":"smell"}]}])"), 400, bad,
               "messages[0].content[0].type");
  const std::string image = "messages[0].content[0].image_url.url";
  const auto picture = [&](const std::string& url) {
    return post(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":")" + url +
                R"("}}]}])");
  };
  expect_error(picture("data:image/png;base64,####"), 400, bad, image);
  expect_error(picture("data:image/png;base64,AAAA"), 400, bad, image);
  expect_error(picture("http://127.0.0.1/x.png"), 400, bad, image);
  expect_error(picture("https://example.org/x.png"), 400, bad, image);
  expect_error(picture("file:///etc/passwd"), 400, bad, image);
  expect_error(
      post(
          R"([{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]}])"),
      400, bad, "messages[0].content[0].input_audio.data");
  expect_error(post(R"([{"role":"function","content":"x"}])"), 501, "not_supported_error",
               "messages[0].role");
  expect_error(post(R"([{"role":"tool","content":"x"}])"), 501, "not_supported_error",
               "messages[0].role");
  expect_error(client.post("/v1/chat/completions", "{\"messages\":"), 400, bad);
  expect_error(client.post("/v1/chat/completions", "[1]"), 400, bad);
  expect_error(client.post("/v1/chat/completions", std::string(600, '[')), 400, bad);
  expect_error(client.post("/v1/chat/completions", "{\"messages\": \"\xff\xfe\"}"), 400, bad);
}

TEST(OpenAi, FilesAreReadBelowTheirFolderAlone) {
  const io::fs::path folder = temporary_path("media");
  io::fs::create_directories(folder / "in");
  const Image image{.width = 1, .height = 1, .channels = 3, .pixels = {1, 2, 3}};
  io::write_png(folder / "in" / "a b.png", image);
  io::write_png(folder / "out.png", image);
  io::fs::remove(folder / "in" / "link.png");
  io::fs::create_symlink(folder / "out.png", folder / "in" / "link.png");
  MediaLimits limits;
  limits.folder = folder / "in";
  const std::string base = "file://" + (folder / "in").string();
  EXPECT_FALSE(read_url(base + "/a%20b.png", limits, "x").empty());
  EXPECT_THROW(read_url(base + "/../out.png", limits, "x"), ApiError);
  EXPECT_THROW(read_url(base + "/link.png", limits, "x"), ApiError);
  EXPECT_THROW(read_url(base + "/none.png", limits, "x"), ApiError);
  EXPECT_THROW(read_url(base, limits, "x"), ApiError);
  EXPECT_THROW(read_url("file://in/a.png", limits, "x"), ApiError);
}

TEST(OpenAi, ModelErrorsAreToldAndSecretsAreNot) {
  ServedModel served;
  RawClient client(served.port());
  expect_error(client.post("/v1/chat/completions", chat_body("fail:input")), 400,
               "invalid_request_error");
  const RawClient::Answer inside = client.post("/v1/chat/completions", chat_body("fail:inside"));
  expect_error(inside, 500, "server_error");
  EXPECT_EQ(inside.body.find("secret"), std::string::npos);
  // In the middle of a stream: one event with the error, and the end.
  const std::vector<Json> events = events_of(
      client.post("/v1/chat/completions", chat_body("one fail:input", R"("stream":true)")).body);
  ASSERT_GE(events.size(), 3U);
  EXPECT_EQ(events.back()["error"]["type"], "invalid_request_error");
}

TEST(OpenAi, AClientThatGoesEndsItsRequest) {
  ServedModel served;
  {
    RawClient client(served.port());
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                std::to_string(chat_body("flood", R"("stream":true)").size()) + "\r\n\r\n" +
                chat_body("flood", R"("stream":true)"));
    client.until("data: ");
  }
  EXPECT_TRUE(eventually([&] { return served.control->interrupted == 1; }));
  // The same while nothing has been written yet.
  served.control->hold = true;
  {
    RawClient client(served.port());
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                std::to_string(chat_body("x").size()) + "\r\n\r\n" + chat_body("x"));
    ASSERT_TRUE(eventually([&] { return served.control->runs == 2; }));
  }
  EXPECT_TRUE(eventually([&] { return served.control->interrupted == 2; }));
  served.control->hold = false;
  RawClient client(served.port());
  EXPECT_EQ(client.post("/v1/chat/completions", chat_body("x")).status, 200);
}

TEST(OpenAi, ASlowReaderDoesNotHoldUpOthers) {
  ServedModel served(
      {.http = http_with([](HttpServerOptions& o) { o.stream_buffer_limit = 1 << 20; })});
  RawClient slow(served.port(), 4096);
  const std::string body = chat_body("flood", R"("stream":true)");
  slow.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
            std::to_string(body.size()) + "\r\n\r\n" + body);
  ASSERT_TRUE(eventually([&] { return served.control->runs == 1; }));
  RawClient client(served.port());
  EXPECT_EQ(client.post("/v1/chat/completions", chat_body("x")).status, 200);
  EXPECT_TRUE(eventually([&] { return served.control->interrupted == 1; }));
}

TEST(OpenAi, AFullQueueIsTold) {
  ServedModel served({.queue = 2});
  served.control->hold = true;
  const std::string body = chat_body("x");
  const std::string request = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<RawClient>(served.port()));
    clients.back()->send(request);
    ASSERT_TRUE(eventually([&] {
      const BackendLoad load = served.queue->load();
      return load.running + load.waiting == clients.size() && load.running == 1;
    }));
  }
  RawClient late(served.port());
  const RawClient::Answer refused = late.post("/v1/chat/completions", body);
  expect_error(refused, 429, "rate_limit_error");
  EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
  // One who waits and goes makes room at once.
  clients[2].reset();
  served.control->hold = false;
  EXPECT_EQ(clients[0]->answer().status, 200);
  EXPECT_EQ(clients[1]->answer().status, 200);
  // More choices than there is room for are refused as a whole.
  served.control->hold = true;
  expect_error(late.post("/v1/chat/completions", chat_body("x", R"("n":8)")), 429,
               "rate_limit_error");
  served.control->hold = false;
  EXPECT_TRUE(eventually([&] { return served.queue->load().running == 0; }));
}

TEST(OpenAi, Completions) {
  ServedModel served({.kind = ScriptedEngine::Kind::kPrompts});
  RawClient client(served.port());
  const auto post = [&](const std::string& body) { return client.post("/v1/completions", body); };
  Json body = Json::parse(post(R"({"prompt":"a b c d","max_tokens":2})").body);
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][0]["text"], "a b");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "length");
  body = Json::parse(post(R"({"prompt":["a","b c"],"n":2,"echo":true})").body);
  ASSERT_EQ(body["choices"].size(), 4U);
  EXPECT_EQ(body["choices"][1]["text"], "aa");
  EXPECT_EQ(body["choices"][2]["text"], "b cb c");
  EXPECT_EQ(body["usage"]["prompt_tokens"], 14);  // of two prompts
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 6);
  body = Json::parse(post(R"({"prompt":[[104,105],[106]]})").body);
  EXPECT_EQ(body["choices"][0]["text"], "hi");
  EXPECT_EQ(body["choices"][1]["text"], "j");
  const std::vector<Json> events =
      events_of(post(R"({"prompt":"a b","stream":true,"echo":true})").body);
  EXPECT_EQ(events.front()["choices"][0]["text"], "a ba");
  EXPECT_EQ(events.back(), "[DONE]");
  const std::string bad = "invalid_request_error";
  expect_error(post("{}"), 400, bad, "prompt");
  expect_error(post(R"({"prompt":[]})"), 400, bad, "prompt");
  expect_error(post(R"({"prompt":[-1]})"), 400, bad, "prompt");
  expect_error(post(R"({"prompt":[[]]})"), 400, bad, "prompt");
  expect_error(post(R"({"prompt":"x","logprobs":0})"), 501, "not_supported_error", "logprobs");
  expect_error(client.post("/v1/chat/completions", chat_body("x")), 501, "not_supported_error");
}

TEST(OpenAi, Speech) {
  ServedModel served;
  RawClient client(served.port());
  const std::string whole = io::encode_wav(ScriptedEngine::tone());
  RawClient::Answer answer = client.post(
      "/v1/audio/speech", R"({"input":"make:speech","voice":"Rob","response_format":"wav"})");
  EXPECT_EQ(answer.headers.at("content-type"), "audio/wav");
  EXPECT_GT(answer.chunks.size(), 4U);  // it was streamed
  ASSERT_EQ(answer.body.size(), whole.size());
  EXPECT_EQ(answer.body.substr(44), whole.substr(44));
  const auto& parts = std::get<ChatTask>(served.control->requests.at(0).task).messages[0].parts;
  EXPECT_EQ(std::get<std::string>(parts[0].content),
            "Read aloud this text. Use the voice of Rob. make:speech");
  answer = client.post("/v1/audio/speech",
                       R"({"input":"make:speech","voice":"alloy","response_format":"pcm"})");
  EXPECT_EQ(answer.body.size(), 2U * 24000);  // one second
  answer = client.post("/v1/audio/speech",
                       R"({"input":"make:speech","response_format":"wav","stream_format":"sse"})");
  const std::vector<Json> events = events_of(answer.body);
  EXPECT_EQ(events.front()["type"], "speech.audio.delta");
  EXPECT_EQ(events.back()["type"], "speech.audio.done");
  const std::string bad = "invalid_request_error";
  expect_error(client.post("/v1/audio/speech", R"({"voice":"Rob"})"), 400, bad, "input");
  expect_error(client.post("/v1/audio/speech", R"({"input":"x","response_format":"aac"})"), 400,
               bad, "response_format");
  expect_error(client.post("/v1/audio/speech", R"({"input":"x","voice":"Nobody"})"), 400, bad,
               "voice");
  expect_error(client.post("/v1/audio/speech", R"({"input":"x","speed":2})"), 501,
               "not_supported_error", "speed");
  expect_error(client.post("/v1/audio/speech", R"({"input":"x","response_format":"wav"})"), 500,
               "server_error");  // the model said nothing aloud
}

TEST(OpenAi, Transcription) {
  ServedModel served;
  RawClient client(served.port());
  const std::string form =
      "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n"
      "Content-Type: audio/wav\r\n\r\n" +
      io::encode_wav(ScriptedEngine::tone()) +
      "\r\n--b\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\n";
  const auto post = [&](const std::string& body, const std::string& type) {
    client.send("POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
                "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.answer();
  };
  const std::string type = "multipart/form-data; boundary=b";
  EXPECT_EQ(Json::parse(post(form + "json\r\n--b--\r\n", type).body)["text"],
            "Write down what is said.");
  const RawClient::Answer text = post(form + "text\r\n--b--\r\n", type);
  EXPECT_EQ(text.body, "Write down what is said.\n");
  EXPECT_TRUE(text.headers.at("content-type").starts_with("text/plain"));
  const auto& parts = std::get<ChatTask>(served.control->requests.at(0).task).messages[0].parts;
  EXPECT_EQ(std::get<Audio>(parts[0].content).samples.size(), 8000U);
  expect_error(post(form + "srt\r\n--b--\r\n", type), 501, "not_supported_error",
               "response_format");
  expect_error(post(form + "json", type), 400, "invalid_request_error", "file");
  expect_error(post("{}", "application/json"), 400, "invalid_request_error", "file");
}

TEST(OpenAi, Images) {
  ServedModel served;
  RawClient client(served.port());
  const RawClient::Answer answer = client.post(
      "/v1/images/generations", R"({"prompt":"make:image and more","n":2,"size":"512x512"})");
  const Json body = Json::parse(answer.body);
  ASSERT_EQ(body["data"].size(), 2U) << answer.body;
  const std::string png = decode_base64(body["data"][1]["b64_json"].get<std::string>()).value();
  EXPECT_EQ(read_picture(png, {}, "x").width, 2);
  EXPECT_EQ(std::get<ChatTask>(served.control->requests.at(0).task).to, Modality::kImage);
  expect_error(client.post("/v1/images/generations", R"({"prompt":"no picture"})"), 500,
               "server_error");
  expect_error(client.post("/v1/images/generations", R"({"prompt":"x","n":11})"), 400,
               "invalid_request_error", "n");
}

TEST(OpenAi, SmallRoutes) {
  ServedModel served;
  RawClient client(served.port());
  const Json models = Json::parse(client.get("/v1/models").body);
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "scripted");
  EXPECT_EQ(models["data"][0]["output_modalities"], Json({"text", "image", "audio", "music"}));
  EXPECT_EQ(Json::parse(client.get("/v1/models/scripted").body), models["data"][0]);
  expect_error(client.get("/v1/models/other/name"), 404, "not_found_error", "model");
  EXPECT_EQ(client.get("/health").body, R"({"status":"ok"})");
  EXPECT_EQ(client.get("/ready").status, 200);
  EXPECT_TRUE(Json::parse(client.get("/version").body).contains("version"));
  EXPECT_EQ(Json::parse(client.post("/tokenize", R"({"prompt":"hi"})").body)["tokens"],
            Json({104, 105}));
  EXPECT_EQ(Json::parse(client.post("/detokenize", R"({"tokens":[104,105]})").body)["prompt"],
            "hi");
  expect_error(client.post("/detokenize", R"({"tokens":[200]})"), 400, "invalid_request_error");
  expect_error(client.post("/detokenize", R"({"tokens":["a"]})"), 400, "invalid_request_error",
               "tokens");
  expect_error(client.post("/v1/embeddings", R"({"input":"x"})"), 501, "not_supported_error",
               "model");
  expect_error(client.get("/nothing"), 404, "not_found_error");
  const RawClient::Answer wrong = client.get("/v1/chat/completions");
  expect_error(wrong, 405, "invalid_request_error");
  EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
  client.send("OPTIONS /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const RawClient::Answer options = client.answer();
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.headers.at("allow"), "GET, HEAD, OPTIONS");
  EXPECT_FALSE(options.headers.contains("access-control-allow-origin"));
  served.service.set_draining();
  EXPECT_EQ(client.get("/ready").status, 503);
  EXPECT_EQ(client.get("/health").status, 200);
  served.service.set_backend(nullptr);
  expect_error(client.get("/health"), 503, "unavailable_error");
  expect_error(client.post("/v1/chat/completions", chat_body("x")), 503, "unavailable_error");
  served.service.set_backend(served.queue.get());
}

TEST(OpenAi, KeysOpenEverythingButHealth) {
  ServiceOptions service;
  service.api_keys = {"first", "second"};
  ServedModel served({.service = service});
  RawClient client(served.port());
  expect_error(client.get("/v1/models"), 401, "authentication_error");
  expect_error(client.get("/v1/models", "Authorization: Bearer wrong\r\n"), 401,
               "authentication_error");
  expect_error(client.get("/v1/models", "Authorization: Bearer firs\r\n"), 401,
               "authentication_error");
  expect_error(client.get("/metrics"), 401, "authentication_error");
  expect_error(client.get("/nothing"), 401, "authentication_error");
  expect_error(client.get("/tokenize"), 401, "authentication_error");
  EXPECT_EQ(client.get("/health").status, 200);
  EXPECT_EQ(client.get("/v1/models", "Authorization: Bearer second\r\n").status, 200);
  EXPECT_EQ(client.get("/v1/models", "X-API-Key: first\r\n").status, 200);
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_FALSE(equal_in_constant_time("", "a"));
  EXPECT_FALSE(equal_in_constant_time("a", ""));
  EXPECT_FALSE(equal_in_constant_time("aa", "a"));
}

TEST(OpenAi, OtherOriginsNeedLeave) {
  ServedModel closed;
  RawClient client(closed.port());
  expect_error(client.get("/v1/models", "Origin: http://evil.example\r\n"), 403,
               "permission_error");
  EXPECT_EQ(client.get("/v1/models", "Origin: http://x\r\n").status, 200);  // its own page
  ServiceOptions service;
  service.cors_origin = "http://good.example";
  HttpServerOptions http;
  http.cors_origin = service.cors_origin;
  ServedModel open({.service = service, .http = http});
  RawClient other(open.port());
  const RawClient::Answer good = other.get("/v1/models", "Origin: http://good.example\r\n");
  EXPECT_EQ(good.status, 200);
  EXPECT_EQ(good.headers.at("access-control-allow-origin"), "http://good.example");
  EXPECT_EQ(other.get("/v1/models", "Origin: http://evil.example\r\n").status, 403);
}

TEST(OpenAi, ThePageIsServed) {
  ServedModel served;
  RawClient client(served.port());
  const RawClient::Answer page = client.get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_TRUE(page.headers.contains("content-security-policy"));
  EXPECT_EQ(client.get("/index.html").body, page.body);
  const RawClient::Answer same =
      client.get("/", "If-None-Match: " + page.headers.at("etag") + "\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_FALSE(web_files().empty());
  EXPECT_EQ(client.get("/../serve/openai.h").status, 404);
  EXPECT_EQ(web_type("a/b.js"), "text/javascript; charset=utf-8");
}

TEST(OpenAi, MetricsCountWhatWasDone) {
  ServiceOptions service;
  service.metrics_prefix = "vllm:";
  ServedModel served({.service = service});
  RawClient client(served.port());
  client.post("/v1/chat/completions", chat_body("one two three"));
  std::string text;
  const auto has = [&](const std::string& line) {
    return text.find(line + "\n") != std::string::npos;
  };
  // The answer may be here before it is counted.
  EXPECT_TRUE(eventually([&] {
    text = client.get("/metrics").body;
    return has(R"(vllm:num_requests_running{model_name="scripted"} 0)");
  }));
  EXPECT_TRUE(has(R"(vllm:prompt_tokens_total{model_name="scripted"} 7)")) << text;
  EXPECT_TRUE(has(R"(vllm:generation_tokens_total{model_name="scripted"} 3)"));
  EXPECT_TRUE(has(R"(vllm:request_success_total{model_name="scripted",finished_reason="stop"} 1)"));
  EXPECT_TRUE(has(R"(vllm:num_requests_running{model_name="scripted"} 0)"));
  EXPECT_TRUE(has(R"(vllm:time_to_first_token_seconds_count{model_name="scripted"} 1)"));
  EXPECT_TRUE(has(R"(vllm:inter_token_latency_seconds_count{model_name="scripted"} 2)"));
  EXPECT_TRUE(has(R"(vllm:request_generation_tokens_bucket{model_name="scripted",le="2"} 0)"));
  EXPECT_TRUE(has(R"(vllm:request_generation_tokens_bucket{model_name="scripted",le="5"} 1)"));
  EXPECT_TRUE(
      has(R"(http_requests_total{handler="/v1/chat/completions",method="POST",status="200"} 1)"));
}

TEST(OpenAi, TheDescriptionNamesEveryRoute) {
  ServedModel served;
  RawClient client(served.port());
  const Json description = Json::parse(client.get("/openapi.json").body);
  EXPECT_EQ(description["openapi"], "3.1.0");
  for (const auto& [path, methods] : description["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      EXPECT_TRUE(operation.contains("responses"));
      const RawClient::Answer answer = method == "get" ? client.get(path) : client.post(path, "{}");
      EXPECT_NE(answer.status, 405) << path;
      if (path != "/v1/models/{id}") {
        EXPECT_NE(answer.status, 404) << path;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::serve
