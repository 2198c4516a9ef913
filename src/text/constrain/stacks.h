// The running pushdown automaton: sets of stacks as immutable, hashed nodes that share their tails.
#pragma once

#include "text/constrain/automaton.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace tessera::constrain {

/// Where reading can stand: every way to read the text so far, as a graph of stacks. A set of nodes
/// is interned: equal sets have equal numbers, so a set is also a state of a lazily built
/// deterministic automaton, whose transitions are remembered. Not thread-safe.
class Stacks {
 public:
  using Set = uint32_t;
  static constexpr Set kDead = 0;
  static constexpr uint32_t kAnyCount = 0xFFFFFFFF;  // a loop that may go on and may end
  static constexpr uint32_t kEnd = 0xFFFFFFFF;       // the state of the node below every stack

  struct Node {
    uint32_t state;  // of the automaton; Automaton::kLoop | loop; or kEnd
    uint32_t count;  // rounds of a loop so far
    Set parents;
    bool operator==(const Node&) const = default;
  };

  explicit Stacks(const Automaton& automaton);

  /// Where every text begins.
  Set initial();
  /// A stack whose lower part is unknown: it "ends" where the known part is left. `frames`: (state,
  /// count) from the top down, loops below the first.
  Set partial(std::span<const std::pair<uint32_t, uint32_t>> frames);
  /// After one more byte; kDead when it cannot follow.
  Set step(Set at, uint8_t byte) {
    const Table* table = tables_[table_of_[at]].get();
    const Set next = (*table)[byte];
    return next != kUnknown ? next : compute_step(at, byte);
  }
  /// After a call that had `parents` as its frames has returned.
  Set resume(Set parents);
  /// Whether the text may end here.
  bool can_end(Set at) const { return !nodes_of(at).empty() && nodes_of(at).front() == end_; }
  /// Marks the bytes that can follow.
  void allowed_bytes(Set at, std::array<bool, 256>& allowed) const;

  std::span<const uint32_t> nodes_of(Set set) const {
    return {members_.data() + sets_[set].begin, sets_[set].size};
  }
  const Node& node(uint32_t index) const { return nodes_[index]; }

  /// Memory in use, roughly, in bytes.
  size_t memory() const;
  /// Throws Unsupported when the steps from now on look at more than `limit` stacks.
  void limit_work(uint64_t limit) { work_left_ = limit; }
  uint64_t work_left() const { return work_left_; }
  /// The number of a node.
  uint32_t make_node(const Node& node) { return intern_node(node); }
  /// The node that stands for all that is unknown below (see `partial`).
  uint32_t end_node() const { return end_; }
  /// A bottom below which nothing is unknown: a set that has left it is alive, but reads no more,
  /// and can_end does not count it.
  uint32_t bottom_node() { return intern_node({kEnd, 1, kDead}); }
  /// The set of some nodes, in ascending order.
  Set set_of(std::span<const uint32_t> nodes) { return intern_set(nodes); }
  /// Takes over what `roots` (sets of `from`) need; they are renumbered in place.
  void import(const Stacks& from, std::span<Set> roots);
  /// Forgets all but what `roots` need; they are renumbered in place.
  void keep_only(std::span<Set> roots);

 private:
  using Table = std::array<Set, 256>;
  static constexpr Set kUnknown = 0xFFFFFFFF;
  struct SetInfo {
    uint32_t begin;
    uint32_t size;
  };
  struct Push {
    uint32_t rank;
    uint32_t start;
    uint32_t frame;  // node
    auto operator<=>(const Push&) const = default;
  };
  /// Open hashing from a hash to a number; equality is the caller's.
  struct Index {
    std::vector<uint32_t> slots;  // number + 1, or 0
    size_t used = 0;
    template <class Equal>
    uint32_t* find(uint64_t hash, Equal equal);
    template <class HashOf>
    void grow(HashOf hash_of);
  };

  uint32_t intern_node(const Node& node);
  Set intern_set(std::span<const uint32_t> sorted);
  uint64_t hash_node(const Node& node) const;
  uint64_t hash_set(std::span<const uint32_t> sorted) const;

  Set compute_step(Set at, uint8_t byte);
  void arrive(uint32_t state, uint32_t parent);
  void arrive_all(uint32_t state, Set parents);
  void leave(uint32_t frame);
  void push(uint32_t start, uint32_t frame);
  Set close();
  void finish_state(uint32_t state, std::span<const uint32_t> parents);
  void spend(uint64_t amount);

  const Automaton* automaton_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> members_;
  std::vector<SetInfo> sets_;
  std::vector<uint8_t> steps_taken_;  // [sets] until a table is worth its memory
  std::vector<uint32_t> table_of_;    // [sets]; 0 is the table that knows nothing
  std::vector<std::unique_ptr<Table>> tables_;
  Index node_index_;
  Index set_index_;
  uint32_t end_ = 0;  // the node of kEnd: number 0, so that it comes first in every set
  uint64_t work_left_ = ~uint64_t{0};

  // What close() works on, kept to save allocations.
  std::vector<uint64_t> arrivals_;  // state << 32 | parent
  std::vector<uint64_t> seen_;      // open hashing of arrivals_, when there are many
  std::vector<Push> pushes_;        // heap, lowest rank first
  std::vector<uint32_t> result_;
  bool ended_ = false;
  bool bottomed_ = false;
};

}  // namespace tessera::constrain
