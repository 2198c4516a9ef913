#include "train/world/melody.h"

#include "core/error.h"
#include "train/world/music_render.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

namespace tessera::world {

TEST(Melody, TheSameSeedComposesTheSameMelody) {
  Rng a(1, 2);
  Rng b(1, 2);
  EXPECT_EQ(draw_melody(a), draw_melody(b));
}

TEST(Melody, NotesFillTheBarsAndBelongToTheKey) {
  constexpr int kMajor[] = {0, 2, 4, 5, 7, 9, 11};
  constexpr int kMinor[] = {0, 2, 3, 5, 7, 8, 10, 11};
  for (uint64_t i = 0; i < 2000; ++i) {
    Rng rng(9, i);
    const Melody melody = draw_melody(rng);
    double at = 0;
    for (const Note& note : melody.notes) {
      EXPECT_NEAR(note.start, at, 1e-9);
      at += note.quarters;
      EXPECT_GE(note.pitch, 45);
      EXPECT_LE(note.pitch, 88);
      const int step = ((note.pitch - melody.key.tonic) % 12 + 12) % 12;
      EXPECT_TRUE(melody.key.minor ? std::ranges::find(kMinor, step) != std::end(kMinor)
                                   : std::ranges::find(kMajor, step) != std::end(kMajor))
          << caption(melody, rng);
    }
    EXPECT_GE(at * quarter_seconds(melody), 6.0) << caption(melody, rng);
    EXPECT_EQ(melody.chords.front(), 0);
    if (melody.tune == Melody::kNoTune) {
      EXPECT_NEAR(at, 8 * bar_quarters(melody.metre), 1e-9);
      const int last = ((melody.notes.back().pitch - melody.key.tonic) % 12 + 12) % 12;
      EXPECT_EQ(last, 0);
    }
  }
}

TEST(Melody, EveryTuneIsWholeBars) {
  for (int t = 0; t < static_cast<int>(tunes().size()); ++t) {
    Rng rng(1);
    const Melody melody = draw_melody(rng, {.tune = t});
    const double total = melody.notes.back().start + melody.notes.back().quarters;
    const double bars = total / bar_quarters(melody.metre);
    EXPECT_NEAR(bars, std::round(bars), 1e-9) << tunes()[static_cast<size_t>(t)].title;
    EXPECT_GE(bars, 6);
  }
}

TEST(Melody, HeldOutMelodiesAreHeldOutInEveryKey) {
  for (uint64_t i = 0; i < 200; ++i) {
    Rng first(3, i);
    const Melody melody = draw_melody(first, {.key = Key{0, false}, .genre = 0});
    Rng second(3, i);
    const Melody moved = draw_melody(second, {.key = Key{7, false}, .genre = 0});
    EXPECT_EQ(split_of(melody), split_of(moved));
    Rng rng(4, i);
    EXPECT_EQ(split_of(draw_melody(rng, Split::kTest)), Split::kTest);
  }
}

TEST(Melody, WishesAreKeptAndContradictionsRefused) {
  Rng rng(5);
  for (int key = 0; key < kKeyCount; ++key) {
    for (int metre = 0; metre < kMetreCount; ++metre) {
      const Melody melody = draw_melody(rng, {.key = Key{key % 12, key >= 12},
                                              .metre = static_cast<Metre>(metre),
                                              .tempo = Tempo::kSlow});
      EXPECT_EQ(melody.key.index(), key);
      EXPECT_EQ(static_cast<int>(melody.metre), metre);
      EXPECT_EQ(melody.tempo, Tempo::kSlow);
    }
  }
  EXPECT_THROW(draw_melody(rng, {.metre = Metre::k2_4, .genre = 0}), InvalidArgument);
  EXPECT_THROW(draw_melody(rng, {.genre = 999}), InvalidArgument);
  EXPECT_THROW(draw_melody(rng, {.key = Key{0, true}, .tune = 0}), InvalidArgument);
}

TEST(MelodyText, ParserReadsEveryWordingOfTheGrammar) {
  for (uint64_t i = 0; i < 10000; ++i) {
    Rng rng(6, i);
    const Melody melody = draw_melody(rng);
    const std::string text = i % 2 == 0 ? caption(melody, rng) : description(melody, rng);
    const MelodySlots slots = parse_melody(text);
    ASSERT_TRUE(slots.key) << text;
    EXPECT_EQ(*slots.key, melody.key) << text;
    ASSERT_TRUE(slots.metre) << text;
    EXPECT_EQ(*slots.metre, melody.metre) << text;
    if (slots.tempo) {
      EXPECT_EQ(*slots.tempo, melody.tempo) << text;
    }
    EXPECT_EQ(slots.genre.value_or(Melody::kNoGenre), melody.genre) << text;
    EXPECT_EQ(slots.tune.value_or(Melody::kNoTune), melody.tune) << text;
  }
}

TEST(MelodyText, OtherSpellings) {
  const std::pair<const char*, Key> kTexts[] = {{"a waltz in C# minor, 3/4", {1, true}},
                                                {"Eb major", {3, false}},
                                                {"in b flat major", {10, false}},
                                                {"G SHARP MINOR!", {8, true}}};
  for (const auto& [text, key] : kTexts) {
    ASSERT_TRUE(parse_melody(text).key) << text;
    EXPECT_EQ(*parse_melody(text).key, key) << text;
  }
  EXPECT_FALSE(parse_melody("").key);
  EXPECT_FALSE(parse_melody("a major problem of a").metre);
  EXPECT_FALSE(parse_melody("\xF0\x9F\x8E\xB6").key);
}

// Power of one frequency, by Goertzel's sum.
double power_at(const Audio& audio, double frequency, double from, double to) {
  double re = 0;
  double im = 0;
  for (auto t = static_cast<size_t>(from * audio.sample_rate);
       t < static_cast<size_t>(to * audio.sample_rate); ++t) {
    const double phase =
        2 * std::numbers::pi * frequency * static_cast<double>(t) / audio.sample_rate;
    re += audio.samples[t] * std::cos(phase);
    im += audio.samples[t] * std::sin(phase);
  }
  return re * re + im * im;
}

TEST(MusicRender, FirstBassNoteIsTheTonic) {
  for (int key = 0; key < kKeyCount; ++key) {
    Rng rng(7, static_cast<uint64_t>(key));
    const Melody melody = draw_melody(rng, {.key = Key{key % 12, key >= 12}, .metre = Metre::k3_4});
    const Audio audio = render_melody(melody, 2.0, 16000, 1);
    double best = 0;
    int heard = -1;
    for (int pitch = 33; pitch < 57; ++pitch) {
      const double power =
          power_at(audio, 440 * std::exp2((pitch - 69) / 12.0), 0.1, quarter_seconds(melody) * 0.9);
      if (power > best) {
        best = power;
        heard = pitch % 12;
      }
    }
    EXPECT_EQ(heard, key % 12) << key_name(melody.key);
  }
}

TEST(MusicRender, LengthRateAndPeak) {
  Rng rng(8);
  const Melody melody = draw_melody(rng);
  const Audio audio = render_melody(melody, 5.5, 22050, 3);
  EXPECT_EQ(audio.frames(), static_cast<int64_t>(5.5 * 22050));
  float peak = 0;
  for (const float value : audio.samples) {
    ASSERT_TRUE(std::isfinite(value));
    peak = std::max(peak, std::abs(value));
  }
  EXPECT_NEAR(peak, 0.7F, 1e-4F);
  EXPECT_EQ(render_melody(melody, 1, 16000, 3).samples, render_melody(melody, 1, 16000, 3).samples);
  EXPECT_THROW(render_melody(melody, 0, 16000, 0), InvalidArgument);
  EXPECT_THROW(render_melody(melody, 1e9, 16000, 0), InvalidArgument);
  EXPECT_THROW(render_melody(melody, 5, 1, 0), InvalidArgument);
  EXPECT_THROW(render_melody({}, 5, 16000, 0), InvalidArgument);
}

}  // namespace tessera::world
