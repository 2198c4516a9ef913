// Voices are sums of sine partials, each a rotating complex number (two multiplications a sample),
// under an envelope; plucked strings are Karplus-Strong loops (Karplus, Strong 1983). The
// accompaniment is what makes key and metre audible: the bass plays the chord's root on the bar,
// the chords fill the other beats, a low drum and a bell sound on the bar alone, a soft tick on
// every beat. Partials above 45 % of the sample rate are left out.

#include "train/world/music_render.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace tessera::world {

namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

double frequency_of(double pitch) {
  return 440.0 * std::exp2((pitch - 69) / 12);
}

/// A voice of partials. Times in seconds; sustain is the level held after the decay; `fade` > 0
/// makes the note die away by itself (per second, higher partials faster).
struct Timbre {
  std::array<float, 8> partials;
  float attack, release, fade;
  float vibrato;  // relative depth
  float stretch;  // inharmonicity: partial n sounds at n * (1 + stretch * n * n)
};

constexpr Timbre kTimbres[] = {
    {{1, .35F, .12F, .05F, .02F, 0, 0, 0}, .03F, .06F, 0, .004F, 0},             // flute
    {{1, .7F, .55F, .4F, .3F, .22F, .16F, .1F}, .04F, .06F, 0, .005F, 0},        // fiddle
    {{1, .1F, .45F, .05F, .2F, 0, 0, 0}, .002F, .1F, 3.5F, 0, .004F},            // music box
    {{1, .9F, .8F, .6F, .4F, .25F, .12F, .06F}, .025F, .05F, .4F, .002F, 0},     // brass
    {{1, .6F, .7F, .3F, .45F, .2F, .25F, .1F}, .02F, .04F, 0, .002F, 0},         // accordion
    {{}, 0, 0, 0, 0, 0},                                                         // harp (plucked)
    {{1, .8F, .3F, .6F, .1F, .3F, 0, .2F}, .02F, .05F, 0, 0, 0},                 // organ
    {{}, 0, 0, 0, 0, 0},                                                         // guitar (plucked)
    {{1, .55F, .3F, .2F, .12F, .08F, .05F, .03F}, .003F, .08F, 2.2F, 0, .0002F}  // piano
};
constexpr Timbre kBass = {{1, .5F, .25F, .1F, .05F, 0, 0, 0}, .006F, .05F, 1.5F, 0, 0};
constexpr Timbre kChord = {{1, .4F, .2F, .1F, 0, 0, 0, 0}, .008F, .06F, 3.0F, 0, 0};
constexpr Timbre kBell = {{.6F, 0, .3F, 0, .5F, 0, 0, .2F}, .001F, .05F, 9.0F, 0, .006F};

class Mixer {
 public:
  Mixer(double seconds, int rate, uint64_t seed)
      : rate_(rate),
        samples_(static_cast<size_t>(seconds * rate)),
        rng_(seed, hash_name("music")) {}

  void voice(const Timbre& timbre, double start, double length, double pitch, float gain) {
    const auto begin = static_cast<size_t>(start * rate_);
    const double base = frequency_of(pitch);
    const auto frames = static_cast<size_t>((length + timbre.release) * rate_);
    std::array<float, 8> re{}, im{}, cos_step{}, sin_step{}, decay{};
    int partials = 0;
    for (int n = 1; n <= 8; ++n) {
      const double f = base * n * (1 + timbre.stretch * n * n);
      const float level = timbre.partials[static_cast<size_t>(n - 1)];
      if (level > 0 && f < 0.45 * rate_) {
        const double phase = kTwoPi * rng_.uniform();
        const auto i = static_cast<size_t>(partials++);
        re[i] = level * static_cast<float>(std::cos(phase));
        im[i] = level * static_cast<float>(std::sin(phase));
        cos_step[i] = static_cast<float>(std::cos(kTwoPi * f / rate_));
        sin_step[i] = static_cast<float>(std::sin(kTwoPi * f / rate_));
        decay[i] = static_cast<float>(std::exp(-timbre.fade * (0.7 + 0.3 * n) / rate_));
      }
    }
    const double wobble = kTwoPi * 5.5 / rate_;
    const auto held = static_cast<float>(length * rate_);
    for (size_t t = 0; t < frames && begin + t < samples_.size(); ++t) {
      const auto now = static_cast<float>(t);
      float envelope = std::min(1.0F, now / (timbre.attack * static_cast<float>(rate_) + 1));
      if (now > held) {
        envelope *= std::max(0.0F, 1 - (now - held) / (timbre.release * static_cast<float>(rate_)));
      }
      // Vibrato as a slow change of loudness and of phase speed, the latter by a small rotation.
      const float bend =
          timbre.vibrato * static_cast<float>(std::sin(wobble * static_cast<double>(t)));
      float sum = 0;
      for (int k = 0; k < partials; ++k) {
        const auto i = static_cast<size_t>(k);
        const float turn = bend * sin_step[i];
        const float x = (re[i] * (cos_step[i] - turn * sin_step[i]) -
                         im[i] * (sin_step[i] + turn * cos_step[i]));
        const float y = (re[i] * (sin_step[i] + turn * cos_step[i]) +
                         im[i] * (cos_step[i] - turn * sin_step[i]));
        re[i] = x * decay[i];
        im[i] = y * decay[i];
        sum += re[i];
      }
      samples_[begin + t] += gain * envelope * sum;
    }
  }

  /// A plucked string; `bright` in (0, 1].
  void pluck(double start, double length, double pitch, float gain, float bright) {
    const double period = rate_ / frequency_of(pitch) - 0.5;
    const auto size = static_cast<size_t>(period);
    const auto fraction = static_cast<float>(period - static_cast<double>(size));
    if (size < 2) {
      return;
    }
    std::vector<float> loop(size + 1);
    float smooth = 0;
    for (float& value : loop) {
      smooth += bright * (static_cast<float>(rng_.uniform(-1, 1)) - smooth);
      value = smooth;
    }
    const auto begin = static_cast<size_t>(start * rate_);
    const auto frames = static_cast<size_t>((length + 0.15) * rate_);
    const auto held = static_cast<float>(length * rate_);
    const auto loss = static_cast<float>(std::exp(-1.6 / frequency_of(pitch)));
    size_t at = 0;
    float previous = 0;
    for (size_t t = 0; t < frames && begin + t < samples_.size(); ++t) {
      const size_t next = at + 1 < loop.size() ? at + 1 : 0;
      // The loop is size + 1 long; linear interpolation tunes it to the exact period.
      const float delayed = loop[next] * fraction + loop[(next + 1) % loop.size()] * (1 - fraction);
      const float value = loss * 0.5F * (delayed + previous);
      previous = delayed;
      float envelope = 1;
      if (static_cast<float>(t) > held) {
        envelope = std::max(
            0.0F, 1 - (static_cast<float>(t) - held) / (0.15F * static_cast<float>(rate_)));
      }
      samples_[begin + t] += gain * envelope * loop[at] * 1.6F;
      loop[at] = value;
      at = next;
    }
  }

  /// A low drum: a sine that falls from 140 to 50 Hz.
  void drum(double start, float gain) {
    const auto begin = static_cast<size_t>(start * rate_);
    double phase = 0;
    for (size_t t = 0; t < static_cast<size_t>(0.18 * rate_) && begin + t < samples_.size(); ++t) {
      const double s = static_cast<double>(t) / rate_;
      phase += kTwoPi * (50 + 90 * std::exp(-s * 25)) / rate_;
      samples_[begin + t] += gain * static_cast<float>(std::sin(phase) * std::exp(-s * 16));
    }
  }

  /// A short burst of noise: a tick (quick) or a brush (slower).
  void noise(double start, float gain, double decay_rate) {
    const auto begin = static_cast<size_t>(start * rate_);
    float before = 0;
    for (size_t t = 0; t < static_cast<size_t>(0.12 * rate_) && begin + t < samples_.size(); ++t) {
      const auto white = static_cast<float>(rng_.uniform(-1, 1));
      const double s = static_cast<double>(t) / rate_;
      samples_[begin + t] +=
          gain * (white - before) * static_cast<float>(std::exp(-s * decay_rate));
      before = white;
    }
  }

  /// Scales to the peak and returns the samples.
  std::vector<float> finish() {
    float peak = 1e-9F;
    for (const float value : samples_) {
      peak = std::max(peak, std::abs(value));
    }
    for (float& value : samples_) {
      value *= 0.7F / peak;
    }
    return std::move(samples_);
  }

 private:
  int rate_;
  std::vector<float> samples_;
  Rng rng_;
};

/// Semitones of a triad's root, third and fifth above the tonic. The dominant of a minor key is
/// major.
std::array<int, 3> triad(int degree, bool minor) {
  constexpr int kMajorScale[] = {0, 2, 4, 5, 7, 9, 11, 12, 14, 16, 17};
  constexpr int kMinorScale[] = {0, 2, 3, 5, 7, 8, 10, 12, 14, 15, 17};
  const int* scale = minor ? kMinorScale : kMajorScale;
  std::array<int, 3> notes = {scale[degree], scale[degree + 2], scale[degree + 4]};
  if (minor && degree == 4) {
    notes[1] = 11;
  }
  return notes;
}

struct Mix {
  float melody, bass, chord, drum, bell, tick;
};

struct Bar {
  double start;    // seconds
  double quarter;  // seconds of a quarter note
};

class Band {
 public:
  Band(Mixer& mixer, const Melody& melody, const Mix& mix)
      : mixer_(mixer), melody_(melody), mix_(mix) {}

  void play_bar(const Bar& bar, size_t index) const {
    const size_t half = 2 * index % melody_.chords.size();
    const int first = melody_.chords[half];
    const int second = melody_.chords[(half + 1) % melody_.chords.size()];
    mixer_.drum(bar.start, mix_.drum);
    mixer_.voice(kBell, bar.start, 0.25, 96 + melody_.key.tonic % 5, mix_.bell);
    switch (melody_.metre) {
      case Metre::k2_4:
        bass(bar, 0, 0.9, first, 1);
        chord(bar, 1, 0.5, second);
        ticks(bar, 2, 1);
        break;
      case Metre::k3_4:
        bass(bar, 0, 0.9, first, 1);
        chord(bar, 1, 0.5, first);
        chord(bar, 2, 0.5, second);
        ticks(bar, 3, 1);
        break;
      case Metre::k4_4:
        bass(bar, 0, 0.9, first, 1);
        chord(bar, 1, 0.5, first);
        bass(bar, 2, 0.9, second, 0.6F);
        chord(bar, 3, 0.5, second);
        ticks(bar, 4, 1);
        mixer_.noise(bar.start + bar.quarter, mix_.tick * 1.3F, 35);
        mixer_.noise(bar.start + 3 * bar.quarter, mix_.tick * 1.3F, 35);
        break;
      case Metre::k6_8:
        bass(bar, 0, 0.8, first, 1);
        chord(bar, 1.0, 0.4, first);
        bass(bar, 1.5, 0.8, second, 0.55F);
        chord(bar, 2.5, 0.4, second);
        ticks(bar, 6, 0.5);
        break;
    }
  }

  void play_note(const Note& note, double quarter) const {
    const double start = note.start * quarter;
    const double length = note.quarters * quarter * 0.92;
    const bool on_bar = std::fmod(note.start, bar_quarters(melody_.metre)) < 1e-6;
    const float gain = mix_.melody * (on_bar ? 1.25F : 1.0F);
    switch (melody_.instrument) {
      case Instrument::kHarp:
        mixer_.pluck(start, length + 0.3, note.pitch, gain * 1.6F, 0.35F);
        break;
      case Instrument::kGuitar:
        mixer_.pluck(start, length + 0.1, note.pitch, gain * 1.4F, 0.8F);
        break;
      default: {
        const Timbre& timbre = kTimbres[static_cast<int>(melody_.instrument)];
        float sum = 0;
        for (const float partial : timbre.partials) {
          sum += partial;
        }
        // The music box sounds an octave higher.
        const int octave = melody_.instrument == Instrument::kMusicBox ? 12 : 0;
        mixer_.voice(timbre, start, length, note.pitch + octave, gain * 1.7F / sum);
      }
    }
  }

 private:
  int tonic() const { return 48 + melody_.key.tonic; }

  void bass(const Bar& bar, double beat, double quarters, int degree, float gain) const {
    int pitch = tonic() - 12 + triad(degree, melody_.key.minor)[0];
    pitch -= pitch > 50 ? 12 : 0;
    mixer_.voice(kBass, bar.start + beat * bar.quarter, quarters * bar.quarter, pitch,
                 mix_.bass * gain);
  }

  void chord(const Bar& bar, double beat, double quarters, int degree) const {
    for (const int note : triad(degree, melody_.key.minor)) {
      const int pitch = 55 + (tonic() + note - 55 + 24) % 12;
      mixer_.voice(kChord, bar.start + beat * bar.quarter, quarters * bar.quarter, pitch,
                   mix_.chord);
    }
  }

  void ticks(const Bar& bar, int count, double quarters) const {
    for (int i = 0; i < count; ++i) {
      mixer_.noise(bar.start + i * quarters * bar.quarter, mix_.tick * (i == 0 ? 1.0F : 0.7F), 90);
    }
  }

  Mixer& mixer_;
  const Melody& melody_;
  const Mix& mix_;
};

}  // namespace

Audio render_melody(const Melody& melody, double seconds, int sample_rate, uint64_t seed) {
  TESSERA_CHECK(seconds >= 0.1 && seconds <= 60, InvalidArgument,
                "music of {} s is outside 0.1 to 60 s", seconds);
  TESSERA_CHECK(sample_rate >= 8000 && sample_rate <= 96000, InvalidArgument,
                "sample rate {} is outside 8000 to 96000 Hz", sample_rate);
  TESSERA_CHECK(melody.beats_per_minute > 0 && !melody.chords.empty(), InvalidArgument,
                "a melody to render needs a tempo and chords; draw_melody gives both");
  Rng rng(seed, hash_name("music mix"));
  const auto vary = [&](double middle) {
    return static_cast<float>(middle * rng.uniform(0.8, 1.2));
  };
  const Mix mix = {vary(0.34), vary(0.30), vary(0.12), vary(0.45), vary(0.10), vary(0.06)};
  Mixer mixer(seconds, sample_rate, seed);
  const Band band(mixer, melody, mix);
  const double quarter = quarter_seconds(melody);
  const double bar_seconds = bar_quarters(melody.metre) * quarter;
  for (size_t bar = 0; static_cast<double>(bar) * bar_seconds < seconds; ++bar) {
    band.play_bar({static_cast<double>(bar) * bar_seconds, quarter}, bar);
  }
  for (const Note& note : melody.notes) {
    if (note.start * quarter < seconds) {
      band.play_note(note, quarter);
    }
  }
  return {.sample_rate = sample_rate, .channels = 1, .samples = mixer.finish()};
}

}  // namespace tessera::world
