// Errors as clients of the OpenAI protocol read them.
#pragma once

#include "core/error.h"
#include "serve/http.h"

#include <exception>
#include <string>
#include <string_view>

namespace tessera::serve {

/// Trouble with a request: becomes {"error": {"message", "type", "param", "code"}} with a status.
class ApiError : public std::exception {
 public:
  /// `param` names the field at fault, `code` is for programs; both may be empty (null).
  ApiError(int status, std::string message, std::string param = {}, std::string code = {});

  int status() const { return status_; }
  const char* what() const noexcept override { return message_.c_str(); }
  HttpHeaders headers;  // sent beside, e.g. Retry-After

  /// The body, one line of JSON; also what a broken stream's last event holds.
  std::string body() const;
  HttpResponse response() const;

 private:
  int status_;
  std::string message_, param_, code_;
};

/// 400, naming the field.
ApiError bad_request(std::string param, std::string message, std::string code = {});
/// 501: asked for something that is not there.
ApiError not_supported(std::string param, std::string message);

/// One of tessera's errors seen from outside: what a client did wrong keeps its message with 400,
/// or 501; the rest is 500 and its message goes to the log alone.
ApiError api_error_of(const Error& error);

}  // namespace tessera::serve
