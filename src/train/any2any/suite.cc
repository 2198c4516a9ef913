// Items come from the world's endless lists by index, so that a longer run begins with the items of
// a shorter one. Files are taken in an order that the seed decides.
#include "train/any2any/suite.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/audio.h"
#include "io/image.h"
#include "train/data/world_items.h"
#include "train/world/recordings.h"
#include "train/world/sentences.h"

#include <algorithm>

namespace tessera::any2any {
namespace {

namespace fs = io::fs;
using world::Item;
using world::Pair;

constexpr Pair kSpeechText{Modality::kSpeech, Modality::kText};
constexpr Pair kTextSpeech{Modality::kText, Modality::kSpeech};

template <class Items>
void shuffle(Items& items, uint64_t seed) {
  Rng rng(seed, hash_name("files"));
  for (size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[rng.below(i)]);
  }
}

// Files of a folder with one of the extensions, in an order of the seed.
std::vector<std::string> list_files(const fs::path& folder,
                                    std::initializer_list<std::string_view> extensions,
                                    uint64_t seed) {
  std::error_code error;
  TESSERA_CHECK(fs::is_directory(folder, error), NotFound, "{}: no such folder", folder.string());
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::string extension = entry.path().extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (entry.is_regular_file() &&
        std::find(extensions.begin(), extensions.end(), extension) != extensions.end()) {
      files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  shuffle(files, seed);
  return files;
}

Item outside_item(Modality from, uint64_t index) {
  const std::vector<std::string>& wordings = world::instructions({from, Modality::kText});
  Item item;
  item.task = "outside";
  item.split = world::Split::kTest;
  item.turns.resize(1);
  item.turns[0].instruction = wordings[index % wordings.size()];
  return item;
}

Item digit_item(int digit, uint64_t index) {
  const std::vector<std::string>& wordings = world::instructions(kSpeechText);
  Item item;
  item.task = world::pair_name(kSpeechText);
  item.split = world::Split::kTest;
  item.turns.resize(1);
  item.turns[0].instruction = wordings[index % wordings.size()];
  item.turns[0].outputs = {world::TextPart{world::number_words(digit)}};
  return item;
}

Part read_part(const std::string& file, Modality modality) {
  if (modality == Modality::kImage) {
    return {modality, io::read_image(file), file};
  }
  return {modality, io::read_audio(file, {.sample_rate = world::kSpeechRate, .mono = true}), file};
}

}  // namespace

std::string_view plain_name(Modality modality) {
  return modality == Modality::kImage ? "picture" : modality_name(modality);
}

Message user_message(const world::Turn& turn, std::vector<Part> inputs) {
  Message message;
  for (Part& part : inputs) {
    if (part.modality != Modality::kText) {
      message.parts.push_back(std::move(part));
    }
  }
  if (std::string text = train::user_text(turn); !text.empty()) {
    message.parts.push_back(Part::text(std::move(text)));
  }
  return message;
}

Suite::Suite(SuiteOptions options, Studio studio)
    : options_(std::move(options)), studio_(std::move(studio)) {
  if (!options_.data.empty()) {
    std::error_code error;
    TESSERA_CHECK(fs::is_directory(options_.data, error), NotFound,
                  "{}: no such folder; --data is one that holds fsdd/ or ljspeech/",
                  options_.data.string());
    if (const fs::path folder = options_.data / "fsdd"; fs::exists(folder, error)) {
      for (const world::DigitRecording& digit : world::list_digits(folder)) {
        if (digit.split() == world::Split::kTest) {
          digits_.emplace_back(digit.path.string(), digit.digit);
        }
      }
      shuffle(digits_, options_.seed);
    }
    if (const fs::path folder = options_.data / "ljspeech"; fs::exists(folder, error)) {
      recordings_ = list_files(folder, {".flac", ".wav"}, options_.seed);
    }
  }
  if (!options_.photos.empty()) {
    photographs_ = list_files(options_.photos, {".jpg", ".jpeg", ".png", ".webp"}, options_.seed);
  }
  add_rows();
  check_names();
  std::erase_if(rows_, [&](const Row& row) {
    const auto& only = options_.only;
    return !only.empty() && std::find(only.begin(), only.end(), row.name) == only.end();
  });
  for (Row& row : rows_) {
    row.skipped = why_skipped(row);
  }
}

void Suite::add_rows() {
  for (const Pair& pair : world::all_pairs()) {
    rows_.push_back({.name = world::pair_name(pair),
                     .title = fmt::format("{} → {}", plain_name(pair.from), plain_name(pair.to)),
                     .kind = RowKind::kPair,
                     .pair = pair});
  }
  const Pair to_text{Modality::kImage, Modality::kText};
  rows_.push_back({"speech-text-left-out", "speech → text, a voice that training never heard",
                   RowKind::kLeftOutVoice, kSpeechText});
  rows_.push_back({"text-speech-left-out", "text → speech in a voice that training never heard",
                   RowKind::kLeftOutVoice, kTextSpeech});
  rows_.push_back({"speech-text-digits", "speech → text, digits spoken by real people",
                   RowKind::kDigits, kSpeechText, digits_.size()});
  rows_.push_back({"outside",
                   "requests outside its world",
                   RowKind::kOutside,
                   {Modality::kText, Modality::kText},
                   world::outside_prompts(world::Split::kTest).size()});
  rows_.push_back(
      {"outside-photographs", "photographs", RowKind::kPhotographs, to_text, photographs_.size()});
  rows_.push_back({"outside-recordings", "recordings of a reader (ljspeech)", RowKind::kRecordings,
                   kSpeechText, recordings_.size()});
}

void Suite::check_names() const {
  std::vector<std::string> names;
  for (const Row& row : rows_) {
    names.push_back(row.name);
  }
  for (const std::string& name : options_.only) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::optional<std::string> near = closest_match(name, names);
      throw InvalidArgument("there is no row '{}'{}; the rows are {}", name,
                            near ? fmt::format(" (did you mean {}?)", *near) : "",
                            join(names, ", "));
    }
  }
}

std::string Suite::why_skipped(const Row& row) const {
  for (const Modality modality : {row.pair.from, row.pair.to}) {
    if (modality != Modality::kText && !options_.modalities.contains(modality)) {
      return fmt::format("the model has no {}", plain_name(modality));
    }
    const bool from_files = row.kind >= RowKind::kDigits;
    if (const auto missing = studio_.missing.find(modality);
        missing != studio_.missing.end() && !from_files) {
      return missing->second;
    }
  }
  if (row.most == 0) {
    return row.kind == RowKind::kDigits       ? "needs --data FOLDER with fsdd/"
           : row.kind == RowKind::kRecordings ? "needs --data FOLDER with ljspeech/"
                                              : "needs --photos FOLDER";
  }
  return {};
}

CaseSpec Suite::spec(const Row& row, size_t index) const {
  TESSERA_CHECK(index < row.most, InvalidArgument, "row {} has {} items, not {}", row.name,
                row.most, index + 1);
  const uint64_t seed = options_.seed;
  switch (row.kind) {
    case RowKind::kPair:
      return {world::make_item(row.pair, index, seed, world::Split::kTest, options_.limits), {}};
    case RowKind::kLeftOutVoice:
      return {world::make_left_out_voice_item(row.pair.from, index, seed), {}};
    case RowKind::kDigits:
      return {digit_item(digits_[index].second, index), digits_[index].first};
    case RowKind::kPhotographs:
      return {outside_item(Modality::kImage, index), photographs_[index]};
    case RowKind::kRecordings:
      return {outside_item(Modality::kSpeech, index), recordings_[index]};
    case RowKind::kOutside:
      break;
  }
  return {world::make_outside_item(index, seed, world::Split::kTest, options_.limits), {}};
}

std::vector<Case> Suite::cases(const Row& row, size_t first, size_t count) const {
  std::vector<CaseSpec> specs;
  std::vector<std::vector<world::PartSpec>> inputs;
  for (size_t i = first; i < std::min(first + count, row.most); ++i) {
    specs.push_back(spec(row, i));
    inputs.push_back(specs.back().item.turns.front().inputs);
  }
  std::vector<std::vector<Part>> rendered = render_parts(studio_, options_.sizes, inputs);
  std::vector<Case> cases;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (!specs[i].file.empty()) {
      rendered[i].push_back(read_part(specs[i].file, row.pair.from));
    }
    Message message = user_message(specs[i].item.turns.front(), std::move(rendered[i]));
    cases.push_back({std::move(specs[i].item), {std::move(message)}});
  }
  return cases;
}

std::vector<std::vector<Part>> Suite::truth(std::span<const Case> cases) const {
  std::vector<std::vector<world::PartSpec>> outputs;
  for (const Case& one : cases) {
    outputs.push_back(one.item.turns.front().outputs);
  }
  return render_parts(studio_, options_.sizes, outputs);
}

std::vector<Item> Suite::training_items(const Row& row, size_t count) const {
  // Other items than those of any test list: the split differs.
  const uint64_t seed = mix64(options_.seed ^ hash_name("baselines"));
  std::vector<Item> items;
  for (size_t i = 0; i < count; ++i) {
    items.push_back(
        row.pair.from == row.pair.to || row.kind >= RowKind::kOutside
            ? world::make_outside_item(i, seed, world::Split::kTrain, options_.limits)
            : world::make_item(row.pair, i, seed, world::Split::kTrain, options_.limits));
  }
  return items;
}

}  // namespace tessera::any2any
