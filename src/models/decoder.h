// What the families of nn::DecoderModel share: reading the common keys of config.json, and the
// model with the entries of every causal language model.
#pragma once

#include "models/config.h"
#include "nn/decoder.h"

#include <memory>
#include <string>
#include <string_view>

namespace tessera::models {

/// Fills `defaults`, which hold the family's values for absent keys (`attention.kv_heads` and
/// `attention.head_dim` 0: as many as heads, hidden / heads), with config.json's sizes, epsilon,
/// initializer_range, tie_word_embeddings and rotary positions. Biases and windows are the
/// family's matter. `activation_key`: where the activation is named.
nn::DecoderOptions read_decoder(const io::Json& config,
                                nn::DecoderOptions defaults,
                                const char* activation_key = "hidden_act");

/// Layers that slide: config.json's `layer_types` where it has them, else layers from `first` on.
/// Throws CorruptFile for a list of the wrong length or an unknown type.
std::vector<bool> read_sliding_layers(const io::Json& config, int64_t layers, int64_t first);

/// The model of `options` with `forward` and `generate`.
std::shared_ptr<nn::Model> make_decoder(const ModelFolder& folder,
                                        const nn::Weights& weights,
                                        const nn::DecoderOptions& options);

}  // namespace tessera::models
