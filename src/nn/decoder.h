// The decoder-only transformer that the Llama family and its relatives are: embeddings, layers of
// self-attention and gated MLP with norms, a last norm, a head. A family is a set of options.
#pragma once

#include "nn/attention.h"
#include "nn/sequence_model.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::nn {

/// Names of the parts in the checkpoint where families differ; those of q, k, v, o and of the MLP
/// are in AttentionOptions and MlpOptions.
struct DecoderNames {
  std::string embedding = "embed_tokens";
  std::string input_norm = "input_layernorm";
  std::string attention = "self_attn";
  std::string attention_output_norm =
      "post_attention_layernorm";  // with DecoderOptions::post_norms
  std::string mlp_norm = "post_attention_layernorm";
  std::string mlp = "mlp";
  std::string mlp_output_norm = "post_feedforward_layernorm";  // with DecoderOptions::post_norms
  std::string head = "lm_head";
};

struct DecoderOptions {
  int64_t vocab = 32000;
  int64_t layers = 32;
  int64_t max_positions = 2048;
  double epsilon = 1e-6;
  AttentionOptions attention = {};  // `hidden`, `scores.window` (0: none) … of every layer
  MlpOptions mlp = {};
  RopeConfig rope = {};
  std::vector<bool> slides = {};  // which layers have scores.window; empty: all
  bool tied = false;              // the head is the embedding table
  bool unit_offset = false;       // norms multiply by 1 + weight
  bool post_norms = false;        // norms behind attention and MLP too
  double embedding_scale = 1.0;
  double logit_cap = 0.0;      // > 0: cap · tanh(logit / cap)
  int64_t restart_length = 0;  // see SequenceModel::restart_length
  DecoderNames names = {};
};

class DecoderLayer : public Module {
 public:
  DecoderLayer(const Weights& weights,
               const DecoderOptions& options,
               const Rope& rope,
               int64_t index);
  /// [B, T, hidden] -> [B, T, hidden].
  Tensor forward(const Tensor& x, const StepContext& context) const;
  /// A step over pages on a GPU.
  Tensor forward_gpu(const Tensor& x, const StepContext& context) const;
  /// See SequenceModel::prepare_for_pages.
  void prepare_for_pages();

 private:
  std::shared_ptr<RMSNorm> input_norm_, attention_output_norm_, mlp_norm_, mlp_output_norm_;
  std::shared_ptr<SelfAttention> attention_;
  std::shared_ptr<GatedMLP> mlp_;
};

/// Embeddings, layers and last norm: the part under the name "model".
class DecoderBody : public Module {
 public:
  DecoderBody(const Weights& weights, const DecoderOptions& options);
  /// States after the last norm [B, T or 1, hidden].
  Tensor forward(const Step& step, KVCache* cache) const;
  const Embedding& embedding() const { return *embedding_; }
  /// See SequenceModel::prepare_for_pages.
  void prepare_for_pages();

 private:
  StepContext context(const Step& step, KVCache* cache, at::ScalarType dtype) const;

  Rope rope_;
  ops::ScoreOptions scores_;
  int64_t window_;
  bool all_slide_;
  double embedding_scale_;
  std::shared_ptr<Embedding> embedding_;
  std::vector<std::shared_ptr<DecoderLayer>> layers_;
  std::shared_ptr<RMSNorm> norm_;
};

/// Body and head. Its entries are the matter of who derives from it.
class DecoderModel : public SequenceModel {
 public:
  DecoderModel(const Weights& weights, const DecoderOptions& options);

  Tensor step(const Step& step, Cache* cache) override;
  Tensor hidden(const Step& step, Cache* cache) override;
  const Tensor& head() const override { return head_->weight(); }
  std::unique_ptr<Cache> make_cache() const override;
  std::unique_ptr<PagedCache> make_paged_cache(int64_t pages, at::ScalarType dtype) const override;
  at::ScalarType state_dtype() const override;
  bool steps_without_host(PagedCache& cache) const override;
  void prepare_for_pages() override;
  int64_t vocab_size() const override { return options_.vocab; }
  int64_t max_positions() const override { return options_.max_positions; }
  int64_t restart_length() const override { return options_.restart_length; }

 private:
  DecoderOptions options_;
  std::shared_ptr<DecoderBody> body_;
  std::shared_ptr<Linear> head_;
};

}  // namespace tessera::nn
