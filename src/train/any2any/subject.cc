// The model under test behind the functions that the bench needs.
#include "core/error.h"
#include "train/any2any/any2any.h"

#include <algorithm>

namespace tessera::any2any {
namespace {

constexpr int64_t kTextRoom = 256;  // tokens of a reply beside its longest medium

int limit_of(const io::Json& world, const char* key, int most) {
  const auto found = world.find(key);
  if (found == world.end()) {
    return most;
  }
  const bool fits =
      found->is_number_integer() && found->get<int64_t>() >= 1 && found->get<int64_t>() <= most;
  TESSERA_CHECK(fits, CorruptFile, "any_to_any.json: world.{} must be 1 … {}, found {}", key, most,
                found->dump());
  return found->get<int>();
}

world::WorldLimits limits_of(const io::Json& config) {
  world::WorldLimits limits;
  if (const auto world = config.find("world"); world != config.end()) {
    TESSERA_CHECK(world->is_object(), CorruptFile, "any_to_any.json: 'world' must be a map");
    limits.emoji = limit_of(*world, "emoji", limits.emoji);
    limits.groups = limit_of(*world, "groups", limits.groups);
    limits.voices = limit_of(*world, "voices", limits.voices);
  }
  return limits;
}

}  // namespace

Subject subject_of(pipelines::AnyToAny& model, uint64_t seed) {
  Subject subject;
  for (const Modality modality : {Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
    if (model.has(modality)) {
      subject.modalities.insert(modality);
    }
  }
  if (model.has(Modality::kImage)) {
    subject.sizes.image = static_cast<int>(model.codec(Modality::kImage).info().image_size);
  }
  if (model.has(Modality::kMusic)) {
    subject.sizes.music_rate = static_cast<int>(model.codec(Modality::kMusic).info().sample_rate);
  }
  subject.limits = limits_of(model.config());
  int64_t longest = 0;
  for (const nn::SpanRule& rule : model.format().grammar().rules) {
    longest = std::max(longest, rule.levels * rule.max_frames);
  }
  pipelines::ConverseOptions options;
  options.seed = seed;
  options.max_new_tokens = kTextRoom + longest;
  // Another seed each time, so that the draws of different items are independent. One alone is
  // streamed, as a user would hear it.
  pipelines::ConverseEvents stream;
  stream.on_audio = [](size_t, Modality, const Audio&) {};
  subject.reply = [&model, options, stream,
                   seed](std::span<const std::vector<Message>> conversations) mutable {
    std::vector<pipelines::Reply> replies = model.reply(
        conversations, options, conversations.size() == 1 ? stream : pipelines::ConverseEvents{});
    options.seed = mix64(seed ^ options.seed);
    return replies;
  };
  subject.copy = [&model](const Part& part) { return model.decode(model.encode(part)); };
  return subject;
}

}  // namespace tessera::any2any
