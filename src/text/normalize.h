// Normalizers of tokenizer.json.
#pragma once

#include "io/json.h"

#include <memory>
#include <string>

namespace tessera::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;

  /// Changes `text` (valid UTF-8) in place. Clears `at_start` when the first characters are
  /// dropped, so that the text no longer begins where the user's text does.
  virtual void apply(std::string& text, bool& at_start) const = 0;
};

/// Builds the normalizer of a tokenizer.json; nullptr for null. Throws Unsupported for an unknown
/// type, CorruptFile for bad fields.
std::unique_ptr<Normalizer> make_normalizer(const io::Json& json);

}  // namespace tessera::text
