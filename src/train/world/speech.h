// Spoken sentences: synthetic voices in processes of their own (Flite, espeak-ng), and recordings
// of a real person (Debian's asterisk prompts) with their words.
#pragma once

#include "core/media.h"
#include "io/file.h"
#include "train/world/vocabulary.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::world {

inline constexpr int kSpeechRate = 16000;  // Hz of everything spoken

enum class Engine { kFlite, kEspeak };

/// One synthetic voice.
struct Voice {
  std::string_view name;  // what a user calls it: "Sally"
  Engine engine;
  std::string_view engine_name;  // "slt"; "en-us+benjamin"
  std::string_view description;  // "an American woman"
  int words_per_minute;          // espeak-ng's -s; 0 for Flite
  bool left_out;                 // never in training, reported apart
};
std::span<const Voice> voices();
/// Index of a voice by its name; throws InvalidArgument naming those there are.
int voice_of(std::string_view name);

/// Split of a sentence said by a voice: test when the sentence itself or the pair is held out.
Split split_of(const Voice& voice, std::string_view sentence);
/// Split of a sentence in any voice: 4 % of all sentences are test, 1.5 % validation.
Split split_of_sentence(std::string_view sentence);

/// Where the programs are.
struct SpeechTools {
  io::fs::path espeak;       // the espeak-ng program
  io::fs::path espeak_data;  // folder that holds espeak-ng-data
  io::fs::path flite_voice;  // our reader for Flite's libraries
  io::fs::path libraries;    // searched first; empty = the system's

  /// Debian's installed programs, with the helper that was built beside tessera.
  static SpeechTools installed();
  /// What is not there, each with its package; empty when all is.
  std::vector<std::string> missing() const;
};

/// A sentence to be spoken; `voice` is an index of voices().
struct Utterance {
  int voice = 0;
  std::string text;
};

/// Speaks. Thread-safe: every call has its own processes.
class Speaker {
 public:
  explicit Speaker(SpeechTools tools) : tools_(std::move(tools)) {}

  /// Mono at kSpeechRate, tidied. Throws NotFound naming the package
  /// when a program or voice is missing, InvalidArgument for text that has nothing to say or more
  /// than 2000 bytes.
  Audio speak(const Voice& voice, std::string_view text) const;

  /// Speaks all, in order, with up to `processes` at a time.
  std::vector<Audio> speak_all(std::span<const Utterance> utterances, int processes) const;

 private:
  SpeechTools tools_;
};

/// Cuts silence below 1 % of the peak at both ends, leaving 50 ms, and scales the peak to 0.7.
void tidy_speech(Audio& audio);

/// Windowed-sinc resampling for the synthesisers' rates.
std::vector<float> resample(std::span<const float> samples, int from, int to);

}  // namespace tessera::world
