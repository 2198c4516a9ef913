// What config.json says of quantised weights ("quantization_config"): the method, the bits and the
// groups, and which layers stay plain. Needs no libtorch, so that `tessera inspect` can tell;
// nn/packed_weight.h reads the tensors. Formats as written by compressed-tensors, GPTQModel and
// AutoGPTQ, AutoAWQ, bitsandbytes.
#pragma once

#include "io/json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

enum class QuantizationMethod { kNone, kCompressedTensors, kGptq, kAwq, kBitsAndBytes };

/// How the weight of one layer is stored.
struct LayerQuantization {
  QuantizationMethod method = QuantizationMethod::kNone;
  int bits = 0;
  bool symmetric = true;
  /// Inputs that share a scale; 0: a whole row, −1: the whole tensor.
  int64_t group_size = 0;
  bool packed = true;     // compressed-tensors: words of codes; otherwise one int8 a number
  bool version2 = false;  // GPTQ: zero points as they are, not less one
  bool any_bits = false;  // GPTQ: single layers differ from `bits` and `group_size`
  bool by_rows = false;   // AWQ "gemv": words along the inputs of an output

  /// int8 with one scale a row and no zero point.
  bool is_int8_channel() const {
    return method == QuantizationMethod::kCompressedTensors && !packed && symmetric && bits == 8 &&
           group_size == 0;
  }
};

/// quantization_config, checked.
class Quantization {
 public:
  Quantization() = default;
  /// `config` is the whole config.json; without quantization_config everything is plain. Throws
  /// Unsupported for a scheme that is not known here, CorruptFile for one that is malformed.
  static Quantization from_config(const Json& config);

  /// Storage of the Linear whose path in the checkpoint is `path`; plain when it is excluded. A
  /// layer that is not excluded may still be stored plainly.
  LayerQuantization layer(std::string_view path) const;
  QuantizationMethod method() const { return method_; }
  /// For people: "GPTQ, 4 bits, groups of 128"; empty when nothing is quantised.
  std::string description() const;

 private:
  struct Group {
    std::vector<std::string> targets;  // empty: every Linear
    LayerQuantization layer;
  };
  static Quantization compressed_tensors(const Json& json);
  static Quantization gptq(const Json& json);
  static Quantization awq(const Json& json);
  static Quantization bits_and_bytes(const Json& json);

  QuantizationMethod method_ = QuantizationMethod::kNone;
  std::vector<Group> groups_;
  std::vector<std::string> excluded_;  // names, name parts (AWQ, bitsandbytes), or "re:" patterns
  std::string detail_;
};

}  // namespace tessera::io
