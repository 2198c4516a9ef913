// The word tables of the world. Emoji are named by a simple English noun beside their CLDR short
// name (Unicode CLDR, annotations/en); only single-code-point emoji that stay clear at 20 pixels
// are taken. Flags, people, faces with feelings and food whose name is a colour are left out.

#include "train/world/vocabulary.h"

#include "core/error.h"

#include <array>

namespace tessera::world {

std::string_view split_name(Split split) {
  constexpr std::string_view kNames[] = {"train", "validation", "test"};
  return kNames[static_cast<int>(split)];
}

Split split_of_key(std::string_view key) {
  const uint64_t bucket = mix64(hash_name(key)) % 100;
  if (bucket < 8) {
    return Split::kTest;
  }
  return bucket < 11 ? Split::kValidation : Split::kTrain;
}

Split worse(Split a, Split b) {
  return static_cast<int>(a) > static_cast<int>(b) ? a : b;
}

Split any_split(Rng& rng) {
  return static_cast<Split>(rng.below(3));
}

std::string_view color_name(Color color) {
  constexpr std::string_view kNames[] = {"red",  "orange", "yellow", "green",
                                         "blue", "purple", "black",  "white"};
  return kNames[static_cast<int>(color)];
}

Rgb color_rgb(Color color) {
  constexpr Rgb kValues[] = {{222, 40, 40}, {245, 140, 25}, {250, 215, 40}, {45, 160, 60},
                             {40, 95, 220}, {140, 60, 185}, {28, 28, 32},   {248, 248, 248}};
  return kValues[static_cast<int>(color)];
}

std::string_view relation_name(Relation relation) {
  constexpr std::string_view kNames[] = {"none", "left", "right", "above", "below", "next to"};
  return kNames[static_cast<int>(relation)];
}

Relation inverse(Relation relation) {
  switch (relation) {
    case Relation::kLeftOf:
      return Relation::kRightOf;
    case Relation::kRightOf:
      return Relation::kLeftOf;
    case Relation::kAbove:
      return Relation::kBelow;
    case Relation::kBelow:
      return Relation::kAbove;
    default:
      return relation;
  }
}

namespace {

constexpr std::nullopt_t kMany = std::nullopt;  // an emoji of several colours

constexpr ObjectKind kKinds[] = {
    // Animals
    {"cat", "cats", U'\U0001F431', "cat face", kMany, "kitty", "kitties"},
    {"dog", "dogs", U'\U0001F436', "dog face", kMany, "puppy", "puppies"},
    {"mouse", "mice", U'\U0001F42D', "mouse face", kMany, "", ""},
    {"rabbit", "rabbits", U'\U0001F430', "rabbit face", kMany, "bunny", "bunnies"},
    {"fox", "foxes", U'\U0001F98A', "fox", Color::kOrange, "", ""},
    {"bear", "bears", U'\U0001F43B', "bear", kMany, "", ""},
    {"panda", "pandas", U'\U0001F43C', "panda", kMany, "", ""},
    {"lion", "lions", U'\U0001F981', "lion", kMany, "", ""},
    {"tiger", "tigers", U'\U0001F42F', "tiger face", Color::kOrange, "", ""},
    {"cow", "cows", U'\U0001F42E', "cow face", kMany, "", ""},
    {"pig", "pigs", U'\U0001F437', "pig face", kMany, "", ""},
    {"frog", "frogs", U'\U0001F438', "frog", Color::kGreen, "", ""},
    {"monkey", "monkeys", U'\U0001F435', "monkey face", kMany, "", ""},
    {"chicken", "chickens", U'\U0001F414', "chicken", kMany, "hen", "hens"},
    {"penguin", "penguins", U'\U0001F427', "penguin", kMany, "", ""},
    {"duck", "ducks", U'\U0001F986', "duck", kMany, "", ""},
    {"owl", "owls", U'\U0001F989', "owl", kMany, "", ""},
    {"horse", "horses", U'\U0001F40E', "horse", kMany, "pony", "ponies"},
    {"bee", "bees", U'\U0001F41D', "honeybee", kMany, "", ""},
    {"butterfly", "butterflies", U'\U0001F98B', "butterfly", kMany, "", ""},
    {"snail", "snails", U'\U0001F40C', "snail", kMany, "", ""},
    {"turtle", "turtles", U'\U0001F422', "turtle", Color::kGreen, "", ""},
    {"snake", "snakes", U'\U0001F40D', "snake", Color::kGreen, "", ""},
    {"octopus", "octopuses", U'\U0001F419', "octopus", kMany, "", ""},
    {"crab", "crabs", U'\U0001F980', "crab", Color::kRed, "", ""},
    {"dolphin", "dolphins", U'\U0001F42C', "dolphin", Color::kBlue, "", ""},
    {"whale", "whales", U'\U0001F433', "spouting whale", Color::kBlue, "", ""},
    {"elephant", "elephants", U'\U0001F418', "elephant", kMany, "", ""},
    {"camel", "camels", U'\U0001F42A', "camel", kMany, "", ""},
    {"crocodile", "crocodiles", U'\U0001F40A', "crocodile", Color::kGreen, "", ""},
    // Fruit and food
    {"apple", "apples", U'\U0001F34E', "red apple", Color::kRed, "", ""},
    {"pear", "pears", U'\U0001F350', "pear", Color::kGreen, "", ""},
    {"lemon", "lemons", U'\U0001F34B', "lemon", Color::kYellow, "", ""},
    {"banana", "bananas", U'\U0001F34C', "banana", Color::kYellow, "", ""},
    {"watermelon", "watermelons", U'\U0001F349', "watermelon", kMany, "", ""},
    {"strawberry", "strawberries", U'\U0001F353', "strawberry", Color::kRed, "", ""},
    {"pineapple", "pineapples", U'\U0001F34D', "pineapple", kMany, "", ""},
    {"carrot", "carrots", U'\U0001F955', "carrot", Color::kOrange, "", ""},
    {"tomato", "tomatoes", U'\U0001F345', "tomato", Color::kRed, "", ""},
    {"mushroom", "mushrooms", U'\U0001F344', "mushroom", Color::kRed, "", ""},
    {"pizza", "pizzas", U'\U0001F355', "pizza", kMany, "", ""},
    {"cake", "cakes", U'\U0001F382', "birthday cake", kMany, "birthday cake", "birthday cakes"},
    {"egg", "eggs", U'\U0001F95A', "egg", kMany, "", ""},
    {"cookie", "cookies", U'\U0001F36A', "cookie", kMany, "", ""},
    {"burger", "burgers", U'\U0001F354', "hamburger", kMany, "hamburger", "hamburgers"},
    // Vehicles
    {"car", "cars", U'\U0001F697', "automobile", Color::kRed, "", ""},
    {"bus", "buses", U'\U0001F68C', "bus", kMany, "", ""},
    {"train", "trains", U'\U0001F686', "train", kMany, "", ""},
    {"bicycle", "bicycles", U'\U0001F6B2', "bicycle", kMany, "bike", "bikes"},
    {"sailboat", "sailboats", U'\U000026F5', "sailboat", kMany, "sailing boat", "sailing boats"},
    {"ship", "ships", U'\U0001F6A2', "ship", kMany, "", ""},
    {"plane", "planes", U'\U00002708', "airplane", kMany, "airplane", "airplanes"},
    {"rocket", "rockets", U'\U0001F680', "rocket", kMany, "", ""},
    {"tractor", "tractors", U'\U0001F69C', "tractor", kMany, "", ""},
    {"truck", "trucks", U'\U0001F69A', "delivery truck", kMany, "lorry", "lorries"},
    {"helicopter", "helicopters", U'\U0001F681', "helicopter", kMany, "", ""},
    // Things
    {"house", "houses", U'\U0001F3E0', "house", kMany, "", ""},
    {"castle", "castles", U'\U0001F3F0', "castle", kMany, "", ""},
    {"church", "churches", U'\U000026EA', "church", kMany, "chapel", "chapels"},
    {"tree", "trees", U'\U0001F333', "deciduous tree", Color::kGreen, "", ""},
    {"sunflower", "sunflowers", U'\U0001F33B', "sunflower", Color::kYellow, "", ""},
    {"rose", "roses", U'\U0001F339', "rose", Color::kRed, "", ""},
    {"cactus", "cactuses", U'\U0001F335', "cactus", Color::kGreen, "", ""},
    {"sun", "suns", U'\U00002600', "sun", Color::kOrange, "", ""},
    {"moon", "moons", U'\U0001F319', "crescent moon", Color::kYellow, "", ""},
    {"cloud", "clouds", U'\U00002601', "cloud", kMany, "", ""},
    {"umbrella", "umbrellas", U'\U00002602', "umbrella", Color::kPurple, "", ""},
    {"football", "footballs", U'\U000026BD', "soccer ball", kMany, "soccer ball", "soccer balls"},
    {"balloon", "balloons", U'\U0001F388', "balloon", Color::kRed, "", ""},
    {"present", "presents", U'\U0001F381', "wrapped gift", kMany, "gift", "gifts"},
    {"book", "books", U'\U0001F4D5', "closed book", Color::kRed, "", ""},
    {"key", "keys", U'\U0001F511', "key", Color::kYellow, "", ""},
    {"clock", "clocks", U'\U000023F0', "alarm clock", kMany, "alarm clock", "alarm clocks"},
    {"bell", "bells", U'\U0001F514', "bell", Color::kYellow, "", ""},
    {"guitar", "guitars", U'\U0001F3B8', "guitar", kMany, "", ""},
    {"drum", "drums", U'\U0001F941', "drum", kMany, "", ""},
    {"piano", "pianos", U'\U0001F3B9', "musical keyboard", kMany, "keyboard", "keyboards"},
    {"violin", "violins", U'\U0001F3BB', "violin", Color::kOrange, "fiddle", "fiddles"},
    {"trumpet", "trumpets", U'\U0001F3BA', "trumpet", Color::kYellow, "", ""},
    {"light bulb", "light bulbs", U'\U0001F4A1', "light bulb", Color::kYellow, "", ""},
    {"top hat", "top hats", U'\U0001F3A9', "top hat", Color::kBlack, "", ""},
    {"crown", "crowns", U'\U0001F451', "crown", Color::kYellow, "", ""},
    {"candle", "candles", U'\U0001F56F', "candle", Color::kWhite, "", ""},
    {"robot", "robots", U'\U0001F916', "robot", kMany, "", ""},
    {"ghost", "ghosts", U'\U0001F47B', "ghost", Color::kWhite, "", ""},
    {"snowman", "snowmen", U'\U000026C4', "snowman without snow", Color::kWhite, "", ""},
    {"globe", "globes", U'\U0001F30D', "globe showing Europe-Africa", kMany, "", ""},
    {"camera", "cameras", U'\U0001F4F7', "camera", kMany, "", ""},
    // Shapes, in the order of Shape
    {"circle", "circles", 0, "", kMany, "disc", "discs"},
    {"square", "squares", 0, "", kMany, "", ""},
    {"triangle", "triangles", 0, "", kMany, "", ""},
    {"star", "stars", 0, "", kMany, "", ""},
    {"heart", "hearts", 0, "", kMany, "", ""},
    {"diamond", "diamonds", 0, "", kMany, "rhombus", "rhombuses"},
    {"hexagon", "hexagons", 0, "", kMany, "", ""},
    {"cross", "crosses", 0, "", kMany, "", ""},
};
constexpr int kShapeCount = 8;

}  // namespace

std::span<const ObjectKind> object_kinds() {
  return kKinds;
}

int first_shape() {
  return static_cast<int>(std::size(kKinds)) - kShapeCount;
}

int kind_of(std::string_view noun) {
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    if (kKinds[i].noun == noun) {
      return static_cast<int>(i);
    }
  }
  throw InvalidArgument("'{}' is not an object of the world; expected a noun of its table", noun);
}

std::string background_name(int background) {
  constexpr std::string_view kPlaces[] = {"sky", "sea", "grass", "night", "sand", "snow"};
  if (background < kPlaceCount) {
    return std::string(kPlaces[background]);
  }
  return "plain " + std::string(color_name(static_cast<Color>(background - kPlaceCount)));
}

const std::vector<std::string>& background_phrases(int background) {
  static const auto kPhrases = [] {
    std::array<std::vector<std::string>, kBackgroundCount> phrases;
    phrases[kSky] = {"in the sky", "in the blue sky", "up in the sky", "in a clear sky"};
    phrases[kSea] = {"on the sea", "at sea", "on the water", "on the ocean", "on the blue sea"};
    phrases[kGrass] = {"on green grass", "on the grass", "in a meadow", "on a lawn", "in a field"};
    phrases[kNight] = {"at night", "in the night", "under a night sky", "under the stars"};
    phrases[kSand] = {"on the sand", "on a beach", "on the beach", "in the desert", "on sand"};
    phrases[kSnow] = {"in the snow", "on the snow", "on white snow", "on a snowy day"};
    for (int c = 0; c < kColorCount; ++c) {
      const std::string name(color_name(static_cast<Color>(c)));
      const std::string article = name == "orange" ? "an " : "a ";
      phrases[kPlaceCount + c] = {"on " + article + name + " background",
                                  "on a plain " + name + " background", "on plain " + name,
                                  "in front of " + article + name + " background"};
    }
    return phrases;
  }();
  return kPhrases[background];
}

Color background_hides(int background) {
  constexpr Color kHidden[] = {Color::kBlue,  Color::kBlue,   Color::kGreen,
                               Color::kBlack, Color::kYellow, Color::kWhite};
  return background < kPlaceCount ? kHidden[background]
                                  : static_cast<Color>(background - kPlaceCount);
}

}  // namespace tessera::world
