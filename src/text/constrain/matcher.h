// Constrained decoding: which tokens may come next so that the text stays inside a grammar.
//
//   auto vocabulary = std::make_shared<const Vocabulary>(
//       Vocabulary::from_tokenizer(*tokenizer, {eos_id}));
//   auto constraint = std::make_shared<Constraint>(json_schema_grammar(schema), vocabulary);
//   Matcher matcher(constraint);                      // one for each sequence
//   std::vector<uint32_t> bits(vocabulary->mask_words());
//   while (!matcher.is_finished()) {
//     matcher.mask(bits);                             // while the model computes its step
//     const int32_t id = sample(logits, bits);        // logits of cleared bits count as -inf
//     matcher.accept(id);
//   }
#pragma once

#include "text/constrain/grammar.h"
#include "text/constrain/token_masks.h"
#include "text/constrain/vocabulary.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::constrain {

/// A grammar for a vocabulary, with the masks made so far. Thread-safe; share one between all
/// requests with the same grammar, so that its masks are made once.
class Constraint {
 public:
  Constraint(Grammar grammar, std::shared_ptr<const Vocabulary> vocabulary)
      : masks_(std::move(grammar), std::move(vocabulary)) {}
  const Grammar& grammar() const { return masks_.grammar(); }
  const Vocabulary& vocabulary() const { return masks_.vocabulary(); }
  TokenMasks& masks() { return masks_; }

 private:
  TokenMasks masks_;
};

/// Follows one sequence of tokens. One thread at a time; different matchers are independent.
/// Functions throw Unsupported when the grammar is so ambiguous that a step would take too long;
/// the matcher is then as it was before the call.
class Matcher {
 public:
  /// `max_rollback`: tokens that can be taken back.
  explicit Matcher(std::shared_ptr<Constraint> constraint, size_t max_rollback = 64);

  /// Takes a token. False, with nothing changed, when it is not allowed here: its bytes do not fit,
  /// it is no text, it is an end token before the text is complete, or the sequence is finished.
  /// Throws InvalidArgument for an id outside the vocabulary.
  bool accept(int32_t id);
  /// Takes text that is not a token (the end of a prompt, forced text before it is tokenised);
  /// counts as one token for `rollback`.
  bool accept_bytes(std::string_view text);
  /// Whether a token is allowed; cheaper than a mask.
  bool allows(int32_t id);

  /// Sets bit id % 32 of word id / 32 for each allowed token, clears all others; end tokens are
  /// allowed when the text is complete. `bits` has at least vocabulary().mask_words() words. False
  /// when nothing is allowed: the sequence is finished, or no token of the vocabulary fits (not
  /// possible when every byte is a token).
  bool mask(std::span<uint32_t> bits);

  /// The text so far is a word of the grammar (it may still go on).
  bool is_complete() const;
  /// An end token was taken.
  bool is_finished() const { return history_.back().finished; }
  /// Complete, and no byte can follow: only an end token is left.
  bool must_end() const;

  /// The bytes that must come next, up to `limit`: text that needs no model step. It may end inside
  /// a character, and the model might have cut it into tokens differently.
  std::string forced(size_t limit = 1024);

  /// Takes back the last `count` tokens. Throws InvalidArgument when they are not remembered.
  void rollback(size_t count);
  /// Tokens that rollback can take back now.
  size_t rollback_limit() const { return history_.size() - 1; }
  /// A copy that goes its own way (beams, draft trees).
  Matcher fork() const;
  /// Back to the beginning.
  void reset();

  const Constraint& constraint() const { return *constraint_; }

 private:
  struct Point {
    Stacks::Set at;
    bool finished;
  };
  struct Remembered {
    Stacks::Set at;
    std::vector<uint32_t> bits;
  };

  Stacks::Set walk(Stacks::Set at, std::string_view text);
  void push(Point point);
  void tidy();
  void add_top(uint32_t node, std::span<uint32_t> bits);
  void add_mask(const TopMask& mask, Stacks::Set parents, std::span<uint32_t> bits);
  uint32_t clamp(uint32_t frame_state, uint32_t count) const;

  std::shared_ptr<Constraint> constraint_;
  size_t max_rollback_;
  std::unique_ptr<Stacks> stacks_;
  std::deque<Point> history_;  // never empty; the last is now
  size_t stacks_limit_;
  std::vector<Remembered> recent_;  // masks of the last places, a ring
  size_t next_recent_ = 0;
  std::vector<Stacks::Set> path_;
  uint64_t cold_work_ = 0;  // left for new masks in this step
};

}  // namespace tessera::constrain
