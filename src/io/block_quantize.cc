// Rounding to ggml's block formats without an importance matrix. The *_0 and *_1 formats take scale
// and offset from the extremes of a block. The K formats search: candidate scales around the one
// that the extremes give, each refitted by least squares to its own codes, the best kept; then the
// scales themselves are rounded and the codes computed again with what they became. Files must be
// the same as ggml's, so that the order of fp32 operations matters throughout.
// Source: ggml-org/ggml (ggml-quants.c), the gguf package for MXFP4.
#include "core/error.h"
#include "core/half.h"
#include "io/block_format.h"
#include "io/block_parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace tessera::io {
namespace {

using Values = std::span<const float>;
using Codes = std::span<int>;

/// Groups whose largest magnitude is below this are zero.
constexpr float kTiny = 1e-15F;
constexpr int kSuper = 256;  // numbers in a K block

/// To nearest, ties to even, for |x| up to 2^22.
int nearest(float x) {
  constexpr float kShift = 12582912.F;  // 1.5 · 2^23: the unit of this magnitude is 1
  return static_cast<int>((x + kShift) - kShift);
}

/// The number of largest magnitude, with its sign; the first of equals.
float extreme(Values x) {
  float best = 0.F;
  for (const float value : x) {
    if (std::fabs(value) > std::fabs(best)) {
      best = value;
    }
  }
  return best;
}

float inverse(float d) {
  return d == 0.F ? 0.F : 1.F / d;
}

/// Rounded down after the caller added half a step; `top` is the largest code.
uint8_t truncated(float x, float top) {
  return static_cast<uint8_t>(std::clamp(x, 0.F, top));
}

void store_half(uint8_t* out, float value) {
  store(out, float_to_half(value));
}

// ---- one float a block ----

void f32_block(const float* x, uint8_t* out) {
  store(out, *x);
}

void f16_block(const float* x, uint8_t* out) {
  store_half(out, *x);
}

void bf16_block(const float* x, uint8_t* out) {
  store(out, float_to_bfloat16(*x));
}

// ---- blocks of 32 ----

void pack_nibbles(const std::array<uint8_t, 32>& codes, uint8_t* out) {
  for (size_t i = 0; i < 16; ++i) {
    out[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

uint32_t fifth_bits(const std::array<uint8_t, 32>& codes) {
  uint32_t bits = 0;
  for (size_t i = 0; i < 32; ++i) {
    bits |= static_cast<uint32_t>(codes[i] >> 4) << i;
  }
  return bits;
}

struct Block32 {
  float d;
  float min;
  std::array<uint8_t, 32> codes;
};

/// Codes 0 … 2·half - 1 stand for d · (code - half); the number of largest magnitude is code 0.
Block32 symmetric_32(const float* x, float half) {
  Block32 block{extreme({x, 32}) / -half, 0.F, {}};
  const float id = inverse(block.d);
  for (size_t i = 0; i < 32; ++i) {
    block.codes[i] = truncated(x[i] * id + (half + 0.5F), 2.F * half - 1.F);
  }
  return block;
}

/// Codes 0 … top stand for d · code + min.
Block32 offset_32(const float* x, float top) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  Block32 block{(*high - *low) / top, *low, {}};
  const float id = inverse(block.d);
  for (size_t i = 0; i < 32; ++i) {
    block.codes[i] = truncated((x[i] - *low) * id + 0.5F, top);
  }
  return block;
}

void q4_0_block(const float* x, uint8_t* out) {
  const Block32 block = symmetric_32(x, 8.F);
  store_half(out, block.d);
  pack_nibbles(block.codes, out + 2);
}

void q4_1_block(const float* x, uint8_t* out) {
  const Block32 block = offset_32(x, 15.F);
  store_half(out, block.d);
  store_half(out + 2, block.min);
  pack_nibbles(block.codes, out + 4);
}

void q5_0_block(const float* x, uint8_t* out) {
  const Block32 block = symmetric_32(x, 16.F);
  store_half(out, block.d);
  store(out + 2, fifth_bits(block.codes));
  pack_nibbles(block.codes, out + 6);
}

void q5_1_block(const float* x, uint8_t* out) {
  const Block32 block = offset_32(x, 31.F);
  store_half(out, block.d);
  store_half(out + 2, block.min);
  store(out + 4, fifth_bits(block.codes));
  pack_nibbles(block.codes, out + 8);
}

void q8_0_block(const float* x, uint8_t* out) {
  const float d = std::fabs(extreme({x, 32})) / 127.F;
  const float id = inverse(d);
  store_half(out, d);
  for (int i = 0; i < 32; ++i) {
    const float rounded = std::clamp(std::round(x[i] * id), -127.F, 127.F);  // half away from zero
    out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(rounded));
  }
}

void mxfp4_block(const float* x, uint8_t* out) {
  const float largest = std::fabs(extreme({x, 32}));
  // The largest magnitude of E2M1 is 6 = 1.5 · 2^2.
  const float exponent = largest > 0.F ? std::floor(std::log2(largest)) - 2.F + 127.F : 0.F;
  out[0] = static_cast<uint8_t>(std::clamp(exponent, 0.F, 254.F));
  const float d = half_power_of_two(out[0]);
  std::array<uint8_t, 32> codes{};
  for (size_t i = 0; i < 32; ++i) {
    float least = INFINITY;
    for (size_t code = 0; code < kDoubledE2M1.size(); ++code) {
      const float error = std::fabs(d * static_cast<float>(kDoubledE2M1[code]) - x[i]);
      if (error < least) {
        least = error;
        codes[i] = static_cast<uint8_t>(code);
      }
    }
  }
  pack_nibbles(codes, out + 1);
}

// ---- searches ----

struct Fit {
  float scale;
  float min;  // >= 0: the number is scale · code - min
};

struct AsymmetricSearch {
  int top;      // largest code
  float first;  // of the steps, added to `top`
  float step;
  int steps;
  bool absolute;  // error measure: |difference| instead of its square
};

/// Codes for `min` and 1/`scale`, and Σ weight · error of `scale` · code + `min`.
float weighted_error(
    Values x, Values weights, const Codes& codes, float scale, float min, bool absolute) {
  float sum = 0.F;
  for (size_t i = 0; i < x.size(); ++i) {
    const float difference = scale * static_cast<float>(codes[i]) + min - x[i];
    sum += weights[i] * (absolute ? std::fabs(difference) : difference * difference);
  }
  return sum;
}

void asymmetric_codes(Values x, float inverse_scale, float min, int top, const Codes& codes) {
  for (size_t i = 0; i < x.size(); ++i) {
    codes[i] = std::clamp(nearest(inverse_scale * (x[i] - min)), 0, top);
  }
}

/// Scale and offset (<= 0) that fit `codes` best, with `sum_w` = Σw, `sum_x` = Σwx; nothing when
/// all codes are equal.
bool refit(Values x,
           Values weights,
           const Codes& codes,
           float sum_w,
           float sum_x,
           float* scale,
           float* min) {
  float sum_l = 0.F;
  float sum_l2 = 0.F;
  float sum_xl = 0.F;
  for (size_t i = 0; i < x.size(); ++i) {
    const auto code = static_cast<float>(codes[i]);
    const float weighted = weights[i] * code;
    sum_l += weighted;
    sum_l2 += weighted * code;
    sum_xl += weighted * x[i];
  }
  const float determinant = sum_w * sum_l2 - sum_l * sum_l;
  if (!(determinant > 0.F)) {
    return false;
  }
  *scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
  *min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
  if (*min > 0.F) {
    *min = 0.F;
    *scale = sum_xl / sum_l2;
  }
  return true;
}

Fit search_asymmetric(Values x, Values weights, const AsymmetricSearch& search, Codes codes) {
  const auto [lowest, highest] = std::minmax_element(x.begin(), x.end());
  float min = std::min(*lowest, 0.F);
  const float max = *highest;
  if (max == min) {
    std::fill(codes.begin(), codes.end(), 0);
    return {0.F, -min};
  }
  float sum_w = weights[0];
  float sum_x = sum_w * x[0];
  for (size_t i = 1; i < x.size(); ++i) {
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  const auto top = static_cast<float>(search.top);
  float inverse_scale = top / (max - min);
  float scale = 1.F / inverse_scale;
  asymmetric_codes(x, inverse_scale, min, search.top, codes);
  float best = weighted_error(x, weights, codes, scale, min, search.absolute);
  std::array<int, 32> buffer{};
  const Codes tried(buffer.data(), x.size());
  for (int k = 0; k <= search.steps; ++k) {
    // Later steps start from the offset found so far.
    inverse_scale = (search.first + search.step * static_cast<float>(k) + top) / (max - min);
    asymmetric_codes(x, inverse_scale, min, search.top, tried);
    float new_scale = 0.F;
    float new_min = 0.F;
    if (!refit(x, weights, tried, sum_w, sum_x, &new_scale, &new_min)) {
      continue;
    }
    const float error = weighted_error(x, weights, tried, new_scale, new_min, search.absolute);
    if (error < best) {
      std::copy(tried.begin(), tried.end(), codes.begin());
      best = error;
      scale = new_scale;
      min = new_min;
    }
  }
  return {scale, -min};
}

/// Codes -half … half - 1 for scale · code with weights x²; codes come out `half` too large.
float search_symmetric(Values x, int half, Codes codes) {
  const float max = extreme(x);
  std::fill(codes.begin(), codes.end(), 0);
  if (std::fabs(max) < kTiny) {
    return 0.F;
  }
  float scale = 0.F;
  float best = 0.F;
  const auto sums = [&](float inverse_scale, bool keep) {
    float sum_xl = 0.F;
    float sum_l2 = 0.F;
    for (size_t i = 0; i < x.size(); ++i) {
      const int code = std::clamp(nearest(inverse_scale * x[i]), -half, half - 1);
      if (keep) {
        codes[i] = code + half;
      }
      const float weight = x[i] * x[i];
      const auto l = static_cast<float>(code);
      sum_xl += weight * x[i] * l;
      sum_l2 += weight * l * l;
    }
    return std::pair(sum_xl, sum_l2);
  };
  const auto [first_xl, first_l2] = sums(-static_cast<float>(half) / max, true);
  scale = first_l2 != 0.F ? first_xl / first_l2 : 0.F;
  best = scale * first_xl;
  for (int k = -9; k <= 9; ++k) {
    if (k == 0) {
      continue;
    }
    const float inverse_scale = -(static_cast<float>(half) + 0.1F * static_cast<float>(k)) / max;
    const auto [sum_xl, sum_l2] = sums(inverse_scale, false);
    if (sum_l2 > 0.F && sum_xl * sum_xl > best * sum_l2) {
      sums(inverse_scale, true);
      scale = sum_xl / sum_l2;
      best = scale * sum_xl;
    }
  }
  return scale;
}

/// As search_symmetric with half = 4, by moving one code at a time while the fit improves.
float search_by_descent(Values x, Codes codes) {
  constexpr int kHalf = 4;
  const float max = extreme(x);
  std::fill(codes.begin(), codes.end(), 0);
  if (std::fabs(max) < kTiny) {
    return 0.F;
  }
  const float inverse_scale = -static_cast<float>(kHalf) / max;
  float sum_xl = 0.F;
  float sum_l2 = 0.F;
  for (size_t i = 0; i < x.size(); ++i) {
    codes[i] = std::clamp(nearest(inverse_scale * x[i]), -kHalf, kHalf - 1);
    const float weight = x[i] * x[i];
    const auto l = static_cast<float>(codes[i]);
    sum_xl += weight * x[i] * l;
    sum_l2 += weight * l * l;
  }
  bool changed = true;
  for (int round = 0; round < 5 && changed; ++round) {
    changed = false;
    for (size_t i = 0; i < x.size(); ++i) {
      const float weight = x[i] * x[i];
      const auto old = static_cast<float>(codes[i]);
      float without_xl = sum_xl - weight * x[i] * old;
      if (!(without_xl > 0.F)) {
        continue;
      }
      float without_l2 = sum_l2 - weight * old * old;
      const int code = std::clamp(nearest(x[i] * without_l2 / without_xl), -kHalf, kHalf - 1);
      if (code == codes[i]) {
        continue;
      }
      const auto l = static_cast<float>(code);
      without_xl += weight * x[i] * l;
      without_l2 += weight * l * l;
      if (without_l2 > 0.F && without_xl * without_xl * sum_l2 > sum_xl * sum_xl * without_l2) {
        codes[i] = code;
        sum_xl = without_xl;
        sum_l2 = without_l2;
        changed = true;
      }
    }
  }
  for (int& code : codes) {
    code += kHalf;
  }
  return sum_l2 > 0.F ? sum_xl / sum_l2 : 0.F;
}

// ---- blocks of 256 ----

using SuperCodes = std::array<int, kSuper>;

Codes run_of(SuperCodes& codes, int run, int length) {
  return Codes(codes).subspan(static_cast<size_t>(run) * static_cast<size_t>(length),
                              static_cast<size_t>(length));
}

Values run_of(const float* x, int run, int length) {
  return {x + run * length, static_cast<size_t>(length)};
}

/// Four runs of 32 to a byte, two bits each, per half of the block.
void pack_two_bits(const SuperCodes& codes, uint8_t* out) {
  for (size_t half = 0; half < 2; ++half) {
    for (size_t i = 0; i < 32; ++i) {
      const int* code = codes.data() + 128 * half + i;
      out[32 * half + i] =
          static_cast<uint8_t>(code[0] | code[32] << 2 | code[64] << 4 | code[96] << 6);
    }
  }
}

void q2_k_block(const float* x, uint8_t* out) {
  constexpr AsymmetricSearch kSearch{3, -0.5F, 0.1F, 15, true};
  SuperCodes codes{};
  std::array<Fit, 16> fits{};
  float max_scale = 0.F;
  float max_min = 0.F;
  for (int run = 0; run < 16; ++run) {
    const Values values = run_of(x, run, 16);
    std::array<float, 16> weights{};
    std::transform(values.begin(), values.end(), weights.begin(),
                   [](float value) { return std::fabs(value); });
    Fit& fit = fits[static_cast<size_t>(run)];
    fit = search_asymmetric(values, weights, kSearch, run_of(codes, run, 16));
    max_scale = std::max(max_scale, fit.scale);
    max_min = std::max(max_min, fit.min);
  }
  const float to_scale = max_scale > 0.F ? 15.F / max_scale : 0.F;
  const float to_min = max_min > 0.F ? 15.F / max_min : 0.F;
  store_half(out + 80, max_scale > 0.F ? max_scale / 15.F : 0.F);
  store_half(out + 82, max_min > 0.F ? max_min / 15.F : 0.F);
  const float d = half_to_float(load<uint16_t>(out + 80));
  const float dmin = half_to_float(load<uint16_t>(out + 82));
  for (int run = 0; run < 16; ++run) {
    const Fit& fit = fits[static_cast<size_t>(run)];
    out[run] = static_cast<uint8_t>(static_cast<uint8_t>(nearest(to_scale * fit.scale)) |
                                    nearest(to_min * fit.min) << 4);
    const float scale = d * static_cast<float>(out[run] & 15);
    const float min = dmin * static_cast<float>(out[run] >> 4);
    if (scale == 0.F) {
      continue;
    }
    const Codes target = run_of(codes, run, 16);
    for (size_t i = 0; i < 16; ++i) {
      target[i] = std::clamp(nearest((x[16 * run + static_cast<int>(i)] + min) / scale), 0, 3);
    }
  }
  pack_two_bits(codes, out + 16);
}

/// Codes of one run again for a rounded `scale`; those of the search stay when it became zero.
void recode_symmetric(Values x, float scale, int half, Codes codes) {
  if (scale == 0.F) {
    return;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    codes[i] = std::clamp(nearest(x[i] / scale), -half, half - 1) + half;
  }
}

void q3_k_block(const float* x, uint8_t* out) {
  SuperCodes codes{};
  std::array<float, 16> scales{};
  for (int run = 0; run < 16; ++run) {
    scales[static_cast<size_t>(run)] =
        search_by_descent(run_of(x, run, 16), run_of(codes, run, 16));
  }
  const float max_scale = extreme(scales);
  uint8_t* packed = out + 96;
  std::fill(out, out + 110, uint8_t{0});
  const float to_scale = max_scale != 0.F ? -32.F / max_scale : 0.F;
  if (max_scale != 0.F) {
    for (size_t run = 0; run < 16; ++run) {
      const int code = std::clamp(nearest(to_scale * scales[run]), -32, 31) + 32;
      packed[run % 8] |= static_cast<uint8_t>((code & 15) << (run < 8 ? 0 : 4));
      packed[8 + run % 4] |= static_cast<uint8_t>((code >> 4) << (2 * (run / 4)));
    }
    store_half(out + 108, 1.F / to_scale);
  }
  const float d = half_to_float(load<uint16_t>(out + 108));
  for (int run = 0; run < 16; ++run) {
    const float scale = d * static_cast<float>(q3_k_scale(packed, run) - 32);
    recode_symmetric(run_of(x, run, 16), scale, 4, run_of(codes, run, 16));
  }
  for (size_t i = 0; i < kSuper; ++i) {
    if (codes[i] > 3) {
      out[i % 32] |= static_cast<uint8_t>(1U << (i / 32));
      codes[i] -= 4;
    }
  }
  pack_two_bits(codes, out + 32);
}

/// d, dmin and the 12 bytes of scales and mins of Q4_K and Q5_K, and the codes for them.
void k_super_block(const float* x,
                   const AsymmetricSearch& search,
                   uint8_t* out,
                   SuperCodes& codes) {
  std::array<Fit, 8> fits{};
  float max_scale = 0.F;
  float max_min = 0.F;
  for (int run = 0; run < 8; ++run) {
    const Values values = run_of(x, run, 32);
    float squares = 0.F;
    for (const float value : values) {
      squares += value * value;
    }
    const float typical = std::sqrt(squares / 32.F);
    std::array<float, 32> weights{};
    std::transform(values.begin(), values.end(), weights.begin(),
                   [typical](float value) { return typical + std::fabs(value); });
    Fit& fit = fits[static_cast<size_t>(run)];
    fit = search_asymmetric(values, weights, search, run_of(codes, run, 32));
    max_scale = std::max(max_scale, fit.scale);
    max_min = std::max(max_min, fit.min);
  }
  const float to_scale = max_scale > 0.F ? 63.F / max_scale : 0.F;
  const float to_min = max_min > 0.F ? 63.F / max_min : 0.F;
  store_half(out, max_scale / 63.F);
  store_half(out + 2, max_min / 63.F);
  uint8_t* packed = out + 4;
  std::fill(packed, packed + 12, uint8_t{0});
  for (int run = 0; run < 8; ++run) {
    const Fit& fit = fits[static_cast<size_t>(run)];
    // A negative scale wraps to the largest code, as in the C type of the original.
    const int scale = std::min<int>(63, static_cast<uint8_t>(nearest(to_scale * fit.scale)));
    const int min = std::min<int>(63, static_cast<uint8_t>(nearest(to_min * fit.min)));
    if (run < 4) {
      packed[run] = static_cast<uint8_t>(scale);
      packed[run + 4] = static_cast<uint8_t>(min);
    } else {
      packed[run + 4] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
      packed[run - 4] |= static_cast<uint8_t>((scale >> 4) << 6);
      packed[run] |= static_cast<uint8_t>((min >> 4) << 6);
    }
  }
  const float d = half_to_float(load<uint16_t>(out));
  const float dmin = half_to_float(load<uint16_t>(out + 2));
  for (int run = 0; run < 8; ++run) {
    const ScaleMin pair = k_scale_min(packed, run);
    const float scale = d * static_cast<float>(pair.scale);
    const float min = dmin * static_cast<float>(pair.min);
    if (scale == 0.F) {
      continue;
    }
    const Codes target = run_of(codes, run, 32);
    for (size_t i = 0; i < 32; ++i) {
      const float value = x[32 * run + static_cast<int>(i)];
      target[i] = std::clamp(nearest((value + min) / scale), 0, search.top);
    }
  }
}

/// Two runs of 32 to 32 bytes, four bits each.
void pack_nibble_runs(const SuperCodes& codes, uint8_t* out) {
  for (size_t i = 0; i < 128; ++i) {
    const int* code = codes.data() + 64 * (i / 32) + i % 32;
    out[i] = static_cast<uint8_t>((code[0] & 15) | (code[32] & 15) << 4);
  }
}

void q4_k_block(const float* x, uint8_t* out) {
  SuperCodes codes{};
  k_super_block(x, {15, -1.F, 0.1F, 20, false}, out, codes);
  pack_nibble_runs(codes, out + 16);
}

void q5_k_block(const float* x, uint8_t* out) {
  SuperCodes codes{};
  k_super_block(x, {31, -0.5F, 0.1F, 15, false}, out, codes);
  std::fill(out + 16, out + 48, uint8_t{0});
  for (size_t i = 0; i < kSuper; ++i) {
    out[16 + i % 32] |= static_cast<uint8_t>((codes[i] >> 4) << (i / 32));
  }
  pack_nibble_runs(codes, out + 48);
}

void q6_k_block(const float* x, uint8_t* out) {
  SuperCodes codes{};
  std::array<float, 16> scales{};
  for (int run = 0; run < 16; ++run) {
    scales[static_cast<size_t>(run)] =
        search_symmetric(run_of(x, run, 16), 32, run_of(codes, run, 16));
  }
  const float max_scale = extreme(scales);
  std::fill(out, out + 210, uint8_t{0});
  if (std::fabs(max_scale) < kTiny) {
    return;
  }
  const float to_scale = -128.F / max_scale;
  store_half(out + 208, 1.F / to_scale);
  const float d = half_to_float(load<uint16_t>(out + 208));
  for (int run = 0; run < 16; ++run) {
    const int code = std::min(127, nearest(to_scale * scales[static_cast<size_t>(run)]));
    out[192 + run] = static_cast<uint8_t>(static_cast<int8_t>(code));
    recode_symmetric(run_of(x, run, 16), d * static_cast<float>(code), 32, run_of(codes, run, 16));
  }
  for (size_t i = 0; i < 64; ++i) {  // byte i%32 of half i/32
    const int* code = codes.data() + 128 * (i / 32) + i % 32;
    uint8_t* low = out + 64 * (i / 32) + i % 32;
    low[0] = static_cast<uint8_t>((code[0] & 15) | (code[64] & 15) << 4);
    low[32] = static_cast<uint8_t>((code[32] & 15) | (code[96] & 15) << 4);
    out[128 + i] = static_cast<uint8_t>(code[0] >> 4 | code[32] >> 4 << 2 | code[64] >> 4 << 4 |
                                        code[96] >> 4 << 6);
  }
}

using Encode = void (*)(const float*, uint8_t*);

/// Null for formats that are only read.
Encode encoder_of(BlockFormat format) {
  switch (format) {
    case BlockFormat::kF32:
      return f32_block;
    case BlockFormat::kF16:
      return f16_block;
    case BlockFormat::kQ4_0:
      return q4_0_block;
    case BlockFormat::kQ4_1:
      return q4_1_block;
    case BlockFormat::kQ5_0:
      return q5_0_block;
    case BlockFormat::kQ5_1:
      return q5_1_block;
    case BlockFormat::kQ8_0:
      return q8_0_block;
    case BlockFormat::kQ2_K:
      return q2_k_block;
    case BlockFormat::kQ3_K:
      return q3_k_block;
    case BlockFormat::kQ4_K:
      return q4_k_block;
    case BlockFormat::kQ5_K:
      return q5_k_block;
    case BlockFormat::kQ6_K:
      return q6_k_block;
    case BlockFormat::kBF16:
      return bf16_block;
    case BlockFormat::kMXFP4:
      return mxfp4_block;
    case BlockFormat::kIQ4_NL:
    case BlockFormat::kIQ4_XS:
      return nullptr;
  }
  return nullptr;
}

}  // namespace

bool can_quantize(BlockFormat format) {
  return encoder_of(format) != nullptr;
}

void quantize(BlockFormat format, const float* values, int64_t elements, std::byte* out) {
  const BlockLayout& layout = block_layout(format);
  const int64_t blocks = block_bytes(format, elements) / layout.bytes;
  const Encode encode = encoder_of(format);
  TESSERA_CHECK(encode != nullptr, Unsupported,
                "{} is a block format that is only read; choose Q4_K or Q4_0", layout.name);
  for (int64_t i = 0; layout.elements > 1 && i < elements; ++i) {
    TESSERA_CHECK(std::isfinite(values[i]), InvalidArgument,
                  "number {} is {}; the block format {} holds finite numbers only", i, values[i],
                  layout.name);
  }
  auto* bytes = reinterpret_cast<uint8_t*>(out);
  for (int64_t block = 0; block < blocks; ++block) {
    encode(values + block * layout.elements, bytes + block * layout.bytes);
  }
}

}  // namespace tessera::io
