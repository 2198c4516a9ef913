// What a sampler asks of constrained decoding: which ids may come next. Grammars themselves live
// elsewhere (text/constrain); this room sees bits alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

namespace tessera::nn {

/// Follows one output. Prompts are not fed. One thread at a time; those of different outputs are
/// used from different threads at once.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  /// Bit id % 32 of word id / 32 is set for each id that may come next, end ids when the output may
  /// end; ids beyond the words may not come. Valid until the next call. May throw Error when the
  /// grammar cannot be followed.
  virtual std::span<const uint32_t> mask() = 0;
  /// Takes the id that was chosen. False, with nothing changed, when it may not come here.
  virtual bool accept(int64_t id) = 0;
  /// Whether the output so far is complete (it may still go on).
  virtual bool may_end() const = 0;
  /// Complete, and nothing but an end id could follow: the output is over.
  virtual bool must_end() const = 0;
};

/// Makes the constraint of one output. Called once for each row of a batch, by any thread.
using ConstraintFactory = std::function<std::unique_ptr<TokenConstraint>()>;

}  // namespace tessera::nn
