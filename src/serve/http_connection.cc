// A connection is a small machine on a strand: idle -> reading -> busy (a handler has it) -> idle.
// While busy the socket is watched, so that a client that goes is noticed also when nothing is
// being written to it. Requests are parsed by Beast; answers are written by hand, since they are
// strings.
#include "serve/http_connection.h"

#include "core/clock.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <fmt/format.h>

#include <ctime>

namespace tessera::serve {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr size_t kEarlyBytes = 64 << 10;    // of the next requests that are taken while busy
constexpr size_t kGather = 64 << 10;        // small pieces are sent together up to this size
constexpr size_t kDiscardLimit = 64 << 20;  // bytes of a refused body that are read and dropped
constexpr std::chrono::milliseconds kLingerTime{2000};
constexpr uint64_t kBodyRate = 64 << 10;  // bytes a second that a slow sender must reach

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[40];
  const size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, size};
}

// The head of an answer. `length` absent: a stream.
std::string head_of(const ServerShared& shared,
                    int status,
                    std::string_view type,
                    const HttpHeaders& headers,
                    std::optional<size_t> length,
                    bool chunks,
                    bool close) {
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", status, http_reason(status), http_date());
  if (!type.empty()) {
    out += fmt::format("Content-Type: {}\r\n", type);
  }
  if (length.has_value() && status != 204 && status != 304) {
    out += fmt::format("Content-Length: {}\r\n", *length);
  } else if (!length.has_value() && chunks) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  for (const auto& [name, value] : headers) {
    out += fmt::format("{}: {}\r\n", name, value);
  }
  if (!shared.options.cors_origin.empty()) {
    out += fmt::format("Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n",
                       shared.options.cors_origin);
  }
  out += close ? "Connection: close\r\n" : "Connection: keep-alive\r\n";
  out += "X-Content-Type-Options: nosniff\r\n\r\n";
  return out;
}

class ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<Connection> connection,
                     std::shared_ptr<CloseState> state,
                     HttpRequest request)
      : connection_(std::move(connection)),
        state_(std::move(state)),
        request_(std::move(request)),
        begun_(Clock::now()) {}

  ~ConnectionExchange() override {
    try {
      if (phase_ == Phase::kWaiting) {
        respond(connection_->shared().handlers.error(500, "the request was given up"));
      } else if (phase_ == Phase::kStreaming) {
        connection_->kill();
        report(499);
      }
    } catch (...) {  // without memory for an answer: the client gets none, others are served
    }
  }

  const HttpRequest& request() const override { return request_; }
  std::string take_body() override { return std::exchange(request_.body, {}); }

  void respond(HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kWaiting) {
      return;
    }
    phase_ = Phase::kDone;
    report(state_->gone() ? 499 : response.status);  // before the client can ask for it
    state_->answered();
    const bool close = !connection_->keep_alive();
    std::string bytes = head_of(connection_->shared(), response.status, response.type,
                                response.headers, response.body.size(), false, close);
    if (request_.method != "HEAD" && response.status != 304 && response.status != 204) {
      bytes += response.body;
    }
    connection_->send({.bytes = std::move(bytes), .bounded = false, .last = true, .close = close});
  }

  bool begin_stream(int status, std::string_view type, const HttpHeaders& headers) override {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kWaiting || state_->gone()) {
      return false;
    }
    status_ = status;
    phase_ = Phase::kStreaming;
    close_ = !connection_->keep_alive() || !connection_->chunks();
    return connection_->send({.bytes = head_of(connection_->shared(), status, type, headers, {},
                                               connection_->chunks(), close_),
                              .bounded = true});
  }

  bool write(std::string_view piece) override {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kStreaming || state_->gone()) {
      return false;
    }
    if (piece.empty() || request_.method == "HEAD") {
      return true;
    }
    std::string bytes = connection_->chunks() ? fmt::format("{:x}\r\n", piece.size()) : "";
    bytes += piece;
    bytes += connection_->chunks() ? "\r\n" : "";
    return connection_->send({.bytes = std::move(bytes), .bounded = true});
  }

  void end() override {
    const std::lock_guard lock(mutex_);
    if (phase_ != Phase::kStreaming) {
      return;
    }
    phase_ = Phase::kDone;
    report(state_->gone() ? 499 : status_);
    state_->answered();
    const bool chunks = connection_->chunks() && request_.method != "HEAD";
    connection_->send(
        {.bytes = chunks ? "0\r\n\r\n" : "", .bounded = false, .last = true, .close = close_});
  }

  void on_close(std::function<void()> callback) override { state_->on_close(std::move(callback)); }
  bool gone() const override { return state_->gone(); }

 private:
  enum class Phase { kWaiting, kStreaming, kDone };

  void report(int status) {
    const auto& handler = connection_->shared().handlers.on_answered;
    if (handler) {
      handler(request_, status, seconds_since(begun_));
    }
  }

  std::shared_ptr<Connection> connection_;
  std::shared_ptr<CloseState> state_;
  HttpRequest request_;
  Clock::time_point begun_;
  std::mutex mutex_;
  Phase phase_ = Phase::kWaiting;
  int status_ = 200;
  bool close_ = false;
};

}  // namespace

uint64_t ServerShared::add(const std::shared_ptr<Session>& session) {
  const std::lock_guard lock(mutex_);
  sessions_.emplace(next_, session);
  return next_++;
}

void ServerShared::remove(uint64_t id) {
  const std::lock_guard lock(mutex_);
  sessions_.erase(id);
}

size_t ServerShared::count() const {
  const std::lock_guard lock(mutex_);
  return sessions_.size();
}

std::vector<std::shared_ptr<Session>> ServerShared::sessions() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Session>> result;
  for (const auto& [id, session] : sessions_) {
    if (auto alive = session.lock()) {
      result.push_back(std::move(alive));
    }
  }
  return result;
}

void CloseState::went() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (answered_ || gone_) {
      return;
    }
    gone_ = true;
    callback = std::move(callback_);
    callback_ = nullptr;
  }
  if (callback) {
    callback();
  }
}

void CloseState::answered() {
  std::function<void()> dropped;  // outside of the lock: it may own the exchange
  const std::lock_guard lock(mutex_);
  answered_ = true;
  dropped.swap(callback_);
}

void CloseState::on_close(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (answered_) {
      return;
    }
    if (!gone_) {
      callback_ = std::move(callback);
      return;
    }
  }
  callback();
}

bool CloseState::gone() const {
  const std::lock_guard lock(mutex_);
  return gone_;
}

Connection::Connection(std::shared_ptr<ServerShared> shared, tcp::socket socket)
    : shared_(std::move(shared)),
      socket_(std::move(socket)),
      work_(asio::make_work_guard(shared_->io)),
      read_timer_(socket_.get_executor()),
      write_timer_(socket_.get_executor()) {}

void Connection::start() {
  id_ = shared_->add(shared_from_this());
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    Error ignored;
    self->socket_.set_option(tcp::no_delay(true), ignored);
    self->socket_.non_blocking(true, ignored);
    self->next_request();
  });
}

void Connection::drain() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::kIdle) {
      self->close();
    }
  });
}

void Connection::kill() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->close(); });
}

// Calls `action` unless the timer is armed or disarmed (a time of 0) before.
void Connection::arm(asio::steady_timer& timer,
                     uint64_t& epoch,
                     std::chrono::milliseconds time,
                     void (Connection::*action)()) {
  ++epoch;
  if (time.count() == 0) {
    timer.cancel();
    return;
  }
  timer.expires_after(time);
  timer.async_wait([self = shared_from_this(), action, &epoch, mine = epoch](const Error& error) {
    if (!error && epoch == mine) {
      (*self.*action)();
    }
  });
}

void Connection::next_request() {
  if (state_ == State::kClosed) {
    return;
  }
  state_ = State::kIdle;
  if (buffer_.size() > 0) {
    read_header();
  } else if (peer_eof_ || shared_->draining) {
    close();
  } else {
    arm(read_timer_, read_epoch_, shared_->options.idle_timeout, &Connection::close);
    wait_readable();
  }
}

void Connection::wait_readable() {
  if (waiting_ || peer_eof_) {
    return;
  }
  waiting_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const Error& error) {
    self->waiting_ = false;
    self->on_readable(error);
  });
}

void Connection::on_readable(const Error& error) {
  if (state_ == State::kClosed) {
    return;
  }
  if (error) {
    close();
  } else if (state_ == State::kIdle) {
    read_header();
  } else if (state_ == State::kBusy) {
    take_early_bytes();
  } else if (state_ == State::kLinger) {
    discard();
  }
}

// While a handler is at work: bytes of the next request are kept, and an end means that the client
// is no longer interested.
void Connection::take_early_bytes() {
  Error error;
  const size_t count = socket_.read_some(buffer_.prepare(4096), error);
  if (error == asio::error::would_block || error == asio::error::try_again) {
    wait_readable();
  } else if (error == asio::error::eof) {
    peer_eof_ = true;
    client_went();
  } else if (error) {
    close();
  } else {
    buffer_.commit(count);
    if (buffer_.size() < kEarlyBytes) {
      wait_readable();
    }
  }
}

void Connection::client_went() {
  if (const auto exchange = exchange_) {
    exchange->went();
  }
}

void Connection::read_header() {
  state_ = State::kReading;
  timed_out_ = false;
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_->options.header_limit));
  parser_->body_limit(shared_->options.body_limit);
  arm(read_timer_, read_epoch_, shared_->options.header_timeout, &Connection::on_read_timeout);
  http::async_read_header(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](const Error& error, size_t) { self->on_header(error); });
}

void Connection::on_read_timeout() {
  timed_out_ = true;
  Error ignored;
  socket_.cancel(ignored);
}

void Connection::on_header(const Error& error) {
  if (state_ == State::kClosed) {
    return;
  }
  arm(read_timer_, read_epoch_, {}, nullptr);
  keep_alive_ = false;
  if (timed_out_) {
    return refuse(408, "the request's headers did not arrive in time");
  }
  if (error == http::error::header_limit) {
    return refuse(
        431, fmt::format("the headers are longer than {} bytes", shared_->options.header_limit));
  }
  if (error == http::error::body_limit) {
    return refuse(413,
                  fmt::format("the body is longer than {} bytes", shared_->options.body_limit));
  }
  if (error && error.category() == http::make_error_code(http::error::bad_target).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return refuse(400, "this is no HTTP/1.1 request: " + error.message());
  }
  if (error) {
    return close();
  }
  const auto& message = parser_->get();
  request_ = {};
  request_.method = std::string(message.method_string());
  for (const auto& field : message) {
    request_.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  Error unknown;
  const tcp::endpoint peer = socket_.remote_endpoint(unknown);
  request_.peer = unknown ? "" : peer.address().to_string();
  request_.websocket = boost::beast::websocket::is_upgrade(message);
  chunks_ = message.version() >= 11;
  const std::string_view target(message.target().data(), message.target().size());
  if (!parse_target(target, request_)) {
    return refuse(400, "the request's target is malformed");
  }
  Admission admission = shared_->handlers.admit(request_);
  const uint64_t limit = std::min(admission.body_limit, shared_->options.body_limit);
  const boost::optional<uint64_t> length = parser_->content_length();
  // An answer without a body to skip lets the connection live.
  keep_alive_ = parser_->keep_alive() &&
                (!admission.answer || (!parser_->chunked() && length.value_or(0) == 0));
  if (admission.answer.has_value()) {
    if (shared_->handlers.on_answered) {
      shared_->handlers.on_answered(request_, admission.answer->status, 0);
    }
    return refuse(std::move(*admission.answer));
  }
  if (request_.websocket && shared_->handlers.open_socket) {
    return upgrade(std::move(request_));
  }
  if (length.value_or(0) > limit) {
    keep_alive_ = false;
    return refuse(413,
                  fmt::format("the body has {} bytes, at most {} are taken here", *length, limit));
  }
  if (boost::beast::iequals(message[http::field::expect], "100-continue")) {
    send({.bytes = "HTTP/1.1 100 Continue\r\n\r\n"});
  }
  read_body(limit);
}

void Connection::upgrade(HttpRequest request) {
  state_ = State::kClosed;  // the socket goes on as another session
  shared_->remove(id_);
  work_.reset();
  accept_web_socket(shared_, std::move(socket_), parser_->release(), std::move(request));
}

void Connection::read_body(uint64_t limit) {
  parser_->body_limit(limit);
  const uint64_t seconds = parser_->content_length().value_or(limit) / kBodyRate;
  arm(read_timer_, read_epoch_,
      shared_->options.body_timeout + std::chrono::milliseconds(1000 * seconds),
      &Connection::on_read_timeout);
  http::async_read(
      socket_, buffer_, *parser_,
      [self = shared_from_this()](const Error& error, size_t) { self->on_body(error); });
}

void Connection::on_body(const Error& error) {
  if (state_ == State::kClosed) {
    return;
  }
  arm(read_timer_, read_epoch_, {}, nullptr);
  if (error) {
    keep_alive_ = false;
    if (timed_out_) {
      return refuse(408, "the request's body did not arrive in time");
    }
    if (error == http::error::body_limit) {
      return refuse(413, "the body is longer than is taken here");
    }
    return error.category() == http::make_error_code(http::error::bad_chunk).category() &&
                   error != http::error::partial_message
               ? refuse(400, "the request's body is malformed: " + error.message())
               : close();
  }
  state_ = State::kBusy;
  request_.body = std::move(parser_->get().body());
  parser_.reset();
  exchange_ = std::make_shared<CloseState>();
  auto exchange =
      std::make_shared<ConnectionExchange>(shared_from_this(), exchange_, std::move(request_));
  request_ = {};
  asio::post(shared_->workers, [shared = shared_, exchange = std::move(exchange)] {
    shared->handlers.handle(exchange);
  });
  if (buffer_.size() < kEarlyBytes) {
    wait_readable();
  }
}

void Connection::refuse(int status, std::string_view message) {
  refuse(shared_->handlers.error(status, message));
}

void Connection::refuse(const HttpResponse& response) {
  state_ = State::kBusy;
  const bool close_after = !keep_alive();
  const bool bodiless = parser_.has_value() && parser_->is_header_done() &&
                        parser_->get().method() == http::verb::head;
  std::string bytes = head_of(*shared_, response.status, response.type, response.headers,
                              response.body.size(), false, close_after);
  send({.bytes = std::move(bytes) + (bodiless ? "" : response.body),
        .bounded = false,
        .last = true,
        .close = close_after});
}

bool Connection::send(Outgoing out) {
  {
    const std::lock_guard lock(mutex_);
    if (gone_) {
      return false;
    }
    if (out.bounded && out_bytes_ + out.bytes.size() > shared_->options.stream_buffer_limit) {
      gone_ = true;
      kill();
      return false;
    }
    out_bytes_ += out.bytes.size();
    complete_ = complete_ || out.last;
    close_after_ = close_after_ || out.close;
    out_.push_back(std::move(out.bytes));
  }
  asio::dispatch(socket_.get_executor(), [self = shared_from_this()] { self->flush(); });
  return true;
}

// Sends what is queued; small pieces go together.
void Connection::flush() {
  if (write_active_ || state_ == State::kClosed) {
    return;
  }
  bool complete = false;
  if (written_ == writing_.size()) {
    const std::lock_guard lock(mutex_);
    writing_.clear();
    written_ = 0;
    while (!out_.empty() &&
           (writing_.empty() || writing_.size() + out_.front().size() <= kGather)) {
      if (writing_.empty()) {
        writing_.swap(out_.front());
      } else {
        writing_ += out_.front();
      }
      out_.pop_front();
    }
    complete = complete_ && out_.empty();
  }
  if (writing_.empty()) {
    arm(write_timer_, write_epoch_, {}, nullptr);
    if (complete) {
      finish_answer();
    }
    return;
  }
  write_active_ = true;
  arm(write_timer_, write_epoch_, shared_->options.write_timeout, &Connection::on_slow_reader);
  socket_.async_write_some(
      asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](const Error& error, size_t n) { self->on_written(error, n); });
}

void Connection::on_written(const Error& error, size_t count) {
  write_active_ = false;
  if (state_ == State::kClosed) {
    return;
  }
  if (error) {
    return close();
  }
  written_ += count;
  {
    const std::lock_guard lock(mutex_);
    out_bytes_ -= count;
  }
  flush();
}

void Connection::finish_answer() {
  bool close_after = false;
  {
    const std::lock_guard lock(mutex_);
    complete_ = false;
    close_after = close_after_;
  }
  writing_ = {};  // an idle connection keeps no buffers
  exchange_.reset();
  if (close_after) {
    linger();
  } else {
    if (buffer_.size() == 0) {
      buffer_.shrink_to_fit();
    }
    next_request();
  }
}

// Closing while unread bytes lie in the socket would reset the connection, and the client might
// never see the answer: what still comes is read and dropped for a while.
void Connection::linger() {
  state_ = State::kLinger;
  Error ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  if (peer_eof_) {
    return close();
  }
  arm(read_timer_, read_epoch_, kLingerTime, &Connection::close);
  discard();
}

void Connection::discard() {
  char bytes[16 << 10];
  Error error;
  while (!error && discarded_ < kDiscardLimit) {
    discarded_ += socket_.read_some(asio::buffer(bytes), error);
  }
  if (error == asio::error::would_block || error == asio::error::try_again) {
    wait_readable();
  } else {
    close();
  }
}

void Connection::close() {
  if (state_ == State::kClosed) {
    return;
  }
  state_ = State::kClosed;
  {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    out_.clear();
  }
  Error ignored;
  socket_.close(ignored);
  arm(read_timer_, read_epoch_, {}, nullptr);
  arm(write_timer_, write_epoch_, {}, nullptr);
  client_went();
  exchange_.reset();
  shared_->remove(id_);
  work_.reset();
}

}  // namespace tessera::serve
