// Stop strings over text that arrives in pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tessera::serve {

/// Gives text on until one of the strings is complete, and never a part of one: what may become a
/// stop string is held back. Pieces must not end inside a character; what comes out does not
/// either.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  /// The text that is certain now. Nothing any more once stopped().
  std::string push(std::string_view piece);
  /// What was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace tessera::serve
