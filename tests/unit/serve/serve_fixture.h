// A server with a scripted model in this process, and a client that sends bytes as they are.
#pragma once

#include "io/json.h"
#include "serve/http_server.h"
#include "serve/openai.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace tessera::serve {

/// A TCP client; every read gives up after some seconds.
class RawClient {
 public:
  explicit RawClient(uint16_t port, int receive_buffer = 0) {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) {
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
    fd_ = -1;
  }
  void finish_sending() { shutdown(fd_, SHUT_WR); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) {
        return false;
      }
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  /// One read into the buffer; false at the end or after `seconds` of silence.
  bool more(int seconds = 20) {
    pollfd item{fd_, POLLIN, 0};
    if (poll(&item, 1, seconds * 1000) <= 0) {
      return false;
    }
    char bytes[16384];
    const ssize_t n = recv(fd_, bytes, sizeof(bytes), 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    buffer_.append(bytes, static_cast<size_t>(n));
    return true;
  }

  /// Reads up to and including `mark`; what was read, or all there was.
  std::string until(std::string_view mark) {
    size_t at = 0;
    while ((at = buffer_.find(mark)) == std::string::npos && more()) {
    }
    return take(at == std::string::npos ? buffer_.size() : at + mark.size());
  }

  std::string exactly(size_t count) {
    while (buffer_.size() < count && more()) {
    }
    return take(std::min(count, buffer_.size()));
  }

  /// Reads to the end of the connection.
  std::string rest() {
    while (more()) {
    }
    return take(buffer_.size());
  }
  bool ended() const { return ended_; }

  struct Answer {
    int status = 0;
    std::map<std::string, std::string> headers;  // lower-case names
    std::string body;
    std::vector<std::string> chunks;  // of a chunked body
    bool complete = false;
  };

  /// One whole answer.
  Answer answer(bool head_only = false) {
    Answer result;
    const std::string head = until("\r\n\r\n");
    if (sscanf(head.c_str(), "HTTP/1.1 %d", &result.status) != 1) {
      return result;
    }
    for (size_t at = head.find("\r\n") + 2; at < head.size() && head[at] != '\r';) {
      const size_t colon = head.find(':', at);
      const size_t end = head.find("\r\n", at);
      std::string name = head.substr(at, colon - at);
      for (char& c : name) {
        c = static_cast<char>(tolower(c));
      }
      result.headers[name] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    if (head_only || result.status == 204 || result.status == 304) {
      result.complete = true;
    } else if (result.headers.contains("content-length")) {
      const size_t size = std::stoul(result.headers["content-length"]);
      result.body = exactly(size);
      result.complete = result.body.size() == size;
    } else {
      while (true) {
        const std::string line = until("\r\n");
        if (line.empty()) {
          return result;
        }
        const size_t size = std::stoul(line, nullptr, 16);
        std::string chunk = exactly(size + 2);
        if (chunk.size() != size + 2 || !chunk.ends_with("\r\n")) {
          return result;
        }
        if (size == 0) {
          result.complete = true;
          return result;
        }
        chunk.resize(size);
        result.body += chunk;
        result.chunks.push_back(std::move(chunk));
      }
    }
    return result;
  }

  Answer post(const std::string& path, const std::string& body, const std::string& headers = {}) {
    send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return answer();
  }
  Answer get(const std::string& path, const std::string& headers = {}) {
    send("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
    return answer();
  }

 private:
  std::string take(size_t count) {
    std::string out = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return out;
  }

  int fd_ = -1;
  bool connected_ = false;
  bool ended_ = false;
  std::string buffer_;
};

/// Options with some of them changed.
template <class Change>
HttpServerOptions http_with(const Change& change) {
  HttpServerOptions options;
  change(options);
  return options;
}

/// Waits until `condition` holds, 20 s at most.
template <class Condition>
bool eventually(const Condition& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// A model that answers what its script says: the last text of the user, word by word.
class ScriptedEngine : public Engine {
 public:
  /// What tests see and steer.
  struct Control {
    std::atomic<int> runs = 0, finished = 0, interrupted = 0, tokens = 0;
    std::atomic<bool> hold = false;          // runs wait here, asking go_on
    std::atomic<bool> hold_reading = false;  // texts with "slow:prompt" are not read through
    std::atomic<int> being_read = 0;
    std::mutex mutex;
    std::vector<GenerationRequest> requests;
    std::vector<std::thread::id> readers, runners;  // threads that prepared and that ran
  };
  /// Any-to-any; bare prompts alone; a language model with all that these can; one that thinks.
  enum class Kind { kAny, kPrompts, kLanguage, kThinking };

  explicit ScriptedEngine(std::shared_ptr<Control> control, Kind kind = Kind::kAny)
      : control_(std::move(control)) {
    const bool text_only = kind != Kind::kAny;
    card_.id = "scripted";
    card_.kind = text_only ? "text" : "any-to-any";
    card_.input = {Modality::kText};
    if (!text_only) {
      card_.input = {Modality::kText, Modality::kImage, Modality::kSpeech, Modality::kMusic};
    }
    card_.output = card_.input;
    card_.chat = kind != Kind::kPrompts;
    card_.completion = text_only;
    card_.embeddings = kind == Kind::kLanguage;
    if (kind == Kind::kLanguage || kind == Kind::kThinking) {
      card_.system = card_.controls = card_.chat_template = true;
      card_.thinks = kind == Kind::kThinking;
      card_.tools = text::ToolSyntax::kHermes;
    }
    card_.voices = {"Sally", "Rob"};
    card_.context = 1000;
  }

  const ModelCard& card() const override { return card_; }

  /// "refuse:prompt" anywhere cannot be read.
  std::unique_ptr<PreparedRequest> prepare(const GenerationRequest& request) const override {
    {
      const std::lock_guard lock(control_->mutex);
      control_->readers.push_back(std::this_thread::get_id());
    }
    read(text_of(request));
    TESSERA_CHECK(text_of(request).find("refuse:prompt") == std::string::npos, InvalidArgument,
                  "this prompt cannot be read");
    return nullptr;
  }

  uint64_t begin(EngineJob job) override {
    job.done(run(job.request, job.listener, job.go_on));
    return 0;
  }

  /// With log-probabilities each word is a token of -0.5, beside "other" of -1 and one that cannot
  /// come. Words of the answer: "make:image" makes a picture of 2 × 2, "make:speech" and
  /// "make:music" one second of sound, "open:thoughts" tells that the prompt opened them,
  /// "fail:input" and "fail:inside" throw, "flood" goes on for ever.
  Outcome run(const GenerationRequest& request,
              GenerationListener& listener,
              const std::function<bool()>& go_on) {
    ++control_->runs;
    {
      const std::lock_guard lock(control_->mutex);
      control_->requests.push_back(request);
      control_->runners.push_back(std::this_thread::get_id());
    }
    Outcome outcome{
        .error = std::nullopt, .reason = "stop", .prompt_tokens = 7, .cached_tokens = 3};
    const auto step = [&] {
      ++outcome.new_tokens;
      ++control_->tokens;
      if (!go_on()) {
        outcome.reason = "interrupted";
      }
      return outcome.reason == "stop";
    };
    while (control_->hold && step()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    outcome.new_tokens = 0;
    if (const auto* embeddings = std::get_if<EmbeddingTask>(&request.task)) {
      for (const CompletionTask& input : embeddings->inputs) {
        const auto size =
            static_cast<float>(input.ids.empty() ? input.text.size() : input.ids.size());
        listener.on_embedding(std::vector<float>{size, -0.5F, 1.0F / 3});
        step();
      }
      outcome.new_tokens = 0;
      return outcome;
    }
    const std::string text = text_of(request);
    for (size_t at = 0; at < text.size() && outcome.reason == "stop";) {
      const size_t end = std::min(text.find(' ', at + 1), text.size());
      if (request.top_logprobs.has_value()) {
        TokenReport token{{text.substr(at, end - at), -0.5}};
        token.top = {token.chosen, {" other", -1}, {"\xC3", -INFINITY}};
        token.top.resize(static_cast<size_t>(std::min<int64_t>(3, *request.top_logprobs)));
        listener.on_token(token);
      }
      say(text.substr(at, end - at), request, listener, step);
      at = end;
      if (request.max_new_tokens > 0 && outcome.new_tokens >= request.max_new_tokens &&
          outcome.reason == "stop" && at < text.size()) {
        outcome.reason = "length";
      }
    }
    ++(outcome.reason == "interrupted" ? control_->interrupted : control_->finished);
    return outcome;
  }

  std::string prompt_text(const ChatTask& task) const override {
    std::string text;
    for (const Message& message : task.messages) {
      text += std::to_string(static_cast<int>(message.role)) + ":" +
              std::get<std::string>(message.parts.at(0).content) + "\n";
    }
    return text + std::to_string(task.tools.size()) + " tools";
  }
  std::vector<int32_t> tokenize(std::string_view text, bool) const override {
    read(text);
    return {text.begin(), text.end()};
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    for (const int32_t id : ids) {
      TESSERA_CHECK(id < 128, InvalidArgument, "there is no id {}", id);
    }
    return {ids.begin(), ids.end()};
  }

  static Audio tone() {
    Audio audio{.sample_rate = 8000, .channels = 1, .samples = {}};
    for (int i = 0; i < 8000; ++i) {
      audio.samples.push_back(static_cast<float>(i % 100) / 200.0F);
    }
    return audio;
  }

 private:
  void read(std::string_view text) const {
    ++control_->being_read;
    while (control_->hold_reading && text.find("slow:prompt") != std::string_view::npos) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    --control_->being_read;
  }

  static std::string text_of(const GenerationRequest& request) {
    if (const auto* prompt = std::get_if<CompletionTask>(&request.task)) {
      return prompt->ids.empty() ? prompt->text
                                 : std::string(prompt->ids.begin(), prompt->ids.end());
    }
    std::string text;
    if (const auto* embeddings = std::get_if<EmbeddingTask>(&request.task)) {
      for (const CompletionTask& input : embeddings->inputs) {
        text += input.text;
      }
      return text;
    }
    for (const Part& part : std::get<ChatTask>(request.task).messages.back().parts) {
      if (const auto* words = std::get_if<std::string>(&part.content)) {
        text = *words;
      }
    }
    return text;
  }

  template <class Step>
  static void say(const std::string& word,
                  const GenerationRequest& request,
                  GenerationListener& listener,
                  const Step& step) {
    if (word.ends_with("fail:input")) {
      throw InvalidArgument("this word is not for me");
    }
    if (word.ends_with("fail:inside")) {
      throw Internal("secret of the house");
    }
    if (word.ends_with("open:thoughts")) {
      listener.on_thoughts();
    } else if (word.ends_with("flood")) {
      do {
        listener.on_text(std::string(4096, 'x'));
      } while (step());
    } else if (word.ends_with("make:image")) {
      listener.on_part(
          {Modality::kImage,
           Image{.width = 2, .height = 2, .channels = 3, .pixels = std::vector<uint8_t>(12, 9)},
           {}});
      step();
    } else if (word.ends_with("make:speech") || word.ends_with("make:music")) {
      const Modality modality = word.ends_with("make:music") ? Modality::kMusic : Modality::kSpeech;
      const Audio whole = tone();
      if (request.stream_sound) {
        for (size_t at = 0; at < whole.samples.size(); at += 1000) {
          listener.on_sound(modality,
                            {.sample_rate = 8000,
                             .channels = 1,
                             .samples = {whole.samples.begin() + static_cast<long>(at),
                                         whole.samples.begin() + static_cast<long>(at) + 1000}});
        }
      }
      listener.on_part({modality, whole, {}});
      step();
    } else {
      listener.on_text(word);
      step();
    }
  }

  std::shared_ptr<Control> control_;
  ModelCard card_;
};

/// Service, model and server, running until the end of the test.
class ServedModel {
 public:
  struct Setup {
    ServiceOptions service = {};
    HttpServerOptions http = {};
    size_t queue = 64;
    ScriptedEngine::Kind kind = ScriptedEngine::Kind::kAny;
  };
  ServedModel() : ServedModel(Setup{}) {}
  explicit ServedModel(Setup setup) : service(std::move(setup.service)) {
    setup.http.port = 0;
    queue = std::make_unique<DeviceQueue>(std::make_unique<ScriptedEngine>(control, setup.kind),
                                          setup.queue, service.observer("scripted"));
    service.set_backend(queue.get());
    server = std::make_unique<HttpServer>(setup.http, service.handlers());
    thread_ = std::thread([this] { server->run(); });
  }
  ~ServedModel() {
    control->hold = control->hold_reading = false;
    server->stop();
    join();
    queue.reset();
  }
  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  uint16_t port() const { return server->port(); }

  std::shared_ptr<ScriptedEngine::Control> control = std::make_shared<ScriptedEngine::Control>();
  OpenAiService service;
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<DeviceQueue> queue;

 private:
  std::thread thread_;
};

/// {"messages": [{"role": "user", "content": text}], …more}
inline std::string chat_body(const std::string& text, const std::string& more = "") {
  return R"({"messages":[{"role":"user","content":)" + io::Json(text).dump() + "}]" +
         (more.empty() ? "" : "," + more) + "}";
}

/// Expects an error of OpenAI's form.
inline void expect_error(const RawClient::Answer& answer,
                         int status,
                         const std::string& type,
                         const io::Json& param = nullptr) {
  EXPECT_EQ(answer.status, status) << answer.body;
  const io::Json body = io::Json::parse(answer.body);
  ASSERT_TRUE(body.contains("error")) << answer.body;
  EXPECT_EQ(body.size(), 1U);
  const io::Json& error = body["error"];
  EXPECT_EQ(error.size(), 4U);
  EXPECT_EQ(error["type"], type);
  EXPECT_EQ(error["param"], param) << answer.body;
  EXPECT_TRUE(error["message"].is_string() && !error["message"].get<std::string>().empty());
  EXPECT_TRUE(error["code"].is_string() || error["code"].is_null());
}

/// The JSON of each "data:" event of a body; "[DONE]" as a string. Fails the test on other lines.
inline std::vector<io::Json> events_of(const std::string& body) {
  std::vector<io::Json> events;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "an event is not whole";
    EXPECT_EQ(body.substr(at, 6), "data: ");
    if (end == std::string::npos) {
      break;
    }
    const std::string data = body.substr(at + 6, end - at - 6);
    events.push_back(data == "[DONE]" ? io::Json("[DONE]") : io::Json::parse(data));
    at = end + 2;
  }
  return events;
}

}  // namespace tessera::serve
