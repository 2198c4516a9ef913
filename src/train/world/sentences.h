// Sentences that voices say and the recogniser reads: captions, answers, numbers, small talk.
#pragma once

#include "train/world/limits.h"

#include <string>
#include <string_view>

namespace tessera::world {

/// 0-999999 in words: "three hundred and seven".
std::string number_words(int number);

/// A sentence of small talk, with its reply in conversations.
struct SmallTalk {
  std::string said;
  std::string reply;
};
SmallTalk draw_small_talk(Rng& rng);

/// A sentence of any kind: caption, answer, music, number, digits, small talk. Every word is
/// written out as it is spoken; things are those inside the limits.
std::string draw_sentence(Rng& rng, const WorldLimits& limits = {});

/// The text as it is read aloud: "6/8" becomes "six eight".
std::string spoken(std::string text);

/// What the model can do, for `/help` and for replies to requests outside its world.
std::string abilities(Rng& rng);

/// What a request outside the world asks for.
enum class Wanted { kText, kPicture, kMusic, kSpeech };
Wanted wanted_of(std::string_view prompt);

/// Prompts that the world cannot serve: one list for training and validation, another, written
/// apart, for test.
const std::vector<std::string>& outside_prompts(Split split);

/// A reply to such a prompt; for pictures and music it announces the nearest thing of the world,
/// which `nearest` names ("a castle on the grass").
std::string outside_reply(Rng& rng, Wanted wanted, std::string_view nearest);

/// The committed rule by which a reply outside the world counts as helpful: the reply is valid (no
/// malformed span) and its text names at least two things that the model can do.
bool is_helpful(std::string_view reply, bool valid);

}  // namespace tessera::world
