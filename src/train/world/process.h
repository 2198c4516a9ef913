// Child processes with their standard input and output on descriptors of ours.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::world {

/// A running program. Not thread-safe; several threads may each have their own.
class Child {
 public:
  /// Starts `arguments[0]` (a path) with exactly this environment ("NAME=value"); its stderr is
  /// discarded. Throws NotFound when the program is not there, Io when it cannot start.
  Child(const std::vector<std::string>& arguments, const std::vector<std::string>& environment);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Writes to the child's input. Throws Io when the child has gone.
  void write(std::string_view text);
  /// The child sees the end of its input.
  void close_input();
  /// Fills `bytes`; false when the child's output ends first.
  bool read(std::span<std::byte> bytes);
  /// Everything until the end of the child's output; throws CorruptFile above `limit` bytes.
  std::string read_all(size_t limit);
  /// Waits for the end; the exit status, or 128 + signal.
  int wait();

 private:
  std::string name_;
  pid_t pid_ = -1;
  int input_ = -1;  // a socket, so that writing to a dead child is an error and no signal
  int output_ = -1;
};

}  // namespace tessera::world
