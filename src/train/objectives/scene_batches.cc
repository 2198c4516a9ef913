#include "train/objectives/scene_batches.h"

#include "core/error.h"
#include "train/world/pack.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

namespace tessera::train {

// The sprites alone: pictures need none of the speech programs.
world::SceneRenderer open_scene_renderer(const Options& data) {
  const io::fs::path folder = data.string("assets", "");
  TESSERA_CHECK(!folder.empty(), InvalidArgument, "{}: give the folder of renderers",
                data.where("assets"));
  const world::Pack pack(folder / "sprites.pack");
  std::vector<std::string> pngs;
  for (int kind = 0; kind < world::first_shape(); ++kind) {
    const auto emoji =
        static_cast<uint32_t>(world::object_kinds()[static_cast<size_t>(kind)].emoji);
    pngs.push_back(pack.read(fmt::format("{:04x}.png", emoji)));
  }
  return world::SceneRenderer(pngs);
}

world::WorldLimits read_world_limits(const Options& data) {
  world::WorldLimits limits;
  const Options part = data.section("world");
  const auto most = [](int limit) { return Options::Range{1, static_cast<double>(limit)}; };
  limits.emoji = static_cast<int>(part.integer("emoji", limits.emoji, most(limits.emoji)));
  limits.groups = static_cast<int>(part.integer("groups", limits.groups, most(limits.groups)));
  limits.voices = static_cast<int>(part.integer("voices", limits.voices, most(limits.voices)));
  return limits;
}

SceneBatches::SceneBatches(const Options& data, int image_size)
    : image_size_(image_size),
      renderer_(open_scene_renderer(data)),
      limits_(read_world_limits(data)),
      every_split_(data.boolean("every_split", false)) {}

SceneBatches::Drawn SceneBatches::draw(Split split,
                                       std::vector<Rng> generators,
                                       bool with_kinds) const {
  const auto batch = static_cast<int64_t>(generators.size());
  Tensor rows = at::empty({batch, image_size_, image_size_, 3}, at::kByte);
  Drawn drawn;
  if (with_kinds) {
    drawn.kinds = at::empty({batch, image_size_, image_size_}, at::kByte);
  }
  uint8_t* shown = with_kinds ? drawn.kinds.data_ptr<uint8_t>() : nullptr;
  std::vector<uint8_t> kinds;
  uint8_t* out = rows.data_ptr<uint8_t>();
  for (Rng& rng : generators) {
    const world::Split wanted = every_split_             ? world::any_split(rng)
                                : split == Split::kTrain ? world::Split::kTrain
                                                         : world::Split::kValidation;
    drawn.scenes.push_back(world::draw_scene(rng, wanted, limits_));
    const Image image = renderer_.render(drawn.scenes.back(), image_size_, rng.next(),
                                         with_kinds ? &kinds : nullptr);
    std::memcpy(out, image.pixels.data(), image.pixels.size());
    out += image.pixels.size();
    if (with_kinds) {
      shown = std::copy(kinds.begin(), kinds.end(), shown);
    }
  }
  drawn.pixels = rows.permute({0, 3, 1, 2}).contiguous();
  return drawn;
}

}  // namespace tessera::train
