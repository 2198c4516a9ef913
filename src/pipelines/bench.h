// Measurements that speed claims rest on: this machine's peaks, and a language model's rates beside
// them.
#pragma once

#include "io/json.h"
#include "nn/codec.h"
#include "nn/sequence_model.h"

#include <memory>
#include <string>
#include <vector>

namespace tessera::pipelines {

/// Reads and multiplies until `seconds` have passed for each line. Returns
/// {"read_gb_s", "gflops_fp32", "gops_int8", "gops_int8_peak", "threads", "isa"}: fp32 and int8 by
/// libtorch's products of matrices, the peak by nothing but int8 dot products in registers. Reading
/// is over 1 GiB, since caches are large.
io::Json measure_machine(double seconds);

/// Times nn::Engine on `batch` equal requests at once: their prompts of `prompt` tokens, then
/// `generate` greedy tokens each. Returns {"prefill_tok_s", "decode_tok_s", "step_ms", "step_gb_s"
/// (weights and cache that a step of decoding reads), "peak_rss_mb", "weight_mb", …}, and beside
/// them what the machine does: on the CPU "read_gb_s" and "share_of_read_peak"; on a GPU
/// "copy_gb_s" and "bf16_tflops", with the shares of decode and of prefill (two operations a weight
/// and token).
io::Json measure_generation(const std::shared_ptr<nn::SequenceModel>& model,
                            int64_t prompt,
                            int64_t generate,
                            int64_t batch);

/// `requests` at once to an engine: {"output_tok_s", "first_token_p50_ms", "between_tokens_p50_ms",
/// "between_tokens_p99_ms", …}, from the first submission to the last token.
io::Json measure_serving(const std::shared_ptr<nn::SequenceModel>& model,
                         int64_t requests,
                         int64_t prompt,
                         int64_t generate);

/// Times a codec on noise, the best of several runs. Sound: {"seconds", "encode_x_realtime",
/// "decode_x_realtime", "first_audio_ms"} for `seconds` of it, the last one from the codes of 0.1 s
/// to their samples in a stream. Pictures: {"encode_ms", "decode_ms"} of one.
io::Json measure_codec(const nn::Codec& codec, double seconds);

/// Times the linears of one step of a 1.1 G Llama with random weights in `formats` (block formats,
/// or Q4_K_M) for `rows` tokens at once. Returns {"machine": …, "linears": [{"format", "rows",
/// "ms", "tok_s", "gb_s", "share_of_read_peak", "gops", …}]}.
io::Json measure_linears(const std::vector<std::string>& formats,
                         const std::vector<int64_t>& rows,
                         bool exact,
                         double seconds);

/// Whether measure_packed knows the layout: GPTQ, AWQ, W4A16 (compressed-tensors; all with groups
/// of 128), NF4 (blocks of 64).
bool is_packed_layout(const std::string& format);

/// Times single linears in a layout of packed checkpoints: rows as in measure_linears' "linears",
/// with "shape" [out, in]. measure_linears calls it for such formats.
io::Json measure_packed(const std::string& format,
                        const std::vector<int64_t>& rows,
                        double seconds,
                        double read_gb_s);

}  // namespace tessera::pipelines
