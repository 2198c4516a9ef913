#include "train/any2any/targets.h"

namespace tessera::any2any {

bool Target::met(double found) const {
  if (strict && found == value) {
    return false;
  }
  return at_least ? found >= value : found <= value;  // NaN is neither
}

std::span<const Target> targets() {
  static constexpr Target kTargets[] = {
      {"text-image", "object", 0.90},
      {"text-image", "colour", 0.90},
      {"text-image", "count", 0.80},
      {"text-image", "relation", 0.75},
      {"image-text", "slot_f1", 0.90},
      {"speech-text", "wer", 0.10, false},
      {"speech-text-digits", "wer", 0.10, false},
      {"text-speech", "wer", 0.10, false},
      {"text-speech", "voice_prompted", 0.80},
      {"text-music", "key", 0.85},
      {"text-music", "metre", 0.85},
      {"music-text", "key", 0.85},
      {"music-text", "metre", 0.85},
      {"image-music", "row", 0.70},
      {"music-image", "row", 0.70},
      {"speech-image", "object", 0.80},
      {"outside", "helpful", 0.90},
      {"outside-photographs", "helpful", 0.90},
      {"outside-recordings", "helpful", 0.90},
      {"all", "malformed", 0, false},
      {"latency", "picture_seconds", 1.0, false, true},
      {"latency", "speech_3s_seconds", 1.0, false, true},
      {"latency", "first_audio_seconds", 0.2, false, true},
  };
  return kTargets;
}

std::optional<Target> target_of(std::string_view row, std::string_view metric) {
  for (const Target& target : targets()) {
    if (target.row == row && target.metric == metric) {
      return target;
    }
  }
  return std::nullopt;
}

}  // namespace tessera::any2any
