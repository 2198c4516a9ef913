// posix_spawn with a socket pair for input (MSG_NOSIGNAL keeps SIGPIPE away from the whole program)
// and a pipe for output. All descriptors are close-on-exec, so children of other threads do not
// inherit them.

#include "train/world/process.h"

#include "core/error.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace tessera::world {

namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (const std::string& text : strings) {
    out.push_back(const_cast<char*>(text.c_str()));  // NOLINT: posix_spawn's signature
  }
  out.push_back(nullptr);
  return out;
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments, const std::vector<std::string>& environment)
    : name_(arguments.at(0)) {
  TESSERA_CHECK(access(name_.c_str(), X_OK) == 0, NotFound,
                "{}: {}; expected a program that can be run", name_, std::strerror(errno));
  int input[2] = {-1, -1};
  int output[2] = {-1, -1};
  const bool opened = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, input) == 0 &&
                      pipe2(output, O_CLOEXEC) == 0;
  int error = opened ? 0 : errno;
  if (opened) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    error = posix_spawn(&pid_, name_.c_str(), &actions, nullptr, pointers(arguments).data(),
                        pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
  }
  for (const int fd : {input[1], output[1]}) {
    if (fd >= 0) {
      close(fd);
    }
  }
  if (error != 0) {
    for (const int fd : {input[0], output[0]}) {
      if (fd >= 0) {
        close(fd);
      }
    }
    throw Io("{}: cannot start: {}", name_, std::strerror(error));
  }
  input_ = input[0];
  output_ = output[0];
}

Child::~Child() {
  close_input();
  if (output_ >= 0) {
    close(output_);
  }
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
}

void Child::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = send(input_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    TESSERA_CHECK(sent > 0, Io, "{}: the process ended early ({})", name_, std::strerror(errno));
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

void Child::close_input() {
  if (input_ >= 0) {
    close(input_);
    input_ = -1;
  }
}

bool Child::read(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::read(output_, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
  return true;
}

std::string Child::read_all(size_t limit) {
  std::string out;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(output_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return out;
    }
    out.append(buffer.data(), static_cast<size_t>(got));
    TESSERA_CHECK(out.size() <= limit, CorruptFile, "{}: wrote more than {} bytes", name_, limit);
  }
}

int Child::wait() {
  close_input();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace tessera::world
