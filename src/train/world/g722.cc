// ITU-T G.722 at 64 kbit/s: each byte holds six bits of the lower band (0-4 kHz) and two of the
// upper (4-8 kHz), both adaptive differential PCM; a 24-tap mirror filter joins the bands. Tables
// and block names are those of the recommendation. Integer arithmetic, bit-exact.

#include "train/world/g722.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

namespace tessera::world {

namespace {

constexpr int kWl[8] = {-60, -30, 58, 172, 334, 538, 1198, 3042};
constexpr int kRl42[16] = {0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0};
constexpr int kIlb[32] = {2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543,
                          2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158, 3228,
                          3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008};
constexpr int kWh[3] = {0, -214, 798};
constexpr int kRh2[4] = {2, 1, 2, 1};
constexpr int kQm2[4] = {-7408, -1616, 7408, 1616};
constexpr int kQm4[16] = {0,     -20456, -12896, -8968, -6288, -4240, -2584, -1200,
                          20456, 12896,  8968,   6288,  4240,  2584,  1200,  0};
constexpr int kQm6[64] = {
    -136,   -136,   -136,  -136,  -24808, -21904, -19008, -16704, -14984, -13512, -12280,
    -11192, -10232, -9360, -8576, -7856,  -7192,  -6576,  -6000,  -5456,  -4944,  -4464,
    -4008,  -3576,  -3168, -2776, -2400,  -2032,  -1688,  -1360,  -1040,  -728,   24808,
    21904,  19008,  16704, 14984, 13512,  12280,  11192,  10232,  9360,   8576,   7856,
    7192,   6576,   6000,  5456,  4944,   4464,   4008,   3576,   3168,   2776,   2400,
    2032,   1688,   1360,  1040,  728,    432,    136,    -432,   -136};
constexpr int kQmf[12] = {3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};

int saturate(int value) {
  return std::clamp(value, -32768, 32767);
}

int sign_of(int value) {
  return value >> 15;
}

/// One sub-band's adaptive predictor: two poles, six zeros.
struct Band {
  int s = 0, sp = 0, sz = 0;
  int r[3] = {}, a[3] = {}, p[3] = {};
  int d[7] = {}, b[7] = {};
  int nb = 0, det = 0;

  void reconstruct(int difference) {
    d[0] = difference;
    r[0] = saturate(s + difference);
    p[0] = saturate(sz + difference);
    adapt_poles();
    adapt_zeros();
    for (int i = 6; i > 0; --i) {
      d[i] = d[i - 1];
    }
    for (int i = 2; i > 0; --i) {
      r[i] = r[i - 1];
      p[i] = p[i - 1];
    }
    sp = saturate(((saturate(r[1] + r[1]) * a[1]) >> 15) + ((saturate(r[2] + r[2]) * a[2]) >> 15));
    sz = 0;
    for (int i = 6; i > 0; --i) {
      sz += (saturate(d[i] + d[i]) * b[i]) >> 15;
    }
    sz = saturate(sz);
    s = saturate(sp + sz);
  }

 private:
  void adapt_poles() {
    const bool same1 = sign_of(p[0]) == sign_of(p[1]);
    const bool same2 = sign_of(p[0]) == sign_of(p[2]);
    const int quadruple = saturate(a[1] * 4);
    int change = same1 ? -quadruple : quadruple;
    change = std::min(change, 32767);
    int a2 = (same2 ? 128 : -128) + (change >> 7) + ((a[2] * 32512) >> 15);
    a2 = std::clamp(a2, -12288, 12288);
    int a1 = saturate((same1 ? 192 : -192) + ((a[1] * 32640) >> 15));
    const int bound = saturate(15360 - a2);
    a1 = std::clamp(a1, -bound, bound);
    a[1] = a1;
    a[2] = a2;
  }

  void adapt_zeros() {
    const int step = d[0] == 0 ? 0 : 128;
    for (int i = 1; i < 7; ++i) {
      const int change = sign_of(d[i]) == sign_of(d[0]) ? step : -step;
      b[i] = saturate(change + ((b[i] * 32640) >> 15));
    }
  }
};

/// The quantiser's step for a logarithmic scale `nb`; `shift` is 8 in the lower, 10 in the upper
/// band.
int scale_of(int nb, int shift) {
  const int index = (nb >> 6) & 31;
  const int places = shift - (nb >> 11);
  const int value = places < 0 ? kIlb[index] << -places : kIlb[index] >> places;
  return value << 2;
}

}  // namespace

std::vector<float> decode_g722(std::string_view bytes) {
  Band low;
  Band high;
  low.det = 32;
  high.det = 8;
  std::array<int, 24> x{};
  std::vector<float> samples;
  samples.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const int code = static_cast<unsigned char>(c);
    const int il = code & 0x3F;
    const int ih = code >> 6;

    const int rlow = std::clamp(low.s + ((low.det * kQm6[il]) >> 15), -16384, 16383);
    const int il4 = il >> 2;
    const int dlow = (low.det * kQm4[il4]) >> 15;
    low.nb = std::clamp(((low.nb * 127) >> 7) + kWl[kRl42[il4]], 0, 18432);
    low.det = scale_of(low.nb, 8);
    low.reconstruct(dlow);

    const int dhigh = (high.det * kQm2[ih]) >> 15;
    const int rhigh = std::clamp(dhigh + high.s, -16384, 16383);
    high.nb = std::clamp(((high.nb * 127) >> 7) + kWh[kRh2[ih]], 0, 22528);
    high.det = scale_of(high.nb, 10);
    high.reconstruct(dhigh);

    std::copy(x.begin() + 2, x.end(), x.begin());
    x[22] = rlow + rhigh;
    x[23] = rlow - rhigh;
    int even = 0;
    int odd = 0;
    for (size_t i = 0; i < 12; ++i) {
      odd += x[2 * i] * kQmf[i];
      even += x[2 * i + 1] * kQmf[11 - i];
    }
    samples.push_back(static_cast<float>(saturate(even >> 11)) / 32768.0F);
    samples.push_back(static_cast<float>(saturate(odd >> 11)) / 32768.0F);
  }
  return samples;
}

}  // namespace tessera::world
