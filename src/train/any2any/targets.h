// What the bundled model is to reach, as data: one row a figure.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace tessera::any2any {

struct Target {
  std::string_view row;     // "text-image", "latency", "all"
  std::string_view metric;  // "object"
  double value = 0;
  bool at_least = true;  // else at most
  bool strict = false;   // the bound itself does not count

  bool met(double found) const;
};

std::span<const Target> targets();
std::optional<Target> target_of(std::string_view row, std::string_view metric);

}  // namespace tessera::any2any
