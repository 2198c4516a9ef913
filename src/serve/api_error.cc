// Types and statuses: OpenAI's, and 501 "not_supported_error" and 503 "unavailable_error" as other
// servers of this protocol have them.
#include "serve/api_error.h"

#include "core/log.h"
#include "io/json.h"
#include "serve/backend.h"

namespace tessera::serve {
namespace {

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 500:
      return "server_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return "invalid_request_error";
  }
}

}  // namespace

ApiError::ApiError(int status, std::string message, std::string param, std::string code)
    : status_(status),
      message_(std::move(message)),
      param_(std::move(param)),
      code_(std::move(code)) {}

std::string ApiError::body() const {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? io::OrderedJson(nullptr) : io::OrderedJson(text);
  };
  const io::OrderedJson json = {{"error",
                                 {{"message", message_},
                                  {"type", type_of(status_)},
                                  {"param", or_null(param_)},
                                  {"code", or_null(code_)}}}};
  return json.dump(-1, ' ', false, io::OrderedJson::error_handler_t::replace);
}

HttpResponse ApiError::response() const {
  return {.status = status_, .type = "application/json", .body = body(), .headers = headers};
}

ApiError bad_request(std::string param, std::string message, std::string code) {
  return {400, std::move(message), std::move(param), std::move(code)};
}

ApiError not_supported(std::string param, std::string message) {
  return {501, std::move(message), std::move(param), "not_supported"};
}

ApiError api_error_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorruptFile:  // media that were sent
      return {400, error.what(), {}, std::string(error_code_name(error.code()))};
    case ErrorCode::kUnsupported:
      return not_supported({}, error.what());
    case ErrorCode::kOutOfMemory:
      return {503, "the server has not enough memory for this request", {}, "out_of_memory"};
    case ErrorCode::kCancelled:
      return {503, "the server is ending", {}, "cancelled"};
    default:
      log::error("request: {}", error.what());
      return {500, "the server made an error; its log says more", {}, "internal"};
  }
}

}  // namespace tessera::serve
