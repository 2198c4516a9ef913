// The server below the protocol: framing, limits, timeouts, clients that go, WebSockets.
#include "unit/serve/serve_fixture.h"

namespace tessera::serve {
namespace {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace)

// A server whose handler the test writes.
class Bare {
 public:
  explicit Bare(std::function<void(const std::shared_ptr<Exchange>&)> handle,
                HttpServerOptions options = {},
                uint64_t body_limit = 1 << 20) {
    options.port = 0;
    HttpHandlers handlers;
    handlers.admit = [body_limit](const HttpRequest& request) {
      Admission admission;
      admission.body_limit = body_limit;
      if (request.path == "/refused") {
        admission.answer = HttpResponse{.status = 401, .type = "text/plain", .body = "no"};
      }
      return admission;
    };
    handlers.handle = std::move(handle);
    handlers.error = [](int status, std::string_view message) {
      return HttpResponse{.status = status, .type = "text/plain", .body = std::string(message)};
    };
    handlers.open_socket = [this](const HttpRequest&, const std::shared_ptr<WebSocket>& socket)
        -> std::shared_ptr<SocketListener> { return std::make_shared<Listener>(*this, socket); };
    handlers.on_answered = [this](const HttpRequest&, int status, double) { last_status = status; };
    server = std::make_unique<HttpServer>(options, std::move(handlers));
    thread_ = std::thread([this] { server->run(); });
  }
  ~Bare() {
    server->stop();
    join();
  }
  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  // Answers a message with its upper-case; "bye" closes.
  struct Listener : SocketListener {
    Listener(Bare& o, std::shared_ptr<WebSocket> s) : owner(o), socket(std::move(s)) {}
    void on_message(bool text, std::string message) override {
      if (message == "bye") {
        socket->close(1000, "done");
        return;
      }
      for (char& c : message) {
        c = static_cast<char>(toupper(c));
      }
      socket->send(text, std::move(message));
    }
    void on_close() override { ++owner.sockets_closed; }
    Bare& owner;
    std::shared_ptr<WebSocket> socket;
  };

  std::unique_ptr<HttpServer> server;
  std::atomic<int> last_status = 0;
  std::atomic<int> sockets_closed = 0;

 private:
  std::thread thread_;
};

void echo(const std::shared_ptr<Exchange>& exchange) {
  const HttpRequest& request = exchange->request();
  exchange->respond(
      {.type = "text/plain", .body = request.method + " " + request.path + " " + request.body});
}

TEST(HttpServer, KeepsConnectionsAndAnswersInOrder) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  // Three at once, the second with a body; then one more on the same connection.
  client.send(
      "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: "
      "3\r\n\r\nabc"
      "GET /3%20x?q=%41+b HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.answer().body, "GET /1 ");
  EXPECT_EQ(client.answer().body, "POST /2 abc");
  EXPECT_EQ(client.answer().body, "GET /3 x ");
  EXPECT_EQ(client.get("/4").body, "GET /4 ");
}

TEST(HttpServer, AnswersPipelinedRequestsOfAClientThatHasFinishedSending) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  client.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  client.finish_sending();
  EXPECT_EQ(client.answer().body, "GET /1 ");
  EXPECT_EQ(client.answer().body, "GET /2 ");
  EXPECT_EQ(client.rest(), "");
  EXPECT_TRUE(client.ended());
}

TEST(HttpServer, TakesRequestsByteByByteAndChunkedBodies) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  const std::string request =
      "POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n";
  for (const char c : request) {
    ASSERT_TRUE(client.send(std::string(1, c)));
  }
  EXPECT_EQ(client.answer().body, "POST /slow abcde");
}

TEST(HttpServer, EndsConnectionsWhenAsked) {
  Bare bare(echo);
  RawClient close(bare.server->port());
  close.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(close.answer().headers["connection"], "close");
  EXPECT_EQ(close.rest(), "");
  RawClient old(bare.server->port());
  old.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.answer().body, "GET / ");
  EXPECT_EQ(old.rest(), "");
}

TEST(HttpServer, HeadHasNoBody) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  client.send("HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n");
  const RawClient::Answer head = client.answer(/*head_only=*/true);
  EXPECT_EQ(head.headers.at("content-length"), std::to_string(strlen("HEAD /abc ")));
  EXPECT_EQ(client.get("/next").body, "GET /next ");
}

TEST(HttpServer, RefusesWhatIsTooLargeOrBroken) {
  Bare bare(echo, http_with([](HttpServerOptions& o) {
              o.header_limit = 4096;
              o.body_limit = 1000;
            }),
            100);
  const auto status_of = [&](const std::string& request) {
    RawClient client(bare.server->port());
    client.send(request);
    const RawClient::Answer answer = client.answer();
    EXPECT_TRUE(answer.complete) << request.substr(0, 60);
    client.rest();
    EXPECT_TRUE(client.ended()) << "the connection must end: " << request.substr(0, 60);
    return answer.status;
  };
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"), 431);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'a')),
            413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\nabc"), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n80\r\n" +
                      std::string(128, 'a') + "\r\n0\r\n\r\n"),
            413);
  EXPECT_EQ(status_of("HELLO\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /%zz HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET http://x/ HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
}

TEST(HttpServer, RefusesBeforeTheBodyIsSent) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  client.send("POST /refused HTTP/1.1\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer().status, 401);
  RawClient willing(bare.server->port());
  willing.send("POST /x HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(willing.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  willing.send("ab");
  EXPECT_EQ(willing.answer().body, "POST /x ab");
}

TEST(HttpServer, TimesOutSlowRequests) {
  Bare bare(echo, http_with([](HttpServerOptions& o) {
              o.idle_timeout = o.header_timeout = o.body_timeout = 150ms;
            }));
  RawClient idle(bare.server->port());
  RawClient header(bare.server->port());
  header.send("GET / HTT");
  RawClient body(bare.server->port());
  body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(header.answer().status, 408);
  EXPECT_EQ(body.answer().status, 408);
  EXPECT_EQ(idle.rest(), "");
  EXPECT_TRUE(idle.ended());
}

TEST(HttpServer, StreamsInChunks) {
  Bare bare([](const std::shared_ptr<Exchange>& exchange) {
    std::thread([exchange] {  // another thread than the handler's
      EXPECT_TRUE(exchange->begin_stream(200, "text/event-stream", {{"X-A", "b"}}));
      EXPECT_TRUE(exchange->write("one"));
      EXPECT_TRUE(exchange->write(""));  // would end the stream if it were sent
      EXPECT_TRUE(exchange->write(std::string(100000, 'z')));
      exchange->end();
      EXPECT_FALSE(exchange->write("late"));
      exchange->respond({.body = "late"});
    })
        .detach();
  });
  RawClient client(bare.server->port());
  const RawClient::Answer answer = client.get("/");
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.headers.at("x-a"), "b");
  EXPECT_EQ(answer.body, "one" + std::string(100000, 'z'));
  EXPECT_EQ(answer.chunks.size(), 2U);
  EXPECT_TRUE(client.get("/").complete);
}

TEST(HttpServer, OldClientsGetStreamsToTheEndOfTheConnection) {
  Bare bare([](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin_stream(200, "text/plain", {});
    exchange->write("abc");
    exchange->end();
  });
  RawClient client(bare.server->port());
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string all = client.rest();
  EXPECT_EQ(all.find("chunked"), std::string::npos);
  EXPECT_TRUE(all.ends_with("\r\n\r\nabc"));
}

TEST(HttpServer, TellsWhenTheClientGoes) {
  std::atomic<int> closed = 0;
  std::shared_ptr<Exchange> kept;
  std::mutex mutex;
  Bare bare([&](const std::shared_ptr<Exchange>& exchange) {
    exchange->on_close([&] { ++closed; });
    const std::lock_guard lock(mutex);
    kept = exchange;
  });
  {
    RawClient client(bare.server->port());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(eventually([&] {
      const std::lock_guard lock(mutex);
      return kept != nullptr;
    }));
    EXPECT_EQ(closed, 0);
  }  // nothing was written, and the client is gone
  EXPECT_TRUE(eventually([&] { return closed == 1; }));
  EXPECT_TRUE(kept->gone());
  EXPECT_FALSE(kept->begin_stream(200, "text/plain", {}));
  kept->on_close([&] { ++closed; });  // late, so at once
  EXPECT_EQ(closed, 2);
  const std::lock_guard lock(mutex);
  kept.reset();
}

TEST(HttpServer, DroppedExchangesAreAnswered) {
  Bare bare([](const std::shared_ptr<Exchange>&) {});
  RawClient client(bare.server->port());
  EXPECT_EQ(client.get("/").status, 500);
  Bare cut([](const std::shared_ptr<Exchange>& exchange) {
    exchange->begin_stream(200, "text/plain", {});
    exchange->write("abc");
  });
  RawClient other(cut.server->port());
  const RawClient::Answer answer = other.get("/");
  EXPECT_FALSE(answer.complete);  // cut, not ended: the client can tell
}

TEST(HttpServer, CutsReadersThatAreTooSlow) {
  std::atomic<size_t> written = 0;
  std::atomic<bool> refused = false;
  Bare bare(
      [&](const std::shared_ptr<Exchange>& exchange) {
        exchange->begin_stream(200, "text/plain", {});
        const std::string piece(10000, 'x');
        while (written < 1'000'000'000) {
          if (!exchange->write(piece)) {
            refused = true;
            return;
          }
          written += piece.size();
        }
      },
      http_with([](HttpServerOptions& o) { o.stream_buffer_limit = 100'000; }));
  RawClient client(bare.server->port(), 4096);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");  // and reads nothing
  EXPECT_TRUE(eventually([&] { return refused.load(); }));
  EXPECT_LT(written, 50'000'000U);  // the limit, and what the system's buffers take
  EXPECT_TRUE(eventually([&] { return bare.server->connections() == 0; }));
  EXPECT_TRUE(eventually([&] { return bare.last_status == 499; }));
}

TEST(HttpServer, CutsAnswersThatAreNotRead) {
  Bare bare(
      [](const std::shared_ptr<Exchange>& exchange) {
        exchange->respond({.type = "text/plain", .body = std::string(50'000'000, 'x')});
      },
      http_with([](HttpServerOptions& o) { o.write_timeout = 200ms; }));
  RawClient client(bare.server->port(), 4096);
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return bare.server->connections() == 1; }));
  EXPECT_TRUE(eventually([&] { return bare.server->connections() == 0; }));
}

TEST(HttpServer, DrainsAnswersThatAreUnderWay) {
  std::atomic<bool> go = false;
  Bare bare([&](const std::shared_ptr<Exchange>& exchange) {
    std::thread([exchange, &go] {
      eventually([&] { return go.load(); });
      exchange->respond({.type = "text/plain", .body = "done"});
    }).detach();
  });
  RawClient idle(bare.server->port());
  RawClient busy(bare.server->port());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return bare.server->connections() == 2; }));
  std::this_thread::sleep_for(50ms);
  bare.server->drain(10s);
  EXPECT_EQ(idle.rest(), "");
  EXPECT_TRUE(idle.ended());
  RawClient late(bare.server->port());
  EXPECT_FALSE(late.connected());
  go = true;
  const RawClient::Answer answer = busy.answer();
  EXPECT_EQ(answer.body, "done");
  EXPECT_EQ(answer.headers.at("connection"), "close");
  busy.close();
  bare.join();  // run() has ended
}

TEST(HttpServer, DrainGivesUpInTime) {
  std::shared_ptr<Exchange> kept;
  Bare bare([&](const std::shared_ptr<Exchange>& exchange) { kept = exchange; });
  RawClient client(bare.server->port());
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return bare.server->connections() == 1; }));
  bare.server->drain(100ms);
  bare.join();
  kept.reset();
}

TEST(HttpServer, ManyIdleConnections) {
  Bare bare(echo);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(std::make_unique<RawClient>(bare.server->port()));
    ASSERT_TRUE(clients.back()->connected());
  }
  for (size_t i = 0; i < clients.size(); i += 7) {
    EXPECT_EQ(clients[i]->get("/" + std::to_string(i)).body, "GET /" + std::to_string(i) + " ");
  }
  EXPECT_TRUE(eventually([&] { return bare.server->connections() == 300; }));
}

TEST(HttpServer, SaysWhenThePortIsTaken) {
  Bare bare(echo);
  HttpServerOptions options;
  options.port = bare.server->port();
  EXPECT_THROW(HttpServer(options, {}), Io);
  options.host = "no.such.host.invalid";
  EXPECT_THROW(HttpServer(options, {}), Io);
}

// ---- WebSockets ----

std::string frame(int code, std::string_view payload) {
  std::string out;
  out += static_cast<char>(0x80 | code);
  out += static_cast<char>(0x80 | payload.size());  // masked, below 126 bytes
  const char mask[4] = {1, 2, 3, 4};
  out.append(mask, 4);
  for (size_t i = 0; i < payload.size(); ++i) {
    out += static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  return out;
}

constexpr const char* kHandshake =
    "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

TEST(WebSocket, CarriesMessages) {
  Bare bare(echo);
  RawClient client(bare.server->port());
  client.send(kHandshake);
  const std::string head = client.until("\r\n\r\n");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101"));
  EXPECT_NE(head.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), std::string::npos);  // RFC 6455's example
  client.send(frame(1, "abc"));
  EXPECT_EQ(client.exactly(5),
            "\x81\x03"
            "ABC");
  client.send(frame(2, "xy"));
  EXPECT_EQ(client.exactly(4), "\x82\x02XY");
  client.send(frame(9, "p"));
  EXPECT_EQ(client.exactly(3), "\x8A\x01p");
  client.send(frame(1, "bye"));
  EXPECT_EQ(client.exactly(8), std::string("\x88\x06\x03\xE8", 4) + "done");
  client.send(frame(8, std::string("\x03\xE8", 2)));
  client.rest();
  EXPECT_TRUE(client.ended());
  client.close();
  EXPECT_TRUE(eventually([&] { return bare.sockets_closed == 1; }));
}

TEST(WebSocket, EndsWithTheClientAndWithTheServer) {
  Bare bare(echo);
  {
    RawClient client(bare.server->port());
    client.send(kHandshake);
    client.until("\r\n\r\n");
  }
  EXPECT_TRUE(eventually([&] { return bare.sockets_closed == 1; }));
  RawClient other(bare.server->port());
  other.send(kHandshake);
  other.until("\r\n\r\n");
  bare.server->drain(5s);
  EXPECT_EQ(other.exactly(2).substr(0, 1), "\x88");
  other.close();
  bare.join();
  EXPECT_EQ(bare.sockets_closed, 2);
}

}  // namespace
}  // namespace tessera::serve
