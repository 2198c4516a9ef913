// The one error hierarchy. A message says what was found, what was expected and the next step;
// context
// ("loading model.safetensors") is added while the exception unwinds, outermost last.
#pragma once

#include <fmt/core.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace tessera {

/// Error classes; the values are the exit codes of the command line.
enum class ErrorCode {
  kInvalidArgument = 2,
  kNotFound = 3,
  kCorruptFile = 4,
  kUnsupported = 5,
  kOutOfMemory = 6,
  kIo = 7,
  kInternal = 70,
  kCancelled = 130,
};

/// Short name of a code, e.g. "not_found"; used by `--json` error output.
std::string_view error_code_name(ErrorCode code);

/// Base of everything that tessera throws. `what()` is one line: "message (context, context)".
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const char* what() const noexcept override { return what_.c_str(); }

  /// Adds where it happened. Called by `with_context` while unwinding.
  void add_context(std::string_view context);

 private:
  ErrorCode code_;
  std::string message_;
  std::string context_;
  std::string what_;
};

// A typed error takes an fmt format string and its arguments:
//   throw NotFound("{}: no such folder; expected a model folder or a hub-cache name", path);
#define TESSERA_DEFINE_ERROR(Name)                                                       \
  class Name : public Error {                                                            \
   public:                                                                               \
    template <class... Args>                                                             \
    explicit Name(fmt::format_string<Args...> format, Args&&... args)                    \
        : Error(ErrorCode::k##Name, fmt::format(format, std::forward<Args>(args)...)) {} \
  }

TESSERA_DEFINE_ERROR(InvalidArgument);
TESSERA_DEFINE_ERROR(NotFound);
TESSERA_DEFINE_ERROR(CorruptFile);
TESSERA_DEFINE_ERROR(Unsupported);
TESSERA_DEFINE_ERROR(OutOfMemory);
TESSERA_DEFINE_ERROR(Io);
TESSERA_DEFINE_ERROR(Internal);
TESSERA_DEFINE_ERROR(Cancelled);
#undef TESSERA_DEFINE_ERROR

/// Runs `body` and adds `context` to an Error that leaves it.
template <class Body>
decltype(auto) with_context(std::string_view context, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (Error& error) {
    error.add_context(context);
    throw;
  }
}

}  // namespace tessera

/// Throws `Type` (an Error class) with a formatted message unless `condition` holds; stays in
/// release builds.
#define TESSERA_CHECK(condition, Type, ...) \
  do {                                      \
    if (!(condition)) {                     \
      throw ::tessera::Type(__VA_ARGS__);   \
    }                                       \
  } while (false)
