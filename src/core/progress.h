// Progress of long work on stderr: a bar with rate and time left on a terminal, one plain line
// every ten seconds elsewhere, or JSON lines for other programs.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

enum class ProgressMode { kAuto, kPlain, kJson, kOff };

/// How all later bars show themselves. Default kAuto, or TESSERA_PROGRESS=auto|plain|json|off.
void set_progress_mode(ProgressMode mode);

/// "1.2 k", "34.5 M"; bytes as "12.3 MB".
std::string format_count(double value, std::string_view unit);
/// "4.2 s", "3:07", "1:02:09".
std::string format_duration(double seconds);

/// One task's bar. Not thread-safe: one thread advances it.
///
///   Progress progress("tokenising", files.size(), "files");
///   for (…) { …; progress.advance(1); }
class Progress {
 public:
  /// total 0 = unknown: no time left is shown. `unit` names what is counted ("tokens", "bytes").
  Progress(std::string label, uint64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(uint64_t amount) { set(done_ + amount); }
  void set(uint64_t done);
  /// Text behind the numbers, e.g. "loss 2.31".
  void note(std::string text) { note_ = std::move(text); }
  /// Draws the last state and ends the line; the destructor calls it.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void draw(bool last);

  std::string label_;
  std::string unit_;
  std::string note_;
  uint64_t total_;
  uint64_t done_ = 0;
  Clock::time_point start_;
  Clock::time_point drawn_;
  bool shown_ = false;
  bool finished_ = false;
};

}  // namespace tessera
