// The service: which route takes a request, who may, and the small routes. What is decided before a
// body is read (keys, methods, origins) is decided in admit().
#include "serve/openai.h"

#include "serve/json_fields.h"
#include "serve/openai_answer.h"
#include "serve/openai_routes.h"
#include "serve/web_files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <fstream>

namespace tessera::serve {
namespace {

using Json = io::OrderedJson;

constexpr uint64_t kSmallBody = 4 << 20;
constexpr const char* kContentPolicy =
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "style-src 'self'; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::vector<double> time_bounds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
}

std::vector<double> token_bounds() {
  return {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000};
}

void describe(Metrics& metrics) {
  metrics.describe_gauge("num_requests_running", "Requests that the model works on.");
  metrics.describe_gauge("num_requests_waiting", "Requests in the queue.");
  metrics.describe_gauge("kv_cache_usage_perc", "Share of the cache that requests hold, 0 to 1.");
  metrics.describe_counter("prefix_cache_queries_total",
                           "Tokens of prompts looked up in the cache.");
  metrics.describe_counter("prefix_cache_hits_total", "Of these, tokens that were found.");
  metrics.describe_counter("num_preemptions_total",
                           "Requests that gave their place in the cache up for a while.");
  metrics.describe_counter("prompt_tokens_total", "Tokens of prompts.");
  metrics.describe_counter("generation_tokens_total", "Tokens generated.");
  metrics.describe_counter("request_success_total", "Requests that ended, by reason.");
  metrics.describe_counter("audio_seconds_total", "Seconds of sound, by direction.");
  metrics.describe_histogram("time_to_first_token_seconds", "From the request to its first token.",
                             time_bounds());
  metrics.describe_histogram("inter_token_latency_seconds", "From one token to the next.",
                             time_bounds());
  metrics.describe_histogram("e2e_request_latency_seconds", "From the request to its end.",
                             time_bounds());
  metrics.describe_histogram("request_queue_time_seconds", "In the queue.", time_bounds());
  metrics.describe_histogram("request_prefill_time_seconds", "Reading the prompt.", time_bounds());
  metrics.describe_histogram("request_decode_time_seconds", "Generating.", time_bounds());
  metrics.describe_histogram("request_inference_time_seconds", "Reading and generating.",
                             time_bounds());
  metrics.describe_histogram("request_prompt_tokens", "Tokens of a prompt.", token_bounds());
  metrics.describe_histogram("request_generation_tokens", "Tokens of an answer.", token_bounds());
  metrics.describe_counter("http_requests_total", "Requests answered.");
  metrics.describe_histogram("http_request_duration_seconds", "From a request to its answer.",
                             time_bounds());
  metrics.describe_gauge("process_resident_memory_bytes", "Memory of this process.");
  metrics.describe_gauge("process_start_time_seconds", "When it began, in Unix time.");
  metrics.describe_gauge("process_open_fds", "Its open files and sockets.");
  metrics.describe_gauge("process_cpu_seconds_total", "Its CPU time.");
}

std::string origin_host(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return std::string(scheme == std::string_view::npos ? origin : origin.substr(scheme + 3));
}

}  // namespace

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  size_t difference = a.size() ^ b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i] ^ other);
  }
  return difference == 0;
}

struct OpenAiService::Impl {
  explicit Impl(ServiceOptions o) : options(std::move(o)), metrics(options.metrics_prefix) {
    describe(metrics);
    metrics.set("process_start_time_seconds", {}, static_cast<double>(unix_time()));
  }

  const ServiceOptions options;
  Metrics metrics;
  SoundMemory sounds;
  std::atomic<bool> draining = false;
  std::atomic<Backend*> backend_or_null = nullptr;
  const int64_t started = unix_time();

  Backend& backend();
  bool has_key(const HttpRequest& request) const;
  Admission admit(const HttpRequest& request);
  void handle(const std::shared_ptr<Exchange>& exchange);
  void dispatch(const std::shared_ptr<Exchange>& exchange, const RouteMatch& match);
  void generate(const std::shared_ptr<Exchange>& exchange, RouteId id);
  HttpResponse answer_small(const HttpRequest& request, const RouteMatch& match);
  HttpResponse models(const std::string& id);
  HttpResponse tokenize(const HttpRequest& request);
  HttpResponse detokenize(const HttpRequest& request);
  HttpResponse apply_template(const HttpRequest& request);
  HttpResponse metrics_text();
  void check_model(const std::string& wanted, const ModelCard& card) const;
};

// What `body` returns, or what its exception is for clients.
template <class Body>
std::optional<HttpResponse> answered(const Body& body) {
  try {
    return body();
  } catch (const ApiError& error) {
    return error.response();
  } catch (const Error& error) {
    return api_error_of(error).response();
  } catch (const std::exception& error) {
    return api_error_of(Internal("{}", error.what())).response();
  }
}

Backend& OpenAiService::Impl::backend() {
  Backend* model = backend_or_null;
  if (model == nullptr) {
    throw ApiError(503, "the model is being loaded; try again soon", {}, "model_loading");
  }
  return *model;
}

bool OpenAiService::Impl::has_key(const HttpRequest& request) const {
  if (options.api_keys.empty()) {
    return true;
  }
  std::string_view key = request.header("authorization");
  constexpr std::string_view kBearer = "Bearer ";
  key = key.starts_with(kBearer) ? key.substr(kBearer.size()) : request.header("x-api-key");
  bool found = false;
  for (const std::string& known : options.api_keys) {
    found = equal_in_constant_time(key, known) || found;  // all of them, always
  }
  return found;
}

Admission OpenAiService::Impl::admit(const HttpRequest& request) {
  const auto refuse = [](const ApiError& error) {
    return Admission{.answer = error.response(), .body_limit = 0};
  };
  const RouteMatch match = match_route(request.method, request.path);
  // Pages of other origins may not use a server that their visitor can reach.
  const std::string_view origin = request.header("origin");
  const bool foreign = !origin.empty() && origin_host(origin) != request.header("host") &&
                       options.cors_origin != "*" && options.cors_origin != origin;
  if (foreign) {
    return refuse({403, "pages of other origins are not served (see --cors)", {}, "origin"});
  }
  if (request.method == "OPTIONS") {
    HttpResponse response{.status = 204, .type = "", .body = ""};
    response.headers = {{"Allow", match.allow}};
    if (!options.cors_origin.empty()) {
      response.headers.emplace_back("Access-Control-Allow-Methods", match.allow);
      response.headers.emplace_back("Access-Control-Allow-Headers",
                                    "authorization, content-type, x-api-key");
      response.headers.emplace_back("Access-Control-Max-Age", "600");
    }
    return {.answer = std::move(response), .body_limit = 0};
  }
  const bool open_to_all = match.route != nullptr && match.route->open_to_all;
  if (!open_to_all && !has_key(request)) {
    ApiError error(401, "a valid API key is needed: Authorization: Bearer KEY", {},
                   "invalid_api_key");
    error.headers.emplace_back("WWW-Authenticate", "Bearer");
    return refuse(error);
  }
  if (match.route == nullptr && match.allow.empty()) {
    return refuse({404, fmt::format("{}: there is no such path", request.path), {}, "not_found"});
  }
  if (match.route == nullptr) {
    ApiError error(405, fmt::format("{} is not allowed here, only {}", request.method, match.allow),
                   {}, "method_not_allowed");
    error.headers.emplace_back("Allow", match.allow);
    return refuse(error);
  }
  if (match.route->at_once) {
    return {.answer = answered([&] { return answer_small(request, match); }), .body_limit = 0};
  }
  const Backend* model = backend_or_null;
  const bool media = match.route->media &&
                     (model == nullptr || model->card().input != std::vector{Modality::kText});
  return {.answer = std::nullopt,
          .body_limit = media ? options.body_limit : std::min(kSmallBody, options.body_limit)};
}

void OpenAiService::Impl::handle(const std::shared_ptr<Exchange>& exchange) {
  const std::optional<HttpResponse> trouble = answered([&]() -> std::optional<HttpResponse> {
    const HttpRequest& request = exchange->request();
    dispatch(exchange, match_route(request.method, request.path));
    return std::nullopt;
  });
  if (trouble.has_value()) {
    exchange->respond(*trouble);
  }
}

void OpenAiService::Impl::dispatch(const std::shared_ptr<Exchange>& exchange,
                                   const RouteMatch& match) {
  switch (match.route->id) {
    case RouteId::kChat:
    case RouteId::kCompletion:
    case RouteId::kSpeech:
    case RouteId::kTranscription:
    case RouteId::kImages:
    case RouteId::kEmbeddings:
      return generate(exchange, match.route->id);
    default:
      return exchange->respond(answer_small(exchange->request(), match));
  }
}

void OpenAiService::Impl::generate(const std::shared_ptr<Exchange>& exchange, RouteId id) {
  const AnswerTools tools{backend(), metrics, sounds};
  const ModelCard& card = tools.backend.card();
  RequestContext context{card, options.media,
                         [this](const std::string& sound) { return sounds.find(sound); }};
  const HttpRequest& request = exchange->request();
  if (id == RouteId::kTranscription) {
    TranscriptionCall call =
        parse_transcription(request.header("content-type"), exchange->take_body(), context);
    check_model(call.model, card);
    return answer_transcription(exchange, tools, std::move(call));
  }
  const std::string text = exchange->take_body();
  context.body = text;
  const io::Json body = JsonFields::parse_body(text);
  check_model(JsonFields(body).text("model").value_or(""), card);
  if (id == RouteId::kChat) {
    answer_chat(exchange, tools, parse_chat(body, context));
  } else if (id == RouteId::kCompletion) {
    answer_completion(exchange, tools, parse_completion(body, context));
  } else if (id == RouteId::kEmbeddings) {
    answer_embeddings(exchange, tools, parse_embedding(body, context));
  } else if (id == RouteId::kSpeech) {
    answer_speech(exchange, tools, parse_speech(body, context));
  } else {
    answer_images(exchange, tools, parse_image(body, context));
  }
}

void OpenAiService::Impl::check_model(const std::string& wanted, const ModelCard& card) const {
  if (!wanted.empty() && wanted != card.id) {
    throw ApiError(404, fmt::format("the model '{}' is not served here; '{}' is", wanted, card.id),
                   "model", "model_not_found");
  }
}

HttpResponse OpenAiService::Impl::answer_small(const HttpRequest& request,
                                               const RouteMatch& match) {
  switch (match.route->id) {
    case RouteId::kHealth:
    case RouteId::kReady:
      if (match.route->id == RouteId::kReady && draining) {
        throw ApiError(503, "the server is ending", {}, "server_ending");
      }
      backend();
      return {.body = R"({"status":"ok"})"};
    case RouteId::kVersion:
      return {.body = dump({{"version", TESSERA_VERSION}})};
    case RouteId::kMetrics:
      return metrics_text();
    case RouteId::kModels:
      return models("");
    case RouteId::kModel:
      return models(match.rest);
    case RouteId::kTokenize:
      return tokenize(request);
    case RouteId::kDetokenize:
      return detokenize(request);
    case RouteId::kTemplate:
      return apply_template(request);
    case RouteId::kOpenApi:
      return {.body = openapi_json(TESSERA_VERSION)};
    default:
      break;
  }
  const WebFile& file = *match.file;
  HttpHeaders headers = {{"ETag", std::string(file.tag)},
                         {"Cache-Control", "no-cache"},
                         {"Content-Security-Policy", kContentPolicy},
                         {"Referrer-Policy", "no-referrer"}};
  if (request.header("if-none-match") == file.tag) {
    return {.status = 304, .type = "", .body = "", .headers = std::move(headers)};
  }
  return {.type = std::string(web_type(file.path)),
          .body = std::string(file.content),
          .headers = std::move(headers)};
}

HttpResponse OpenAiService::Impl::models(const std::string& id) {
  const ModelCard& card = backend().card();
  const auto names = [](const std::vector<Modality>& list) {
    Json out = Json::array();
    for (const Modality modality : list) {
      out.push_back(modality == Modality::kSpeech ? "audio" : modality_name(modality));
    }
    return out;
  };
  Json capabilities = Json::array();
  const auto can = [&](bool really, const char* what) {
    if (really) {
      capabilities.push_back(what);
    }
  };
  can(card.chat, "chat");
  can(card.completion, "completion");
  can(card.embeddings, "embeddings");
  can(card.tools.has_value(), "tools");
  can(card.thinks, "reasoning");
  can(card.controls, "structured_outputs");
  can(card.controls, "logprobs");
  can(card.chat && card.makes(Modality::kImage), "images");
  can(card.chat && card.makes(Modality::kSpeech), "speech");
  can(card.chat && card.makes(Modality::kMusic), "music");
  can(card.chat && card.takes(Modality::kSpeech), "transcription");
  const Json entry = {{"id", card.id},
                      {"object", "model"},
                      {"created", started},
                      {"owned_by", "tessera"},
                      {"kind", card.kind},
                      {"max_model_len", card.context > 0 ? Json(card.context) : Json(nullptr)},
                      {"capabilities", capabilities},
                      {"input_modalities", names(card.input)},
                      {"output_modalities", names(card.output)},
                      {"voices", card.voices}};
  if (id.empty()) {
    return {.body = dump({{"object", "list"}, {"data", Json::array({entry})}})};
  }
  check_model(id, card);
  return {.body = dump(entry)};
}

HttpResponse OpenAiService::Impl::tokenize(const HttpRequest& request) {
  const io::Json body = JsonFields::parse_body(request.body);
  const JsonFields fields(body);
  const Backend& model = backend();
  check_model(fields.text("model").value_or(""), model.card());
  // vLLM says "prompt", llama.cpp "content".
  const char* name = fields.find("content") != nullptr ? "content" : "prompt";
  const std::vector<int32_t> ids =
      model.tokenize(fields.required_text(name), fields.flag("add_special_tokens").value_or(true));
  return {.body = dump(
              {{"count", ids.size()}, {"max_model_len", model.card().context}, {"tokens", ids}})};
}

HttpResponse OpenAiService::Impl::detokenize(const HttpRequest& request) {
  const io::Json body = JsonFields::parse_body(request.body);
  const JsonFields fields(body);
  const Backend& model = backend();
  check_model(fields.text("model").value_or(""), model.card());
  const io::Json* list = fields.array("tokens");
  if (list == nullptr) {
    fields.fail("tokens", "an array of token ids");
  }
  std::vector<int32_t> ids;
  for (const io::Json& item : *list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > INT32_MAX) {
      fields.fail("tokens", "an array of token ids");
    }
    ids.push_back(item.get<int32_t>());
  }
  const std::string text = model.detokenize(ids);
  return {.body = dump({{"prompt", text}, {"content", text}})};
}

HttpResponse OpenAiService::Impl::apply_template(const HttpRequest& request) {
  const io::Json body = JsonFields::parse_body(request.body);
  const Backend& model = backend();
  check_model(JsonFields(body).text("model").value_or(""), model.card());
  const RequestContext context{model.card(), options.media, {}, request.body};
  return {.body = dump({{"prompt", model.prompt_text(parse_template(body, context))}})};
}

HttpResponse OpenAiService::Impl::metrics_text() {
  if (const Backend* model = backend_or_null; model != nullptr) {
    const BackendLoad load = model->load();
    const MetricLabels labels = {{"model_name", model->card().id}};
    metrics.set("num_requests_running", labels, static_cast<double>(load.running));
    metrics.set("num_requests_waiting", labels, static_cast<double>(load.waiting));
    if (load.cache.has_value()) {
      const CacheLoad& cache = *load.cache;
      metrics.set("kv_cache_usage_perc", labels, cache.usage);
      metrics.set("prefix_cache_queries_total", labels, static_cast<double>(cache.prompt_tokens));
      metrics.set("prefix_cache_hits_total", labels, static_cast<double>(cache.found_tokens));
      metrics.set("num_preemptions_total", labels, static_cast<double>(cache.preemptions));
    }
  }
  int64_t pages = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  metrics.set("process_resident_memory_bytes", {},
              static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  std::error_code failed;
  const auto files = std::distance(io::fs::directory_iterator("/proc/self/fd", failed), {});
  metrics.set("process_open_fds", {}, static_cast<double>(files));
  metrics.set("process_cpu_seconds_total", {}, static_cast<double>(std::clock()) / CLOCKS_PER_SEC);
  return {.type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.text()};
}

OpenAiService::OpenAiService(ServiceOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

OpenAiService::~OpenAiService() = default;

QueueObserver OpenAiService::observer(const std::string& model) {
  Metrics* metrics = &impl_->metrics;
  const MetricLabels labels = {{"model_name", model}};
  return {
      .on_first_token =
          [=](double seconds) { metrics->observe("time_to_first_token_seconds", labels, seconds); },
      .on_next_token =
          [=](double seconds) {
            metrics->observe("inter_token_latency_seconds", labels, seconds);
          }};
}

void OpenAiService::set_backend(Backend* backend) {
  impl_->backend_or_null = backend;
}

void OpenAiService::set_draining() {
  impl_->draining = true;
}

HttpHandlers OpenAiService::handlers() {
  Impl* impl = impl_.get();
  return {
      .admit = [=](const HttpRequest& request) { return impl->admit(request); },
      .handle = [=](const std::shared_ptr<Exchange>& exchange) { impl->handle(exchange); },
      .error =
          [](int status, std::string_view message) {
            return ApiError(status, std::string(message)).response();
          },
      .open_socket = {},
      .on_answered =
          [=](const HttpRequest& request, int status, double seconds) {
            const RouteMatch match = match_route(request.method, request.path);
            const std::string handler =
                match.route == nullptr ? "none" : std::string(match.route->path);
            impl->metrics.add("http_requests_total",
                              {{"handler", handler},
                               {"method", match.route == nullptr ? "other" : request.method},
                               {"status", std::to_string(status)}});
            impl->metrics.observe("http_request_duration_seconds", {{"handler", handler}}, seconds);
          }};
}

}  // namespace tessera::serve
