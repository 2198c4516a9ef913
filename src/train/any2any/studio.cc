#include "train/any2any/studio.h"

#include "core/error.h"
#include "core/strings.h"
#include "train/world/assets.h"
#include "train/world/emoji_font.h"
#include "train/world/music_render.h"
#include "train/world/scene_render.h"

#include <algorithm>
#include <memory>
#include <thread>

namespace tessera::any2any {
namespace {

void set_pictures(Studio& studio, const std::vector<std::string>& sprites) {
  const auto renderer = std::make_shared<const world::SceneRenderer>(sprites);
  studio.draw = [renderer](const world::ScenePart& part, int size) {
    return renderer->render(part.scene, size, part.seed);
  };
}

void set_voices(Studio& studio, const world::SpeechTools& tools) {
  const auto speaker = std::make_shared<const world::Speaker>(tools);
  const int processes = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  studio.speak = [speaker, processes](std::span<const world::Utterance> utterances) {
    return speaker->speak_all(utterances, processes);
  };
}

std::vector<std::string> installed_sprites() {
  const world::EmojiFont font(world::AssetSources::debian().emoji_font);
  std::vector<std::string> pngs;
  for (int kind = 0; kind < world::first_shape(); ++kind) {
    pngs.emplace_back(font.png(world::object_kinds()[static_cast<size_t>(kind)].emoji));
  }
  return pngs;
}

}  // namespace

Studio open_studio(const io::fs::path& assets) {
  Studio studio;
  studio.play = [](const world::MusicPart& part, int rate, double seconds) {
    return world::render_melody(part.melody, seconds, rate, part.seed);
  };
  if (!assets.empty()) {
    const world::Assets opened(assets, assets / "unpacked");
    set_pictures(studio, opened.sprites());
    set_voices(studio, opened.speech_tools());
    return studio;
  }
  const io::fs::path font = world::AssetSources::debian().emoji_font;
  std::error_code error;
  if (io::fs::exists(font, error)) {
    set_pictures(studio, installed_sprites());
  } else {
    studio.missing[Modality::kImage] =
        font.string() + " is missing; install Debian's fonts-noto-color-emoji, or give --assets";
  }
  const world::SpeechTools tools = world::SpeechTools::installed();
  if (const std::vector<std::string> missing = tools.missing(); missing.empty()) {
    set_voices(studio, tools);
  } else {
    studio.missing[Modality::kSpeech] =
        "no voices: " + join(missing, "; ") + "; install them, or give --assets";
  }
  return studio;
}

namespace {

Part media_part(Modality modality, Image image) {
  Part part{.modality = modality, .content = {}, .source = {}};
  part.content.emplace<Image>(std::move(image));
  return part;
}
Part media_part(Modality modality, Audio audio) {
  Part part{.modality = modality, .content = {}, .source = {}};
  part.content.emplace<Audio>(std::move(audio));
  return part;
}

}  // namespace

std::vector<std::vector<Part>> render_parts(const Studio& studio,
                                            const MediaSizes& sizes,
                                            std::span<const std::vector<world::PartSpec>> lists) {
  std::vector<world::Utterance> utterances;
  for (const auto& list : lists) {
    for (const world::PartSpec& spec : list) {
      if (const auto* speech = std::get_if<world::SpeechPart>(&spec)) {
        utterances.push_back({speech->voice, speech->text});
      }
    }
  }
  std::vector<Audio> spoken;
  if (!utterances.empty()) {
    spoken = studio.speak(utterances);
  }
  size_t next = 0;
  std::vector<std::vector<Part>> out;
  for (const auto& list : lists) {
    std::vector<Part>& parts = out.emplace_back();
    for (const world::PartSpec& spec : list) {
      if (const auto* text = std::get_if<world::TextPart>(&spec)) {
        parts.push_back(Part::text(text->text));
      } else if (const auto* picture = std::get_if<world::ScenePart>(&spec)) {
        parts.push_back(media_part(Modality::kImage, studio.draw(*picture, sizes.image)));
      } else if (const auto* music = std::get_if<world::MusicPart>(&spec)) {
        parts.push_back(media_part(Modality::kMusic,
                                   studio.play(*music, sizes.music_rate, sizes.music_seconds)));
      } else if (std::holds_alternative<world::SpeechPart>(spec)) {
        parts.push_back(media_part(Modality::kSpeech, std::move(spoken[next++])));
      } else {
        throw Internal("items of benches hold no recordings and no pictures from outside");
      }
    }
  }
  return out;
}

}  // namespace tessera::any2any
