#include "train/objectives/media_task.h"

#include "compress/int8.h"
#include "core/error.h"
#include "nn/tensor_file.h"
#include "text/recognition.h"

#include <ATen/ATen.h>

#include <cmath>

namespace tessera::train {

MediaTask::MediaTask(const Recipe& recipe, at::Device device, io::Json defaults)
    : device_(device), seed_(recipe.seed) {
  const std::string dtypes[] = {"int8", "fp32"};
  save_int8_ = recipe.section("task").choice("save_dtype", "int8", dtypes) == "int8";
  TESSERA_CHECK(recipe.batch.size > 0 && recipe.batch.size % recipe.batch.accumulate == 0,
                InvalidArgument,
                "batch.items {} must be a positive multiple of batch.accumulate {}",
                recipe.batch.size, recipe.batch.accumulate);
  items_ = recipe.batch.size / recipe.batch.accumulate;
  const Options options = recipe.section("model");
  const std::string from = options.string("from", "");
  const io::Json config = options.raw("config");
  TESSERA_CHECK(from.empty() || config.is_null(), InvalidArgument,
                "{}: give from (a model folder) or config (the keys of config.json), not both",
                options.where());
  TESSERA_CHECK(config.is_null() || config.is_object(), InvalidArgument, "{}: must be a map",
                options.where("config"));
  if (from.empty()) {
    folder_.config = std::move(defaults);
    if (config.is_object()) {
      folder_.config.update(config, /*merge_objects=*/true);
    }
    model_ = models::find_model(folder_).load(
        folder_, nn::Weights::from_scratch(recipe.seed, {.dtype = at::kFloat, .device = device}));
    return;
  }
  folder_ = models::open_folder(from);
  TESSERA_CHECK(
      &models::find_model(folder_) ==
          &models::find_model({.path = "", .config = defaults, .generation_config = nullptr}),
      InvalidArgument, "{}: this objective trains {}", options.where("from"),
      defaults.at("architectures").dump());
  model_ = models::load_model(folder_, {.dtype = at::kFloat, .device = device});
  const at::NoGradGuard no_grad;
  // The file's map must not be trained.
  for (Tensor& parameter : model_->parameters()) {
    parameter.set_data(parameter.clone());
  }
  for (Tensor& buffer : model_->buffers()) {
    buffer.set_data(buffer.clone());
  }
}

Rng MediaTask::rng_of(Split split, int64_t index, int64_t item) const {
  const uint64_t stream = hash_name(split == Split::kTrain ? "train" : "validate");
  return Rng(seed_ ^ stream, static_cast<uint64_t>(index * items_ + item));
}

Batch MediaTask::make_items(nn::NamedTensors tensors) const {
  return {.tensors = std::move(tensors),
          .weights = {{"items", static_cast<double>(items_)}},
          .size = static_cast<double>(items_)};
}

Term MediaTask::mean_term(std::string name, const Tensor& mean, double scale, size_t part) const {
  return {.name = std::move(name),
          .sum = mean * static_cast<double>(items_),
          .normaliser = "items",
          .scale = scale,
          .part = part};
}

void MediaTask::save(const io::fs::path& folder) {
  io::fs::create_directories(folder);
  io::Json config = folder_.config;
  config.erase("quantization_config");
  nn::NamedTensors tensors;
  if (save_int8_) {
    config["quantization_config"] = compress::int8_config();
    tensors = compress::quantize_int8(*model_);
  } else {
    for (const auto& item : model_->named_parameters()) {
      tensors[item.key()] = item.value().detach();
    }
    for (const auto& item : model_->named_buffers()) {
      tensors[item.key()] = item.value();
    }
  }
  nn::write_tensors(folder / "model.safetensors", tensors);
  // Last: a folder without it is no model.
  io::write_file(folder / "config.json", config.dump(2) + "\n");
}

SoundBatches::SoundBatches(std::vector<WorldSound> sounds, const Options& options)
    : options_(options) {
  for (WorldSound& sound : sounds) {
    const bool fits = !options.whole || sound.size() <= options.samples || sound.key >= 0;
    const bool readable =
        options.symbols == 0 ||
        static_cast<int64_t>(text::spoken_symbols(sound.text).size()) <= options.symbols;
    if (fits && readable && !sound.samples.empty()) {
      sounds_.push_back(std::move(sound));
    }
  }
}

nn::NamedTensors SoundBatches::make(std::vector<Rng> generators) const {
  TESSERA_CHECK(!sounds_.empty(), InvalidArgument,
                "no sound is short enough for data.clip; make it longer");
  std::vector<Pick> picks;
  for (Rng& rng : generators) {
    const WorldSound& sound = sounds_[rng.below(sounds_.size())];
    const int64_t room = options_.whole ? std::min(options_.start_jitter, sound.size() - 1)
                                        : std::max<int64_t>(0, sound.size() - options_.samples);
    const auto start = static_cast<int64_t>(rng.below(static_cast<uint64_t>(room) + 1));
    picks.push_back({&sound, start, static_cast<float>(rng.uniform(0.5, 1.0))});
  }
  return build(picks);
}

nn::NamedTensors SoundBatches::at(size_t from, size_t count) const {
  std::vector<Pick> picks;
  for (size_t i = from; i < std::min(from + count, sounds_.size()); ++i) {
    picks.push_back({&sounds_[i], 0, 1.0F});
  }
  return build(picks);
}

nn::NamedTensors SoundBatches::build(const std::vector<Pick>& picks) const {
  const auto batch = static_cast<int64_t>(picks.size());
  const auto column = [&](auto value) {
    std::vector<int64_t> values;
    for (const Pick& pick : picks) {
      values.push_back(value(pick));
    }
    return at::tensor(values, at::kLong);
  };
  const auto length = [&](const Pick& pick) {
    return std::min(options_.samples, pick.sound->size() - pick.start);
  };
  Tensor wav = at::zeros({batch, options_.samples}, at::kShort);
  for (int64_t row = 0; row < batch; ++row) {
    const Pick& pick = picks[static_cast<size_t>(row)];
    int16_t* out = wav.data_ptr<int16_t>() + row * options_.samples;
    const int16_t* in = pick.sound->samples.data() + pick.start;
    for (int64_t i = 0; i < length(pick); ++i) {
      out[i] = static_cast<int16_t>(std::lround(pick.gain * static_cast<float>(in[i])));
    }
  }
  nn::NamedTensors tensors = {
      {"wav", wav},
      {"samples", column(length)},
      {"voice", column([](const Pick& pick) { return pick.sound->voice; })},
      {"key", column([](const Pick& pick) { return pick.sound->key; })},
      {"metre", column([](const Pick& pick) { return pick.sound->metre; })}};
  if (options_.symbols > 0) {
    Tensor targets = at::zeros({batch, options_.symbols}, at::kLong);
    std::vector<int64_t> lengths;
    for (int64_t row = 0; row < batch; ++row) {
      const std::vector<int64_t> symbols =
          text::spoken_symbols(picks[static_cast<size_t>(row)].sound->text);
      std::copy(symbols.begin(), symbols.end(),
                targets.data_ptr<int64_t>() + row * options_.symbols);
      lengths.push_back(static_cast<int64_t>(symbols.size()));
    }
    tensors["targets"] = targets;
    tensors["lengths"] = at::tensor(lengths, at::kLong);
  }
  return tensors;
}

Tensor to_wave(const Tensor& pcm) {
  return (pcm.to(at::kFloat) / 32768.0).unsqueeze(1);
}

Tensor accuracy(const Tensor& logits, const Tensor& target) {
  return logits.argmax(-1).eq(target).to(at::kFloat).mean();
}

}  // namespace tessera::train
