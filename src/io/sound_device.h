// The machine's microphone and loudspeaker, through libavdevice.
//
// A device is "KIND" or "KIND:ADDRESS" in FFmpeg's words, e.g. "alsa:hw:1" or "pulse"; "" is the
// default of PulseAudio, else of ALSA.
#pragma once

#include "io/audio.h"

#include <memory>
#include <span>
#include <string>

namespace tessera::io {

/// What the microphone hears from now on; reading waits for it. Throws Unsupported (no libavdevice,
/// no such kind) or Io (the device cannot be opened).
AudioReader open_microphone(const std::string& device);

/// Plays sound.
class Loudspeaker {
 public:
  /// Throws as open_microphone does.
  Loudspeaker(const std::string& device, int sample_rate, int channels);
  ~Loudspeaker();  // after what the device has taken

  /// Whole frames, interleaved; waits while the device's buffer is full. Throws Io.
  void write(std::span<const float> samples);
  /// Returns when all has been played.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::io
