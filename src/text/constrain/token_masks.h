// Which tokens can follow one top of a stack, remembered for each grammar and vocabulary.
#pragma once

#include "text/constrain/grammar.h"
#include "text/constrain/stacks.h"
#include "text/constrain/vocabulary.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera::constrain {

/// The tokens that fit one top of a stack, as far as that top alone decides.
struct TopMask {
  /// Tokens that are allowed whatever lies below; as bits when there are many, as a list otherwise.
  std::vector<uint32_t> bits;
  std::vector<int32_t> ids;
  /// Tokens that reach beyond the known part: what they still have to read after it, as a trie in
  /// the form of Vocabulary::nodes() (with a closing entry), and their ids.
  std::vector<Vocabulary::Node> rest;
  std::vector<int32_t> rest_ids;

  size_t memory() const;
};

/// Masks of tops, made on demand. Thread-safe.
class TokenMasks {
 public:
  /// (state, count) from the top down: a state, and the loop that it stands in if that is small.
  using Top = std::vector<std::pair<uint32_t, uint32_t>>;

  TokenMasks(Grammar grammar, std::shared_ptr<const Vocabulary> vocabulary);

  /// Stacks that the masks of one step may look at (about a second).
  static constexpr uint64_t kWorkLimit = 10'000'000;

  /// Throws Unsupported when making the mask looks at more than `work_left` stacks; what was used
  /// is taken off.
  std::shared_ptr<const TopMask> find(const Top& top, uint64_t& work_left);
  /// Masks of all states, so that no later step has to wait for one. Tops inside counted loops are
  /// still made on demand. Stops when the cache is full.
  void prepare();

  const Grammar& grammar() const { return grammar_; }
  const Vocabulary& vocabulary() const { return *vocabulary_; }
  /// Masks made since the start, for measurements.
  size_t made() const;

 private:
  struct Caller {
    uint32_t frame;  // as in Automaton::Call
    uint32_t start;  // of the automaton that calls
  };
  std::shared_ptr<const TopMask> make(const Top& top);
  std::vector<uint32_t> frames_below(uint32_t start, int depth);
  Stacks::Set outside(uint32_t start);
  uint64_t loop_classes(Stacks::Set set);

  const Grammar grammar_;
  const std::shared_ptr<const Vocabulary> vocabulary_;
  mutable std::mutex mutex_;
  std::map<uint32_t, std::vector<Caller>> callers_;  // by start of what is called
  Stacks stacks_;
  std::map<uint32_t, Stacks::Set> outside_;          // by start, sets of stacks_
  std::unordered_map<Stacks::Set, uint64_t> loops_;  // see loop_classes
  std::map<Top, std::shared_ptr<const TopMask>> cache_;
  size_t cache_memory_ = 0;
  size_t made_ = 0;
};

}  // namespace tessera::constrain
