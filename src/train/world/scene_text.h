// Words for scenes: captions in many wordings, questions with answers, and the way back from any of
// those wordings to slots, by which captions are judged.
#pragma once

#include "train/world/scene.h"

#include <string>
#include <string_view>

namespace tessera::world {

/// How much of a scene a caption tells.
enum class Detail {
  kFull,   // every slot
  kShort,  // leaves out the background or the relation
};

/// A caption without capital letter and full stop: "two red circles above a cat on green grass".
std::string caption(const Scene& scene, Rng& rng, Detail detail = Detail::kFull);

/// A full caption that begins with the objects, to be put into a sentence ("Draw {}.").
std::string caption_inside(const Scene& scene, Rng& rng);

/// A caption as an answer: "There are two red circles above a cat on green grass."
std::string description(const Scene& scene, Rng& rng);

/// First letter in upper case, and a full stop at the end unless there is one.
std::string as_sentence(std::string text);

/// Slots that a text says; what it leaves open is kUnsaid, no colour, or kNone. Understands every
/// wording that caption() makes, in upper or lower case, with other words around it. True colour
/// words of emoji ("red apple") are dropped; false ones stay and count as wrong. At most 8 groups
/// are read.
Scene parse_scene(std::string_view text);

/// Slots of the truth, slots that were said, and how many of these are right.
struct SlotScore {
  int right = 0;
  int said = 0;
  int truth = 0;

  double precision() const { return said > 0 ? static_cast<double>(right) / said : 0.0; }
  double recall() const { return truth > 0 ? static_cast<double>(right) / truth : 0.0; }
  double f1() const { return said + truth > 0 ? 2.0 * right / (said + truth) : 0.0; }
  SlotScore& operator+=(const SlotScore& other);
};

/// Compares kinds, counts, colours, sizes, the relation and the background. "A left of B" equals
/// "B right of A"; "next to" is right for left and right.
SlotScore score_slots(const Scene& truth, const Scene& said);

enum class QuestionKind { kWhat, kColor, kHowMany, kWhere, kYesNo, kBackground, kNeighbour };

/// A question about a scene, and one good answer.
struct Question {
  QuestionKind kind = QuestionKind::kWhat;
  std::string question;
  std::string answer;
};

/// A question that the scene can answer; things that it lacks are drawn from inside the limits.
Question ask(const Scene& scene, Rng& rng, const WorldLimits& limits = {});

/// Whether `said` gives the same facts as the question's own answer, in any wording.
bool answer_is_right(const Question& question, std::string_view said);

}  // namespace tessera::world
