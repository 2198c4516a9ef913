// HTTP as the handlers see it: a request, and an exchange that is answered at once or as a stream,
// from any thread. No sockets here; http_server.h has them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;                        // "GET"
  std::string path;                          // decoded, without the query: "/v1/models/a b"
  std::map<std::string, std::string> query;  // decoded
  HttpHeaders headers;                       // in order, names as sent
  std::string body;
  std::string peer;        // address of the client
  bool websocket = false;  // asks to become a WebSocket

  /// Value of a header by its name in any case; "" when absent.
  std::string_view header(std::string_view name) const;
};

/// Reads a request target, "/a%20b?c=d+e", into path and query. False when it is malformed: not
/// beginning with "/", broken escapes, control characters.
bool parse_target(std::string_view target, HttpRequest& request);

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  HttpHeaders headers = {};
};

/// "OK", "Not Found"; "" for codes that are not used.
std::string_view http_reason(int status);

/// One request and its answer. Thread-safe; every function may be called from any thread and
/// returns at once. Dropping the last reference without an answer answers 500, or cuts a stream.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const HttpRequest& request() const = 0;
  /// Its body, which is then gone from request(). The handler alone may call this.
  virtual std::string take_body() = 0;

  /// The whole answer. Later answers are ignored.
  virtual void respond(HttpResponse response) = 0;

  /// Begins an answer whose length is not known. False when the client is gone.
  virtual bool begin_stream(int status, std::string_view type, const HttpHeaders& headers) = 0;
  /// Sends a piece. False when the client is gone, or reads so slowly that too much is waiting: it
  /// is then cut off.
  virtual bool write(std::string_view piece) = 0;
  /// Ends the stream properly.
  virtual void end() = 0;

  /// `callback` is called once when the client goes before the answer is complete, at once when it
  /// is gone already. It may come on another thread and must not block.
  virtual void on_close(std::function<void()> callback) = 0;
  virtual bool gone() const = 0;
};

/// What a WebSocket's owner hears. Calls come one at a time, on an I/O thread: do not block.
class SocketListener {
 public:
  virtual ~SocketListener() = default;
  virtual void on_message(bool text, std::string message) = 0;
  /// Once, at the end, whoever ended it.
  virtual void on_close() = 0;
};

/// An open WebSocket. Thread-safe, as Exchange.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  /// False when the client is gone or too much is waiting; it is then cut off.
  virtual bool send(bool text, std::string message) = 0;
  /// Closes after what was sent; `code` as in RFC 6455 (1000 normal).
  virtual void close(uint16_t code, std::string_view reason) = 0;
};

/// Whether a request may go on, decided when its headers are there and before its body is read.
struct Admission {
  /// Sent at once, without reading the body: a refusal, or what must be told however busy the
  /// workers are.
  std::optional<HttpResponse> answer;
  uint64_t body_limit = 1 << 20;  // bytes; more is refused with 413
};

/// What a server does with requests.
struct HttpHandlers {
  /// On an I/O thread; must not block.
  std::function<Admission(const HttpRequest&)> admit;
  /// On a worker thread.
  std::function<void(const std::shared_ptr<Exchange>&)> handle;
  /// Body of errors that the server itself finds (400, 408, 413, 431, 503).
  std::function<HttpResponse(int status, std::string_view message)> error;
  /// A WebSocket was accepted; null refuses it with 404. May be left empty: none are accepted.
  std::function<std::shared_ptr<SocketListener>(const HttpRequest&,
                                                const std::shared_ptr<WebSocket>&)>
      open_socket;
  /// A request was answered (or its client went: status 499). May be left empty.
  std::function<void(const HttpRequest&, int status, double seconds)> on_answered;
};

}  // namespace tessera::serve
