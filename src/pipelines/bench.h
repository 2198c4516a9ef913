// Measurements that speed claims rest on: this machine's peaks, and a language model's rates beside
// them.
#pragma once

#include "io/json.h"
#include "nn/codec.h"
#include "nn/sequence_model.h"

#include <string>

namespace tessera::pipelines {

/// Reads and multiplies until `seconds` have passed for each line. Returns
/// {"read_gb_s", "gflops_fp32", "gops_int8", "threads", "isa"}; reading is over 1 GiB, since caches
/// are large.
io::Json measure_machine(double seconds);

/// Times a prefill of `prompt` tokens and `generate` greedy steps for `batch` equal sequences.
/// Returns {"prefill_tok_s", "decode_tok_s", "peak_rss_mb", "weight_mb", …, "share_of_read_peak"}.
io::Json measure_generation(
    nn::SequenceModel& model, int64_t prompt, int64_t generate, int64_t batch, double read_gb_s);

/// Times a codec on noise, the best of several runs. Sound: {"seconds", "encode_x_realtime",
/// "decode_x_realtime", "first_audio_ms"} for `seconds` of it, the last one from the codes of 0.1 s
/// to their samples in a stream. Pictures: {"encode_ms", "decode_ms"} of one.
io::Json measure_codec(const nn::Codec& codec, double seconds);

}  // namespace tessera::pipelines
