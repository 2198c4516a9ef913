#include "train/cuda/ctc.h"

#include "core/error.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

/// Looked up by name in train/losses.cc. Loss [B] and its gradient [B, T, classes].
extern "C" void tessera_ctc_loss(const at::Tensor& log_probs,
                                 const at::Tensor& targets,
                                 const at::Tensor& frames,
                                 const at::Tensor& lengths,
                                 at::Tensor& loss,
                                 at::Tensor& gradient) {
  using namespace tessera;  // NOLINT(google-build-using-namespace)
  const int64_t texts = log_probs.size(0);
  const int64_t symbols = targets.size(1);
  TESSERA_CHECK(symbols <= 3000, Unsupported, "texts of {} symbols: at most 3,000", symbols);
  loss = at::empty({texts}, log_probs.options());
  gradient = at::zeros_like(log_probs);
  const at::Tensor alpha =
      at::empty({texts, log_probs.size(1), 2 * symbols + 1}, log_probs.options());
  const char* error = train::run_ctc({.log_probs = log_probs.const_data_ptr<float>(),
                                      .targets = targets.const_data_ptr<int64_t>(),
                                      .frames = frames.const_data_ptr<int64_t>(),
                                      .lengths = lengths.const_data_ptr<int64_t>(),
                                      .alpha = alpha.data_ptr<float>(),
                                      .loss = loss.data_ptr<float>(),
                                      .gradient = gradient.data_ptr<float>(),
                                      .texts = texts,
                                      .time = log_probs.size(1),
                                      .classes = log_probs.size(2),
                                      .symbols = symbols},
                                     c10::cuda::getCurrentCUDAStream());
  TESSERA_CHECK(error == nullptr, Internal, "CTC on the GPU: {}", error);
}
