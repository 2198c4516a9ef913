#include "core/progress.h"

#include "core/clock.h"
#include "core/log.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tessera {
namespace {

ProgressMode mode_from_environment() {
  const char* text = std::getenv("TESSERA_PROGRESS");
  const std::string_view name = text == nullptr ? "" : text;
  if (name == "plain") {
    return ProgressMode::kPlain;
  }
  if (name == "json") {
    return ProgressMode::kJson;
  }
  return name == "off" ? ProgressMode::kOff : ProgressMode::kAuto;
}

std::atomic<ProgressMode>& current_mode() {
  static std::atomic<ProgressMode> mode{mode_from_environment()};
  return mode;
}

int terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return 80;
}

}  // namespace

void set_progress_mode(ProgressMode mode) {
  current_mode() = mode;
}

std::string format_count(double value, std::string_view unit) {
  const bool bytes = unit == "bytes";
  const char* suffix[] = {"", "k", "M", "G", "T"};
  int power = 0;
  while (value >= 1000.0 && power < 4) {
    value /= 1000.0;
    ++power;
  }
  const int digits = power == 0 ? 0 : (value < 10 ? 2 : 1);
  if (bytes) {
    return fmt::format("{:.{}f} {}B", value, digits, power == 1 ? "k" : suffix[power]);
  }
  return fmt::format("{:.{}f}{}{} {}", value, digits, power == 0 ? "" : " ", suffix[power], unit);
}

std::string format_duration(double seconds) {
  if (seconds < 60) {
    return fmt::format("{:.1f} s", seconds);
  }
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) {
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
  }
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

Progress::Progress(std::string label, uint64_t total, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(Clock::now()),
      drawn_(start_) {}

Progress::~Progress() {
  finish();
}

void Progress::set(uint64_t done) {
  done_ = done;
  const ProgressMode mode = current_mode();
  if (mode == ProgressMode::kOff) {
    return;
  }
  const bool bar = mode == ProgressMode::kAuto && log::stderr_is_terminal();
  const auto interval = bar ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  const auto now = Clock::now();
  if (now - drawn_ >= interval) {
    drawn_ = now;
    draw(false);
  }
}

void Progress::finish() {
  if (finished_) {
    return;
  }
  finished_ = true;
  // Work that was over before the first draw stays silent.
  if (shown_ && current_mode() != ProgressMode::kOff) {
    draw(true);
  }
}

void Progress::draw(bool last) {
  shown_ = true;
  const double elapsed = seconds_since(start_);
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  const double left = rate > 0 && total_ > done_ ? static_cast<double>(total_ - done_) / rate : 0;
  const ProgressMode mode = current_mode();
  if (mode == ProgressMode::kJson) {
    log::with_lock([&] {
      std::fprintf(
          stderr, "%s\n",
          fmt::format(R"({{"progress":"{}","done":{},"total":{},"rate":{:.6g},"left_s":{:.1f}}})",
                      label_, done_, total_, rate, left)
              .c_str());
    });
    return;
  }
  const bool bar = mode == ProgressMode::kAuto && log::stderr_is_terminal();
  std::string head = label_ + " ";
  if (total_ > 0 && bar) {
    constexpr int kCells = 24;
    const int filled = static_cast<int>(
        std::min<uint64_t>(kCells, done_ * kCells / std::max<uint64_t>(total_, 1)));
    for (int i = 0; i < kCells; ++i) {
      head += i < filled ? "█" : "░";
    }
    head += " ";
  }
  std::string tail;
  if (total_ > 0) {
    tail += fmt::format("{:3.0f} %  ",
                        100.0 * static_cast<double>(done_) / static_cast<double>(total_));
  }
  tail += fmt::format("{}  {}/s", format_count(static_cast<double>(done_), unit_),
                      format_count(rate, unit_));
  if (last) {
    tail += "  in " + format_duration(elapsed);
  } else if (left > 0) {
    tail += "  " + format_duration(left) + " left";
  }
  if (!note_.empty()) {
    tail += "  " + note_;
  }
  log::with_lock([&] {
    if (!bar) {
      std::fprintf(stderr, "%s%s\n", head.c_str(), tail.c_str());
      return;
    }
    // The bar's cells take three bytes each but one column.
    const int width = terminal_width() - 1;
    const int head_columns = static_cast<int>(label_.size()) + 1 + (total_ > 0 ? 25 : 0);
    if (head_columns + static_cast<int>(tail.size()) > width) {
      tail.resize(static_cast<size_t>(std::max(0, width - head_columns)));
    }
    const std::string line = head + tail;
    std::fprintf(stderr, "\r\033[K%s%s", line.c_str(), last ? "\n" : "");
    std::fflush(stderr);
    log::set_status_line(last ? "" : line);
  });
}

}  // namespace tessera
