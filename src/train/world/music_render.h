// Sound of melodies: a small synthesiser with nine melody instruments, bass, chords and percussion
// that mark the bar.
#pragma once

#include "core/media.h"
#include "train/world/melody.h"

#include <cstdint>

namespace tessera::world {

/// Renders the first `seconds` of a melody, mono, peak 0.7. The seed varies the mix and the noise,
/// not the notes. Throws InvalidArgument when seconds is outside 0.1-60 or the rate outside
/// 8000-96000 Hz.
Audio render_melody(const Melody& melody,
                    double seconds = 5.0,
                    int sample_rate = 16000,
                    uint64_t seed = 0);

}  // namespace tessera::world
