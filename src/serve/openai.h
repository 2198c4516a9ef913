// OpenAI's protocol over a model: routes, keys, answers, metrics. The HTTP contract is
// docs/server.md and, for programs, /openapi.json.
#pragma once

#include "serve/backend.h"
#include "serve/device_queue.h"
#include "serve/http.h"
#include "serve/media_input.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::serve {

struct ServiceOptions {
  std::vector<std::string> api_keys;        // any of them opens; empty: open to all
  std::string metrics_prefix = "tessera_";  // or "vllm:"
  std::string cors_origin = {};             // as HttpServerOptions::cors_origin
  uint64_t body_limit = 64 << 20;           // bytes, of requests that may hold media
  MediaLimits media = {};
};

class OpenAiService {
 public:
  explicit OpenAiService(ServiceOptions options);
  ~OpenAiService();

  /// What a model's queue tells; give it to the DeviceQueue.
  QueueObserver observer(const std::string& model);
  /// The model that answers; before it is set, requests get 503. It must outlive the server's run.
  void set_backend(Backend* backend);
  /// /ready turns to 503.
  void set_draining();

  /// For the HttpServer. The service must outlive it.
  HttpHandlers handlers();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether two strings are equal, in a time that depends on their lengths alone.
bool equal_in_constant_time(std::string_view a, std::string_view b);

/// The description of everything that is served, OpenAPI 3.1.
std::string openapi_json(const std::string& version);

}  // namespace tessera::serve
