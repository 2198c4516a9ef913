// What the synthetic world contains: object kinds (emoji and shapes), colours, backgrounds,
// relations, and the words for them. Every table is a fixed list: an index is an identity, so the
// order is part of the format and new entries go to the end of their block.
#pragma once

#include "core/random.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::world {

/// Which data a combination belongs to; decided by a hash of the combination (see split_of_key).
enum class Split { kTrain, kValidation, kTest };

/// "train", "validation", "test".
std::string_view split_name(Split split);

/// The fixed rule for held-out combinations: 8 % of all keys are test, 3 % validation. `key` names
/// the combination ("scene/cat/-/2/left"), never a sample, so that a test combination is in no
/// training sample.
Split split_of_key(std::string_view key);

/// The stricter of two splits (test beats validation beats train).
Split worse(Split a, Split b);
/// One of the three, each as likely: for judges, which must know test combinations as well as
/// others.
Split any_split(Rng& rng);

enum class Color { kRed, kOrange, kYellow, kGreen, kBlue, kPurple, kBlack, kWhite };
inline constexpr int kColorCount = 8;
std::string_view color_name(Color color);

/// The RGB value that shapes and plain backgrounds are drawn with.
struct Rgb {
  float r, g, b;  // 0-255
};
Rgb color_rgb(Color color);

enum class Relation { kNone, kLeftOf, kRightOf, kAbove, kBelow, kNextTo };
/// "none", "left", "right", "above", "below", "next to".
std::string_view relation_name(Relation relation);
/// What B is to A when A is `relation` to B.
Relation inverse(Relation relation);

enum class Size { kNormal, kSmall, kBig };

enum class Shape { kCircle, kSquare, kTriangle, kStar, kHeart, kDiamond, kHexagon, kCross };

/// One kind of thing a picture can hold.
struct ObjectKind {
  std::string_view noun;
  std::string_view plural;
  char32_t emoji;                   // 0 = a shape
  std::string_view cldr;            // CLDR short name of the emoji
  std::optional<Color> natural;     // a colour word that is true of this emoji
  std::string_view synonym;         // another singular noun, "" = none
  std::string_view synonym_plural;  // "" = none
};

/// All kinds: emoji first, then the shapes in the order of Shape.
std::span<const ObjectKind> object_kinds();
/// Index of the first shape in object_kinds().
int first_shape();
inline bool is_shape(int kind) {
  return kind >= first_shape();
}
/// Index of a singular noun; throws InvalidArgument when the world has none of that name.
int kind_of(std::string_view noun);

/// Backgrounds 0-5 are places; 6 + colour is that plain colour.
enum Background { kSky, kSea, kGrass, kNight, kSand, kSnow };
inline constexpr int kPlaceCount = 6;
inline constexpr int kBackgroundCount = kPlaceCount + kColorCount;
/// "sky", "sea", …, "plain red", ….
std::string background_name(int background);
/// Phrases that put a scene there ("on green grass", "on a white background"); the first is the
/// plainest.
const std::vector<std::string>& background_phrases(int background);
/// The colour whose shapes would not show on this background.
Color background_hides(int background);

/// One of `items`, uniformly.
template <class Items>
const auto& pick(Rng& rng, const Items& items) {
  return items[rng.below(std::size(items))];
}
inline bool chance(Rng& rng, double probability) {
  return rng.uniform() < probability;
}

}  // namespace tessera::world
