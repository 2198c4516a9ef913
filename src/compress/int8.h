// int8 weights with one scale an output channel, in the layout of compressed-tensors'
// "int-quantized" (github.com/neuralmagic/compressed-tensors): half of a fp16 file, and read by
// transformers when the model is a plain language model.
#pragma once

#include "io/json.h"
#include "nn/module.h"

namespace tessera::compress {

using at::Tensor;

struct Int8Weight {
  Tensor values;  // int8, the weight's shape
  Tensor scale;   // fp32 [out, 1]
};

/// Symmetric, by the largest magnitude of each output channel (axis 0): scale = max|w| / 127.5,
/// values = round-half-even(w / scale) in −128 … 127. A channel of zeros gets fp32's epsilon, one
/// that was read from int8 its values again: what a training from stored weights leaves alone must
/// not move when it is stored again.
Int8Weight quantize_channels(const Tensor& weight);

/// All parameters and buffers of `model` under their names, on the CPU: weights of Linear and of
/// convolutions as int8 with `weight_scale` beside, everything else as `rest` (fp32 unless said).
nn::NamedTensors quantize_int8(const torch::nn::Module& model, at::ScalarType rest = at::kFloat);

/// "quantization_config" for config.json. `ignore` names Linear modules that are stored as floats
/// (tied heads), `activations` lets readers round the inputs of Linear to int8 as well.
io::Json int8_config(const std::vector<std::string>& ignore = {}, bool activations = false);

}  // namespace tessera::compress
