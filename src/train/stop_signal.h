// Ctrl-C and SIGTERM ask for a stop instead of ending the program, while a guard lives. A second
// one ends it at once.
#pragma once

#include <csignal>

namespace tessera::train {

class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// True once a signal has come.
  static bool requested();

 private:
  struct sigaction interrupt_ = {};
  struct sigaction terminate_ = {};
};

}  // namespace tessera::train
