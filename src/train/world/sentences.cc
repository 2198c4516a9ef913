// Small talk and the words about the model itself. The prompts outside the world are text files in
// recipes/world/, compiled in by CMake (outside_prompts.cc.in).

#include "train/world/sentences.h"

#include "core/error.h"
#include "core/strings.h"
#include "train/world/melody.h"
#include "train/world/scene_text.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace tessera::world {

extern const std::string_view kOutsideTrain;  // generated: the lines of the two files
extern const std::string_view kOutsideTest;

std::string number_words(int number) {
  constexpr const char* kSmall[] = {"zero",    "one",     "two",       "three",    "four",
                                    "five",    "six",     "seven",     "eight",    "nine",
                                    "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
  constexpr const char* kTens[] = {"",      "",      "twenty",  "thirty", "forty",
                                   "fifty", "sixty", "seventy", "eighty", "ninety"};
  TESSERA_CHECK(number >= 0 && number <= 999999, InvalidArgument, "{} is outside 0 to 999999",
                number);
  if (number < 20) {
    return kSmall[number];
  }
  if (number < 100) {
    const std::string tens = kTens[number / 10];
    return number % 10 == 0 ? tens : tens + " " + kSmall[number % 10];
  }
  const int unit = number < 1000 ? 100 : 1000;
  std::string out = number_words(number / unit) + (unit == 100 ? " hundred" : " thousand");
  if (const int rest = number % unit; rest != 0) {
    out += (rest < 100 ? " and " : " ") + number_words(rest);
  }
  return out;
}

SmallTalk draw_small_talk(Rng& rng) {
  static const SmallTalk kTalk[] = {
      {"Hello.", "Hello! What shall we make?"},
      {"Hi there.", "Hi! I can draw, speak and play music."},
      {"Good morning.", "Good morning! What would you like to see or hear?"},
      {"Good evening.", "Good evening! Shall I draw something?"},
      {"How are you?", "I am fine, thank you."},
      {"How do you do?", "Very well, thank you."},
      {"What is your name?", "My name is Tessera."},
      {"Who are you?", "I am Tessera, a small model of text, pictures, speech and music."},
      {"Thank you.", "You are welcome."},
      {"Thanks a lot.", "With pleasure."},
      {"Thank you very much.", "You are very welcome."},
      {"That is nice.", "I am glad that you like it."},
      {"That is beautiful.", "Thank you, I am glad."},
      {"I like it.", "I am happy to hear that."},
      {"I do not like it.", "I am sorry. Shall I try something else?"},
      {"That is wrong.", "I am sorry. Please tell me again."},
      {"Goodbye.", "Goodbye! Come back soon."},
      {"See you tomorrow.", "See you tomorrow!"},
      {"Good night.", "Good night! Sleep well."},
      {"Are you there?", "Yes, I am here."},
      {"Can you hear me?", "Yes, I can hear you."},
      {"Can you see this?", "Yes, I can see pictures."},
      {"Please wait.", "Take your time."},
      {"One moment please.", "Of course."},
      {"I am back.", "Welcome back!"},
      {"Let us begin.", "I am ready. What shall I make?"},
      {"Let us stop here.", "All right. It was nice to talk with you."},
      {"Yes please.", "Gladly."},
      {"No thank you.", "All right."},
      {"Never mind.", "No problem."},
      {"What is this place?", "This is a small world of pictures, speech and music."},
      {"Do you like music?", "I like to play it."},
      {"Do you like cats?", "I like to draw them."},
      {"You are funny.", "Thank you!"},
      {"I am tired.", "Shall I play a slow lullaby?"},
      {"I am happy today.", "That is good to hear."},
  };
  return pick(rng, kTalk);
}

std::string spoken(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kMetres[] = {
      {"2/4", "two four"}, {"3/4", "three four"}, {"4/4", "four four"}, {"6/8", "six eight"}};
  for (const auto& [written, said] : kMetres) {
    for (size_t at = text.find(written); at != std::string::npos; at = text.find(written)) {
      text.replace(at, written.size(), said);
    }
  }
  return text;
}

namespace {

std::string draw_number_sentence(Rng& rng) {
  const double u = rng.uniform();
  if (u < 0.35) {
    std::string digits;
    const auto count = 1 + rng.below(5);
    for (uint64_t i = 0; i < count; ++i) {
      digits += (i > 0 ? " " : "") + number_words(static_cast<int>(rng.below(10)));
    }
    return as_sentence(digits);
  }
  const int number = static_cast<int>(u < 0.7 ? rng.below(100) : rng.below(1000));
  constexpr const char* kForms[] = {"{}",        "The number is {}",     "I count {}",
                                    "Number {}", "There are {} of them", "It costs {} dollars",
                                    "Page {}"};
  return as_sentence(fmt::format(fmt::runtime(pick(rng, kForms)), number_words(number)));
}

}  // namespace

std::string draw_sentence(Rng& rng, const WorldLimits& limits) {
  const double u = rng.uniform();
  if (u < 0.35) {
    const Scene scene = draw_scene(rng, limits);
    return as_sentence(chance(rng, 0.5) ? caption(scene, rng)
                                        : caption(scene, rng, Detail::kShort));
  }
  if (u < 0.50) {
    const Scene scene = draw_scene(rng, limits);
    const Question question = ask(scene, rng, limits);
    return chance(rng, 0.5) ? question.question : question.answer;
  }
  if (u < 0.62) {
    const Melody melody = draw_melody(rng);
    return spoken(chance(rng, 0.5) ? description(melody, rng) : ask(melody, rng).answer);
  }
  if (u < 0.82) {
    return draw_number_sentence(rng);
  }
  if (u < 0.86) {
    return abilities(rng);
  }
  const SmallTalk talk = draw_small_talk(rng);
  return chance(rng, 0.5) ? talk.said : talk.reply;
}

std::string abilities(Rng& rng) {
  constexpr const char* kTexts[] = {
      "I can draw scenes of animals and shapes, describe pictures, read text aloud and play tunes.",
      "I can draw pictures, speak with several voices, write down speech and play short music.",
      "I can make small pictures, describe what I see, read sentences aloud and compose melodies.",
      "I can paint simple scenes, answer questions about them, speak, listen and play music.",
      "I can draw things and shapes, say sentences, write down what I hear and play a tune."};
  return pick(rng, kTexts);
}

Wanted wanted_of(std::string_view prompt) {
  std::string text(prompt);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto any = [&](std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
      const size_t at = text.find(word);
      const bool starts = at != std::string::npos && (at == 0 || text[at - 1] == ' ');
      return starts;
    });
  };
  if (any({"draw", "paint ", "sketch", "picture", "photo", "image", "portrait", "logo", "show me",
           "comic", "meme", "cartoon"})) {
    return Wanted::kPicture;
  }
  if (any({"play ", "sing", "song", "music", "compose", "symphony", "quartet", "rap ", "punk",
           "dubstep", "techno", "beat ", "improvise"})) {
    return Wanted::kMusic;
  }
  if (any({"speak", "say ", "read me", "read the", "read today", "whisper", "voice"})) {
    return Wanted::kSpeech;
  }
  return Wanted::kText;
}

const std::vector<std::string>& outside_prompts(Split split) {
  const auto lines = [](std::string_view text) {
    std::vector<std::string> out;
    for (const std::string& line : tessera::split(text, '\n')) {
      if (!line.empty()) {
        out.push_back(line);
      }
    }
    return out;
  };
  static const std::vector<std::string> kTrain = lines(kOutsideTrain);
  static const std::vector<std::string> kTest = lines(kOutsideTest);
  return split == Split::kTest ? kTest : kTrain;
}

std::string outside_reply(Rng& rng, Wanted wanted, std::string_view nearest) {
  constexpr const char* kSorry[] = {"I am sorry, I cannot do that.",
                                    "That is outside my small world.", "I do not know about that.",
                                    "I cannot help with that."};
  constexpr const char* kNearest[] = {"The nearest thing that I can make is {}.",
                                      "Here is {} instead.", "I made {} instead."};
  std::string reply = std::string(pick(rng, kSorry)) + " " + abilities(rng);
  if ((wanted == Wanted::kPicture || wanted == Wanted::kMusic) && !nearest.empty()) {
    reply += " " + fmt::format(fmt::runtime(pick(rng, kNearest)), nearest);
  }
  return reply;
}

bool is_helpful(std::string_view reply, bool valid) {
  std::string text(reply);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto names = [&](std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return text.find(word) != std::string::npos; });
  };
  const int named = (names({"draw", "paint", "make small pictures", "picture"}) ? 1 : 0) +
                    (names({"describe", "answer questions"}) ? 1 : 0) +
                    (names({"aloud", "speak", "say sentences"}) ? 1 : 0) +
                    (names({"write down", "listen"}) ? 1 : 0) +
                    (names({"music", "tune", "melod", "compose"}) ? 1 : 0);
  return valid && names({"i can ", "i could ", "i am able"}) && named >= 2;
}

}  // namespace tessera::world
