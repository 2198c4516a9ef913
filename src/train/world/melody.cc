// Composing by rule. A phrase is four bars, each a rhythm of its metre; bar 1 states a motif, bar 2
// repeats its rhythm a step away, bar 3 returns to it, bar 4 cadences on the tonic. Notes on strong
// beats belong to the bar's chord, others move by step. Chords begin on the tonic and reach the
// dominant within the first two bars, with the raised seventh in minor, so that the key is heard
// early. No collection is used: those that packages offer (Essen and others) are for non-commercial
// use or state no terms. The old tunes are written down from common knowledge, as scale degrees.

#include "train/world/melody.h"

#include "core/error.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace tessera::world {

std::string key_name(Key key) {
  constexpr std::string_view kMajor[] = {"C",       "D flat", "D",      "E flat", "E",      "F",
                                         "F sharp", "G",      "A flat", "A",      "B flat", "B"};
  constexpr std::string_view kMinor[] = {"C",       "C sharp", "D",       "E flat", "E",      "F",
                                         "F sharp", "G",       "G sharp", "A",      "B flat", "B"};
  return fmt::format("{} {}", (key.minor ? kMinor : kMajor)[key.tonic],
                     key.minor ? "minor" : "major");
}

std::string_view metre_name(Metre metre) {
  constexpr std::string_view kNames[] = {"2/4", "3/4", "4/4", "6/8"};
  return kNames[static_cast<int>(metre)];
}

double bar_quarters(Metre metre) {
  constexpr double kQuarters[] = {2, 3, 4, 3};
  return kQuarters[static_cast<int>(metre)];
}

std::string_view tempo_name(Tempo tempo) {
  constexpr std::string_view kNames[] = {"slow", "moderate", "lively"};
  return kNames[static_cast<int>(tempo)];
}

std::span<const Genre> genres() {
  static constexpr Genre kGenres[] = {
      {"Irish", "jig", Metre::k6_8, Tempo::kLively, Instrument::kFlute, false},
      {"Scottish", "reel", Metre::k4_4, Tempo::kLively, Instrument::kFiddle, false},
      {"Viennese", "waltz", Metre::k3_4, Tempo::kModerate, Instrument::kFiddle, false},
      {"German", "lullaby", Metre::k3_4, Tempo::kSlow, Instrument::kMusicBox, false},
      {"American", "march", Metre::k2_4, Tempo::kModerate, Instrument::kBrass, false},
      {"Czech", "polka", Metre::k2_4, Tempo::kLively, Instrument::kAccordion, false},
      {"Chinese", "song", Metre::k4_4, Tempo::kModerate, Instrument::kHarp, true},
      {"Welsh", "air", Metre::k3_4, Tempo::kSlow, Instrument::kHarp, false},
      {"English", "hymn", Metre::k4_4, Tempo::kSlow, Instrument::kOrgan, false},
      {"Spanish", "dance", Metre::k3_4, Tempo::kLively, Instrument::kGuitar, false},
      {"Russian", "song", Metre::k2_4, Tempo::kModerate, Instrument::kAccordion, false},
      {"Italian", "barcarolle", Metre::k6_8, Tempo::kSlow, Instrument::kGuitar, false},
      {"American", "hoedown", Metre::k2_4, Tempo::kLively, Instrument::kFiddle, false},
      {"English", "shanty", Metre::k6_8, Tempo::kModerate, Instrument::kAccordion, false},
      {"Japanese", "song", Metre::k4_4, Tempo::kSlow, Instrument::kHarp, true},
      {"French", "minuet", Metre::k3_4, Tempo::kModerate, Instrument::kPiano, false},
      {"Polish", "nocturne", Metre::k6_8, Tempo::kSlow, Instrument::kPiano, false},
      {"Turkish", "march", Metre::k2_4, Tempo::kLively, Instrument::kPiano, false},
  };
  return kGenres;
}

std::span<const Tune> tunes() {
  static constexpr Tune kTunes[] = {
      {"Ode to Joy", Metre::k4_4, false,
       "3:1 3:1 4:1 5:1 5:1 4:1 3:1 2:1 1:1 1:1 2:1 3:1 3:1.5 2:.5 2:2", "1 5 1 5"},
      {"Twinkle Twinkle Little Star", Metre::k4_4, false,
       "1:1 1:1 5:1 5:1 6:1 6:1 5:2 4:1 4:1 3:1 3:1 2:1 2:1 1:2", "1 4 4 5"},
      {"Frere Jacques", Metre::k4_4, false,
       "1:1 2:1 3:1 1:1 1:1 2:1 3:1 1:1 3:1 4:1 5:2 3:1 4:1 5:2", "1 1 1 1"},
      {"Mary Had a Little Lamb", Metre::k4_4, false,
       "3:1 2:1 1:1 2:1 3:1 3:1 3:2 2:1 2:1 2:2 3:1 5:1 5:2", "1 1 5 1"},
      {"London Bridge", Metre::k4_4, false,
       "5:1.5 6:.5 5:1 4:1 3:1 4:1 5:2 2:1 3:1 4:2 3:1 4:1 5:2", "1 1 5 1"},
      {"Jingle Bells", Metre::k4_4, false, "3:1 3:1 3:2 3:1 3:1 3:2 3:1 5:1 1:1.5 2:.5 3:4",
       "1 1 1 1"},
      {"Oh Susanna", Metre::k2_4, false,
       "3:.5 5:.5 5:.75 6:.25 5:.5 3:.5 1:.75 2:.25 3:.5 3:.5 2:.5 1:.5 2:2", "1 1 1 5"},
      {"Yankee Doodle", Metre::k2_4, false,
       "1:.5 1:.5 2:.5 3:.5 1:.5 3:.5 2:1 1:.5 1:.5 2:.5 3:.5 1:1 0:1", "1 5 1 5"},
      {"Silent Night", Metre::k6_8, false,
       "5:.75 6:.25 5:.5 3:1.5 5:.75 6:.25 5:.5 3:1.5 9:1 9:.5 7:1.5 8:1 8:.5 5:1.5", "1 1 5 1"},
      {"Row Your Boat", Metre::k6_8, false, "1:1.5 1:1.5 1:1 2:.5 3:1.5 3:1 2:.5 3:1 4:.5 5:3",
       "1 1 1 1"},
      {"Pop Goes the Weasel", Metre::k6_8, false,
       "1:1 1:.5 2:1 2:.5 3:.5 5:.5 3:.5 1:1.5 1:1 1:.5 2:1 2:.5 3:1.5 1:1.5", "1 1 5 1"},
      {"Amazing Grace", Metre::k3_4, false, "1:2 3:.5 1:.5 3:2 2:1 1:2 -1:1 -2:2 -2:1", "1 1 4 1"},
      {"Auld Lang Syne", Metre::k4_4, false,
       "1:1.5 1:.5 1:1 3:1 2:1.5 1:.5 2:1 3:1 1:1.5 1:.5 3:1 5:1 6:4", "1 5 1 4"},
      {"God Rest Ye Merry Gentlemen", Metre::k4_4, true,
       "1:1 5:1 5:1 4:1 3:1 2:1 1:1 0:1 1:1 2:1 3:1 4:1 5:4", "1 1 1 5"},
      {"Korobeiniki", Metre::k4_4, true,
       "5:1 2:.5 3:.5 4:1 3:.5 2:.5 1:1 1:.5 3:.5 5:1 4:.5 3:.5 2:1.5 3:.5 4:1 5:1 3:1 1:1 1:2",
       "1 1 5 1"},
  };
  return kTunes;
}

double quarter_seconds(const Melody& melody) {
  const double beat = 60.0 / melody.beats_per_minute;
  return melody.metre == Metre::k6_8 ? beat / 1.5 : beat;
}

namespace {

constexpr int kBars = 8;

/// Semitones above the tonic of a scale degree (0 = tonic, 7 = octave, negative below). `leading`
/// raises the seventh of the minor scale.
int semitones(int degree, bool minor, bool leading) {
  constexpr int kMajor[] = {0, 2, 4, 5, 7, 9, 11};
  constexpr int kMinor[] = {0, 2, 3, 5, 7, 8, 10};
  const int octave = degree >= 0 ? degree / 7 : -((6 - degree) / 7);
  const int step = degree - 7 * octave;
  const int raise = minor && leading && step == 6 ? 1 : 0;
  return 12 * octave + (minor ? kMinor : kMajor)[step] + raise;
}

/// MIDI pitch of the tonic near middle C: F sharp 3 to F 4.
int tonic_pitch(Key key) {
  return key.tonic <= 5 ? 60 + key.tonic : 48 + key.tonic;
}

using Rhythm = std::vector<double>;

const std::vector<Rhythm>& rhythms(Metre metre) {
  static const std::vector<Rhythm> kRhythms[] = {
      {{1, 1}, {.5, .5, 1}, {1, .5, .5}, {.5, .5, .5, .5}, {.75, .25, 1}, {.5, .25, .25, 1}},
      {{1, 1, 1}, {2, 1}, {1, .5, .5, 1}, {1.5, .5, 1}, {1, 1, .5, .5}, {.5, .5, .5, .5, 1}},
      {{1, 1, 1, 1},
       {1, .5, .5, 1, 1},
       {1.5, .5, 1, 1},
       {.5, .5, .5, .5, 1, 1},
       {2, 1, 1},
       {1, 1, .5, .5, 1}},
      {{1, .5, 1, .5},
       {.5, .5, .5, .5, .5, .5},
       {1, .5, .5, .5, .5},
       {.5, .5, .5, 1, .5},
       {1.5, 1, .5},
       {1.5, .5, .5, .5}}};
  return kRhythms[static_cast<int>(metre)];
}

/// Chords of eight half bars, all of which begin on the tonic and pass through the dominant.
const std::array<int, 2 * kBars>& progression(Rng& rng) {
  static constexpr std::array<int, 2 * kBars> kProgressions[] = {
      {0, 0, 4, 4, 0, 0, 4, 0, 0, 0, 3, 3, 4, 4, 0, 0},
      {0, 0, 3, 4, 0, 0, 4, 0, 3, 3, 0, 0, 4, 4, 0, 0},
      {0, 4, 0, 0, 3, 3, 4, 0, 0, 0, 3, 0, 4, 4, 0, 0},
      {0, 0, 4, 0, 3, 0, 4, 0, 5, 5, 3, 3, 4, 4, 0, 0},
      {0, 4, 0, 3, 0, 4, 0, 0, 3, 3, 0, 0, 4, 4, 0, 0}};
  return pick(rng, kProgressions);
}

/// The degree nearest to `degree` that belongs to the chord.
int nearest_chord_tone(int degree, int chord) {
  for (int distance = 0; distance < 3; ++distance) {
    for (const int candidate : {degree - distance, degree + distance}) {
      const int above = ((candidate - chord) % 7 + 7) % 7;
      if (above == 0 || above == 2 || above == 4) {
        return candidate;
      }
    }
  }
  return degree;
}

/// Moves a degree onto the five-note scale (no fourth and seventh in major; no second and sixth in
/// minor).
int onto_pentatonic(int degree, bool minor) {
  const int step = (degree % 7 + 7) % 7;
  const bool gap = minor ? step == 1 || step == 5 : step == 3 || step == 6;
  return gap ? degree - 1 : degree;
}

class Composer {
 public:
  Composer(Rng& rng, Melody& melody) : rng_(rng), melody_(melody) {}

  void compose() {
    const auto& chords = progression(rng_);
    melody_.chords.assign(chords.begin(), chords.end());
    const auto& patterns = rhythms(melody_.metre);
    const Rhythm motif = pick(rng_, patterns);
    const Rhythm answer = pick(rng_, patterns);
    degree_ = nearest_chord_tone(static_cast<int>(rng_.below(5)), 0);
    for (int bar = 0; bar < kBars; ++bar) {
      const bool cadence = bar % 4 == 3;
      compose_bar(bar, bar % 2 == 0 ? motif : answer, cadence);
    }
  }

  void play_tune(const Tune& tune) {
    std::string_view text = tune.notes;
    double at = 0;
    std::vector<std::pair<int, double>> notes;
    double total = 0;
    while (!text.empty()) {
      const std::string_view field = text.substr(0, text.find(' '));
      text.remove_prefix(std::min(text.size(), field.size() + 1));
      const size_t colon = field.find(':');
      int degree = 0;
      double quarters = 0;
      std::from_chars(field.data(), field.data() + colon, degree);
      std::from_chars(field.data() + colon + 1, field.data() + field.size(), quarters);
      notes.emplace_back(degree - 1, quarters);
      total += quarters;
    }
    for (const char c : tune.chords) {
      if (c != ' ') {
        melody_.chords.insert(melody_.chords.end(), 2, c - '1');
      }
    }
    const size_t once = melody_.chords.size();
    while (melody_.chords.size() < 2 * kBars) {
      melody_.chords.push_back(melody_.chords[melody_.chords.size() - once]);
    }
    const double end = kBars * bar_quarters(melody_.metre);
    while (at < end - total / 2) {
      for (const auto& [degree, quarters] : notes) {
        add(at, quarters, degree, false);
        at += quarters;
      }
    }
  }

 private:
  void compose_bar(int bar, const Rhythm& rhythm, bool cadence) {
    const double bar_length = bar_quarters(melody_.metre);
    double at = bar * bar_length;
    const double end = at + bar_length;
    const double strong = melody_.metre == Metre::k6_8   ? 1.5
                          : melody_.metre == Metre::k4_4 ? 2
                                                         : bar_length;
    for (size_t i = 0; i < rhythm.size(); ++i) {
      const bool second_half = at - bar * bar_length >= bar_length / 2;
      const int chord = melody_.chords[static_cast<size_t>(2 * bar + (second_half ? 1 : 0))];
      const bool on_strong = std::fmod(at - bar * bar_length, strong) < 1e-9;
      int next = degree_;
      if (!(bar == 0 && i == 0)) {
        const int leap = chance(rng_, 0.75) ? 1 : 2;
        next += chance(rng_, 0.5) ? leap : -leap;
      }
      next = next < -2 ? next + 3 : next > 9 ? next - 3 : next;
      if (on_strong) {
        next = nearest_chord_tone(next, chord);
      }
      double quarters = rhythm[i];
      const bool last = cadence && i + 1 == rhythm.size();
      if (last) {
        next = degree_ >= 4 ? 7 : 0;
        quarters = end - at;
      }
      if (genres()[static_cast<size_t>(melody_.genre)].pentatonic) {
        next = onto_pentatonic(next, melody_.key.minor);
      }
      degree_ = next;
      add(at, quarters, next, chord == 4);
      at += quarters;
    }
  }

  void add(double at, double quarters, int degree, bool dominant) {
    const bool leading = dominant || melody_.tune != Melody::kNoTune;
    melody_.notes.push_back(
        {at, quarters, tonic_pitch(melody_.key) + semitones(degree, melody_.key.minor, leading)});
  }

  Rng& rng_;
  Melody& melody_;
  int degree_ = 0;
};

double draw_speed(Rng& rng, Metre metre, Tempo tempo) {
  constexpr double kQuarters[][2] = {{84, 94}, {106, 118}, {134, 152}};
  constexpr double kDotted[][2] = {{62, 70}, {84, 94}, {112, 126}};
  const auto& range = (metre == Metre::k6_8 ? kDotted : kQuarters)[static_cast<int>(tempo)];
  return rng.uniform(range[0], range[1]);
}

}  // namespace

Melody draw_melody(Rng& rng) {
  return draw_melody(rng, MelodyWish{});
}

Melody draw_melody(Rng& rng, const MelodyWish& wish) {
  Melody melody;
  const bool may_be_tune = !wish.genre && !wish.tune && !wish.metre && !wish.key;
  if (wish.tune) {
    melody.tune = *wish.tune;
  } else if (may_be_tune && chance(rng, 0.125)) {
    melody.tune = static_cast<int>(rng.below(tunes().size()));
  }
  melody.key = wish.key.value_or(Key{static_cast<int>(rng.below(12)), chance(rng, 0.5)});
  if (melody.tune != Melody::kNoTune) {
    TESSERA_CHECK(melody.tune >= 0 && melody.tune < static_cast<int>(tunes().size()),
                  InvalidArgument, "there is no tune {}; the world has {}", melody.tune,
                  tunes().size());
    const Tune& tune = tunes()[static_cast<size_t>(melody.tune)];
    melody.metre = tune.metre;
    melody.key.minor = tune.minor;
    melody.instrument = static_cast<Instrument>(rng.below(kInstrumentCount));
  } else {
    const Metre metre = wish.metre.value_or(static_cast<Metre>(rng.below(kMetreCount)));
    do {
      melody.genre = wish.genre.value_or(static_cast<int>(rng.below(genres().size())));
      TESSERA_CHECK(melody.genre >= 0 && melody.genre < static_cast<int>(genres().size()),
                    InvalidArgument, "there is no genre {}; the world has {}", melody.genre,
                    genres().size());
    } while (!wish.genre && genres()[static_cast<size_t>(melody.genre)].metre != metre);
    melody.metre = genres()[static_cast<size_t>(melody.genre)].metre;
    // Another instrument now and then, so that the metre cannot be told from the sound alone.
    melody.instrument = chance(rng, 0.6) ? genres()[static_cast<size_t>(melody.genre)].instrument
                                         : static_cast<Instrument>(rng.below(kInstrumentCount));
  }
  TESSERA_CHECK(!wish.metre || *wish.metre == melody.metre, InvalidArgument,
                "a piece of this genre or title is in {}, not in {}", metre_name(melody.metre),
                metre_name(*wish.metre));
  TESSERA_CHECK(!wish.key || *wish.key == melody.key, InvalidArgument,
                "this tune is in {}, not in {}", key_name(melody.key), key_name(*wish.key));
  Tempo usual = Tempo::kModerate;
  if (melody.genre != Melody::kNoGenre) {
    usual = genres()[static_cast<size_t>(melody.genre)].tempo;
  }
  melody.tempo = wish.tempo.value_or(chance(rng, 0.5) ? usual : static_cast<Tempo>(rng.below(3)));
  melody.beats_per_minute = draw_speed(rng, melody.metre, melody.tempo);
  Composer composer(rng, melody);
  if (melody.tune != Melody::kNoTune) {
    composer.play_tune(tunes()[static_cast<size_t>(melody.tune)]);
  } else {
    composer.compose();
  }
  return melody;
}

Melody draw_melody(Rng& rng, Split split, const MelodyWish& wish) {
  for (int attempt = 0; attempt < 10000; ++attempt) {
    Melody melody = draw_melody(rng, wish);
    if (split_of(melody) == split) {
      return melody;
    }
  }
  throw InvalidArgument("no melody of the {} split in 10000 draws; wish for less",
                        split_name(split));
}

Split split_of(const Melody& melody) {
  if (melody.tune != Melody::kNoTune) {
    return split_of_key(fmt::format("tune/{}/{}", tunes()[static_cast<size_t>(melody.tune)].title,
                                    key_name(melody.key)));
  }
  // The first phrase, relative to the tonic: the part that a rendering of some seconds plays.
  std::string key = fmt::format("melody/{}", metre_name(melody.metre));
  for (const Note& note : melody.notes) {
    if (note.start < 4 * bar_quarters(melody.metre)) {
      key += fmt::format("/{}:{}", note.pitch - tonic_pitch(melody.key), note.quarters);
    }
  }
  return split_of_key(key);
}

}  // namespace tessera::world
