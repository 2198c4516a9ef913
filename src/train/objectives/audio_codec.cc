// Training of the audio codec, on speech or on music of the synthetic world. With characters > 0 a
// head reads the words off the first level (CTC), so that this level carries what is said; clips
// are then whole utterances.
//
// With agreement > 0 the encoder listens to the copy and is to find what it found in the original:
// a loss by what codes are made from, words above all.
//
// Recipe:
//   task:  {kind: audio_codec, convergence: 1, magnitude: 1, mel: 1, characters: 0, agreement: 0,
//           commitment: 0.25, codebook_decay: 0.99, restart_every: 100, learn: all|decoder,
//           discriminator_from: STEP, adversarial: 0.1, features: 1, samples: 4,
//           save_dtype: int8|fp32}
//   model: {config: {keys of config.json}} or {from: FOLDER}
//   data:  {kind: speech|music, assets: FOLDER, scratch: FOLDER, digits: FOLDER, train: 4000,
//           validate: 200, seconds: 6, clip: 1.0, recordings: 1, left_out: false, threads: 0}
//   batch: {items: N}
#include "text/recognition.h"
#include "train/losses.h"
#include "train/objectives/codec_training.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::train {
namespace {

constexpr int64_t kSymbolsPerFrame = 2;   // of the character head
constexpr double kSymbolsPerSecond = 24;  // that a clip may hold

class AudioCodecTask : public CodecTask {
 public:
  AudioCodecTask(const Recipe& recipe, at::Device device)
      : CodecTask(recipe, device, {{"architectures", {"TesseraAudioCodec"}}}),
        spectral_(codec().info().sample_rate, SpectralLoss::default_resolutions(), device) {
    const Options task = recipe.section("task");
    convergence_ = task.number("convergence", 1.0, {0, 1e4});
    magnitude_ = task.number("magnitude", 1.0, {0, 1e4});
    mel_ = task.number("mel", 1.0, {0, 1e4});
    characters_ = task.number("characters", 0.0, {0, 1e4});
    agreement_ = task.number("agreement", 0.0, {0, 1e4});
    samples_ = task.integer("samples", 4, {0, 64});
    make_discriminator<SpectrogramDiscriminator>(recipe);
    make_data(recipe);
    if (characters_ > 0) {
      reader_ = std::make_shared<CharacterHead>(reader_weights(), code_width(),
                                                text::kSpokenSymbols, kSymbolsPerFrame);
      set_reader(reader_);
    }
  }

  bool has_validation() const override { return validate_ != nullptr; }

  Batch make_batch(Split split, int64_t index) const override {
    std::vector<Rng> generators;
    for (int64_t i = 0; i < items(); ++i) {
      generators.push_back(rng_of(split, index, i));
    }
    return make_items((split == Split::kTrain ? train_ : validate_)->make(std::move(generators)));
  }

  std::vector<Term> losses(const Batch& batch, int64_t step) override {
    const Tensor truth = to_wave(batch.tensors.at("wav"));
    const nn::CodecPass pass = codec().reconstruct(truth);
    const SoundLoss loss = spectral_(pass.media, truth);
    std::vector<Term> terms{mean_term("convergence", loss.convergence, convergence_),
                            mean_term("magnitude", loss.magnitude, magnitude_),
                            mean_term("mel", loss.mel, mel_)};
    if (reader_ != nullptr) {
      const int64_t frame = codec().info().frame_samples;
      const Tensor frames =
          (batch.tensors.at("samples") + (frame - 1)).floor_divide(frame) * kSymbolsPerFrame;
      const Tensor read =
          transcription_loss(reader_->forward(pass.code.levels.front()),
                             batch.tensors.at("targets"), frames, batch.tensors.at("lengths"));
      terms.push_back(mean_term("characters", read, characters_));
    }
    if (agreement_ > 0) {
      const Tensor found = codec().features(truth).detach();
      terms.push_back(
          mean_term("agreement", at::mse_loss(codec().features(pass.media), found), agreement_));
    }
    add_terms(pass, truth, step, terms);
    return terms;
  }

  std::vector<Sample> samples() override {
    std::vector<Sample> samples;
    const SoundBatches& source = validate_ != nullptr ? *validate_ : *train_;
    const int64_t rate = codec().info().sample_rate;
    for (size_t i = 0; i < std::min(static_cast<size_t>(samples_), source.sounds().size()); ++i) {
      const nn::NamedTensors one = source.at(i, 1);
      const Tensor truth = to_wave(one.at("wav").to(device_));
      const std::string title = source.sounds()[i].text;
      samples.push_back({.title = title + " (truth)",
                         .kind = Sample::Kind::kWav,
                         .bytes = wav_bytes(truth, rate)});
      samples.push_back({.title = title + " (decoded)",
                         .kind = Sample::Kind::kWav,
                         .bytes = wav_bytes(codec().decode(codec().encode(truth)), rate)});
    }
    return samples;
  }

 private:
  void make_data(const Recipe& recipe) {
    const Options data = recipe.section("data");
    const WorldSoundOptions options = WorldSoundOptions::read(data);
    const double clip = data.number("clip", 1.0, {0.1, 60});
    const auto rate = static_cast<double>(codec().info().sample_rate);
    const bool whole = characters_ > 0;
    const SoundBatches::Options batches{
        .samples = static_cast<int64_t>(std::lround(clip * rate)),
        .whole = whole,
        .symbols = whole ? static_cast<int64_t>(clip * kSymbolsPerSecond) : 0};
    train_ = std::make_unique<SoundBatches>(render_sounds(options, Split::kTrain, seed_), batches);
    auto held =
        std::make_unique<SoundBatches>(render_sounds(options, Split::kValidate, seed_), batches);
    if (!held->empty()) {
      validate_ = std::move(held);
    }
  }

  SpectralLoss spectral_;
  std::unique_ptr<SoundBatches> train_, validate_;
  std::shared_ptr<CharacterHead> reader_;  // null: no characters
  double convergence_ = 0;
  double magnitude_ = 0;
  double mel_ = 0;
  double characters_ = 0;
  double agreement_ = 0;
  int64_t samples_ = 0;
};

std::unique_ptr<Task> make_audio_codec(const Recipe& recipe, at::Device device) {
  return std::make_unique<AudioCodecTask>(recipe, device);
}

}  // namespace

extern const TaskInfo kAudioCodecTask;
const TaskInfo kAudioCodecTask{.kind = "audio_codec",
                               .summary = "speech or music to tokens and back",
                               .make = make_audio_codec};

}  // namespace tessera::train
