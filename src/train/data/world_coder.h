// From items of the synthetic world to coded messages: media are rendered on all cores and encoded
// in batches.
#pragma once

#include "nn/codec.h"
#include "pipelines/any_format.h"
#include "train/options.h"
#include "train/world/assets.h"
#include "train/world/scene_render.h"
#include "train/world/world.h"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace tessera::train {

class WorldCoder {
 public:
  using Messages = std::vector<pipelines::CodedMessage>;

  /// Loads the codec folders. Reads "assets" (the folder of renderers, for pictures and speech),
  /// "scratch", "threads" and "music_seconds" of the data section. Throws InvalidArgument for a
  /// folder that holds no codec, or one of the wrong kind.
  WorldCoder(const Options& data,
             const std::map<Modality, io::fs::path>& folders,
             at::Device device);

  std::map<Modality, nn::CodecInfo> infos() const;
  /// Messages of each item: the user's media before the words, the replies' parts in order.
  std::vector<Messages> code(std::span<const world::Item> items) const;

 private:
  using Codes = std::map<const world::PartSpec*, std::vector<int64_t>>;
  using Parts = std::vector<const world::PartSpec*>;

  void code_pictures(const Parts& parts, Codes& codes) const;
  void code_speech(const Parts& parts, Codes& codes) const;
  Audio recording(const world::RecordingPart& part) const;
  void code_music(const Parts& parts, Codes& codes) const;
  void code_sounds(Modality modality,
                   const Parts& parts,
                   const std::vector<Audio>& sounds,
                   Codes& codes) const;

  at::Device device_;
  int64_t threads_;
  double music_seconds_;
  std::map<Modality, std::shared_ptr<nn::Codec>> codecs_;
  std::optional<world::SceneRenderer> renderer_;
  std::optional<world::Assets> assets_;
  std::vector<size_t> foreign_clips_;  // of the assets
  std::optional<world::Speaker> speaker_;
};

}  // namespace tessera::train
