// What the bundled codecs share: the quantiser's configuration and running entries.
#pragma once

#include "models/config.h"
#include "nn/codec.h"

namespace tessera::models {

/// The "quantizer" object of a codec's config.json: kind, levels, codebook_size, code_dim, cosine,
/// steps. Features are `width` wide.
nn::QuantizerOptions read_quantizer(const io::Json& config, int64_t width);

/// Runs `encode` (media -> codes) or `decode` (codes -> media) with the media under `name`.
nn::NamedTensors run_codec_entry(const nn::Codec& codec,
                                 const char* name,
                                 std::string_view entry,
                                 const nn::NamedTensors& inputs);

}  // namespace tessera::models
