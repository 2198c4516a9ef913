// The kind of an item is drawn first; an item that does not fit is replaced by another of its kind,
// so that the recipe's proportions hold whatever the model lacks.
#include "train/data/world_items.h"

#include "core/error.h"
#include "core/strings.h"
#include "train/objectives/scene_batches.h"
#include "train/world/sentences.h"

#include <algorithm>

namespace tessera::train {
namespace {

constexpr const char* kChat = "chat";
constexpr const char* kOutside = "outside";
constexpr const char* kSmallTalk = "small_talk";
constexpr const char* kForeign = "foreign";
constexpr const char* kDigits = "digits";

std::optional<world::Pair> pair_named(const std::string& name) {
  for (const world::Pair& pair : world::all_pairs()) {
    if (world::pair_name(pair) == name) {
      return pair;
    }
  }
  return std::nullopt;
}

std::vector<std::string> known_kinds() {
  std::vector<std::string> names;
  for (const world::Pair& pair : world::all_pairs()) {
    names.push_back(world::pair_name(pair));
  }
  names.insert(names.end(), {kChat, kOutside, kSmallTalk, kForeign, kDigits});
  return names;
}

}  // namespace

WorldItems::WorldItems(const Options& data, const std::set<Modality>& offered, uint64_t seed)
    : seed_(seed), limits_(read_world_limits(data)) {
  const std::string splits[] = {"train", "validation", "test"};
  const std::string split = data.choice("split", "train", splits);
  split_ = split == "train"        ? world::Split::kTrain
           : split == "validation" ? world::Split::kValidation
                                   : world::Split::kTest;
  if (const io::fs::path folder = data.string("digits", ""); !folder.empty()) {
    digits_ = world::list_digits(folder);
    std::erase_if(digits_, [&](const auto& digit) { return digit.split() != split_; });
  }
  const Options mixture = data.section("mixture");
  const std::vector<std::string> known = known_kinds();
  for (const std::string& kind : mixture.keys()) {
    const auto near = closest_match(kind, known);
    TESSERA_CHECK(std::find(known.begin(), known.end(), kind) != known.end(), InvalidArgument,
                  "{}: no such kind of item{}; known: {}", mixture.where(kind),
                  near ? ", did you mean '" + *near + "'?" : "", join(known, ", "));
    const double weight = mixture.number(kind, 0, {0, 1e6});
    if (weight == 0) {
      continue;
    }
    mixture_.emplace_back(kind, weight);
    total_ += weight;
    const std::optional<world::Pair> pair =
        kind == kDigits ? world::Pair{Modality::kSpeech, Modality::kText} : pair_named(kind);
    TESSERA_CHECK(kind != kDigits || !digits_.empty(), InvalidArgument,
                  "{}: give the folder of recorded digits as {}", mixture.where(kind),
                  data.where("digits"));
    if (!pair) {
      modalities_.insert(offered.begin(), offered.end());
      continue;
    }
    for (const Modality modality : {pair->from, pair->to}) {
      TESSERA_CHECK(modality == Modality::kText || offered.contains(modality), InvalidArgument,
                    "{}: the model has no codec for {}", mixture.where(kind),
                    modality_name(modality));
      modalities_.insert(modality);
    }
  }
  modalities_.erase(Modality::kText);
  TESSERA_CHECK(!mixture_.empty(), InvalidArgument, "{}: give weights of kinds of items: {}",
                data.where("mixture"), join(known, ", "));
}

world::Item WorldItems::make(const std::string& kind, uint64_t index) const {
  if (kind == kChat) {
    return world::make_chat(index, seed_, split_, limits_);
  }
  if (kind == kOutside) {
    return world::make_outside_item(index, seed_, split_, limits_);
  }
  if (kind == kForeign) {
    const bool pictures = modalities_.contains(Modality::kImage);
    const bool speech = modalities_.contains(Modality::kSpeech);
    const bool picture = pictures && (!speech || index % 2 == 0);
    return world::make_foreign_item(picture ? Modality::kImage : Modality::kSpeech, index, seed_,
                                    split_);
  }
  if (kind == kDigits) {
    const auto& digit = digits_[Rng(seed_ ^ hash_name(kDigits), index).below(digits_.size())];
    return world::make_digit_item(digit.path.string(), digit.digit, index, seed_, split_);
  }
  if (kind == kSmallTalk) {
    Rng rng(seed_ ^ hash_name(kSmallTalk), index);
    world::SmallTalk talk = world::draw_small_talk(rng);
    world::Item item;
    item.task = kSmallTalk;
    item.split = split_;
    item.turns = {{{}, std::move(talk.said), {world::TextPart{std::move(talk.reply)}}}};
    return item;
  }
  return world::make_item(*pair_named(kind), index, seed_, split_, limits_);
}

bool WorldItems::keep(world::Item& item) const {
  const auto has = [&](const world::PartSpec& part) {
    const Modality modality = world::modality_of(part);
    return modality == Modality::kText || modalities_.contains(modality);
  };
  std::erase_if(item.turns, [&](const world::Turn& turn) {
    return !std::all_of(turn.inputs.begin(), turn.inputs.end(), has) ||
           !std::all_of(turn.outputs.begin(), turn.outputs.end(), has);
  });
  return !item.turns.empty();
}

world::Item WorldItems::draw(uint64_t index) const {
  Rng rng(seed_ ^ hash_name("mixture"), index);
  double left = rng.uniform() * total_;
  size_t chosen = 0;
  while (chosen + 1 < mixture_.size() && left >= mixture_[chosen].second) {
    left -= mixture_[chosen++].second;
  }
  constexpr uint64_t kAttempts = 1000;
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    world::Item item = make(mixture_[chosen].first, index + (attempt << 48));
    if (keep(item)) {
      return item;
    }
  }
  throw InvalidArgument("no item of the kind '{}' in {} does without other modalities",
                        mixture_[chosen].first, kAttempts);
}

io::Json WorldItems::settings() const {
  io::Json mixture = io::Json::object();
  for (const auto& [kind, weight] : mixture_) {
    mixture[kind] = weight;
  }
  return {{"seed", seed_},
          {"split", world::split_name(split_)},
          {"mixture", mixture},
          {"digits", digits_.size()},
          {"world",
           {{"emoji", limits_.emoji}, {"groups", limits_.groups}, {"voices", limits_.voices}}}};
}

std::string user_text(const world::Turn& turn) {
  std::string text = turn.instruction;
  for (const world::PartSpec& part : turn.inputs) {
    if (const auto* words = std::get_if<world::TextPart>(&part)) {
      text += (text.empty() ? "" : " ") + words->text;
    }
  }
  return text;
}

}  // namespace tessera::train
