// Scalar widening of stored weights to fp32, and constants of the vector code; included inside each
// kernel file's anonymous namespace.

inline float widen(Bf16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  __builtin_memcpy(&out, &bits, sizeof(out));
  return out;
}

inline float widen(Fp16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000U) << 16;
  const uint32_t magnitude = value.bits & 0x7FFFU;
  float out;
  if (magnitude >= 0x7C00U) {  // infinity, NaN
    const uint32_t bits = sign | 0x7F800000U | ((magnitude & 0x3FFU) << 13);
    __builtin_memcpy(&out, &bits, sizeof(out));
    return out;
  }
  // Shifted into place the exponent is 112 too small; one exact multiplication repairs normals and
  // subnormals alike.
  const uint32_t bits = magnitude << 13;
  __builtin_memcpy(&out, &bits, sizeof(out));
  out *= 0x1.0p112F;
  return sign != 0 ? -out : out;
}

inline float widen(int8_t value) {
  return static_cast<float>(value);
}

inline float widen(float value) {
  return value;
}

[[maybe_unused]] constexpr float kLog2E = 1.44269504F;
// 2^x = Σ (x ln 2)^k / k! for |x| ≤ ½, highest power first: the next term is below 6e-9.
constexpr int kPowerTerms = 8;
[[maybe_unused]] constexpr float kPower2[kPowerTerms] = {
    1.52527338e-05F, 0.000154035304F, 0.00133335581F, 0.00961812911F,
    0.0555041087F,   0.240226507F,    0.693147181F,   1.0F};
