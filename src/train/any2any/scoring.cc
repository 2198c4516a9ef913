// Groups of a scene are compared by their kinds: exact looks are paired first, so that "a red and a
// blue circle" is not turned round by the order of the judge's answers.
#include "train/any2any/scoring.h"

#include "core/error.h"
#include "text/recognition.h"
#include "train/world/sentences.h"

#include <algorithm>

namespace tessera::any2any {
namespace {

using world::Group;
using world::Item;
using world::MelodySlots;
using world::MusicPart;
using world::Relation;
using world::Scene;
using world::ScenePart;
using world::SpeechPart;
using world::TextPart;

using Scores = std::map<std::string, Sample>;

/// The first part of a kind; null when there is none.
template <class Kind>
const Kind* find_part(const std::vector<world::PartSpec>& parts) {
  for (const world::PartSpec& part : parts) {
    if (const auto* found = std::get_if<Kind>(&part)) {
      return found;
    }
  }
  return nullptr;
}

template <class Kind>
const Kind& need_part(const std::vector<world::PartSpec>& parts, const Item& item) {
  const Kind* found = find_part<Kind>(parts);
  TESSERA_CHECK(found != nullptr, Internal, "an item of {} lacks a part", item.task);
  return *found;
}

Sample rate(bool right, int group = -1) {
  return {right ? 1.0 : 0.0, 1, group};
}

// For each true group its place among the seen ones, or −1.
std::vector<int> match_groups(const Scene& truth, const Scene& seen) {
  std::vector<int> match(truth.groups.size(), -1);
  std::vector<bool> used(seen.groups.size());
  for (const bool exact : {true, false}) {
    for (size_t i = 0; i < truth.groups.size(); ++i) {
      for (size_t j = 0; j < seen.groups.size() && match[i] < 0; ++j) {
        const bool fits = seen.groups[j].kind == truth.groups[i].kind &&
                          (!exact || seen.groups[j].color == truth.groups[i].color);
        if (fits && !used[j]) {
          match[i] = static_cast<int>(j);
          used[j] = true;
        }
      }
    }
  }
  return match;
}

void score_scene(const Scene& truth, const std::optional<Scene>& found, Scores& out) {
  const Scene seen = found.value_or(Scene{});
  const std::vector<int> match = match_groups(truth, seen);
  bool objects = truth.groups.size() == seen.groups.size();
  bool colours = true;
  bool counts = true;
  bool any_colour = false;
  for (size_t i = 0; i < truth.groups.size(); ++i) {
    const Group* group = match[i] < 0 ? nullptr : &seen.groups[static_cast<size_t>(match[i])];
    objects = objects && group != nullptr;
    counts = counts && group != nullptr && group->count == truth.groups[i].count;
    if (truth.groups[i].color) {
      any_colour = true;
      colours = colours && group != nullptr && group->color == truth.groups[i].color;
    }
  }
  out["object"] = rate(objects);
  out["count"] = rate(counts);
  if (any_colour) {
    out["colour"] = rate(colours);
  }
  if (truth.groups.size() == 2) {
    const bool both = match[0] >= 0 && match[1] >= 0 && seen.groups.size() == 2;
    const Relation relation = match[0] == 0 ? seen.relation : world::inverse(seen.relation);
    out["relation"] = rate(both && relation == truth.relation);
  }
  out["background"] = rate(found && seen.background == truth.background);
}

void score_music(const std::optional<world::Key>& true_key,
                 const std::optional<world::Metre>& true_metre,
                 const std::optional<world::Key>& key,
                 const std::optional<world::Metre>& metre,
                 Scores& out) {
  if (true_key) {
    out["key"] = rate(key == true_key, true_key->index());
  }
  if (true_metre) {
    out["metre"] = rate(metre == true_metre, static_cast<int>(*true_metre));
  }
}

Sample slots(const Scene& truth, const Scene& said) {
  const world::SlotScore score = world::score_slots(truth, said);
  return {2.0 * score.right, static_cast<double>(score.said + score.truth)};
}

Sample words(std::string_view truth, std::string_view said) {
  const text::ErrorCount errors = text::word_errors(truth, said);
  return {static_cast<double>(errors.errors), static_cast<double>(errors.total)};
}

Sample row(std::optional<int> truth, std::optional<int> found) {
  return rate(found && found == truth);
}

std::optional<int> row_of_music(const Findings& found) {
  return found.key && found.metre ? world::row_of(*found.key, *found.metre) : std::nullopt;
}

void score_picture(const Item& item, const Findings& found, Scores& out) {
  const world::Turn& turn = item.turns.front();
  if (const auto* music = find_part<MusicPart>(turn.inputs)) {
    out["row"] = row(world::row_of(music->melody.key, music->melody.metre),
                     found.scene ? world::row_of(*found.scene) : std::nullopt);
    return;
  }
  score_scene(need_part<ScenePart>(turn.outputs, item).scene, found.scene, out);
}

void score_sound(const Item& item, const Findings& found, Scores& out) {
  const world::Turn& turn = item.turns.front();
  if (const auto* picture = find_part<ScenePart>(turn.inputs)) {
    out["row"] = row(world::row_of(picture->scene), row_of_music(found));
    return;
  }
  const world::Melody& truth = need_part<MusicPart>(turn.outputs, item).melody;
  score_music(truth.key, truth.metre, found.key, found.metre, out);
}

void score_text(const Item& item, const Findings& found, Scores& out) {
  const world::Turn& turn = item.turns.front();
  const std::string& truth = need_part<TextPart>(turn.outputs, item).text;
  if (const auto* picture = find_part<ScenePart>(turn.inputs)) {
    if (item.question) {
      out["answer"] = rate(world::answer_is_right(*item.question, found.text));
    } else {
      out["slot_f1"] =
          slots(picture->scene, found.scene ? *found.scene : world::parse_scene(found.text));
    }
  } else if (find_part<MusicPart>(turn.inputs) != nullptr) {
    const MelodySlots told = world::parse_melody(truth);
    MelodySlots said = world::parse_melody(found.text);
    said.key = found.key ? found.key : said.key;
    said.metre = found.metre ? found.metre : said.metre;
    score_music(told.key, told.metre, said.key, said.metre, out);
  } else {
    out["wer"] = words(truth, found.words.value_or(found.text));
  }
}

void score_speech(const Item& item, const Findings& found, const Senses& senses, Scores& out) {
  const world::Turn& turn = item.turns.front();
  const SpeechPart& truth = need_part<SpeechPart>(turn.outputs, item);
  const std::string said = found.words.value_or("");
  if (senses.words) {
    if (const auto* picture = find_part<ScenePart>(turn.inputs)) {
      out["slot_f1"] = slots(picture->scene, world::parse_scene(said));
    } else if (find_part<MusicPart>(turn.inputs) != nullptr) {
      const MelodySlots told = world::parse_melody(truth.text);
      const MelodySlots heard = world::parse_melody(said);
      score_music(told.key, told.metre, heard.key, heard.metre, out);
    } else {
      out["wer"] = words(truth.text, said);
    }
  }
  if (senses.voice) {
    constexpr const char* kNames[] = {"voice_default", "voice_named", "voice_prompted"};
    out[kNames[static_cast<int>(item.voice_choice)]] = rate(found.voice == truth.voice);
  }
}

}  // namespace

world::Pair pair_of(const Item& item) {
  for (const world::Pair& pair : world::all_pairs()) {
    if (world::pair_name(pair) == item.task) {
      return pair;
    }
  }
  throw InvalidArgument("the task '{}' is no pair of modalities", item.task);
}

Modality wanted_of(const Item& item) {
  return item.task == "outside" ? Modality::kText : pair_of(item).to;
}

Findings true_findings(const Item& item) {
  Findings found;
  for (const world::PartSpec& part : item.turns.front().outputs) {
    if (const auto* text = std::get_if<TextPart>(&part)) {
      found.text += text->text;
    } else if (const auto* picture = std::get_if<ScenePart>(&part)) {
      found.scene = picture->scene;
    } else if (const auto* speech = std::get_if<SpeechPart>(&part)) {
      found.words = speech->text;
      found.voice = speech->voice;
    } else if (const auto* music = std::get_if<MusicPart>(&part)) {
      found.key = music->melody.key;
      found.metre = music->melody.metre;
    }
  }
  return found;
}

Scores score(const Item& item, const Findings& found, const Senses& senses) {
  Scores out;
  if (item.task == "outside") {
    out["helpful"] = rate(world::is_helpful(found.text, found.valid));
    return out;
  }
  switch (pair_of(item).to) {
    case Modality::kText:
      score_text(item, found, out);
      break;
    case Modality::kImage:
      if (senses.scene) {
        score_picture(item, found, out);
      }
      break;
    case Modality::kSpeech:
      score_speech(item, found, senses, out);
      break;
    case Modality::kMusic:
      if (senses.music) {
        score_sound(item, found, out);
      }
      break;
  }
  return out;
}

Average average_of(std::string_view metric) {
  return metric == "key" || metric == "metre" ? Average::kMacro : Average::kMicro;
}

namespace {

// Items with equal numbers ask for the same kind of fact.
int kind_of_fact(const Item& item) {
  if (item.question) {
    return 1 + static_cast<int>(item.question->kind);
  }
  if (item.task == "music-text") {
    const auto* truth = find_part<TextPart>(item.turns.front().outputs);
    const MelodySlots told = world::parse_melody(truth != nullptr ? truth->text : "");
    return 100 + (told.key ? 1 : 0) + (told.metre ? 2 : 0);
  }
  return 0;
}

/// Counts values; the mode is the smallest of the most frequent ones.
template <class Value>
class Mode {
 public:
  void add(const Value& value) { ++counts_[value]; }
  bool empty() const { return counts_.empty(); }
  /// The `most` most frequent values, best first.
  std::vector<Value> best(size_t most) const {
    std::vector<std::pair<int, Value>> sorted;
    for (const auto& [value, count] : counts_) {
      sorted.emplace_back(-count, value);
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<Value> out;
    for (size_t i = 0; i < std::min(most, sorted.size()); ++i) {
      out.push_back(sorted[i].second);
    }
    return out;
  }
  std::optional<Value> get() const {
    return empty() ? std::nullopt : std::optional<Value>(best(1).front());
  }

 private:
  std::map<Value, int> counts_;
};

Scene modal_scene(const std::vector<const Scene*>& scenes) {
  Mode<size_t> sizes;
  Mode<int> kinds, colours, counts, backgrounds, relations;
  for (const Scene* scene : scenes) {
    sizes.add(scene->groups.size());
    backgrounds.add(scene->background);
    if (scene->groups.size() == 2) {
      relations.add(static_cast<int>(scene->relation));
    }
    for (const Group& group : scene->groups) {
      kinds.add(group.kind);
      counts.add(group.count);
      if (group.color) {
        colours.add(static_cast<int>(*group.color));
      }
    }
  }
  Scene scene;
  scene.background = backgrounds.get().value_or(0);
  for (const int kind : kinds.best(sizes.get().value_or(0))) {
    Group group{.kind = kind, .count = counts.get().value_or(1)};
    if (world::is_shape(kind)) {
      group.color = static_cast<world::Color>(colours.get().value_or(0));
    }
    scene.groups.push_back(group);
  }
  if (scene.groups.size() == 2) {
    scene.relation = static_cast<Relation>(relations.get().value_or(1));
  }
  return scene;
}

// The most frequent facts of items that ask for the same kind.
Findings modes_of(const std::vector<const Item*>& items) {
  Mode<std::string> texts, sentences;
  Mode<int> voices, keys, metres, rows;
  std::vector<const Scene*> scenes;
  bool captions = false;
  bool table = false;
  for (const Item* item : items) {
    const world::Turn& turn = item->turns.front();
    const Findings truth = true_findings(*item);
    texts.add(truth.text);
    captions = captions || (!item->question && item->task.starts_with("image-"));
    if (const auto* picture = find_part<ScenePart>(turn.inputs)) {
      scenes.push_back(&picture->scene);
    }
    if (const auto* picture = find_part<ScenePart>(turn.outputs)) {
      scenes.push_back(&picture->scene);
    }
    if (truth.words) {
      sentences.add(*truth.words);
      voices.add(*truth.voice);
    }
    const MelodySlots told = world::parse_melody(truth.text + " " + truth.words.value_or(""));
    const auto key = truth.key ? truth.key : told.key;
    const auto metre = truth.metre ? truth.metre : told.metre;
    if (key) {
      keys.add(key->index());
    }
    if (metre) {
      metres.add(static_cast<int>(*metre));
    }
    table = table || item->task == "image-music" || item->task == "music-image";
    if (table && !scenes.empty()) {
      rows.add(world::row_of(*scenes.back()).value_or(0));
    }
  }
  Findings modes;
  modes.text = texts.get().value_or("");
  modes.words = sentences.get();
  modes.voice = voices.get();
  if (keys.get()) {
    modes.key = world::Key{*keys.get() % 12, *keys.get() >= 12};
  }
  if (metres.get()) {
    modes.metre = static_cast<world::Metre>(*metres.get());
  }
  if (!scenes.empty()) {
    modes.scene = modal_scene(scenes);
  }
  if (rows.get()) {
    const world::MoodRow& wanted = world::mood_table()[static_cast<size_t>(*rows.get())];
    modes.key = wanted.key;
    modes.metre = wanted.metre;
    const auto fits = [&](const Scene* scene) { return world::row_of(*scene) == rows.get(); };
    modes.scene = **std::find_if(scenes.begin(), scenes.end(), fits);
  }
  // Few captions and no descriptions of music occur twice: the constant one is made of the modes.
  Rng rng(0);
  if (captions && modes.scene && !rows.get()) {
    modes.text = world::description(*modes.scene, rng);
    modes.words = modes.text;
  }
  if (items.front()->task == "music-text" || items.front()->task == "music-speech") {
    modes.text = fmt::format("{} {}", modes.key ? world::key_name(*modes.key) : "",
                             modes.metre ? world::metre_name(*modes.metre) : "");
    modes.words = modes.text;
  }
  return modes;
}

// Facts that a reply of the item's modality can show.
Findings shown(const Item& item, Findings found) {
  const Modality wanted = wanted_of(item);
  if (wanted != Modality::kImage) {
    found.scene.reset();
  }
  if (wanted != Modality::kMusic) {
    found.key.reset();
    found.metre.reset();
  }
  if (wanted != Modality::kSpeech) {
    found.words.reset();
    found.voice.reset();
  }
  return found;
}

}  // namespace

Baselines::Baselines(std::vector<Item> pool) : pool_(std::move(pool)) {
  for (size_t i = 0; i < pool_.size(); ++i) {
    kinds_[kind_of_fact(pool_[i])].push_back(i);
  }
  for (const auto& [kind, indices] : kinds_) {
    std::vector<const Item*> items;
    for (const size_t index : indices) {
      items.push_back(&pool_[index]);
    }
    modes_[kind] = modes_of(items);
  }
}

Findings Baselines::chance(const Item& item, Rng& rng) const {
  const auto found = kinds_.find(kind_of_fact(item));
  if (found == kinds_.end()) {
    return {};
  }
  const Item& other = pool_[world::pick(rng, found->second)];
  Findings guess = shown(item, true_findings(other));
  if (guess.voice) {
    guess.voice = static_cast<int>(rng.below(world::voices().size()));
  }
  return guess;
}

Findings Baselines::majority(const Item& item) const {
  const auto found = modes_.find(kind_of_fact(item));
  return found == modes_.end() ? Findings{} : shown(item, found->second);
}

}  // namespace tessera::any2any
