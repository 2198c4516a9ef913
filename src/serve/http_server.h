// An HTTP/1.1 server on one port: keep-alive, pipelining, streams, WebSockets (RFC 9112, RFC 6455).
// A few I/O threads drive all sockets and a few workers run the handlers, so that neither a slow
// client nor a slow handler holds up others.
#pragma once

#include "serve/http.h"

#include <chrono>
#include <memory>
#include <string>

namespace tessera::serve {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;  // 0: any free one
  int io_threads = 2;
  int worker_threads = 2;
  size_t max_connections = 10000;
  size_t header_limit = 16 << 10;        // bytes
  uint64_t body_limit = 64 << 20;        // bytes; the ceiling over every Admission
  size_t stream_buffer_limit = 8 << 20;  // bytes of a stream that may wait for a slow reader
  std::string cors_origin = {};          // "*" or an origin; empty: no CORS headers
  std::chrono::milliseconds idle_timeout{75'000};    // between requests
  std::chrono::milliseconds header_timeout{15'000};  // from the first byte to the last header
  std::chrono::milliseconds body_timeout{60'000};    // and a second more for every 64 KB
  std::chrono::milliseconds write_timeout{30'000};   // without any progress
};

class HttpServer {
 public:
  /// Binds and listens. Throws Io naming the address when it cannot.
  HttpServer(HttpServerOptions options, HttpHandlers handlers);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The port that is bound.
  uint16_t port() const;
  size_t connections() const;

  /// Serves until drained or stopped. With `signals`, the first SIGTERM or SIGINT calls `on_drain`
  /// and drains, a second one stops at once. When it returns no handler is running, and it cannot
  /// be called again.
  void run(bool signals = false, std::function<void()> on_drain = {});
  /// Accepts nothing new, closes idle connections, and ends run() once every answer that is under
  /// way is out, after `limit` at the latest. Thread-safe.
  void drain(std::chrono::milliseconds limit);
  /// Closes everything and ends run(). Thread-safe.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::serve
