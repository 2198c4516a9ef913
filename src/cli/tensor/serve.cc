// `tessera serve`: a model behind HTTP. The server listens while the model is being opened, and
// answers 503 until it is there.
#include "cli/tensor/common.h"
#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "io/file.h"
#include "serve/http_server.h"
#include "serve/openai.h"
#include "serve/tensor/engines.h"

#include <malloc.h>

#include <cstdio>
#include <exception>
#include <thread>

namespace tessera::cli {
namespace {

std::vector<std::string> keys_of(const ServeOptions& options) {
  std::vector<std::string> keys = options.api_keys;
  if (!options.api_key_file.empty()) {
    for (const std::string& line : split(io::read_file(options.api_key_file, 1 << 20), '\n')) {
      if (!trim(line).empty()) {
        keys.emplace_back(trim(line));
      }
    }
    TESSERA_CHECK(!keys.empty(), InvalidArgument, "{}: holds no key", options.api_key_file);
  }
  for (const std::string& key : keys) {
    TESSERA_CHECK(!key.empty(), InvalidArgument, "an API key is empty");
  }
  return keys;
}

serve::ServiceOptions service_options(const ServeOptions& options) {
  serve::ServiceOptions result;
  result.api_keys = keys_of(options);
  result.metrics_prefix = options.metrics_prefix;
  result.cors_origin = options.cors;
  result.body_limit = static_cast<uint64_t>(options.max_body) << 20;
  result.media.folder = options.media_folder;
  if (!options.media_folder.empty() && !io::fs::is_directory(options.media_folder)) {
    io::throw_not_found(options.media_folder, "a folder of media");
  }
  return result;
}

serve::HttpServerOptions server_options(const ServeOptions& options) {
  serve::HttpServerOptions result;
  result.host = options.host;
  result.port = static_cast<uint16_t>(options.port);
  result.body_limit = static_cast<uint64_t>(options.max_body) << 20;
  result.cors_origin = options.cors;
  return result;
}

}  // namespace

int run_serve(const ServeOptions& options) {
  const nn::LoadOptions load = prepare(options);
  // Unlike a training's steps, requests differ in size: what a large one took goes back.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  serve::OpenAiService service(service_options(options));
  serve::HttpServer server(server_options(options), service.handlers());
  const std::string host = options.host == "0.0.0.0" ? "127.0.0.1" : options.host;
  log::info("listening on http://{}:{}, opening {}", host, server.port(), options.model);

  std::unique_ptr<serve::DeviceQueue> queue;
  std::exception_ptr failure;
  std::thread opening([&] {
    try {
      translate_torch_errors([&] {
        auto engine =
            serve::open_engine(options.model, options.name, load,
                               {.requests = options.batch, .cache_tokens = options.cache_tokens});
        const std::string name = engine->card().id;
        queue = std::make_unique<serve::DeviceQueue>(
            std::move(engine), static_cast<size_t>(options.queue), service.observer(name));
        service.set_backend(queue.get());
        std::printf("http://%s:%d\n", host.c_str(), server.port());
        std::fflush(stdout);
        log::info("serving {}; Ctrl-C ends", name);
      });
    } catch (...) {
      failure = std::current_exception();
      server.stop();
    }
  });
  server.run(/*signals=*/true, [&] {
    log::info("ending after the answers under way; once more ends at once");
    service.set_draining();
  });
  opening.join();
  if (failure) {
    std::rethrow_exception(failure);
  }
  return 0;
}

}  // namespace tessera::cli
