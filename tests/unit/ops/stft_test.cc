#include "ops/stft.h"

#include "core/error.h"
#include "io/checkpoint.h"
#include "nn/weights.h"
#include "ops/mel.h"

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace tessera::ops {
namespace {

at::Tensor golden(const std::string& name) {
  static const io::Checkpoint file =
      io::Checkpoint::open(io::fs::path(TESSERA_GOLDENS) / "stft" / "transforms.safetensors");
  const io::TensorEntry* entry = file.find(name);
  return entry == nullptr ? at::Tensor() : nn::tensor_of(*entry).clone();
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double bound) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LT((actual - expected).abs().max().item<double>(), bound);
}

class Transforms : public testing::TestWithParam<const char*> {};

TEST_P(Transforms, EqualTorch) {
  const std::string name = GetParam();
  const at::Tensor sizes = golden(name + ".sizes");
  const auto size = [&](int64_t i) { return sizes[i].item<int64_t>(); };
  const auto pad = size(3) == 0   ? StftOptions::Pad::kNone
                   : size(4) == 1 ? StftOptions::Pad::kZeros
                                  : StftOptions::Pad::kReflect;
  const StftOptions options{.n_fft = size(0), .hop = size(2), .pad = pad};
  const at::Tensor window = hann_window(size(1), size(0), at::kCPU);
  const at::Tensor spectrum = stft(golden(name + ".signal"), window, options);
  expect_close(at::view_as_real(spectrum), golden(name + ".spectrum"), 1e-4);
  if (pad != StftOptions::Pad::kNone) {
    expect_close(istft(spectrum, window, options), golden(name + ".inverse"), 1e-5);
    const at::Tensor whole = golden(name + ".inverse_length");
    expect_close(istft(spectrum, window, options, whole.size(1)), whole, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases,
    Transforms,
    testing::Values("reflect", "zeros_short_window", "bare_odd_hop", "single_frame", "odd_fft"));

TEST(Stft, RefusesWhatHasNoFrame) {
  const at::Tensor window = hann_window(16, 16, at::kCPU);
  EXPECT_THROW(stft(at::zeros({1, 8}), window, {.n_fft = 16, .hop = 4}), InvalidArgument);
  EXPECT_THROW(
      stft(at::zeros({1, 15}), window, {.n_fft = 16, .hop = 4, .pad = StftOptions::Pad::kNone}),
      InvalidArgument);
  EXPECT_THROW(stft(at::zeros({1, 64}), window, {.n_fft = 16, .hop = 0}), InvalidArgument);
  EXPECT_THROW(hann_window(17, 16, at::kCPU), InvalidArgument);
  const at::Tensor spectrum = stft(at::randn({1, 64}), window, {.n_fft = 16, .hop = 4});
  EXPECT_THROW(istft(spectrum, window, {.n_fft = 16, .hop = 17}), InvalidArgument);
  EXPECT_THROW(istft(spectrum, window, {.n_fft = 18, .hop = 4}), InvalidArgument);
}

TEST(Stft, GradientsAreFiniteForSilence) {
  at::Tensor x = at::zeros({1, 64}).requires_grad_();
  const at::Tensor window = hann_window(16, 16, at::kCPU);
  log_floor(power(stft(x, window, {.n_fft = 16, .hop = 4})), 1e-5).sum().backward();
  EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
}

TEST(Mel, EqualsTorchaudioAndLibrosa) {
  const MelOptions options{.sample_rate = 16000, .n_fft = 256, .bands = 20};
  expect_close(mel_filters(options), golden("mel.htk"), 2e-5);
  MelOptions slaney = options;
  slaney.scale = MelOptions::Scale::kSlaney;
  expect_close(mel_filters(slaney), golden("mel.slaney"), 2e-5);
  slaney.area_norm = true;
  slaney.low = 50;
  slaney.high = 7600;
  expect_close(mel_filters(slaney), golden("mel.librosa"), 1e-6);
  EXPECT_THROW(mel_filters({.sample_rate = 16000, .n_fft = 256, .bands = 20, .low = 9000}),
               InvalidArgument);
}

TEST(PitchFilters, HearTheirPitch) {
  // A sine at A4 (MIDI 69) peaks in its own filter.
  const int64_t n_fft = 4096;
  const at::Tensor time = at::arange(n_fft, at::kDouble) / 16000.0;
  const at::Tensor sine = (time * 440 * 2 * M_PI).sin().to(at::kFloat).unsqueeze(0);
  const at::Tensor window = hann_window(n_fft, n_fft, at::kCPU);
  const at::Tensor spectrum =
      stft(sine, window, {.n_fft = n_fft, .hop = n_fft, .pad = StftOptions::Pad::kNone});
  const at::Tensor filters = pitch_filters(16000, n_fft, 36, 2, 120);
  EXPECT_EQ(apply_filters(power(spectrum), filters).argmax().item<int64_t>(), (69 - 36) * 2);
  EXPECT_TRUE((filters.sum(0) > 0).all().item<bool>());  // no filter falls between two bins
}

}  // namespace
}  // namespace tessera::ops
