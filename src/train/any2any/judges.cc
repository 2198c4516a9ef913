// Sounds are mixed to mono and resampled to the judges' rate, pictures resized to their side. The
// music judge hears the five seconds that it was trained on.
#include "train/any2any/judges.h"

#include "core/error.h"
#include "io/resample.h"
#include "io/resize.h"
#include "models/registry.h"
#include "text/recognition.h"
#include "train/scene_labels.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

namespace tessera::any2any {
namespace {

using at::Tensor;

constexpr double kMusicSeconds = 5;

class Judge {
 public:
  Judge(const io::fs::path& folder, const nn::LoadOptions& load)
      : folder_(models::open_folder(folder.string())),
        info_(models::find_model(folder_)),
        model_(models::load_model(folder_, load)) {}

  /// One output of `forward` for one input, on the CPU in fp32.
  nn::NamedTensors run(const std::string& name, const Tensor& input) const {
    const c10::InferenceMode inference;
    nn::NamedTensors out =
        models::run_entry(*model_, info_, "forward", {{name, input.to(model_->device())}});
    for (auto& [key, value] : out) {
      value = value.to(at::kCPU, at::kFloat).contiguous();
    }
    return out;
  }

  int64_t config(const char* key, int64_t otherwise) const {
    return folder_.config.value(key, otherwise);
  }

  void check_classes(const Tensor& logits, int64_t expected, std::string_view what) const {
    TESSERA_CHECK(logits.size(-1) == expected, CorruptFile,
                  "{}: the judge knows {} {}, the world has {}; train it again by its recipe",
                  folder_.path.string(), logits.size(-1), what, expected);
  }

  /// fp32 [1, 1, N] at the judge's rate.
  Tensor wave(const Audio& audio, double seconds) const {
    const auto rate = static_cast<int>(config("sample_rate", 16000));
    std::vector<float> mono(static_cast<size_t>(audio.frames()));
    const auto channels = static_cast<size_t>(audio.channels);
    for (size_t i = 0; i < mono.size(); ++i) {
      for (size_t c = 0; c < channels; ++c) {
        mono[i] += audio.samples[i * channels + c] / static_cast<float>(channels);
      }
    }
    if (audio.sample_rate != rate) {
      mono = io::resample(mono, audio.sample_rate, rate);
    }
    if (seconds > 0) {
      mono.resize(std::min(mono.size(), static_cast<size_t>(seconds * rate)));
    }
    return at::tensor(mono).view({1, 1, -1});
  }

 private:
  models::ModelFolder folder_;
  const models::ModelInfo& info_;
  std::shared_ptr<nn::Model> model_;
};

int64_t best(const Tensor& logits) {
  return logits.flatten().argmax().item<int64_t>();
}

world::Scene see(const Judge& judge, const Image& image) {
  const auto side = static_cast<int>(judge.config("image_size", 96));
  const Image fitted = image.width == side && image.height == side
                           ? image
                           : io::resize(image, side, side, io::Filter::kBicubic);
  TESSERA_CHECK(fitted.channels == 3, InvalidArgument, "a picture to judge must be RGB");
  const Tensor pixels =
      at::tensor(at::ArrayRef<uint8_t>(fitted.pixels.data(), fitted.pixels.size()))
          .view({1, side, side, 3})
          .permute({0, 3, 1, 2})
          .to(at::kFloat) /
      255;
  const nn::NamedTensors out = judge.run("pixel_values", pixels.contiguous());
  judge.check_classes(out.at("counts").select(2, 0), train::look_count(), "looks");
  judge.check_classes(out.at("background"), world::kBackgroundCount, "backgrounds");
  judge.check_classes(out.at("relation"), train::kSceneRelations, "relations");
  const Tensor counts = out.at("counts").argmax(-1).flatten().contiguous();
  train::SceneLabels labels;
  labels.counts.assign(counts.const_data_ptr<int64_t>(),
                       counts.const_data_ptr<int64_t>() + counts.numel());
  labels.background = best(out.at("background"));
  labels.relation = best(out.at("relation"));
  return train::scene_of(labels);
}

std::string hear_words(const Judge& judge, const Audio& audio) {
  const Tensor log_probs = judge.run("wav", judge.wave(audio, 0)).at("log_probs");
  judge.check_classes(log_probs, text::kSpokenSymbols, "symbols");
  const Tensor path = log_probs.argmax(-1).flatten().contiguous();
  return text::spoken_text({path.const_data_ptr<int64_t>(), static_cast<size_t>(path.numel())});
}

int hear_voice(const Judge& judge, const Audio& audio) {
  const Tensor logits = judge.run("wav", judge.wave(audio, 0)).at("logits");
  judge.check_classes(logits, static_cast<int64_t>(world::voices().size()), "voices");
  return static_cast<int>(best(logits));
}

MusicHeard hear_music(const Judge& judge, const Audio& audio) {
  const nn::NamedTensors out = judge.run("wav", judge.wave(audio, kMusicSeconds));
  judge.check_classes(out.at("key"), world::kKeyCount, "keys");
  judge.check_classes(out.at("metre"), world::kMetreCount, "metres");
  const auto key = static_cast<int>(best(out.at("key")));
  return {.key = {key % 12, key >= 12}, .metre = static_cast<world::Metre>(best(out.at("metre")))};
}

}  // namespace

Senses Judges::senses() const {
  return {.scene = scene != nullptr,
          .words = words != nullptr,
          .voice = voice != nullptr,
          .music = music != nullptr};
}

std::vector<std::string> Judges::missing() const {
  std::vector<std::string> names;
  for (const auto& [there, name] :
       {std::pair{scene != nullptr, "scene"}, std::pair{words != nullptr, "recognizer"},
        std::pair{voice != nullptr, "speaker"}, std::pair{music != nullptr, "music"}}) {
    if (!there) {
      names.emplace_back(name);
    }
  }
  return names;
}

Judges open_judges(const io::fs::path& folder, const nn::LoadOptions& load) {
  Judges judges;
  const auto open = [&](const char* name) -> std::shared_ptr<const Judge> {
    std::error_code error;
    if (!io::fs::exists(folder / name / "config.json", error)) {
      return nullptr;
    }
    return std::make_shared<const Judge>(folder / name, load);
  };
  if (const auto judge = open("scene")) {
    judges.scene = [judge](const Image& image) { return see(*judge, image); };
  }
  if (const auto judge = open("recognizer")) {
    judges.words = [judge](const Audio& audio) { return hear_words(*judge, audio); };
  }
  if (const auto judge = open("speaker")) {
    judges.voice = [judge](const Audio& audio) { return hear_voice(*judge, audio); };
  }
  if (const auto judge = open("music")) {
    judges.music = [judge](const Audio& audio) { return hear_music(*judge, audio); };
  }
  return judges;
}

void judge_parts(const Judges& judges,
                 std::span<const Part> parts,
                 Modality wanted,
                 Findings& found) {
  for (const Part& part : parts) {
    if (part.modality != wanted || wanted == Modality::kText) {
      continue;
    }
    if (const auto* image = std::get_if<Image>(&part.content)) {
      if (judges.scene && !image->empty()) {
        found.scene = judges.scene(*image);
      }
      return;
    }
    const auto* audio = std::get_if<Audio>(&part.content);
    if (audio == nullptr || audio->frames() == 0) {
      return;
    }
    if (wanted == Modality::kMusic) {
      if (judges.music) {
        const MusicHeard heard = judges.music(*audio);
        found.key = heard.key;
        found.metre = heard.metre;
      }
      return;
    }
    if (judges.words) {
      found.words = judges.words(*audio);
    }
    if (judges.voice) {
      found.voice = judges.voice(*audio);
    }
    return;
  }
}

}  // namespace tessera::any2any
