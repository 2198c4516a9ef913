// Frequencies are computed as the reference does (exponent, power and reciprocal in fp32), since
// one unit in the last place of a frequency becomes a visible phase at position 100,000.
#include "nn/rope.h"

#include "core/error.h"
#include "core/strings.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <array>
#include <cmath>
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

std::vector<double> numbers(const io::Json& object, const char* key) {
  std::vector<double> list;
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return list;
  }
  TESSERA_CHECK(found->is_array(), CorruptFile, "config.json: '{}' must be a list of numbers", key);
  for (const io::Json& item : *found) {
    TESSERA_CHECK(item.is_number() && item.get<double>() > 0, CorruptFile,
                  "config.json: '{}' must hold positive numbers, found {}", key, item.dump());
    list.push_back(item.get<double>());
  }
  return list;
}

bool is_object(const io::Json& config, const char* key) {
  const auto found = config.find(key);
  return found != config.end() && found->is_object() && !found->empty();
}

std::string type_of(const io::Json& scaling) {
  for (const char* name : {"rope_type", "type"}) {
    if (scaling.contains(name) && scaling[name].is_string()) {
      return scaling[name].get<std::string>();
    }
  }
  return "default";
}

double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double attention_scale(const RopeConfig& rope, const io::Json& scaling) {
  double value = 1.0;
  if (rope.type == "yarn") {
    const double mscale = number(scaling, "mscale", 0);
    const double all = number(scaling, "mscale_all_dim", 0);
    value = mscale != 0 && all != 0 ? yarn_scale(rope.factor, mscale) / yarn_scale(rope.factor, all)
                                    : yarn_scale(rope.factor, 1.0);
  } else if (rope.type == "longrope") {
    if (rope.factor > 1) {
      value = std::sqrt(1.0 + std::log(rope.factor) / std::log(rope.original_max_position));
    }
  } else {
    return value;
  }
  return number(scaling, "attention_factor", value);
}

// Frequencies between `beta_fast` and `beta_slow` rotations over the training length go over from
// unchanged to divided by the factor.
Tensor yarn_frequencies(const RopeConfig& config, const Tensor& exponent, int64_t width) {
  const auto dimension = [&](double rotations) {
    return static_cast<double>(width) *
           std::log(config.original_max_position / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(config.theta));
  };
  double low = dimension(config.beta_fast);
  double high = dimension(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(width - 1));
  high += low == high ? 0.001 : 0.0;  // no division by zero
  const Tensor pair = at::arange(exponent.size(0), at::kFloat);
  const Tensor kept = 1.0 - ((pair - low) / (high - low)).clamp(0, 1);
  const Tensor power = at::pow(config.theta, exponent);
  return 1.0 / (config.factor * power) * (1.0 - kept) + 1.0 / power * kept;
}

Tensor llama3_frequencies(const RopeConfig& config, const Tensor& inverse) {
  const double original = config.original_max_position;
  const Tensor wavelength = 2.0 * std::numbers::pi / inverse;
  const Tensor smooth = (original / wavelength - config.low_freq_factor) /
                        (config.high_freq_factor - config.low_freq_factor);
  const Tensor slow = inverse / config.factor;
  const Tensor blended = (1.0 - smooth) * slow + smooth * inverse;
  const Tensor result = at::where(wavelength > original / config.low_freq_factor, slow, inverse);
  const Tensor medium = (wavelength >= original / config.high_freq_factor)
                            .logical_and(wavelength <= original / config.low_freq_factor);
  return at::where(medium, blended, result);
}

Tensor longrope_frequencies(const RopeConfig& config,
                            const std::vector<double>& factors,
                            const Tensor& exponent,
                            const char* key) {
  TESSERA_CHECK(static_cast<int64_t>(factors.size()) == exponent.size(0), InvalidArgument,
                "rope: longrope needs {} values in '{}', one a pair of dimensions, found {}",
                exponent.size(0), key, factors.size());
  return 1.0 / (at::tensor(factors, at::kFloat) * at::pow(config.theta, exponent));
}

}  // namespace

RopeConfig RopeConfig::from_json(const io::Json& config) {
  RopeConfig rope;
  rope.theta = number(config, "rope_theta", rope.theta);
  rope.partial = number(config, "partial_rotary_factor", rope.partial);
  rope.max_position = number(config, "max_position_embeddings", rope.max_position);
  // A non-empty rope_scaling replaces rope_parameters; values inside beat top-level ones.
  const char* key = is_object(config, "rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!is_object(config, key)) {
    return rope;
  }
  const io::Json& scaling = config.at(key);
  for (const auto& [name, value] : scaling.items()) {
    TESSERA_CHECK(!value.is_object(), Unsupported,
                  "config.json: {} by layer type ('{}') is not known here", key, name);
  }
  rope.type = type_of(scaling);
  constexpr std::array kKnown = {"default", "linear", "dynamic", "yarn", "longrope", "llama3"};
  TESSERA_CHECK(std::find(kKnown.begin(), kKnown.end(), rope.type) != kKnown.end(), Unsupported,
                "config.json: rope_type '{}' is not known here; known: {}", rope.type,
                join(std::vector<std::string>(kKnown.begin(), kKnown.end()), ", "));
  rope.theta = number(scaling, "rope_theta", rope.theta);
  rope.partial = number(scaling, "partial_rotary_factor", rope.partial);
  rope.low_freq_factor = number(scaling, "low_freq_factor", 1.0);
  rope.high_freq_factor = number(scaling, "high_freq_factor", 4.0);
  rope.original_max_position =
      number(config, "original_max_position_embeddings",
             number(scaling, "original_max_position_embeddings", rope.max_position));
  TESSERA_CHECK(rope.original_max_position > 1 && rope.max_position > 0, CorruptFile,
                "config.json: max_position_embeddings {} and original_max_position_embeddings {} "
                "must be positive",
                rope.max_position, rope.original_max_position);
  const bool by_length = rope.type == "yarn" || rope.type == "longrope";
  rope.factor =
      number(scaling, "factor", by_length ? rope.max_position / rope.original_max_position : 1.0);
  TESSERA_CHECK(rope.factor > 0 && rope.theta > 0, CorruptFile,
                "config.json: rope factor {} and theta {} must be positive", rope.factor,
                rope.theta);
  const double fast = number(scaling, "beta_fast", 0);
  const double slow = number(scaling, "beta_slow", 0);
  rope.beta_fast = fast != 0 ? fast : rope.beta_fast;
  rope.beta_slow = slow != 0 ? slow : rope.beta_slow;
  TESSERA_CHECK(rope.beta_fast > 0 && rope.beta_slow > 0 && (rope.type != "yarn" || rope.theta > 1),
                CorruptFile, "config.json: rope beta_fast, beta_slow and theta are out of range");
  rope.truncate = !scaling.contains("truncate") || scaling["truncate"] != false;
  rope.short_factor = numbers(scaling, "short_factor");
  rope.long_factor = numbers(scaling, "long_factor");
  rope.attention_factor = attention_scale(rope, scaling);
  return rope;
}

Rope::Rope(const RopeConfig& config, int64_t head_dim, at::Device device)
    : config_(config),
      width_(static_cast<int64_t>(static_cast<double>(head_dim) * config.partial)),
      rotated_((width_ + 1) / 2 * 2) {
  TESSERA_CHECK(width_ > 0 && rotated_ <= head_dim, InvalidArgument,
                "rope: the rotated width must be positive and even within head_dim {}, got {}",
                head_dim, width_);
  TESSERA_CHECK(config.type != "dynamic" || width_ > 2, InvalidArgument,
                "rope: dynamic scaling needs a rotated width above 2, got {}", width_);
  const Tensor exponent =
      at::arange(0, width_, 2, at::kLong).to(at::kFloat) / static_cast<double>(width_);
  Tensor inverse = 1.0 / at::pow(config.theta, exponent);
  if (config.type == "linear") {
    inverse = inverse / config.factor;
  } else if (config.type == "llama3") {
    inverse = llama3_frequencies(config, inverse);
  } else if (config.type == "yarn") {
    inverse = yarn_frequencies(config, exponent, width_);
  } else if (config.type == "longrope") {
    inverse = longrope_frequencies(config, config.short_factor, exponent, "short_factor");
    long_frequencies_ =
        longrope_frequencies(config, config.long_factor, exponent, "long_factor").to(device);
  }
  exponent_ = exponent.to(device);
  inverse_frequencies_ = inverse.to(at::kFloat).to(device);
}

// No step waits for the device: the length stays a tensor, computed with as the reference does.
Tensor Rope::frequencies(const Tensor& positions) const {
  const Tensor inverse = inverse_frequencies_.to(positions.device());
  if ((config_.type != "dynamic" && config_.type != "longrope") || positions.numel() == 0) {
    return inverse;
  }
  const Tensor length = positions.max() + 1;
  if (config_.type == "longrope") {
    return at::where(length > config_.original_max_position,
                     long_frequencies_.to(positions.device()), inverse);
  }
  const double width = static_cast<double>(width_);
  const Tensor growth =
      length.clamp_min(static_cast<int64_t>(config_.max_position)).to(at::kFloat) * config_.factor /
          config_.max_position -
      (config_.factor - 1.0);
  const Tensor theta = config_.theta * at::pow(growth, width / (width - 2.0));
  const Tensor grown = 1.0 / at::pow(theta, exponent_.to(positions.device()));
  return at::where(length > config_.max_position, grown, inverse);
}

std::pair<Tensor, Tensor> Rope::tables(const Tensor& positions, at::ScalarType dtype) const {
  const Tensor half =
      positions.to(at::kFloat).unsqueeze(-1) * frequencies(positions);  // [B, T, rotated / 2]
  const Tensor angles = at::cat({half, half}, -1).unsqueeze(1);         // [B, 1, T, rotated]
  Tensor cosine = angles.cos();
  Tensor sine = angles.sin();
  if (config_.attention_factor != 1.0) {
    cosine = cosine * config_.attention_factor;
    sine = sine * config_.attention_factor;
  }
  return {cosine.to(dtype), sine.to(dtype)};
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
