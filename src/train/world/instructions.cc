// Wordings are put together from a request form, a verb and an object, as own grammar for each
// pair.

#include "train/world/instructions.h"

#include "core/error.h"

#include <array>
#include <cctype>

namespace tessera::world {

namespace {

using Words = std::vector<std::string>;

/// Verbs and objects of one pair's task.
struct Wording {
  Words verbs;
  Words objects;
};

const Wording& wording(Pair pair) {
  static const std::array<std::array<Wording, 4>, 4> kWordings = {{
      {{{},
        {{"draw", "paint", "sketch", "make a picture of", "show me", "create an image of"},
         {"this", "this scene", "what I describe", "the following"}},
        {{"say", "read aloud", "speak", "read out", "pronounce"},
         {"this", "this text", "this sentence", "the following words"}},
        {{"play", "compose", "make", "create", "let me hear"},
         {"this music", "the music I describe", "this tune", "the following piece"}}}},
      {{{{"describe", "caption", "tell me about", "put into words", "write down what is in"},
         {"this picture", "the picture", "this image", "the scene"}},
        {},
        {{"describe aloud", "say what is in", "tell me with your voice what is in", "speak about",
          "read out what you see in"},
         {"this picture", "the picture", "this image", "the scene"}},
        {{"play music for", "compose music that fits", "make a tune for", "find the sound of",
          "let me hear"},
         {"this picture", "the picture", "this image", "the scene"}}}},
      {{{{"write down", "transcribe", "put on paper", "note", "type"},
         {"what is said", "this speech", "the spoken words", "what you hear"}},
        {{"draw", "paint", "sketch", "make a picture of", "show me"},
         {"what I say", "the spoken words", "what you hear", "what this voice describes"}},
        {},
        {{"play", "compose", "make", "create", "let me hear"},
         {"the music I talk about", "what this voice asks for", "the spoken wish",
          "the music that is described"}}}},
      {{{{"describe", "tell me about", "caption", "put into words", "write about"},
         {"this music", "the tune", "what you hear", "this piece"}},
        {{"draw", "paint", "make a picture for", "show me a scene for", "sketch"},
         {"this music", "the tune", "what you hear", "the mood of this piece"}},
        {{"describe aloud", "say something about", "tell me with your voice about", "speak about",
          "announce"},
         {"this music", "the tune", "what you hear", "this piece"}},
        {}}},
  }};
  return kWordings[static_cast<size_t>(pair.from)][static_cast<size_t>(pair.to)];
}

std::string capital(std::string text) {
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

Words build(Pair pair) {
  const Wording& words = wording(pair);
  Words out;
  for (const std::string& verb : words.verbs) {
    for (const std::string& object : words.objects) {
      out.push_back(capital(verb) + " " + object + ".");
    }
  }
  const std::string request = words.verbs.front() + " " + words.objects.front();
  out.push_back("Please " + request + ".");
  out.push_back("Could you " + request + "?");
  out.push_back("I would like you to " + request + ".");
  return out;
}

size_t index_of(Pair pair) {
  TESSERA_CHECK(pair.from != pair.to, InvalidArgument,
                "a task goes from one modality to another, got {} twice", modality_name(pair.from));
  return static_cast<size_t>(pair.from) * 4 + static_cast<size_t>(pair.to);
}

}  // namespace

const std::vector<Pair>& all_pairs() {
  static const std::vector<Pair> kPairs = [] {
    std::vector<Pair> pairs;
    for (int from = 0; from < 4; ++from) {
      for (int to = 0; to < 4; ++to) {
        if (from != to) {
          pairs.push_back({static_cast<Modality>(from), static_cast<Modality>(to)});
        }
      }
    }
    return pairs;
  }();
  return kPairs;
}

std::string pair_name(Pair pair) {
  return fmt::format("{}-{}", modality_name(pair.from), modality_name(pair.to));
}

const std::vector<std::string>& instructions(Pair pair) {
  static const std::array<Words, 16> kAll = [] {
    std::array<Words, 16> all;
    for (const Pair& each : all_pairs()) {
      all[index_of(each)] = build(each);
    }
    return all;
  }();
  return kAll[index_of(pair)];
}

}  // namespace tessera::world
