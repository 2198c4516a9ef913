#include "core/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

namespace tessera::log {
namespace {

Level level_from_environment() {
  const char* text = std::getenv("TESSERA_LOG");
  const std::string_view name = text == nullptr ? "" : text;
  if (name == "debug") {
    return Level::kDebug;
  }
  if (name == "warning") {
    return Level::kWarning;
  }
  if (name == "error") {
    return Level::kError;
  }
  if (name == "off") {
    return Level::kOff;
  }
  return Level::kInfo;
}

struct Sink {
  std::recursive_mutex mutex;
  std::atomic<Level> level{level_from_environment()};
  std::string status;
};

Sink& sink() {
  static Sink* instance = new Sink;  // never destroyed: threads may log while the process exits
  return *instance;
}

std::string_view prefix(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug: ";
    case Level::kWarning:
      return "warning: ";
    case Level::kError:
      return "error: ";
    default:
      return "";
  }
}

}  // namespace

void set_level(Level level) {
  sink().level = level;
}

Level level() {
  return sink().level;
}

bool stderr_is_terminal() {
  static const bool kIsTerminal = [] {
    const char* term = std::getenv("TERM");
    const bool dumb = term != nullptr && std::string_view(term) == "dumb";
    return isatty(STDERR_FILENO) == 1 && !dumb;
  }();
  return kIsTerminal;
}

void write(Level level, std::string_view line) {
  if (level < sink().level) {
    return;
  }
  std::lock_guard lock(sink().mutex);
  const bool covers_status = !sink().status.empty();
  if (covers_status) {
    std::fputs("\r\033[K", stderr);
  }
  const std::string_view head = prefix(level);
  std::fprintf(stderr, "%.*s%.*s\n", static_cast<int>(head.size()), head.data(),
               static_cast<int>(line.size()), line.data());
  if (covers_status) {
    std::fputs(sink().status.c_str(), stderr);
  }
  std::fflush(stderr);
}

void with_lock(const std::function<void()>& draw) {
  std::lock_guard lock(sink().mutex);
  draw();
}

void set_status_line(std::string_view line) {
  sink().status = line;
}

}  // namespace tessera::log
