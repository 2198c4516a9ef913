// The listening socket, the threads, and the end: draining and signals.
#include "serve/http_server.h"

#include "core/error.h"
#include "core/log.h"
#include "serve/http_connection.h"

#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <thread>

namespace tessera::serve {
namespace {

namespace asio = boost::asio;
using Failure = boost::system::error_code;

tcp::endpoint resolve(asio::io_context& io, const std::string& host, uint16_t port) {
  Failure failure;
  tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(host.empty() ? "0.0.0.0" : host, std::to_string(port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, failure);
  TESSERA_CHECK(!failure && !found.empty(), Io, "{}: this host is not known: {}", host,
                failure.message());
  return found.begin()->endpoint();
}

}  // namespace

struct HttpServer::Impl {
  Impl(HttpServerOptions options, HttpHandlers handlers)
      : shared(std::make_shared<ServerShared>(std::move(options), std::move(handlers))),
        acceptor(asio::make_strand(shared->io)),
        retry(acceptor.get_executor()),
        limit(acceptor.get_executor()),
        signals(acceptor.get_executor()) {}

  std::shared_ptr<ServerShared> shared;
  tcp::acceptor acceptor;
  asio::steady_timer retry;  // of accepting, when no socket is to be had
  asio::steady_timer limit;  // of draining
  asio::signal_set signals;
  uint16_t port = 0;

  void listen();
  void accept();
  void drain(std::chrono::milliseconds time);
  void watch_signals(std::function<void()> on_drain);
};

void HttpServer::Impl::listen() {
  const HttpServerOptions& options = shared->options;
  const tcp::endpoint endpoint = resolve(shared->io, options.host, options.port);
  const std::string name = fmt::format("{}:{}", options.host, options.port);
  Failure failure;
  acceptor.open(endpoint.protocol(), failure);
  TESSERA_CHECK(!failure, Io, "{}: {}", name, failure.message());
  acceptor.set_option(tcp::acceptor::reuse_address(true), failure);
  acceptor.bind(endpoint, failure);
  TESSERA_CHECK(!failure, Io, "{}: cannot listen here: {}; choose another --port (0: any free one)",
                name, failure.message());
  acceptor.listen(asio::socket_base::max_listen_connections, failure);
  TESSERA_CHECK(!failure, Io, "{}: {}", name, failure.message());
  port = acceptor.local_endpoint().port();
}

void HttpServer::Impl::accept() {
  // Every connection is a strand of its own.
  acceptor.async_accept(asio::make_strand(shared->io),
                        [this](const Failure& failure, tcp::socket socket) {
                          if (!acceptor.is_open() || failure == asio::error::operation_aborted) {
                            return;
                          }
                          if (failure) {  // out of file descriptors, for example
                            log::debug("accept: {}", failure.message());
                            retry.expires_after(std::chrono::milliseconds(100));
                            retry.async_wait([this](const Failure& stopped) {
                              if (!stopped) {
                                accept();
                              }
                            });
                            return;
                          }
                          if (shared->count() < shared->options.max_connections) {
                            std::make_shared<Connection>(shared, std::move(socket))->start();
                          }
                          accept();
                        });
}

void HttpServer::Impl::drain(std::chrono::milliseconds time) {
  if (shared->draining.exchange(true)) {
    return;
  }
  Failure ignored;
  acceptor.close(ignored);
  retry.cancel();
  for (const auto& session : shared->sessions()) {
    session->drain();
  }
  limit.expires_after(time);
  limit.async_wait([this](const Failure& stopped) {
    if (!stopped) {
      log::warning("{} connections did not end in time and are cut", shared->count());
      shared->io.stop();
    }
  });
  // The signals and the limit alone must not keep run() from ending.
  const auto poll = std::make_shared<asio::steady_timer>(acceptor.get_executor());
  const auto check = std::make_shared<std::function<void()>>();
  *check = [this, poll, weak = std::weak_ptr(check)] {
    if (shared->count() == 0) {
      limit.cancel();
      signals.cancel();
      return;
    }
    poll->expires_after(std::chrono::milliseconds(20));
    poll->async_wait([again = weak.lock()](const Failure& stopped) {
      if (!stopped) {
        (*again)();
      }
    });
  };
  (*check)();
}

void HttpServer::Impl::watch_signals(std::function<void()> on_drain) {
  signals.add(SIGINT);
  signals.add(SIGTERM);
  signals.async_wait([this, on_drain = std::move(on_drain)](const Failure& failure, int) {
    if (failure) {
      return;
    }
    if (on_drain) {
      on_drain();
    }
    drain(std::chrono::seconds(30));
    if (shared->count() == 0) {
      return;
    }
    signals.async_wait([this](const Failure& cancelled, int) {
      if (!cancelled) {
        shared->io.stop();
      }
    });
  });
}

HttpServer::HttpServer(HttpServerOptions options, HttpHandlers handlers)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handlers))) {
  impl_->listen();
  impl_->accept();
}

HttpServer::~HttpServer() {
  ServerShared& shared = *impl_->shared;
  shared.io.stop();
  shared.workers.join();
  Failure ignored;
  impl_->acceptor.close(ignored);
  impl_->retry.cancel();
  impl_->limit.cancel();
  impl_->signals.cancel();
  for (const auto& session : shared.sessions()) {
    session->kill();
  }
  // Pending operations hold their connections: they are told of the end here.
  shared.io.restart();
  shared.io.poll();
}

uint16_t HttpServer::port() const {
  return impl_->port;
}

size_t HttpServer::connections() const {
  return impl_->shared->count();
}

void HttpServer::run(bool signals, std::function<void()> on_drain) {
  if (signals) {
    impl_->watch_signals(std::move(on_drain));
  }
  const auto serve = [io = &impl_->shared->io] {
    while (true) {
      try {
        io->run();
        return;
      } catch (const std::exception& error) {  // one client's trouble is not the others'
        log::error("http: {}", error.what());
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < impl_->shared->options.io_threads; ++i) {
    threads.emplace_back(serve);
  }
  serve();
  for (std::thread& thread : threads) {
    thread.join();
  }
  impl_->shared->workers.join();
}

void HttpServer::drain(std::chrono::milliseconds limit) {
  asio::post(impl_->acceptor.get_executor(), [impl = impl_.get(), limit] { impl->drain(limit); });
}

void HttpServer::stop() {
  impl_->shared->io.stop();
}

}  // namespace tessera::serve
