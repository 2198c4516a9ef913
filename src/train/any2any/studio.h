// Renders the true media of items: pictures, voices, music.
#pragma once

#include "core/message.h"
#include "io/file.h"
#include "train/world/speech.h"
#include "train/world/world.h"

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace tessera::any2any {

/// How large and how fast media are to be; the model's codecs decide.
struct MediaSizes {
  int image = 96;          // side in pixels
  int music_rate = 16000;  // Hz
  double music_seconds = 5;
};

struct Studio {
  std::function<Image(const world::ScenePart& part, int size)> draw;
  std::function<std::vector<Audio>(std::span<const world::Utterance>)> speak;
  std::function<Audio(const world::MusicPart& part, int rate, double seconds)> play;
  /// Modalities that cannot be rendered here, with the reason.
  std::map<Modality, std::string> missing;
};

/// From a folder of renderers (train/world/assets.h), or from Debian's installed programs when
/// `assets` is empty: what is not installed is `missing`. Throws NotFound for a folder that is not
/// there.
Studio open_studio(const io::fs::path& assets);

/// The parts of a list in order, rendered; texts stay texts. All sentences of several lists are
/// spoken together.
std::vector<std::vector<Part>> render_parts(const Studio& studio,
                                            const MediaSizes& sizes,
                                            std::span<const std::vector<world::PartSpec>> lists);

}  // namespace tessera::any2any
