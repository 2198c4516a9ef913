// Frequencies are computed as the reference does (exponent, power and reciprocal in fp32), since
// one unit in the last place of a frequency becomes a visible phase at position 100,000.
#include "nn/rope.h"

#include "core/error.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>

#include <numbers>

namespace tessera::nn {
namespace {

double number(const io::Json& object, const char* key, double fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return fallback;
  }
  TESSERA_CHECK(found->is_number(), CorruptFile, "config.json: '{}' must be a number, found {}",
                key, found->dump());
  return found->get<double>();
}

bool is_object(const io::Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && found->is_object() && !found->empty();
}

}  // namespace

RopeConfig RopeConfig::from_json(const io::Json& config) {
  RopeConfig rope;
  rope.theta = number(config, "rope_theta", rope.theta);
  rope.partial = number(config, "partial_rotary_factor", rope.partial);
  // A non-empty rope_scaling replaces rope_parameters; values inside beat top-level ones.
  const char* key = is_object(config, "rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!is_object(config, key)) {
    return rope;
  }
  const io::Json& scaling = config.at(key);
  rope.theta = number(scaling, "rope_theta", rope.theta);
  rope.partial = number(scaling, "partial_rotary_factor", rope.partial);
  rope.factor = number(scaling, "factor", 1.0);
  rope.low_freq_factor = number(scaling, "low_freq_factor", 1.0);
  rope.high_freq_factor = number(scaling, "high_freq_factor", 4.0);
  const double max_position = number(config, "max_position_embeddings", 2048);
  rope.original_max_position =
      number(config, "original_max_position_embeddings",
             number(scaling, "original_max_position_embeddings", max_position));
  for (const char* name : {"rope_type", "type"}) {
    if (scaling.contains(name) && scaling[name].is_string()) {
      rope.type = scaling[name].get<std::string>();
      break;
    }
  }
  TESSERA_CHECK(
      rope.type == "default" || rope.type == "linear" || rope.type == "llama3", Unsupported,
      "config.json: rope_type '{}' is not known here; known: default, linear, llama3", rope.type);
  TESSERA_CHECK(rope.factor > 0 && rope.theta > 0, CorruptFile,
                "config.json: rope factor {} and theta {} must be positive", rope.factor,
                rope.theta);
  return rope;
}

Rope::Rope(const RopeConfig& config, int64_t head_dim, at::Device device)
    : rotated_(static_cast<int64_t>(static_cast<double>(head_dim) * config.partial)) {
  TESSERA_CHECK(rotated_ > 0 && rotated_ % 2 == 0, InvalidArgument,
                "rope: the rotated width must be even and positive, got {} of head_dim {}",
                rotated_, head_dim);
  const Tensor exponent =
      at::arange(0, rotated_, 2, at::kLong).to(at::kFloat) / static_cast<double>(rotated_);
  Tensor inverse = 1.0 / at::pow(config.theta, exponent);
  if (config.type == "linear") {
    inverse = inverse / config.factor;
  } else if (config.type == "llama3") {
    const double original = config.original_max_position;
    const Tensor wavelength = 2.0 * std::numbers::pi / inverse;
    const Tensor smooth = (original / wavelength - config.low_freq_factor) /
                          (config.high_freq_factor - config.low_freq_factor);
    const Tensor slow = inverse / config.factor;
    const Tensor blended = (1.0 - smooth) * slow + smooth * inverse;
    Tensor result = at::where(wavelength > original / config.low_freq_factor, slow, inverse);
    const Tensor medium = (wavelength >= original / config.high_freq_factor)
                              .logical_and(wavelength <= original / config.low_freq_factor);
    inverse = at::where(medium, blended, result);
  }
  inverse_frequencies_ = inverse.to(at::kFloat).to(device);
}

std::pair<Tensor, Tensor> Rope::tables(const Tensor& positions, at::ScalarType dtype) const {
  const Tensor frequencies = inverse_frequencies_.to(positions.device());
  const Tensor half = positions.to(at::kFloat).unsqueeze(-1) * frequencies;  // [B, T, rotated / 2]
  const Tensor angles = at::cat({half, half}, -1).unsqueeze(1);              // [B, 1, T, rotated]
  return {angles.cos().to(dtype), angles.sin().to(dtype)};
}

Tensor Rope::apply(const Tensor& x, const std::pair<Tensor, Tensor>& tables) const {
  const int64_t head_dim = x.size(-1);
  const Tensor head = rotated_ == head_dim ? x : x.narrow(-1, 0, rotated_);
  const Tensor first = head.narrow(-1, 0, rotated_ / 2);
  const Tensor second = head.narrow(-1, rotated_ / 2, rotated_ / 2);
  const Tensor turned = at::cat({-second, first}, -1);
  const Tensor result = head * tables.first + turned * tables.second;
  return rotated_ == head_dim ? result
                              : at::cat({result, x.narrow(-1, rotated_, head_dim - rotated_)}, -1);
}

}  // namespace tessera::nn
