// libedit through its readline interface, whose state is global.
#include "cli/tensor/line_editor.h"

#include <editline/readline.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <utility>

namespace tessera::cli {
namespace {

std::vector<std::string>* commands = nullptr;

// The `state`th command that begins with `text`; libedit frees it.
char* next_command(const char* text, int state) {
  static size_t next = 0;
  next = state == 0 ? 0 : next;
  while (next < commands->size()) {
    const std::string& command = (*commands)[next++];
    if (command.starts_with(text)) {
      return ::strdup(command.c_str());
    }
  }
  return nullptr;
}

char** complete(const char* text, int start, int) {
  if (start == 0 && *text == '/') {
    rl_attempted_completion_over = 1;  // no file of the root folder
    return rl_completion_matches(text, next_command);
  }
  return nullptr;  // files
}

}  // namespace

LineEditor::LineEditor(std::vector<std::string> words)
    : terminal_(::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0) {
  if (!terminal_) {
    return;
  }
  // Letters beyond ASCII are edited whole.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  commands = new std::vector<std::string>(std::move(words));
  rl_readline_name = const_cast<char*>("tessera");
  rl_outstream = stderr;
  rl_initialize();
  using_history();
  rl_attempted_completion_function = complete;
}

LineEditor::~LineEditor() {
  if (terminal_) {
    clear_history();
    delete std::exchange(commands, nullptr);
  }
}

std::optional<std::string> LineEditor::read(const char* prompt) {
  if (!terminal_) {
    std::string line;
    return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
  }
  const std::unique_ptr<char, decltype(&std::free)> line(::readline(prompt), &std::free);
  if (line == nullptr) {
    std::fputc('\n', stderr);
    return std::nullopt;
  }
  if (*line != '\0') {
    add_history(line.get());
  }
  return line.get();
}

}  // namespace tessera::cli
