// What every model offers (entries by name), and what every model that continues a sequence offers
// beside.
#pragma once

#include "core/error.h"
#include "nn/cache.h"
#include "nn/module.h"
#include "nn/paged_cache.h"

#include <memory>
#include <string_view>

namespace tessera::nn {

class Model : public Module {
 public:
  using Module::Module;
  /// Runs an entry. Inputs have been checked against its ports.
  virtual NamedTensors run(std::string_view entry, const NamedTensors& inputs) = 0;
  /// Where its parameters are.
  at::Device device() const { return parameters().front().device(); }
};

/// Tokens of one step and where they stand.
struct Step {
  Tensor ids;              // i64 [B, T]
  Tensor positions;        // i64 [B, T]; undefined: past … past + T - 1
  Tensor key_mask;         // [B, past + T], 0 = padding; undefined: no padding
  bool last_only = false;  // logits of the last token alone
  /// Documents packed end to end in one row (B = 1, no cache, no key_mask): document i is tokens
  /// cu_seqlens[i] … cu_seqlens[i + 1] − 1 and sees itself alone. i32 [documents + 1]; `positions`
  /// restart at every document. Undefined: the row is one document.
  Tensor cu_seqlens = {};
  int64_t max_document = 0;  // upper bound of the documents' lengths, with cu_seqlens
  /// The newest tokens of many sequences end to end in one row (B = 1, no cache, no key_mask), with
  /// their `positions`; what came before is in `pages`. Logits are those of the tokens `rows` i64.
  PagedCache* pages = nullptr;
  ops::PagedBatch batch = {};
  Tensor rows = {};
};

class SequenceModel : public Model {
 public:
  using Model::Model;
  /// Logits fp32 [B, T or 1, vocab]; `cache` null: a whole sequence without state.
  virtual Tensor step(const Step& step, Cache* cache) = 0;
  /// What `step` multiplies with the head: states after the last norm [B, T or 1, D]. Ids are not
  /// checked, and nothing waits for the device: training steps start here.
  virtual Tensor hidden(const Step& step, Cache* cache) = 0;
  /// Weight of the head [vocab, D]: logits = hidden · headᵀ.
  virtual const Tensor& head() const = 0;
  virtual std::unique_ptr<Cache> make_cache() const = 0;
  /// State for many sequences at once (`Step::pages`). Throws Unsupported when the model keeps
  /// another kind of state.
  virtual std::unique_ptr<PagedCache> make_paged_cache(int64_t pages, at::ScalarType dtype) const {
    throw Unsupported("this model cannot run many sequences over pages ({} of {})", pages,
                      c10::toString(dtype));
  }
  /// Type of the states between layers: fp32 on the CPU, else that of the embeddings.
  virtual at::ScalarType state_dtype() const { return at::kFloat; }
  /// Whether a step with Step::batch.device alone, and nothing of the batch on the host, runs over
  /// these pages without waiting for the device.
  virtual bool steps_without_host(PagedCache&) const { return false; }
  /// Arranges the weights for many steps over pages: on a GPU those with the same inputs become
  /// one. The parameters keep their names and values.
  virtual void prepare_for_pages() {}
  virtual int64_t vocab_size() const = 0;
  /// Longest sequence that it was made for; 0 = no limit.
  virtual int64_t max_positions() const = 0;
  /// Where state stops being of use (LongRoPE turns every key anew): a sequence that grows past
  /// this length is run again from its start, with an empty cache. 0: never.
  virtual int64_t restart_length() const { return 0; }
};

}  // namespace tessera::nn
