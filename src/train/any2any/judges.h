// The judges of true media and of replies: what a picture shows, what is said and by whom, key and
// metre. Trained on true renders and true sounds alone; no pipeline uses them.
#pragma once

#include "io/file.h"
#include "nn/weights.h"
#include "train/any2any/scoring.h"

#include <functional>
#include <string>
#include <vector>

namespace tessera::any2any {

struct MusicHeard {
  world::Key key;
  world::Metre metre = world::Metre::k4_4;
};

/// What is not at hand is empty.
struct Judges {
  std::function<world::Scene(const Image&)> scene;
  std::function<std::string(const Audio&)> words;
  std::function<int(const Audio&)> voice;  // index of world::voices()
  std::function<MusicHeard(const Audio&)> music;

  Senses senses() const;
  /// Names of those that are missing: "scene", "recognizer", "speaker", "music".
  std::vector<std::string> missing() const;
};

/// Opens the folders scene, recognizer, speaker and music of `folder`; those that are not there
/// stay empty. Throws CorruptFile for a judge whose classes are not the world's.
Judges open_judges(const io::fs::path& folder, const nn::LoadOptions& load);

/// Adds to `found` what the judges find in the first part of the wanted modality. Sound that is
/// empty, or not there, leaves the facts empty.
void judge_parts(const Judges& judges,
                 std::span<const Part> parts,
                 Modality wanted,
                 Findings& found);

}  // namespace tessera::any2any
