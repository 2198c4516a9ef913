#include "models/codec.h"

#include "core/error.h"

namespace tessera::models {

nn::QuantizerOptions read_quantizer(const io::Json& config, int64_t width) {
  const io::Json section = config.value("quantizer", io::Json::object());
  TESSERA_CHECK(section.is_object(), CorruptFile,
                "config.json: 'quantizer' must be an object, found {}", section.dump());
  const ConfigReader read(section, "config.json: quantizer");
  nn::QuantizerOptions options;
  options.width = width;
  options.kind = read.string("kind", options.kind);
  options.levels = read.positive("levels", 1);
  if (options.kind == "fsq") {
    options.steps = read.positives("steps", {8, 5, 5, 5});
  } else {
    options.codebook_size = read.positive("codebook_size", 1024);
    options.code_dim = read.positive("code_dim", options.code_dim);
    options.cosine = read.boolean("cosine", true);
  }
  return options;
}

nn::NamedTensors run_codec_entry(const nn::Codec& codec,
                                 const char* name,
                                 std::string_view entry,
                                 const nn::NamedTensors& inputs) {
  if (entry == "encode") {
    return {{"codes", codec.encode(inputs.at(name))}};
  }
  return {{name, codec.decode(inputs.at("codes"))}};
}

}  // namespace tessera::models
