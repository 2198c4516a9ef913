// Ends a stream of text at the first of some strings, of which nothing is ever shown.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tessera::text {

///   StopStrings stop({"\nUser:"});
///   while (!stop.stopped()) std::cout << stop.push(next_piece());
///   std::cout << stop.finish();
class StopStrings {
 public:
  /// Throws InvalidArgument for an empty string.
  explicit StopStrings(std::vector<std::string> strings);
  /// What of the text so far can be shown now: all but a tail that may become a stop string. The
  /// string that is complete first ends the text; of several that end at one place, the longest.
  /// How the text is cut into pieces makes no difference.
  std::string push(std::string_view piece);
  bool stopped() const { return stopped_; }
  /// What was held back; "" after a stop.
  std::string finish();

 private:
  size_t matched(size_t end) const;
  size_t held() const;

  std::vector<std::string> strings_;
  std::string pending_;  // not shown yet
  bool stopped_ = false;
};

}  // namespace tessera::text
