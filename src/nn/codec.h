// What every tokenizer of media offers: media to codes and back, at once or as a stream. Pictures
// are fp32 [B, 3, H, W] in [0, 1], sound is fp32 [B, 1, N] in [-1, 1].
#pragma once

#include "nn/quantizer.h"
#include "nn/sequence_model.h"

#include <memory>

namespace tessera::nn {

struct CodecInfo {
  int64_t sample_rate = 0;       // Hz; 0 for pictures
  double frames_per_second = 0;  // steps of codes; 0 for pictures
  int64_t frame_samples = 0;     // samples a step of codes; 0 for pictures
  int64_t look_ahead = 0;        // samples by which a stream's output is behind its codes
  int64_t image_size = 0;        // side in pixels; 0 for sound
  int64_t frames = 0;            // steps of a picture's codes; 0 for sound
  int64_t levels = 0;
  int64_t codebook_size = 0;
};

/// Decodes one sequence as its codes arrive. Lives no longer than its codec.
class CodecStream {
 public:
  virtual ~CodecStream() = default;
  /// Codes i64 [B, levels, t], t ≥ 0 -> the samples that they complete [B, 1, n]. B and levels stay
  /// the same.
  virtual Tensor push(const Tensor& codes) = 0;
  /// The samples that are left; nothing may be pushed afterwards.
  virtual Tensor finish() = 0;
};

/// Media, codes and gradients of one training pass.
struct CodecPass {
  Tensor media;  // reconstruction, not clamped
  Quantized code;
};

class Codec : public Model {
 public:
  using Model::Model;
  virtual CodecInfo info() const = 0;
  /// Media -> codes i64 [B, levels, T].
  virtual Tensor encode(const Tensor& media) const = 0;
  /// Codes [B, 1 … levels, T] -> media, clamped to its range.
  virtual Tensor decode(const Tensor& codes) const = 0;
  /// A decoder whose outputs, laid end to end, equal `decode`. Throws Unsupported for pictures.
  virtual std::unique_ptr<CodecStream> stream() const = 0;

  /// decode(encode(media)), differentiable.
  virtual CodecPass reconstruct(const Tensor& media) const = 0;
  /// What the encoder gives to the quantiser [B, T, width], differentiable.
  virtual Tensor features(const Tensor& media) const = 0;
  virtual const std::shared_ptr<Quantizer>& quantizer() const = 0;
};

}  // namespace tessera::nn
