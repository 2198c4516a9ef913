// Logging to stderr. Lines never tear the progress line: the sink takes the same lock and redraws
// it. stdout belongs to results alone.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string_view>
#include <utility>

namespace tessera::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };

/// Lines below `level` are dropped. Default: kInfo, or TESSERA_LOG=debug|info|warning|error|off.
void set_level(Level level);
Level level();

/// True when stderr is a terminal and neither NO_COLOR nor TERM=dumb forbids escape codes.
bool stderr_is_terminal();

/// Writes one line to stderr; thread-safe.
void write(Level level, std::string_view line);

/// Runs `draw` under the sink's lock; the progress bar draws through this. The bar that is being
/// shown registers itself with `set_status_line` so that a log line can be put above it.
void with_lock(const std::function<void()>& draw);

/// Text of the current progress line ("" = none). Call under `with_lock`.
void set_status_line(std::string_view line);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (level() <= Level::kDebug) {
    write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tessera::log
