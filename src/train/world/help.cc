#include "train/world/help.h"

#include "train/world/melody.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace tessera::world {
namespace {

std::vector<std::string> picture_lines(const WorldLimits& limits) {
  std::vector<std::string> objects, shapes, colors, places;
  const auto kinds = object_kinds();
  for (int kind = 0; kind < static_cast<int>(kinds.size()); ++kind) {
    if (is_shape(kind)) {
      shapes.emplace_back(kinds[static_cast<size_t>(kind)].noun);
    } else if (kind < limits.emoji) {
      objects.emplace_back(kinds[static_cast<size_t>(kind)].noun);
    }
  }
  for (int color = 0; color < kColorCount; ++color) {
    colors.emplace_back(color_name(static_cast<Color>(color)));
  }
  for (int place = 0; place < kPlaceCount; ++place) {
    places.push_back(background_name(place));
  }
  return {fmt::format("Pictures of up to {} groups, beside or above one another.", limits.groups),
          fmt::format("  things: {}", fmt::join(objects, ", ")),
          fmt::format("  shapes: {}, in {}", fmt::join(shapes, ", "), fmt::join(colors, ", ")),
          fmt::format("  behind them: {}, or a plain colour", fmt::join(places, ", "))};
}

std::string voice_line(const WorldLimits& limits) {
  std::vector<std::string> names;
  for (const Voice& voice : voices().first(static_cast<size_t>(limits.voices))) {
    if (!voice.left_out) {
      names.push_back(fmt::format("{} ({})", voice.name, voice.description));
    }
  }
  return fmt::format("Speech in these voices: {}; or in that of a recording.",
                     fmt::join(names, ", "));
}

std::vector<std::string> music_lines() {
  std::vector<std::string> kinds, titles;
  for (const Genre& genre : genres()) {
    kinds.push_back(fmt::format("{} {} in {}", genre.region, genre.name, metre_name(genre.metre)));
  }
  for (const Tune& tune : tunes()) {
    titles.emplace_back(tune.title);
  }
  return {"Tunes in any major or minor key, slow, moderate or lively.",
          fmt::format("  kinds: {}", fmt::join(kinds, ", ")),
          fmt::format("  known by name: {}", fmt::join(titles, ", "))};
}

}  // namespace

std::vector<std::string> help_lines(const WorldLimits& limits,
                                    const std::set<Modality>& modalities) {
  const auto has = [&](Modality modality) { return modalities.contains(modality); };
  std::vector<std::string> lines;
  std::vector<std::string> examples;
  const auto add = [&](std::vector<std::string> more) {
    lines.insert(lines.end(), more.begin(), more.end());
  };
  if (has(Modality::kImage)) {
    add(picture_lines(limits));
    examples.insert(examples.end(), {"Please draw two red circles above a cat on green grass.",
                                     "/image FILE, then: What is in this picture?"});
  }
  if (has(Modality::kSpeech)) {
    add({voice_line(limits)});
    examples.insert(examples.end(), {"Please say: two yellow stars above a dog.",
                                     "/audio FILE, then: Write down what is said."});
  }
  if (has(Modality::kMusic)) {
    add(music_lines());
    examples.emplace_back("Play a lively Irish jig in D major in 6/8.");
  }
  lines.emplace_back("Examples:");
  for (const std::string& example : examples) {
    lines.push_back("  " + example);
  }
  return lines;
}

}  // namespace tessera::world
