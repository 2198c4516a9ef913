// Vector quantisers: what turns features into tokens. Residual vector quantisation over low
// dimensional codes (arXiv 2107.03312, 2110.04627), finite scalar quantisation (arXiv 2309.15505),
// and the moving averages by which codebooks learn.
#pragma once

#include "nn/linear.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::nn {

struct QuantizerOptions {
  std::string kind = "vq";          // vq | fsq
  int64_t width = 0;                // of the features
  int64_t levels = 1;               // residual levels; fsq has one
  int64_t codebook_size = 0;        // fsq: the product of `steps`
  int64_t code_dim = 8;             // vq: features are projected to this before the look-up
  bool cosine = true;               // vq: compare directions only; codes lie on the unit sphere
  std::vector<int64_t> steps = {};  // fsq: values an axis, such as {8, 5, 5, 5}
};

/// What training needs of one pass.
struct Quantized {
  Tensor vectors;     // [B, T, width]: sum of the levels, gradients straight through
  Tensor codes;       // i64 [B, levels, T]
  Tensor commitment;  // scalar: mean squared distance of features to their codes, over levels
  std::vector<Tensor> levels;   // each level's share of `vectors`
  std::vector<Tensor> latents;  // vq: what each level looked up, fp32 [B · T, code_dim], detached
};

class Quantizer : public Module {
 public:
  using Module::Module;
  /// [B, T, width].
  virtual Quantized quantize(const Tensor& x) const = 0;
  /// Codes i64 [B, 1 … levels, T] -> [B, T, width]. Throws InvalidArgument for codes outside 0 …
  /// codebook_size − 1 or too many levels.
  virtual Tensor lookup(const Tensor& codes) const = 0;
  virtual int64_t levels() const = 0;
  virtual int64_t codebook_size() const = 0;

 protected:
  void check_codes(const Tensor& codes) const;
};

/// Each level projects what the levels before left over to code_dim, takes the nearest code, and
/// projects back. Tensors a level: `in_proj`, `out_proj`, buffer `codebook` [size, code_dim].
class ResidualVectorQuantizer : public Quantizer {
 public:
  ResidualVectorQuantizer(const Weights& weights, const QuantizerOptions& options);
  Quantized quantize(const Tensor& x) const override;
  Tensor lookup(const Tensor& codes) const override;
  int64_t levels() const override { return options_.levels; }
  int64_t codebook_size() const override { return options_.codebook_size; }
  const QuantizerOptions& options() const { return options_; }
  /// [size, code_dim]; CodebookAverages writes into it.
  const Tensor& codebook(int64_t level) const { return codebooks_[static_cast<size_t>(level)]; }

 private:
  QuantizerOptions options_;
  std::vector<std::shared_ptr<Linear>> in_proj_, out_proj_;
  std::vector<Tensor> codebooks_;
};

/// Each axis of a low dimensional projection is squashed and rounded to a few values: no codebook,
/// nothing to collapse.
class FiniteScalarQuantizer : public Quantizer {
 public:
  FiniteScalarQuantizer(const Weights& weights, const QuantizerOptions& options);
  Quantized quantize(const Tensor& x) const override;
  Tensor lookup(const Tensor& codes) const override;
  int64_t levels() const override { return 1; }
  int64_t codebook_size() const override { return size_; }

  /// Latents [..., axes] -> values in [-1, 1], gradients straight through.
  Tensor round(const Tensor& latents) const;
  /// Rounded values -> codes i64 [...], and back.
  Tensor to_codes(const Tensor& values) const;
  Tensor to_values(const Tensor& codes) const;

 private:
  std::vector<int64_t> steps_;
  int64_t size_ = 1;
  Tensor count_, half_, stride_;  // [axes]: steps, steps / 2, place value
  std::shared_ptr<Linear> in_proj_, out_proj_;
};

/// Throws InvalidArgument for options that make no quantiser.
std::shared_ptr<Quantizer> make_quantizer(const Weights& weights, const QuantizerOptions& options);

/// Moving averages of the features that fall on each code; the codebook is set to them. Codes that
/// get nothing are moved to where features are. Nothing here waits for the device. Holds the
/// training state that a model folder does not need (its buffers go into training checkpoints).
class CodebookAverages : public torch::nn::Module {
 public:
  explicit CodebookAverages(std::shared_ptr<ResidualVectorQuantizer> quantizer,
                            double decay = 0.99);
  /// After a training pass; moves the codebooks.
  void update(const Quantized& pass);
  /// Moves codes that got less than `share` of the mean to features of the last pass; the first
  /// call, after the first pass, starts the whole codebook.
  void restart(double share = 0.05);
  /// Share of a level's codes that are in use (as in `restart`), and the perplexity of their use;
  /// scalars.
  Tensor used(int64_t level, double share = 0.05) const;
  Tensor perplexity(int64_t level) const;

 private:
  struct Level {
    Tensor sums;    // [size, code_dim]
    Tensor counts;  // [size]
    Tensor recent;  // [size, code_dim]: features of the last pass
  };
  std::shared_ptr<ResidualVectorQuantizer> quantizer_;
  double decay_;
  std::vector<Level> levels_;
};

}  // namespace tessera::nn
