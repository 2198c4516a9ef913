// The grammar of scenes and its parser. Both work from the same word tables: the parser scans a
// text for the longest known phrase at each word (counts, sizes, colours, nouns, relations, sides,
// backgrounds) and puts the phrases together; an unknown word ends a noun phrase.

#include "train/world/scene_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

namespace tessera::world {

namespace {

using Words = std::vector<std::string>;

// Word tables.

const Words kSmallWords = {"small", "little", "tiny"};
const Words kBigWords = {"big", "large", "huge"};
const std::array<Words, 6> kRelationWords = {
    Words{},
    Words{"to the left of", "left of", "on the left of", "on the left side of"},
    Words{"to the right of", "right of", "on the right of", "on the right side of"},
    Words{"above", "over", "higher than"},
    Words{"below", "under", "beneath", "underneath"},
    Words{"next to", "beside", "near"}};
// How the second-named group's place is told: "a cat with a dog on its left". The first word list
// is for one thing, the second for several.
const std::array<std::array<Words, 2>, 5> kSideWords = {
    std::array{Words{}, Words{}},
    std::array{Words{"on its left", "to its left", "on the left"},
               Words{"on their left", "to their left", "on the left"}},
    std::array{Words{"on its right", "to its right", "on the right"},
               Words{"on their right", "to their right", "on the right"}},
    std::array{Words{"above it", "over it", "on top"}, Words{"above them", "over them", "on top"}},
    std::array{Words{"below it", "under it", "underneath it"},
               Words{"below them", "under them", "underneath them"}}};
const Words kNumberWords = {"no", "one", "two", "three", "four"};

// Tokens of the parser.

enum class TokenType {
  kUnknown,
  kCount,
  kSize,
  kColor,
  kKind,
  kRelation,
  kSide,
  kBackground,
  kTruth
};
struct Token {
  TokenType type = TokenType::kUnknown;
  int value = 0;
  bool plural = false;
  bool bare = false;  // a background named by one word alone, which any fuller phrase overrules
};

Words words_of(std::string_view text) {
  Words words;
  std::string word;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (c != '\'' && !word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) {
    words.push_back(std::move(word));
  }
  return words;
}

/// Phrases by their first word, longest first.
class PhraseTable {
 public:
  PhraseTable() {
    add_numbers();
    for (const auto& [list, size] :
         {std::pair{&kSmallWords, Size::kSmall}, std::pair{&kBigWords, Size::kBig}}) {
      for (const std::string& word : *list) {
        add(word, {TokenType::kSize, static_cast<int>(size)});
      }
    }
    for (int c = 0; c < kColorCount; ++c) {
      add(std::string(color_name(static_cast<Color>(c))), {TokenType::kColor, c});
    }
    add_kinds();
    add_places();
    add_backgrounds();
    for (auto& [word, entries] : entries_) {
      std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return a.words.size() > b.words.size();
      });
    }
  }

  /// The longest phrase at words[at]; `*length` gets its words (1 when unknown).
  Token match(const Words& words, size_t at, size_t* length) const {
    *length = 1;
    const auto found = entries_.find(words[at]);
    if (found == entries_.end()) {
      return {};
    }
    for (const Entry& entry : found->second) {
      if (entry.words.size() <= words.size() - at &&
          std::equal(entry.words.begin(), entry.words.end(),
                     words.begin() + static_cast<long>(at))) {
        *length = entry.words.size();
        return entry.token;
      }
    }
    return {};
  }

 private:
  struct Entry {
    Words words;
    Token token;
  };

  void add(const std::string& phrase, Token token) {
    Words words = words_of(phrase);
    const std::string first = words.front();
    entries_[first].push_back({std::move(words), token});
  }

  void add_numbers() {
    for (int n = 0; n < static_cast<int>(kNumberWords.size()); ++n) {
      add(kNumberWords[static_cast<size_t>(n)], {TokenType::kCount, n});
      add(std::to_string(n), {TokenType::kCount, n});
    }
    for (const char* one : {"a", "an", "a single", "only one", "just one"}) {
      add(one, {TokenType::kCount, 1});
    }
    for (const char* two : {"a pair of", "a couple of"}) {
      add(two, {TokenType::kCount, 2});
    }
    for (const char* none : {"none", "zero"}) {
      add(none, {TokenType::kCount, 0});
    }
    add("yes", {TokenType::kTruth, 1});
    add("no there", {TokenType::kTruth, 0});
  }

  void add_kinds() {
    const auto kinds = object_kinds();
    for (int i = 0; i < static_cast<int>(kinds.size()); ++i) {
      const ObjectKind& kind = kinds[static_cast<size_t>(i)];
      for (const auto& [noun, plural] :
           {std::pair{kind.noun, false}, std::pair{kind.plural, true},
            std::pair{kind.synonym, false}, std::pair{kind.synonym_plural, true}}) {
        if (!noun.empty()) {
          add(std::string(noun), {TokenType::kKind, i, plural});
        }
      }
    }
  }

  void add_places() {
    for (int r = 1; r < static_cast<int>(kRelationWords.size()); ++r) {
      for (const std::string& phrase : kRelationWords[static_cast<size_t>(r)]) {
        add(phrase, {TokenType::kRelation, r});
      }
    }
    for (int r = 1; r < static_cast<int>(kSideWords.size()); ++r) {
      for (const Words& list : kSideWords[static_cast<size_t>(r)]) {
        for (const std::string& phrase : list) {
          add(phrase, {TokenType::kSide, r});
        }
      }
    }
    add("at the top", {TokenType::kSide, static_cast<int>(Relation::kAbove)});
    add("at the bottom", {TokenType::kSide, static_cast<int>(Relation::kBelow)});
  }

  void add_backgrounds() {
    for (int b = 0; b < kBackgroundCount; ++b) {
      for (const std::string& phrase : background_phrases(b)) {
        add(phrase, {TokenType::kBackground, b});
      }
    }
    for (int c = 0; c < kColorCount; ++c) {
      const std::string name(color_name(static_cast<Color>(c)));
      for (const char* shape : {"{} background", "plain {}", "plain {} background"}) {
        add(fmt::format(fmt::runtime(shape), name), {TokenType::kBackground, kPlaceCount + c});
      }
    }
    const std::pair<const char*, int> kBare[] = {
        {"sky", kSky},        {"sea", kSea},         {"ocean", kSea},         {"water", kSea},
        {"grass", kGrass},    {"meadow", kGrass},    {"lawn", kGrass},        {"field", kGrass},
        {"night", kNight},    {"night sky", kNight}, {"sand", kSand},         {"beach", kSand},
        {"desert", kSand},    {"snow", kSnow},       {"green grass", kGrass}, {"blue sky", kSky},
        {"white snow", kSnow}};
    for (const auto& [word, background] : kBare) {
      add(word, {TokenType::kBackground, background, false, true});
    }
  }

  std::map<std::string, std::vector<Entry>> entries_;
};

std::vector<Token> scan(std::string_view text) {
  static const PhraseTable kTable;
  const Words words = words_of(text.substr(0, 4000));
  std::vector<Token> tokens;
  for (size_t i = 0; i < words.size();) {
    size_t length = 1;
    tokens.push_back(kTable.match(words, i, &length));
    i += length;
  }
  return tokens;
}

// Building phrases.

std::string article_for(std::string_view word) {
  return std::string_view("aeiou").find(word.front()) != std::string_view::npos ? "an" : "a";
}

/// Adjectives and noun of a group; with `rng` synonyms and true colours may be used.
std::string noun_phrase(const Group& group, Rng* rng, bool with_size = true) {
  const ObjectKind& kind = object_kinds()[static_cast<size_t>(group.kind)];
  Words words;
  if (with_size && group.size != Size::kNormal) {
    const Words& list = group.size == Size::kSmall ? kSmallWords : kBigWords;
    words.push_back(rng != nullptr && chance(*rng, 0.5) ? pick(*rng, list) : list.front());
  }
  if (group.color) {
    words.emplace_back(color_name(*group.color));
  } else if (rng != nullptr && kind.natural && chance(*rng, 0.08)) {
    words.emplace_back(color_name(*kind.natural));
  }
  const bool synonym = rng != nullptr && !kind.synonym.empty() && chance(*rng, 0.2);
  if (group.count == 1) {
    words.emplace_back(synonym ? kind.synonym : kind.noun);
  } else {
    words.emplace_back(synonym ? kind.synonym_plural : kind.plural);
  }
  return fmt::format("{}", fmt::join(words, " "));
}

/// "two red circles", "an apple".
std::string counted(const Group& group, Rng& rng) {
  const std::string phrase = noun_phrase(group, &rng);
  if (group.count == 1) {
    return (chance(rng, 0.1) ? "one" : article_for(phrase)) + " " + phrase;
  }
  if (group.count == 2 && chance(rng, 0.1)) {
    return (chance(rng, 0.5) ? "a pair of " : "a couple of ") + phrase;
  }
  return kNumberWords[static_cast<size_t>(group.count)] + " " + phrase;
}

std::string listed(const Scene& scene, Rng& rng) {
  Words parts;
  for (const Group& group : scene.groups) {
    parts.push_back(counted(group, rng));
  }
  if (parts.size() == 1) {
    return parts.front();
  }
  const std::string last = parts.back();
  parts.pop_back();
  return fmt::format("{} and {}", fmt::join(parts, ", "), last);
}

/// Both groups and their relation in one of four forms.
std::string related(const Scene& scene, Rng& rng) {
  Group first = scene.groups[0];
  Group second = scene.groups[1];
  Relation relation = scene.relation;
  if (chance(rng, 0.5)) {
    std::swap(first, second);
    relation = inverse(relation);
  }
  const auto r = static_cast<size_t>(relation);
  const std::string a = counted(first, rng);
  const std::string b = counted(second, rng);
  const double form = rng.uniform();
  if (form < 0.2 && relation != Relation::kNextTo) {
    const auto& sides = kSideWords[static_cast<size_t>(inverse(relation))];
    return fmt::format("{} with {} {}", a, b, pick(rng, sides[first.count == 1 ? 0 : 1]));
  }
  if (form < 0.35 && relation != Relation::kNextTo) {
    constexpr const char* kEnds[] = {"", "on the left", "on the right", "at the top",
                                     "at the bottom"};
    return fmt::format("{} {} and {} {}", a, kEnds[r], b,
                       kEnds[static_cast<size_t>(inverse(relation))]);
  }
  return fmt::format("{} {} {}", a, pick(rng, kRelationWords[r]), b);
}

bool plural_first(const std::string& phrase) {
  const std::vector<Token> tokens = scan(phrase);
  const auto found = std::find_if(tokens.begin(), tokens.end(), [](const Token& token) {
    return token.type == TokenType::kKind;
  });
  return found != tokens.end() && found->plural;
}

struct Told {
  std::string text;
  bool begins_with_background = false;
};

Told tell(const Scene& scene, Rng& rng, Detail detail) {
  bool say_background = scene.background != kUnsaid;
  bool say_relation = scene.relation != Relation::kNone;
  if (detail == Detail::kShort) {
    const bool drop_relation = say_relation && chance(rng, 0.5);
    say_relation = say_relation && !drop_relation;
    say_background = say_background && drop_relation;
  }
  Told told;
  told.text = say_relation ? related(scene, rng) : listed(scene, rng);
  if (say_background) {
    const std::string& place = pick(rng, background_phrases(scene.background));
    told.begins_with_background = chance(rng, 0.2);
    told.text = told.begins_with_background ? place + ", " + told.text : told.text + " " + place;
  }
  return told;
}

}  // namespace

std::string as_sentence(std::string text) {
  if (!text.empty()) {
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
    if (std::string_view(".?!").find(text.back()) == std::string_view::npos) {
      text += '.';
    }
  }
  return text;
}

std::string caption(const Scene& scene, Rng& rng, Detail detail) {
  return tell(scene, rng, detail).text;
}

std::string caption_inside(const Scene& scene, Rng& rng) {
  Told told = tell(scene, rng, Detail::kFull);
  while (told.begins_with_background) {
    told = tell(scene, rng, Detail::kFull);
  }
  return told.text;
}

std::string description(const Scene& scene, Rng& rng) {
  const Told told = tell(scene, rng, Detail::kFull);
  const double form = rng.uniform();
  if (told.begins_with_background || form < 0.4) {
    return as_sentence(told.text);
  }
  if (form < 0.7) {
    return as_sentence((plural_first(told.text) ? "there are " : "there is ") + told.text);
  }
  constexpr const char* kOpenings[] = {"I see ", "the picture shows ", "I can see ", "it shows "};
  return as_sentence(pick(rng, kOpenings) + told.text);
}

namespace {

/// Puts scanned tokens together.
class SceneBuilder {
 public:
  void take(const Token& token) {
    switch (token.type) {
      case TokenType::kCount:
        pending_ = {};
        pending_.count = token.value;
        break;
      case TokenType::kSize:
        pending_.size = static_cast<Size>(token.value);
        break;
      case TokenType::kColor:
        pending_.color = static_cast<Color>(token.value);
        break;
      case TokenType::kKind:
        add_group(token);
        break;
      case TokenType::kRelation:
        if (scene_.groups.size() == 1) {
          relation_ = static_cast<Relation>(token.value);
        }
        pending_ = {};
        break;
      case TokenType::kSide:
        if (!sides_.empty()) {
          sides_.back() = static_cast<Relation>(token.value);
        }
        pending_ = {};
        break;
      case TokenType::kBackground:
        if (scene_.background == kUnsaid || (bare_background_ && !token.bare)) {
          scene_.background = token.value;
          bare_background_ = token.bare;
        }
        pending_ = {};
        break;
      default:
        pending_ = {};
    }
  }

  Scene finish() {
    if (scene_.groups.size() == 2) {
      scene_.relation = relation_;
      if (relation_ == Relation::kNone) {
        scene_.relation = sides_[0] != Relation::kNone ? sides_[0] : inverse(sides_[1]);
      }
    }
    return scene_;
  }

 private:
  struct Pending {
    int count = kUnsaid;
    Size size = Size::kNormal;
    std::optional<Color> color;
  };

  void add_group(const Token& token) {
    constexpr size_t kMostGroups = 8;
    if (scene_.groups.size() < kMostGroups) {
      Group group;
      group.kind = token.value;
      group.count = pending_.count != kUnsaid ? pending_.count : token.plural ? kUnsaid : 1;
      group.size = pending_.size;
      if (object_kinds()[static_cast<size_t>(token.value)].natural != pending_.color) {
        group.color = pending_.color;
      }
      scene_.groups.push_back(group);
      sides_.push_back(Relation::kNone);
    }
    pending_ = {};
  }

  Scene scene_;
  std::vector<Relation> sides_;  // of each group: where a text puts it
  Relation relation_ = Relation::kNone;
  bool bare_background_ = false;
  Pending pending_;
};

}  // namespace

Scene parse_scene(std::string_view text) {
  SceneBuilder builder;
  for (const Token& token : scan(text)) {
    builder.take(token);
  }
  return builder.finish();
}

// Scores.

SlotScore& SlotScore::operator+=(const SlotScore& other) {
  right += other.right;
  said += other.said;
  truth += other.truth;
  return *this;
}

namespace {

void score_slot(SlotScore& score, bool in_truth, bool in_said, bool equal) {
  score.truth += in_truth ? 1 : 0;
  score.said += in_said ? 1 : 0;
  score.right += in_truth && in_said && equal ? 1 : 0;
}

/// Index in `said` of the best unused group of the same kind, or -1.
int find_group(const Group& truth, const Scene& said, const std::vector<bool>& used) {
  int best = -1;
  for (size_t i = 0; i < said.groups.size(); ++i) {
    if (!used[i] && said.groups[i].kind == truth.kind &&
        (best < 0 || said.groups[i].color == truth.color)) {
      best = static_cast<int>(i);
      if (said.groups[i].color == truth.color) {
        break;
      }
    }
  }
  return best;
}

void score_group(SlotScore& score, const Group* truth, const Group* said) {
  score_slot(score, truth != nullptr, said != nullptr, true);
  score_slot(score, truth != nullptr, said != nullptr && said->count != kUnsaid,
             truth != nullptr && said != nullptr && truth->count == said->count);
  score_slot(score, truth != nullptr && truth->color, said != nullptr && said->color,
             truth != nullptr && said != nullptr && truth->color == said->color);
  score_slot(score, truth != nullptr && truth->size != Size::kNormal,
             said != nullptr && said->size != Size::kNormal,
             truth != nullptr && said != nullptr && truth->size == said->size);
}

}  // namespace

SlotScore score_slots(const Scene& truth_scene, const Scene& said_scene) {
  const Scene truth = canonical(truth_scene);
  const Scene said = canonical(said_scene);
  SlotScore score;
  std::vector<bool> used(said.groups.size());
  std::vector<int> matched;
  for (const Group& group : truth.groups) {
    const int index = find_group(group, said, used);
    matched.push_back(index);
    if (index >= 0) {
      used[static_cast<size_t>(index)] = true;
    }
    score_group(score, &group, index >= 0 ? &said.groups[static_cast<size_t>(index)] : nullptr);
  }
  for (size_t i = 0; i < said.groups.size(); ++i) {
    if (!used[i]) {
      score_group(score, nullptr, &said.groups[i]);
    }
  }
  bool equal = false;
  if (truth.groups.size() == 2 && matched[0] >= 0 && matched[1] >= 0) {
    equal = (truth.relation == said.relation && matched[0] == 0 && matched[1] == 1) ||
            (said.relation == Relation::kNextTo && truth.relation == Relation::kLeftOf);
  }
  score_slot(score, truth.relation != Relation::kNone, said.relation != Relation::kNone, equal);
  score_slot(score, truth.background != kUnsaid, said.background != kUnsaid,
             truth.background == said.background);
  return score;
}

// Questions.

namespace {

std::string the(const Group& group) {
  return "the " + noun_phrase(group, nullptr, false);
}

std::string is_are(const Group& group) {
  return group.count == 1 ? "is" : "are";
}

int draw_emoji(Rng& rng, const WorldLimits& limits) {
  return static_cast<int>(rng.below(static_cast<uint64_t>(limits.emoji)));
}

Question ask_color(const Group& group, Rng& rng) {
  Group plain = group;
  plain.color.reset();
  const std::string color(color_name(*group.color));
  const std::string verb = is_are(group);
  constexpr const char* kForms[] = {"What colour {1} {0}?", "Which colour {1} {0}?",
                                    "What color {1} {0}?", "Tell me the colour of {0}."};
  const std::string question = fmt::format(fmt::runtime(pick(rng, kForms)), the(plain), verb);
  const std::string answer =
      chance(rng, 0.5) ? color : fmt::format("{} {} {}", the(plain), verb, color);
  return {QuestionKind::kColor, question, as_sentence(answer)};
}

Question ask_how_many(const Scene& scene, Rng& rng, const WorldLimits& limits) {
  Group group = pick(rng, scene.groups);
  if (chance(rng, 0.1)) {
    group = {.kind = draw_emoji(rng, limits), .count = 0};
    for (const Group& other : scene.groups) {
      group.count = other.kind == group.kind ? other.count : group.count;
    }
  }
  Group many = group;
  many.count = 2;
  const std::string plural = noun_phrase(many, nullptr, false);
  constexpr const char* kForms[] = {"How many {} are there?", "How many {} do you see?",
                                    "How many {} are in the picture?", "Count the {}."};
  const std::string number =
      group.count == 0 ? "none" : kNumberWords[static_cast<size_t>(group.count)];
  std::string answer = number;
  if (group.count > 0 && chance(rng, 0.5)) {
    answer =
        fmt::format("there {} {} {}", is_are(group), number, noun_phrase(group, nullptr, false));
  }
  return {QuestionKind::kHowMany, fmt::format(fmt::runtime(pick(rng, kForms)), plural),
          as_sentence(answer)};
}

Question ask_where(const Scene& scene, Rng& rng) {
  const bool first = scene.groups.size() == 1 || chance(rng, 0.5);
  const Group& group = scene.groups[first ? 0 : 1];
  std::string answer;
  if (scene.groups.size() == 2) {
    const Relation relation = first ? scene.relation : inverse(scene.relation);
    answer = fmt::format("{} {}", pick(rng, kRelationWords[static_cast<size_t>(relation)]),
                         the(scene.groups[first ? 1 : 0]));
  } else {
    answer = pick(rng, background_phrases(scene.background));
  }
  if (chance(rng, 0.3)) {
    answer = fmt::format("{} {} {}", the(group), is_are(group), answer);
  }
  constexpr const char* kForms[] = {"Where {1} {0}?", "Where in the picture {1} {0}?",
                                    "Can you tell me where {0} {1}?"};
  return {QuestionKind::kWhere,
          fmt::format(fmt::runtime(pick(rng, kForms)), the(group), is_are(group)),
          as_sentence(answer)};
}

Question ask_yes_no(const Scene& scene, Rng& rng, const WorldLimits& limits) {
  Group group = pick(rng, scene.groups);
  const bool all_there = limits.emoji <= static_cast<int>(scene.groups.size());
  const bool present = chance(rng, 0.5) || all_there;
  if (!present) {
    do {
      group = {.kind = draw_emoji(rng, limits)};
    } while (std::any_of(scene.groups.begin(), scene.groups.end(),
                         [&](const Group& other) { return other.kind == group.kind; }));
  }
  group.count = 1;
  const std::string noun = noun_phrase(group, nullptr, false);
  const std::string a_noun = article_for(noun) + " " + noun;
  constexpr const char* kForms[] = {"Is there {}?", "Do you see {}?", "Can you see {} here?",
                                    "Is there {} in the picture?"};
  const std::string question = fmt::format(fmt::runtime(pick(rng, kForms)), a_noun);
  std::string answer = present ? "Yes." : "No.";
  if (chance(rng, 0.4)) {
    answer = present ? fmt::format("Yes, there is {}.", a_noun)
                     : fmt::format("No, there is no {}.", noun);
  }
  return {QuestionKind::kYesNo, question, answer};
}

Question ask_background(const Scene& scene, Rng& rng) {
  constexpr const char* kForms[] = {"What is the background?", "What is in the background?",
                                    "Where does the scene take place?", "What is behind it all?"};
  return {QuestionKind::kBackground, pick(rng, kForms),
          as_sentence(pick(rng, background_phrases(scene.background)))};
}

Question ask_neighbour(const Scene& scene, Rng& rng) {
  const bool first = chance(rng, 0.5);
  const Relation relation = first ? scene.relation : inverse(scene.relation);
  const Group& subject = scene.groups[first ? 0 : 1];
  const Group& anchor = scene.groups[first ? 1 : 0];
  const std::string place = pick(rng, kRelationWords[static_cast<size_t>(relation)]);
  constexpr const char* kForms[] = {"What is {0} {1}?", "What do you see {0} {1}?",
                                    "Which thing is {0} {1}?"};
  return {QuestionKind::kNeighbour,
          fmt::format(fmt::runtime(pick(rng, kForms)), place, the(anchor)),
          as_sentence(counted(subject, rng))};
}

Question ask_what(const Scene& scene, Rng& rng) {
  constexpr const char* kForms[] = {"What is in the picture?", "What do you see?",
                                    "What does the picture show?", "What is this?",
                                    "What can you see here?"};
  return {QuestionKind::kWhat, pick(rng, kForms), description(scene, rng)};
}

/// The facts in an answer that count for its kind of question, as comparable text.
std::string facts(QuestionKind kind, std::string_view text) {
  const std::vector<Token> tokens = scan(text);
  std::string out;
  const auto keep = [&](TokenType type) {
    for (const Token& token : tokens) {
      if (token.type == type) {
        out += fmt::format("{}:{} ", static_cast<int>(type), token.value);
      }
    }
  };
  const Words words = words_of(text.substr(0, 200));
  switch (kind) {
    case QuestionKind::kColor:
      keep(TokenType::kColor);
      break;
    case QuestionKind::kHowMany:
      keep(TokenType::kCount);
      out = out.substr(0, out.find(' '));  // "there are two in a row": the first number counts
      break;
    case QuestionKind::kYesNo:
      return words.empty() ? "" : words.front();
    case QuestionKind::kBackground:
      keep(TokenType::kBackground);
      break;
    case QuestionKind::kWhere:
      keep(TokenType::kRelation);
      keep(TokenType::kBackground);
      if (!out.empty() && !tokens.empty()) {
        const auto last = std::find_if(tokens.rbegin(), tokens.rend(), [](const Token& token) {
          return token.type == TokenType::kKind || token.type == TokenType::kBackground;
        });
        out += last != tokens.rend() ? fmt::format("at {}", last->value) : "";
      }
      break;
    default: {
      for (const Group& group : parse_scene(text).groups) {
        out += fmt::format("{}x{}c{} ", group.kind, group.count,
                           group.color ? static_cast<int>(*group.color) : -1);
      }
    }
  }
  return out;
}

}  // namespace

Question ask(const Scene& scene, Rng& rng, const WorldLimits& limits) {
  const bool pair = scene.groups.size() == 2;
  const double u = rng.uniform();
  if (u < 0.2) {
    for (const Group& group : scene.groups) {
      const auto same = std::count_if(scene.groups.begin(), scene.groups.end(),
                                      [&](const Group& o) { return o.kind == group.kind; });
      if (group.color && same == 1) {
        return ask_color(group, rng);
      }
    }
  }
  if (u < 0.4) {
    return ask_how_many(scene, rng, limits);
  }
  if (u < 0.55 && scene.groups.size() <= 2) {
    return ask_where(scene, rng);
  }
  if (u < 0.7) {
    return ask_yes_no(scene, rng, limits);
  }
  if (u < 0.8) {
    return ask_background(scene, rng);
  }
  return pair && u < 0.92 ? ask_neighbour(scene, rng) : ask_what(scene, rng);
}

bool answer_is_right(const Question& question, std::string_view said) {
  if (question.kind == QuestionKind::kWhat) {
    const SlotScore score = score_slots(parse_scene(question.answer), parse_scene(said));
    return score.right == score.truth && score.said == score.truth;
  }
  const std::string expected = facts(question.kind, question.answer);
  return !expected.empty() && facts(question.kind, said) == expected;
}

}  // namespace tessera::world
