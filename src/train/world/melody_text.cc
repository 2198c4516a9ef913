// Words for music: captions, questions and answers, and the way back to slots. Keys are always
// written in words ("C sharp minor"), so that the same sentence can be spoken.

#include "core/error.h"
#include "train/world/melody.h"

#include <algorithm>
#include <cctype>

namespace tessera::world {

namespace {

using Words = std::vector<std::string>;

const Words kTempoWords[] = {
    {"slow", "calm", "gentle"}, {"moderate", "medium", "steady"}, {"lively", "fast", "quick"}};
const Words kMetreWords[] = {{"2/4", "two four", "two four time"},
                             {"3/4", "three four", "three four time"},
                             {"4/4", "four four", "four four time"},
                             {"6/8", "six eight", "six eight time"}};

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string article(std::string_view word) {
  const auto first = static_cast<char>(std::tolower(static_cast<unsigned char>(word.front())));
  return std::string_view("aeiou").find(first) != std::string_view::npos ? "an" : "a";
}

std::string kind_of_music(const Melody& melody) {
  const Genre& genre = genres()[static_cast<size_t>(melody.genre)];
  return fmt::format("{} {}", genre.region, genre.name);
}

/// Lower-case words; '#' reads as "sharp", and 'b' after a letter name ("eb") as "flat".
Words words_of(std::string_view text) {
  Words words;
  std::string word;
  const auto flush = [&] {
    if (word.size() == 2 && word[1] == 'b' && word[0] >= 'a' && word[0] <= 'g') {
      words.push_back(word.substr(0, 1));
      words.emplace_back("flat");
    } else if (!word.empty()) {
      words.push_back(word);
    }
    word.clear();
  };
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      flush();
      if (c == '#') {
        words.emplace_back("sharp");
      }
    }
  }
  flush();
  return words;
}

std::optional<Key> read_key(const Words& words) {
  constexpr int kLetters[] = {9, 11, 0, 2, 4, 5, 7};  // a to g
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i].size() != 1 || words[i][0] < 'a' || words[i][0] > 'g') {
      continue;
    }
    int tonic = kLetters[words[i][0] - 'a'];
    size_t mode = i + 1;
    if (words[mode] == "sharp" || words[mode] == "flat") {
      tonic += words[mode] == "sharp" ? 1 : 11;
      ++mode;
    }
    if (mode < words.size() && (words[mode] == "major" || words[mode] == "minor")) {
      return Key{tonic % 12, words[mode] == "minor"};
    }
  }
  return std::nullopt;
}

bool has_phrase(const Words& words, const Words& phrase) {
  return std::search(words.begin(), words.end(), phrase.begin(), phrase.end()) != words.end();
}

}  // namespace

std::string caption(const Melody& melody, Rng& rng) {
  const std::string metre = pick(rng, kMetreWords[static_cast<int>(melody.metre)]);
  const std::string tempo = chance(rng, 0.6)
                                ? std::string(tempo_name(melody.tempo))
                                : pick(rng, kTempoWords[static_cast<int>(melody.tempo)]);
  const std::string key = key_name(melody.key);
  if (melody.tune != Melody::kNoTune) {
    const std::string_view title = tunes()[static_cast<size_t>(melody.tune)].title;
    constexpr const char* kForms[] = {"{0} in {2} in {3}", "{0}, {1}, in {2} and {3}",
                                      "the tune {0} in {3}, {1}, in {2}"};
    return fmt::format(fmt::runtime(pick(rng, kForms)), title, tempo, metre, key);
  }
  const std::string kind = kind_of_music(melody);
  constexpr const char* kForms[] = {"{0} {1} {2} in {3} in {4}", "{0} {1} {2} in {4} in {3}",
                                    "{0} {1} {2} in {4}, {3}", "{5} {2} in {3} in {4}",
                                    "{5} {2} in {4} and {3}, {1}"};
  return fmt::format(fmt::runtime(pick(rng, kForms)), article(tempo), tempo, kind, metre, key,
                     article(kind));
}

std::string description(const Melody& melody, Rng& rng) {
  constexpr const char* kOpenings[] = {"This is ", "I hear ", "It is ", "That was "};
  std::string text = caption(melody, rng);
  if (chance(rng, 0.6) || melody.tune != Melody::kNoTune) {
    return pick(rng, kOpenings) + text + ".";
  }
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

MelodySlots parse_melody(std::string_view text) {
  const Words words = words_of(text.substr(0, 4000));
  MelodySlots slots;
  slots.key = read_key(words);
  constexpr const char* kNumerals[][2] = {{"2", "4"}, {"3", "4"}, {"4", "4"}, {"6", "8"}};
  for (int m = 0; m < kMetreCount; ++m) {
    if (has_phrase(words, words_of(kMetreWords[m][1])) ||
        has_phrase(words, {kNumerals[m][0], kNumerals[m][1]})) {
      slots.metre = static_cast<Metre>(m);
    }
  }
  for (int t = 0; t < 3; ++t) {
    for (const std::string& word : kTempoWords[t]) {
      if (has_phrase(words, {word})) {
        slots.tempo = static_cast<Tempo>(t);
      }
    }
  }
  for (size_t g = 0; g < genres().size(); ++g) {
    if (has_phrase(words, {lower(genres()[g].region), lower(genres()[g].name)})) {
      slots.genre = static_cast<int>(g);
    }
  }
  for (size_t t = 0; t < tunes().size(); ++t) {
    if (has_phrase(words, words_of(tunes()[t].title))) {
      slots.tune = static_cast<int>(t);
    }
  }
  return slots;
}

MusicQuestion ask(const Melody& melody, Rng& rng) {
  const std::string metre = pick(rng, kMetreWords[static_cast<int>(melody.metre)]);
  switch (rng.below(5)) {
    case 0: {
      constexpr const char* kForms[] = {"What key is it in?", "Which key is this in?",
                                        "In which key is this piece?"};
      return {pick(rng, kForms),
              (chance(rng, 0.5) ? "It is in " : "") + key_name(melody.key) + "."};
    }
    case 1: {
      constexpr const char* kForms[] = {"What is the metre?", "Which time signature is it?",
                                        "How many beats are in a bar?"};
      return {pick(rng, kForms), (chance(rng, 0.5) ? "It is in " : "In ") + metre + "."};
    }
    case 2: {
      constexpr const char* kForms[] = {"Is it slow or lively?", "How fast is it?",
                                        "What is the tempo?"};
      return {pick(rng, kForms), fmt::format("It is {}.", tempo_name(melody.tempo))};
    }
    case 3:
      if (melody.tune != Melody::kNoTune) {
        const std::string_view title = tunes()[static_cast<size_t>(melody.tune)].title;
        return {"Which tune is this?", fmt::format("This is {}.", title)};
      } else {
        const std::string kind = kind_of_music(melody);
        return {
            chance(rng, 0.5) ? "What kind of music is this?" : "Where does this music come from?",
            fmt::format("It is {} {}.", article(kind), kind)};
      }
    default: {
      constexpr const char* kForms[] = {"What do you hear?", "What is this music?",
                                        "Tell me about this piece."};
      return {pick(rng, kForms), description(melody, rng)};
    }
  }
}

}  // namespace tessera::world
