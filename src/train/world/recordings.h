// Recordings of real people that a user gives by folder: the spoken digits of the free spoken digit
// dataset (CC BY-SA 4.0; weights trained on it inherit share-alike).
#pragma once

#include "io/file.h"
#include "train/world/vocabulary.h"

#include <string>
#include <vector>

namespace tessera::world {

/// One recording of a digit.
struct DigitRecording {
  io::fs::path path;
  int digit = 0;  // 0-9
  std::string speaker;
  int index = 0;  // 0-4 is the official test part

  /// Test for index 0-4, validation for 5-7, training above.
  Split split() const;
};

/// The recordings "{digit}_{speaker}_{index}.wav|flac" of a folder, sorted by name. Throws NotFound
/// for a folder that is not there or holds none.
std::vector<DigitRecording> list_digits(const io::fs::path& folder);

}  // namespace tessera::world
