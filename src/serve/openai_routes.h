// The table of paths.
#pragma once

#include "serve/web_files.h"

#include <span>
#include <string>
#include <string_view>

namespace tessera::serve {

enum class RouteId {
  kChat,
  kCompletion,
  kSpeech,
  kTranscription,
  kImages,
  kEmbeddings,
  kModels,
  kModel,
  kTokenize,
  kDetokenize,
  kTemplate,
  kHealth,
  kReady,
  kVersion,
  kMetrics,
  kOpenApi,
  kFile,
};

struct Route {
  RouteId id;
  std::string_view method;   // "GET" answers HEAD too
  std::string_view path;     // ends with "{id}" where the rest of the path is an argument
  std::string_view summary;  // for the description
  bool media = false;        // its body may be large
  bool open_to_all = false;  // needs no key
  bool at_once = false;      // answered without a worker: it tells of the server itself
};

std::span<const Route> routes();

struct RouteMatch {
  const Route* route = nullptr;   // null: no such path, or not this method
  std::string rest;               // what stands for "{id}"
  std::string allow;              // methods of this path: "GET, HEAD, OPTIONS"; empty: no such path
  const WebFile* file = nullptr;  // of kFile
};

/// Finds a path; "/v1" before it may be left out.
RouteMatch match_route(std::string_view method, std::string_view path);

}  // namespace tessera::serve
