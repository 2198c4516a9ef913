// A map of options as people write it (YAML, key=value), read with types, ranges and defaults.
// Every key that is read is remembered together with its value, so that unknown keys can be named
// and the resolved map written out.
#pragma once

#include "io/json.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::train {

/// Parses YAML text: maps, lists, text, numbers, true/false, null. `source` names the file in
/// errors. Throws CorruptFile, also above 100,000 nodes or 64 levels (anchors may repeat).
io::Json parse_yaml(std::string_view text, std::string_view source);
/// Writes a JSON value as block-style YAML that parse_yaml reads back equal.
std::string to_yaml(const io::OrderedJson& value);

/// Sets `path` ("optimizer.lr") to the YAML value in `text` ("3e-4"); maps on the way are made.
void apply_override(io::Json& root, std::string_view assignment);

/// One map. Cheap to copy; copies share what has been read.
///
///   Options data = recipe.section("data");
///   const int64_t length = data.integer("sequence", 2048, {1, 1 << 20});
class Options {
 public:
  struct Range {
    double low;
    double high;
  };

  /// `source` (a file name) starts every message.
  Options(io::Json value, std::string source);

  /// True when the key was given (null counts as not given). Does not mark it as read.
  bool has(std::string_view key) const;
  bool boolean(std::string_view key, bool fallback) const;
  int64_t integer(std::string_view key, int64_t fallback, Range range) const;
  double number(std::string_view key, double fallback, Range range) const;
  std::string string(std::string_view key, std::string_view fallback) const;
  /// One of `choices`; the error names them.
  std::string choice(std::string_view key,
                     std::string_view fallback,
                     std::span<const std::string> choices) const;
  /// A list, or a single value as a list of one; empty when absent.
  std::vector<io::Json> list(std::string_view key) const;
  /// Any value, unchecked; null when absent.
  io::Json raw(std::string_view key) const;
  /// A map below; empty when absent.
  Options section(std::string_view key) const;
  /// All keys given, for maps whose keys are names of the user's.
  std::vector<std::string> keys() const;

  /// Throws InvalidArgument for the first key, here or below, that nobody has read, with the
  /// nearest known one.
  void finish() const;
  /// Everything that was read, defaults included, in the order of reading.
  io::OrderedJson resolved() const;
  /// "recipe.yaml: data", and "recipe.yaml: data.key", for messages.
  std::string where() const;
  std::string where(std::string_view key) const;

 private:
  struct Node;
  explicit Options(std::shared_ptr<Node> node) : node_(std::move(node)) {}
  const io::Json* find(std::string_view key) const;
  void set_value(io::Json value) const;
  void note(std::string_view key, io::OrderedJson value) const;

  std::shared_ptr<Node> node_;
};

}  // namespace tessera::train
