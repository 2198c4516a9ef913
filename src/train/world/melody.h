// Music's exact truth: key, metre, tempo, genre with its region, and the notes and chords of a
// phrase, composed from a seed or taken from a short list of well-known old tunes.
#pragma once

#include "train/world/vocabulary.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::world {

/// Pitch class of the tonic (0 = C … 11 = B) and mode; 24 keys.
struct Key {
  int tonic = 0;
  bool minor = false;

  bool operator==(const Key&) const = default;
  int index() const { return tonic + (minor ? 12 : 0); }
};
inline constexpr int kKeyCount = 24;
/// "D major", "C sharp minor", "B flat major".
std::string key_name(Key key);

enum class Metre { k2_4, k3_4, k4_4, k6_8 };
inline constexpr int kMetreCount = 4;
/// "2/4", "3/4", "4/4", "6/8".
std::string_view metre_name(Metre metre);
/// Length of a bar in quarter notes.
double bar_quarters(Metre metre);

enum class Tempo { kSlow, kModerate, kLively };
/// "slow", "moderate", "lively".
std::string_view tempo_name(Tempo tempo);

enum class Instrument {
  kFlute,
  kFiddle,
  kMusicBox,
  kBrass,
  kAccordion,
  kHarp,
  kOrgan,
  kGuitar,
  kPiano
};

inline constexpr int kInstrumentCount = 9;

/// A kind of music with the region that it is named by. The metre belongs to the genre; mode and
/// tempo are free.
struct Genre {
  std::string_view region;  // "Irish"
  std::string_view name;    // "jig"
  Metre metre;
  Tempo tempo;  // the usual one
  Instrument instrument;
  bool pentatonic;
};
std::span<const Genre> genres();

/// A well-known tune, its title and mode. All are traditional or their composers died before 1900.
struct Tune {
  std::string_view title;
  Metre metre;
  bool minor;
  std::string_view notes;  // "degree:quarters", 1 = tonic, 8 = an octave up, 0 = the degree below 1
  std::string_view chords;  // one degree a bar
};
std::span<const Tune> tunes();

struct Note {
  double start = 0;     // quarter notes from the beginning
  double quarters = 0;  // length
  int pitch = 0;        // MIDI number
  bool operator==(const Note&) const = default;
};

/// What a piece of music is. Notes and chords cover at least eight bars.
struct Melody {
  Key key;
  Metre metre = Metre::k4_4;
  Tempo tempo = Tempo::kModerate;
  int genre = kNoGenre;         // index of genres(); kNoGenre for a tune
  int tune = kNoTune;           // index of tunes()
  double beats_per_minute = 0;  // quarters; dotted quarters in 6/8
  Instrument instrument = Instrument::kPiano;
  std::vector<Note> notes;
  std::vector<int> chords;  // scale degree (0 = tonic chord) of each half bar

  static constexpr int kNoGenre = -1;
  static constexpr int kNoTune = -1;
  bool operator==(const Melody&) const = default;
};

/// Seconds of one quarter note.
double quarter_seconds(const Melody& melody);

/// Composes a melody; a tune in one of eight draws.
Melody draw_melody(Rng& rng);
/// Composes with these things given; the rest is drawn.
struct MelodyWish {
  std::optional<Key> key = std::nullopt;
  std::optional<Metre> metre = std::nullopt;
  std::optional<Tempo> tempo = std::nullopt;
  std::optional<int> genre = std::nullopt;
  std::optional<int> tune = std::nullopt;
};
/// Throws InvalidArgument when genre or tune contradict the metre or the mode.
Melody draw_melody(Rng& rng, const MelodyWish& wish);
Melody draw_melody(Rng& rng, Split split, const MelodyWish& wish = {});

/// The split of a melody: of its degrees and rhythm for a composed one (so that a held-out melody
/// is held out in all keys), of title × key for a tune.
Split split_of(const Melody& melody);

/// "a lively Irish jig in 6/8 in D major"; every wording tells key and metre, most the tempo.
std::string caption(const Melody& melody, Rng& rng);

/// A caption as an answer: "This is a slow waltz in 3/4 in G minor."
std::string description(const Melody& melody, Rng& rng);

/// What a text says about music.
struct MelodySlots {
  std::optional<Key> key;
  std::optional<Metre> metre;
  std::optional<Tempo> tempo;
  std::optional<int> genre;
  std::optional<int> tune;
};
/// Reads every wording of caption(); "6/8" and "six eight", "C#" and "C sharp".
MelodySlots parse_melody(std::string_view text);

/// A question about a piece of music with its answer: key, metre, tempo, genre, or all.
struct MusicQuestion {
  std::string question;
  std::string answer;
};
MusicQuestion ask(const Melody& melody, Rng& rng);

}  // namespace tessera::world
