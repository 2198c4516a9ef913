// WebSockets (RFC 6455) by Beast: messages in, a bounded queue of messages out.
#include "core/log.h"
#include "serve/http_connection.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket/stream.hpp>

namespace tessera::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;
using Error = boost::system::error_code;

class WebSocketSession : public Session,
                         public WebSocket,
                         public std::enable_shared_from_this<WebSocketSession> {
 public:
  WebSocketSession(std::shared_ptr<ServerShared> shared, tcp::socket socket, HttpRequest request)
      : shared_(std::move(shared)),
        stream_(std::move(socket)),
        work_(asio::make_work_guard(shared_->io)),
        request_(std::move(request)) {}

  void start(beast::http::request<beast::http::string_body> handshake) {
    id_ = shared_->add(shared_from_this());
    stream_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
    stream_.read_message_max(shared_->options.body_limit);
    handshake_ = std::move(handshake);
    stream_.async_accept(
        handshake_, [self = shared_from_this()](const Error& error) { self->on_accept(error); });
  }

  bool send(bool text, std::string message) override {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) {
        return false;
      }
      if (waiting_ + message.size() > shared_->options.stream_buffer_limit) {
        closing_ = true;
        kill();
        return false;
      }
      waiting_ += message.size();
      out_.push_back({text, std::move(message)});
    }
    asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->flush(); });
    return true;
  }

  void close(uint16_t code, std::string_view reason) override {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) {
        return;
      }
      closing_ = true;
      reason_.emplace(static_cast<websocket::close_code>(code),
                      beast::string_view(reason.data(), std::min<size_t>(reason.size(), 123)));
    }
    asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->flush(); });
  }

  void drain() override { close(websocket::close_code::going_away, "the server is ending"); }

  void kill() override {
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->finish(); });
  }

 private:
  struct Item {
    bool text;
    std::string message;
  };

  void on_accept(const Error& error) {
    handshake_ = {};
    if (error) {
      return finish();
    }
    listener_ = shared_->handlers.open_socket(request_, shared_from_this());
    if (listener_ == nullptr) {
      return close(websocket::close_code::policy_error, "nothing is served here");
    }
    read();
    flush();  // it may have been asked to end while it was being accepted
  }

  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](const Error& error, size_t) {
      if (error || self->ended_) {
        return self->finish();
      }
      std::string message = beast::buffers_to_string(self->buffer_.data());
      self->buffer_.consume(self->buffer_.size());
      self->listener_->on_message(self->stream_.got_text(), std::move(message));
      self->read();
    });
  }

  void flush() {
    if (writing_ || ended_ || !stream_.is_open()) {
      return;
    }
    std::optional<websocket::close_reason> reason;
    {
      const std::lock_guard lock(mutex_);
      if (!out_.empty()) {
        current_ = std::move(out_.front());
        out_.pop_front();
      } else if (reason_.has_value()) {
        reason.swap(reason_);
      } else {
        return;
      }
    }
    writing_ = true;
    if (reason.has_value()) {
      stream_.async_close(*reason, [self = shared_from_this()](const Error&) { self->finish(); });
      return;
    }
    stream_.text(current_.text);
    stream_.async_write(asio::buffer(current_.message),
                        [self = shared_from_this()](const Error& error, size_t) {
                          self->writing_ = false;
                          {
                            const std::lock_guard lock(self->mutex_);
                            self->waiting_ -= self->current_.message.size();
                          }
                          if (error) {
                            return self->finish();
                          }
                          self->flush();
                        });
  }

  void finish() {
    if (ended_) {
      return;
    }
    ended_ = true;
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      out_.clear();
    }
    Error ignored;
    stream_.next_layer().close(ignored);
    if (listener_ != nullptr) {
      listener_->on_close();
      listener_.reset();  // it may hold this socket
    }
    shared_->remove(id_);
    work_.reset();
  }

  std::shared_ptr<ServerShared> shared_;
  websocket::stream<tcp::socket> stream_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  HttpRequest request_;
  beast::http::request<beast::http::string_body> handshake_;
  beast::flat_buffer buffer_;
  std::shared_ptr<SocketListener> listener_;
  uint64_t id_ = 0;
  Item current_ = {};
  bool writing_ = false;
  bool ended_ = false;

  std::mutex mutex_;  // guards what follows
  std::deque<Item> out_;
  size_t waiting_ = 0;  // bytes
  bool closing_ = false;
  std::optional<websocket::close_reason> reason_;
};

}  // namespace

void accept_web_socket(std::shared_ptr<ServerShared> shared,
                       tcp::socket socket,
                       beast::http::request<beast::http::string_body> handshake,
                       HttpRequest request) {
  const auto session =
      std::make_shared<WebSocketSession>(std::move(shared), std::move(socket), std::move(request));
  session->start(std::move(handshake));
}

}  // namespace tessera::serve
