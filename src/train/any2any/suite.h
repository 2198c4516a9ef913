// The tasks of `bench any2any`: one row for each ordered pair of modalities, and rows for the voice
// that training never heard, real spoken digits, and what lies outside the model's world. All items
// are of the test split.
#pragma once

#include "train/any2any/studio.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace tessera::any2any {

enum class RowKind { kPair, kLeftOutVoice, kDigits, kOutside, kPhotographs, kRecordings };

struct Row {
  std::string name;   // "text-image", "speech-text-digits"
  std::string title;  // "text → picture"
  RowKind kind = RowKind::kPair;
  world::Pair pair;          // what goes in, what is to come out
  size_t most = SIZE_MAX;    // items that there are
  std::string skipped = {};  // why it is not run; empty: it is
};

/// One item of a row before anything is rendered.
struct CaseSpec {
  world::Item item;
  std::string file;  // picture or recording that comes with it; empty: none
};

/// A rendered item.
struct Case {
  world::Item item;
  std::vector<Message> conversation;
};

struct SuiteOptions {
  uint64_t seed = 0;
  world::WorldLimits limits;
  io::fs::path data;              // holds fsdd/ and ljspeech/; empty: without
  io::fs::path photos;            // pictures; empty: without
  std::vector<std::string> only;  // names of rows; empty: all
  std::set<Modality> modalities;  // that the model has
  MediaSizes sizes;
};

class Suite {
 public:
  /// Throws InvalidArgument for an unknown row in `only`, NotFound for a folder that is not there.
  Suite(SuiteOptions options, Studio studio);

  /// All rows that were asked for, skipped ones too.
  const std::vector<Row>& rows() const { return rows_; }
  /// Item `index` < row.most of a row.
  CaseSpec spec(const Row& row, size_t index) const;
  /// Items `first` … of a row with their media.
  std::vector<Case> cases(const Row& row, size_t first, size_t count) const;
  /// The true outputs of items, rendered.
  std::vector<std::vector<Part>> truth(std::span<const Case> cases) const;
  /// Training items of the same task, for baselines.
  std::vector<world::Item> training_items(const Row& row, size_t count) const;

 private:
  void add_rows();
  void check_names() const;
  std::string why_skipped(const Row& row) const;

  SuiteOptions options_;
  Studio studio_;
  std::vector<Row> rows_;
  std::vector<std::pair<std::string, int>> digits_;  // file, digit
  std::vector<std::string> photographs_;
  std::vector<std::string> recordings_;
};

/// What a user says in a turn, as training wrote it: the rendered media, then the words.
Message user_message(const world::Turn& turn, std::vector<Part> inputs);

/// "picture" for images; else the modality's name.
std::string_view plain_name(Modality modality);

}  // namespace tessera::any2any
