// Regular expressions of tokenizer files: Oniguruma's (Ruby) syntax and Unicode tables, run by
// PCRE2.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace tessera::text {

/// A compiled pattern; matching is thread-safe.
class Regex {
 public:
  /// Throws CorruptFile for a malformed pattern, Unsupported for Oniguruma syntax that PCRE2 has no
  /// equivalent for.
  explicit Regex(std::string_view pattern);
  /// A pattern that matches `text` itself.
  static Regex literal(std::string_view text);

  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// Calls `found(begin, end)` for each match of valid UTF-8 `text` from the left. An empty match
  /// right after another match is skipped. Throws InvalidArgument when the pattern backtracks
  /// beyond the limit on this text.
  void find_all(std::string_view text, const std::function<void(size_t, size_t)>& found) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace tessera::text
