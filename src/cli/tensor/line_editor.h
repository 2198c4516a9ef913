// Lines typed by the user: in a terminal with editing, history and Tab, otherwise as they come.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tessera::cli {

/// One at a time lives in a process.
class LineEditor {
 public:
  /// `words`: commands, completed at the start of a line ("/image"); what follows is completed as a
  /// file.
  explicit LineEditor(std::vector<std::string> words);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  bool terminal() const { return terminal_; }
  /// The next line of stdin without its end; nullopt at the end. The prompt is shown in a terminal,
  /// on stderr.
  std::optional<std::string> read(const char* prompt);

 private:
  bool terminal_;
};

}  // namespace tessera::cli
