// Speech and music of the synthetic world, rendered once when training starts and kept in memory:
// what the audio codecs and the judges of sound learn from.
#pragma once

#include "train/options.h"
#include "train/task.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::train {

/// A sound with its truth; what does not apply is empty or −1.
struct WorldSound {
  std::vector<int16_t> samples;
  std::string text;  // as it is spoken
  int voice = -1;    // index of world::voices()
  int key = -1;      // world::Key::index()
  int metre = -1;    // world::Metre

  int64_t size() const { return static_cast<int64_t>(samples.size()); }
};

struct WorldSoundOptions {
  bool music = false;
  std::string assets;   // folder of renderers, for speech; empty: the programs of this machine
  std::string scratch;  // where its programs are unpacked
  std::string digits;   // folder of the free spoken digit dataset; empty: left out
  int64_t train = 0;    // rendered sounds
  int64_t validate = 0;
  double seconds = 6;        // of a piece of music
  bool left_out = false;     // speech by the voice that training otherwise never hears
  bool every_split = false;  // rendered training sounds are of any split: for judges
  int64_t recordings = 1;    // times that each real recording is in the training pool
  int64_t threads = 0;       // 0: one a core

  /// Reads the "data" section: kind (speech | music), assets, scratch, digits, train, validate,
  /// seconds, left_out, every_split, recordings, threads.
  static WorldSoundOptions read(const Options& data);
};

/// Renders the pool of a split at 16 kHz; the same seed gives the same pool. Training and
/// validation sounds follow the world's split by combination. Throws NotFound when renderers are
/// missing.
std::vector<WorldSound> render_sounds(const WorldSoundOptions& options, Split split, uint64_t seed);

/// Mono 16-bit WAV file of samples in [-1, 1], for reports.
std::string wav_bytes(const Tensor& samples, int64_t sample_rate);

}  // namespace tessera::train
