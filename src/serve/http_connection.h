// One client's connection: the inside of http_server.cc and web_socket.cc.
#pragma once

#include "serve/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <atomic>
#include <deque>
#include <mutex>
#include <unordered_map>

namespace tessera::serve {

using boost::asio::ip::tcp;

/// What can be asked to end: a connection or a WebSocket.
class Session {
 public:
  virtual ~Session() = default;
  /// Ends when what is under way is done.
  virtual void drain() = 0;
  /// Ends now.
  virtual void kill() = 0;
};

/// What all connections share; it outlives them.
struct ServerShared {
  ServerShared(HttpServerOptions o, HttpHandlers h)
      : options(std::move(o)),
        handlers(std::move(h)),
        io(options.io_threads),
        workers(static_cast<size_t>(options.worker_threads)) {}

  uint64_t add(const std::shared_ptr<Session>& session);
  void remove(uint64_t id);
  size_t count() const;
  std::vector<std::shared_ptr<Session>> sessions() const;

  const HttpServerOptions options;
  const HttpHandlers handlers;
  boost::asio::io_context io;
  boost::asio::thread_pool workers;
  std::atomic<bool> draining = false;

 private:
  mutable std::mutex mutex_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, std::weak_ptr<Session>> sessions_;
};

/// Whether one exchange's client is still there, shared by the connection and the exchange.
class CloseState {
 public:
  /// The client went: calls the callback, once.
  void went();
  /// The answer is complete: the callback is dropped.
  void answered();
  void on_close(std::function<void()> callback);
  bool gone() const;

 private:
  mutable std::mutex mutex_;
  bool gone_ = false;
  bool answered_ = false;
  std::function<void()> callback_;
};

class Connection : public Session, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerShared> shared, tcp::socket socket);

  void start();
  void drain() override;
  void kill() override;

  struct Outgoing {
    std::string bytes;
    bool bounded = false;  // counts against the stream's limit
    bool last = false;     // completes the answer
    bool close = false;    // nothing follows on this connection
  };
  /// Queues bytes of the current answer; any thread. False when the client is gone.
  bool send(Outgoing out);
  /// Whether the client lets the connection live on.
  bool keep_alive() const { return keep_alive_ && !shared_->draining; }
  /// HTTP/1.0 knows no chunks.
  bool chunks() const { return chunks_; }
  ServerShared& shared() const { return *shared_; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Error = boost::system::error_code;
  enum class State { kIdle, kReading, kBusy, kLinger, kClosed };

  void next_request();
  void wait_readable();
  void on_readable(const Error& error);
  void read_header();
  void on_header(const Error& error);
  void upgrade(HttpRequest request);
  void read_body(uint64_t limit);
  void on_body(const Error& error);
  void take_early_bytes();
  void client_went();
  void refuse(int status, std::string_view message);
  void refuse(const HttpResponse& response);
  void flush();
  void on_written(const Error& error, size_t count);
  void finish_answer();
  void linger();
  void discard();
  void close();
  void arm(boost::asio::steady_timer& timer,
           uint64_t& epoch,
           std::chrono::milliseconds time,
           void (Connection::*action)());
  void on_slow_reader() { close(); }
  void on_read_timeout();

  std::shared_ptr<ServerShared> shared_;
  tcp::socket socket_;  // on a strand
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer read_timer_, write_timer_;
  uint64_t read_epoch_ = 0, write_epoch_ = 0;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  HttpRequest request_;  // until its body is there
  uint64_t id_ = 0;
  State state_ = State::kIdle;
  bool waiting_ = false;    // for bytes from the client
  bool peer_eof_ = false;   // it has said that none will come
  bool timed_out_ = false;  // reading took too long
  std::atomic<bool> keep_alive_ = true;
  std::atomic<bool> chunks_ = true;
  size_t discarded_ = 0;
  std::shared_ptr<CloseState> exchange_;  // of the answer under way

  std::string writing_;  // what the socket is sending
  size_t written_ = 0;
  bool write_active_ = false;

  std::mutex mutex_;  // guards what follows
  std::deque<std::string> out_;
  size_t out_bytes_ = 0;  // of out_ and what of writing_ is not yet sent
  bool gone_ = false;
  bool complete_ = false;
  bool close_after_ = false;
};

/// Takes over a socket whose request asks for a WebSocket; defined in web_socket.cc.
void accept_web_socket(std::shared_ptr<ServerShared> shared,
                       tcp::socket socket,
                       boost::beast::http::request<boost::beast::http::string_body> handshake,
                       HttpRequest request);

}  // namespace tessera::serve
