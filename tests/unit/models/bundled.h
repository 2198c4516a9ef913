// Bundled architectures from scratch, for tests: small sizes unless `config` says otherwise.
#pragma once

#include "models/registry.h"
#include "nn/codec.h"

#include <memory>
#include <string>

namespace tessera {

inline models::ModelFolder bundled_folder(const std::string& architecture, io::Json config) {
  config["architectures"] = {architecture};
  return {.path = "scratch", .config = std::move(config), .generation_config = nullptr};
}

inline std::shared_ptr<nn::Model> bundled_model(const std::string& architecture,
                                                const io::Json& config = io::Json::object(),
                                                uint64_t seed = 1) {
  const models::ModelFolder folder = bundled_folder(architecture, config);
  auto model = models::find_model(folder).load(folder, nn::Weights::from_scratch(seed));
  model->eval();
  return model;
}

inline std::shared_ptr<nn::Codec> bundled_codec(const std::string& architecture,
                                                const io::Json& config = io::Json::object(),
                                                uint64_t seed = 1) {
  return std::dynamic_pointer_cast<nn::Codec>(bundled_model(architecture, config, seed));
}

inline int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const at::Tensor& parameter : module.parameters()) {
    count += parameter.numel();
  }
  for (const at::Tensor& buffer : module.buffers()) {
    count += buffer.numel();
  }
  return count;
}

/// A picture codec of a few thousand parameters: 24×24 pixels, 4×4 codes.
inline io::Json tiny_picture_config() {
  return {{"image_size", 24},         {"patch_size", 2},
          {"kernel_size", 3},         {"widths", {16, 24}},
          {"strides", {3}},           {"encoder_blocks", {1, 1}},
          {"decoder_blocks", {1, 1}}, {"quantizer", {{"codebook_size", 64}, {"code_dim", 4}}}};
}

/// An audio codec of a few thousand parameters: 64-sample frames at 8 kHz, two levels.
inline io::Json tiny_audio_config() {
  return {
      {"sample_rate", 8000},
      {"hop_length", 32},
      {"n_fft", 128},
      {"n_mels", 24},
      {"stride", 2},
      {"kernel_size", 5},
      {"encoder_width", 32},
      {"encoder_blocks", 1},
      {"code_width", 32},
      {"code_blocks", 1},
      {"code_blocks_out", 1},
      {"decoder_width", 32},
      {"decoder_blocks", 2},
      {"quantizer", {{"levels", 2}, {"codebook_size", 32}, {"code_dim", 6}, {"cosine", false}}}};
}

}  // namespace tessera
