// Training of the judges, each on true renders and true sounds of the synthetic world.
//
// Recipe:
//   task:  {kind: scene_judge | speech_recognizer | speaker_judge | music_judge,
//           save_dtype: int8|fp32}
//   model: {config: {keys of config.json}} or {from: FOLDER}
//   data:  scene_judge: {assets: FOLDER, world: {emoji: 88, groups: 4}, every_split: false}; the
//          others as audio_codec's, with clip the longest sound taken; noise: 0.003 (most white
//          noise that is added, of full scale). every_split: train on held-out combinations too,
//          so that a judge knows them as well as the others.
//   batch: {items: N}
#include "core/error.h"
#include "text/recognition.h"
#include "train/losses.h"
#include "train/objectives/media_task.h"
#include "train/objectives/scene_batches.h"
#include "train/world/melody.h"
#include "train/world/speech.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::train {
namespace {

Tensor cross_entropy(const Tensor& logits, const Tensor& target) {
  return at::cross_entropy_loss(logits.to(at::kFloat), target);
}

class SceneJudgeTask : public MediaTask {
 public:
  SceneJudgeTask(const Recipe& recipe, at::Device device)
      : MediaTask(recipe, device, defaults()),
        scenes_(recipe.section("data"), folder_.config.value("image_size", 96)) {}

  Batch make_batch(Split split, int64_t index) const override {
    std::vector<Rng> generators;
    for (int64_t i = 0; i < items(); ++i) {
      generators.push_back(rng_of(split, index, i));
    }
    const SceneBatches::Drawn drawn = scenes_.draw(split, std::move(generators));
    std::vector<int64_t> counts, backgrounds, relations;
    for (const world::Scene& scene : drawn.scenes) {
      const SceneLabels labels = labels_of(scene);
      counts.insert(counts.end(), labels.counts.begin(), labels.counts.end());
      backgrounds.push_back(labels.background);
      relations.push_back(labels.relation);
    }
    return make_items({{"pixels", drawn.pixels},
                       {"counts", at::tensor(counts).view({items(), -1})},
                       {"background", at::tensor(backgrounds)},
                       {"relation", at::tensor(relations)}});
  }

  std::vector<Term> losses(const Batch& batch, int64_t /*step*/) override {
    const nn::NamedTensors& t = batch.tensors;
    const nn::NamedTensors out =
        model_->run("forward", {{"pixel_values", t.at("pixels").to(at::kFloat) / 255}});
    const Tensor& counts = out.at("counts");  // [B, looks, counts]
    // Summed over looks: nearly all are absent and cost nothing once that is learnt.
    const auto looks = static_cast<double>(counts.size(1));
    const Tensor count_loss = cross_entropy(counts.flatten(0, 1), t.at("counts").flatten()) * looks;
    const Tensor right = counts.argmax(-1).eq(t.at("counts")).all(1).to(at::kFloat).mean();
    return {mean_term("counts", count_loss, 1.0),
            mean_term("background", cross_entropy(out.at("background"), t.at("background")), 1.0),
            mean_term("relation", cross_entropy(out.at("relation"), t.at("relation")), 1.0),
            mean_term("right.counts", right, 0),
            mean_term("right.background", accuracy(out.at("background"), t.at("background")), 0),
            mean_term("right.relation", accuracy(out.at("relation"), t.at("relation")), 0)};
  }

 private:
  static io::Json defaults() {
    return {{"architectures", {"TesseraSceneJudge"}},
            {"looks", look_count()},
            {"counts", kLookCounts},
            {"backgrounds", world::kBackgroundCount},
            {"relations", kSceneRelations}};
  }
  SceneBatches scenes_;
};

// What the judges of sound share: pools, batches and added noise.
class SoundJudgeTask : public MediaTask {
 public:
  bool has_validation() const override { return validate_ != nullptr; }

  Batch make_batch(Split split, int64_t index) const override {
    std::vector<Rng> generators;
    for (int64_t i = 0; i < items(); ++i) {
      generators.push_back(rng_of(split, index, i));
    }
    return make_items((split == Split::kTrain ? train_ : validate_)->make(std::move(generators)));
  }

 protected:
  SoundJudgeTask(const Recipe& recipe,
                 at::Device device,
                 io::Json defaults,
                 SoundBatches::Options batches,
                 double clip)
      : MediaTask(recipe, device, std::move(defaults)) {
    constexpr double kRate = 16000;
    const Options data = recipe.section("data");
    const WorldSoundOptions options = WorldSoundOptions::read(data);
    batches.samples =
        static_cast<int64_t>(std::lround(data.number("clip", clip, {0.1, 60}) * kRate));
    noise_ = data.number("noise", 0.003, {0, 1});
    train_ = std::make_unique<SoundBatches>(render_sounds(options, Split::kTrain, seed_), batches);
    auto held =
        std::make_unique<SoundBatches>(render_sounds(options, Split::kValidate, seed_), batches);
    if (!held->empty()) {
      validate_ = std::move(held);
    }
  }

  nn::NamedTensors answers(const Tensor& pcm) {
    Tensor wav = to_wave(pcm);
    if (at::GradMode::is_enabled() && noise_ > 0) {
      wav = wav + at::randn_like(wav) * at::rand({wav.size(0), 1, 1}, wav.options()) * noise_;
    }
    return model_->run("forward", {{"wav", wav}});
  }
  const SoundBatches* validation() const { return validate_.get(); }

 private:
  std::unique_ptr<SoundBatches> train_, validate_;
  double noise_ = 0;
};

class RecognizerTask : public SoundJudgeTask {
 public:
  RecognizerTask(const Recipe& recipe, at::Device device)
      : SoundJudgeTask(
            recipe,
            device,
            {{"architectures", {"TesseraSpeechRecognizer"}}, {"classes", text::kSpokenSymbols}},
            {.whole = true, .symbols = 128},
            5.0) {}

  std::vector<Term> losses(const Batch& batch, int64_t /*step*/) override {
    const nn::NamedTensors& t = batch.tensors;
    const Tensor log_probs = answers(t.at("wav")).at("log_probs");
    return {mean_term(
        "ctc",
        transcription_loss(log_probs, t.at("targets"), frames(t, log_probs), t.at("lengths")),
        1.0)};
  }

  // Word and character error rates of the held-out sounds, read greedily.
  std::map<std::string, double> evaluate() override {
    text::ErrorCount words, characters;
    const size_t total = validation() == nullptr ? 0 : validation()->sounds().size();
    const auto step = static_cast<size_t>(items());
    for (size_t from = 0; from < total; from += step) {
      const nn::NamedTensors t = validation()->at(from, step);
      const Tensor log_probs = answers(t.at("wav").to(device_)).at("log_probs");
      const Tensor path = log_probs.argmax(-1).to(at::kCPU).contiguous();
      const Tensor lengths = frames(t, log_probs);
      for (int64_t row = 0; row < path.size(0); ++row) {
        const std::string read =
            text::spoken_text({path.const_data_ptr<int64_t>() + row * path.size(1),
                               static_cast<size_t>(lengths[row].item<int64_t>())});
        const std::string& truth = validation()->sounds()[from + static_cast<size_t>(row)].text;
        words += text::word_errors(truth, read);
        characters += text::character_errors(truth, read);
      }
    }
    return {{"word_error_rate", words.rate()}, {"character_error_rate", characters.rate()}};
  }

 private:
  // Frames that hold sound.
  static Tensor frames(const nn::NamedTensors& t, const Tensor& log_probs) {
    const int64_t step = t.at("wav").size(1) / log_probs.size(1);
    return (t.at("samples") / step).ceil().to(at::kLong).clamp(1, log_probs.size(1));
  }
};

class SpeakerTask : public SoundJudgeTask {
 public:
  SpeakerTask(const Recipe& recipe, at::Device device)
      : SoundJudgeTask(
            recipe,
            device,
            {{"architectures", {"TesseraSpeakerJudge"}}, {"classes", world::voices().size()}},
            {},
            1.5) {}

  std::vector<Term> losses(const Batch& batch, int64_t /*step*/) override {
    const Tensor logits = answers(batch.tensors.at("wav")).at("logits").to(at::kFloat);
    // Real recordings have no voice of the list: they do not count.
    const Tensor& voice = batch.tensors.at("voice");
    const Tensor known = voice.ge(0).to(at::kFloat);
    const Tensor each = at::cross_entropy_loss(logits, voice.clamp_min(0), {}, at::Reduction::None);
    const Tensor right = logits.argmax(-1).eq(voice).to(at::kFloat).sum();
    const Tensor count = known.sum().clamp_min(1);
    return {mean_term("voice", (each * known).sum() / count, 1.0),
            mean_term("right.voice", right / count, 0)};
  }
};

class MusicTask : public SoundJudgeTask {
 public:
  MusicTask(const Recipe& recipe, at::Device device)
      : SoundJudgeTask(recipe,
                       device,
                       {{"architectures", {"TesseraMusicJudge"}},
                        {"keys", world::kKeyCount},
                        {"metres", world::kMetreCount}},
                       {.whole = true, .start_jitter = 1600},
                       5.0) {
    TESSERA_CHECK(recipe.section("data").string("kind", "speech") == "music", InvalidArgument,
                  "data.kind must be music for this objective");
  }

  std::vector<Term> losses(const Batch& batch, int64_t /*step*/) override {
    const nn::NamedTensors& t = batch.tensors;
    const nn::NamedTensors out = answers(t.at("wav"));
    return {mean_term("key", cross_entropy(out.at("key"), t.at("key")), 1.0),
            mean_term("metre", cross_entropy(out.at("metre"), t.at("metre")), 1.0),
            mean_term("right.key", accuracy(out.at("key"), t.at("key")), 0),
            mean_term("right.metre", accuracy(out.at("metre"), t.at("metre")), 0)};
  }
};

template <class Kind>
std::unique_ptr<Task> make(const Recipe& recipe, at::Device device) {
  return std::make_unique<Kind>(recipe, device);
}

}  // namespace

extern const TaskInfo kSceneJudgeTask, kRecognizerTask, kSpeakerTask, kMusicTask;
const TaskInfo kSceneJudgeTask{.kind = "scene_judge",
                               .summary = "what a picture of the world shows",
                               .make = make<SceneJudgeTask>};
const TaskInfo kRecognizerTask{.kind = "speech_recognizer",
                               .summary = "characters of speech by CTC",
                               .make = make<RecognizerTask>};
const TaskInfo kSpeakerTask{
    .kind = "speaker_judge", .summary = "whose voice it is", .make = make<SpeakerTask>};
const TaskInfo kMusicTask{
    .kind = "music_judge", .summary = "key and metre of music", .make = make<MusicTask>};

}  // namespace tessera::train
