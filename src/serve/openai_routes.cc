#include "serve/openai_routes.h"

#include <algorithm>
#include <array>

namespace tessera::serve {
namespace {

constexpr Route kRoutes[] = {
    {RouteId::kModels, "GET", "/v1/models", "The models that are served, with what they can do"},
    {RouteId::kModel, "GET", "/v1/models/{id}", "One model"},
    {RouteId::kChat, "POST", "/v1/chat/completions",
     "Answer a conversation of text, pictures, speech and music", true},
    {RouteId::kCompletion, "POST", "/v1/completions", "Continue text", true},
    {RouteId::kSpeech, "POST", "/v1/audio/speech", "Read a text aloud"},
    {RouteId::kTranscription, "POST", "/v1/audio/transcriptions", "Write down speech", true},
    {RouteId::kImages, "POST", "/v1/images/generations", "Make pictures"},
    {RouteId::kEmbeddings, "POST", "/v1/embeddings", "Embeddings of texts"},
    {RouteId::kTokenize, "POST", "/tokenize", "Text to token ids"},
    {RouteId::kDetokenize, "POST", "/detokenize", "Token ids to text"},
    {RouteId::kTemplate, "POST", "/apply-template", "The prompt of a conversation, as text"},
    {RouteId::kHealth, "GET", "/health", "Whether the server works", false, true, true},
    {RouteId::kReady, "GET", "/ready", "Whether new requests are welcome", false, false, true},
    {RouteId::kVersion, "GET", "/version", "The version of tessera", false, false, true},
    {RouteId::kMetrics, "GET", "/metrics", "Prometheus metrics", false, false, true},
    {RouteId::kOpenApi, "GET", "/openapi.json", "This description"},
};

// The page's own files hold nothing of the server's data, and a browser sends no key for them.
constexpr Route kFileRoute = {RouteId::kFile, "GET", "/", "The page", false, true};

bool fits(const Route& route, std::string_view path, std::string& rest) {
  constexpr std::string_view kPlace = "{id}";
  if (!route.path.ends_with(kPlace)) {
    return route.path == path;
  }
  const std::string_view front = route.path.substr(0, route.path.size() - kPlace.size());
  if (!path.starts_with(front) || path.size() == front.size()) {
    return false;
  }
  rest = path.substr(front.size());
  return true;
}

bool fits_method(const Route& route, std::string_view method) {
  return route.method == method || (route.method == "GET" && method == "HEAD");
}

std::string allowed(const Route& route) {
  return route.method == "GET" ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
}

}  // namespace

std::span<const Route> routes() {
  return kRoutes;
}

RouteMatch match_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  const std::string with_version = "/v1" + std::string(path);
  for (const Route& route : kRoutes) {
    if (fits(route, path, match.rest) || fits(route, with_version, match.rest)) {
      match.allow = allowed(route);
      match.route = fits_method(route, method) ? &route : nullptr;
      return match;
    }
  }
  const std::string_view name = path == "/" ? "index.html" : path.substr(path.empty() ? 0 : 1);
  for (const WebFile& file : web_files()) {
    if (file.path == name) {
      match.allow = allowed(kFileRoute);
      match.route = fits_method(kFileRoute, method) ? &kFileRoute : nullptr;
      match.file = &file;
    }
  }
  return match;
}

std::string_view web_type(std::string_view path) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kTypes = {{
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".json", "application/json"},
      {".webmanifest", "application/manifest+json"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".ico", "image/x-icon"},
      {".webp", "image/webp"},
      {".woff2", "font/woff2"},
      {".wasm", "application/wasm"},
      {".txt", "text/plain; charset=utf-8"},
      {".md", "text/plain; charset=utf-8"},
  }};
  for (const auto& [ending, type] : kTypes) {
    if (path.ends_with(ending)) {
      return type;
    }
  }
  return "application/octet-stream";
}

}  // namespace tessera::serve
