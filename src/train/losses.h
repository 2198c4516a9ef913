// What codecs are trained by. Every loss is the mean over the batch, a scalar on the device.
#pragma once

#include "nn/conv.h"
#include "nn/linear.h"

#include <vector>

namespace tessera::train {

using at::Tensor;

/// Distances of pictures [B, C, H, W].
struct PictureLoss {
  Tensor l1;         // mean absolute difference
  Tensor laplacian;  // the same over the bands of a Laplacian pyramid, summed over three scales
  Tensor edge;       // the same of the differences between neighbouring pixels
};
/// `weight` [B, 1, H, W] multiplies the difference of each pixel first; undefined: 1.
PictureLoss picture_loss(const Tensor& picture, const Tensor& truth, const Tensor& weight = {});

/// Distances of sounds [B, 1, N].
struct SoundLoss {
  Tensor convergence;  // ‖|Y| − |X|‖ / ‖|X|‖ of spectra, mean over resolutions (arXiv 1910.11480)
  Tensor magnitude;  // mean absolute difference of log magnitudes, mean over resolutions
  Tensor mel;        // the same of log-mel bands, mean over resolutions
};

/// Multi-resolution STFT and mel distance. Resolutions that need more samples than there are are
/// left out.
class SpectralLoss {
 public:
  struct Resolution {
    int64_t n_fft;
    int64_t hop;
    int64_t bands;  // mel bands
  };
  SpectralLoss(int64_t sample_rate, std::vector<Resolution> resolutions, at::Device device);
  /// 256 … 2048 points, a quarter of them a hop.
  static std::vector<Resolution> default_resolutions();
  SoundLoss operator()(const Tensor& sound, const Tensor& truth) const;

 private:
  struct Scale {
    Resolution resolution;
    Tensor window, filters;
  };
  std::vector<Scale> scales_;
};

/// Connectionist temporal classification: log_probs [B, T, classes] with the blank at 0, targets
/// i64 [B, S] padded, lengths i64 [B]. Mean over the batch of each text's loss over its length;
/// texts too long for their frames count as zero.
Tensor transcription_loss(const Tensor& log_probs,
                          const Tensor& targets,
                          const Tensor& frames,
                          const Tensor& lengths);

/// Reads characters off codec features [B, T, width], `per_frame` symbols a frame: as an auxiliary
/// task on the first level it makes that level carry what is said.
class CharacterHead : public nn::Module {
 public:
  CharacterHead(const nn::Weights& weights, int64_t width, int64_t classes, int64_t per_frame = 2);
  /// -> log-probabilities [B, T · per_frame, classes].
  Tensor forward(const Tensor& x) const;

 private:
  int64_t classes_;
  int64_t per_frame_;
  std::shared_ptr<nn::Linear> hidden_, head_;
};

/// Reads off a picture's code features [B, T, width], T = side², what its parts show: an auxiliary
/// task that makes codes carry which object is drawn and not only its colours. It sees two cells to
/// each side, about as far as an object reaches, so that no single code has to say it all.
class KindHead : public nn::Module {
 public:
  KindHead(const nn::Weights& weights, int64_t width, int64_t kinds);
  /// -> scores [B, kinds, 2 · side, 2 · side].
  Tensor forward(const Tensor& x) const;

 private:
  std::shared_ptr<nn::Conv2d> hidden_, head_;
};

}  // namespace tessera::train
