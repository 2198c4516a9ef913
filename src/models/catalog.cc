// One row a model. The row's code is the line of the same model_type in registry.cc.
#include "models/catalog.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/hub.h"
#include "models/gguf.h"

#include <algorithm>

namespace tessera::models {
namespace {

// `forward` and `generate` with transformers' names: every causal language model has them.
std::vector<Entry> language_model_entries() {
  return {
      {.name = "forward",
       .inputs = {{"input_ids", "i64 [B, T]"}, {"attention_mask", "i64 [B, T]", true}},
       .outputs = {{"logits", "f32 [B, T, V]"}},
       .note = "Logits of a whole sequence; attention_mask 0 marks left padding."},
      {.name = "generate",
       .inputs = {{"input_ids", "i64 [B, T]"},
                  {"max_new_tokens", "i64 [1]"},
                  {"repetition_penalty", "f32 [1]", true},
                  {"attention_mask", "i64 [B, T]", true},
                  {"no_repeat_ngram_size", "i64 [1]", true},
                  {"min_new_tokens", "i64 [1]", true},
                  {"num_beams", "i64 [1]", true},
                  {"num_return_sequences", "i64 [1]", true},
                  {"length_penalty", "f32 [1]", true},
                  {"early_stopping", "i64 [1]", true}},
       .outputs = {{"sequences", "i64 [B, T + new]"}},
       .note = "Greedy continuation, prompt included, the end token kept, pad id after it; with "
               "num_beams above 1 beam search (early_stopping: 0 false, 1 true, 2 never)."},
  };
}

ModelSummary language_model(std::string_view name,
                            std::string_view architecture,
                            std::string_view model_type) {
  return {.name = name,
          .architectures = {architecture},
          .model_type = model_type,
          .tasks = "text generation",
          .entries = language_model_entries()};
}

// `encode` (media -> codes) and `decode` (codes -> media) with the media under `name`.
std::vector<Entry> codec_entries(const char* name, const char* type) {
  return {{.name = "encode",
           .inputs = {{name, type}},
           .outputs = {{"codes", "i64 [B, levels, T]"}},
           .note = "Media to tokens."},
          {.name = "decode",
           .inputs = {{"codes", "i64 [B, levels, T]"}},
           .outputs = {{name, type}},
           .note = "Tokens to media; the first levels alone will do."}};
}

// A model that looks at one input and gives figures: a judge.
std::vector<Entry> forward_entry(Port input, std::vector<Port> outputs, const char* note) {
  return {{.name = "forward",
           .inputs = {std::move(input)},
           .outputs = std::move(outputs),
           .note = note}};
}

std::vector<ModelSummary> make_catalog() {
  const Port wav = {"wav", "f32 [B, 1, N]"};
  const Port picture = {"pixel_values", "f32 [B, 3, H, W]"};
  return {
      language_model("Llama", "LlamaForCausalLM", "llama"),
      language_model("Mistral", "MistralForCausalLM", "mistral"),
      language_model("Qwen 2", "Qwen2ForCausalLM", "qwen2"),
      language_model("Qwen 3", "Qwen3ForCausalLM", "qwen3"),
      language_model("InternLM 2", "InternLM2ForCausalLM", "internlm2"),
      language_model("Gemma 2", "Gemma2ForCausalLM", "gemma2"),
      language_model("Phi-3", "Phi3ForCausalLM", "phi3"),
      {.name = "tessera picture codec",
       .architectures = {"TesseraPictureCodec"},
       .model_type = "tessera_picture_codec",
       .tasks = "pictures to tokens and back",
       .entries = codec_entries("pixel_values", "f32 [B, 3, H, W]")},
      {.name = "tessera audio codec",
       .architectures = {"TesseraAudioCodec"},
       .model_type = "tessera_audio_codec",
       .tasks = "sound to tokens and back",
       .entries = codec_entries("wav", "f32 [B, 1, N]")},
      {.name = "tessera scene judge",
       .architectures = {"TesseraSceneJudge"},
       .model_type = "tessera_scene_judge",
       .tasks = "what a picture of the bundled world shows",
       .entries =
           forward_entry(picture,
                         {{"counts", "f32 [B, looks, counts]"},
                          {"background", "f32 [B, backgrounds]"},
                          {"relation", "f32 [B, relations]"}},
                         "Logits of each look's count, of the background and of the relation.")},
      {.name = "tessera speech recognizer",
       .architectures = {"TesseraSpeechRecognizer"},
       .model_type = "tessera_speech_recognizer",
       .tasks = "characters of speech",
       .entries =
           forward_entry(wav, {{"log_probs", "f32 [B, T, classes]"}},
                         "Log-probabilities of CTC symbols, 50 frames a second, the blank is 0.")},
      {.name = "tessera speaker judge",
       .architectures = {"TesseraSpeakerJudge"},
       .model_type = "tessera_speaker_judge",
       .tasks = "whose voice it is",
       .entries =
           forward_entry(wav, {{"logits", "f32 [B, voices]"}, {"embedding", "f32 [B, width]"}},
                         "Logits of the voices and the vector that they are told from.")},
      {.name = "tessera music judge",
       .architectures = {"TesseraMusicJudge"},
       .model_type = "tessera_music_judge",
       .tasks = "key and metre of music",
       .entries = forward_entry(wav, {{"key", "f32 [B, keys]"}, {"metre", "f32 [B, metres]"}},
                                "Logits of the key (C … B major, then minor) and of the metre.")},
  };
}

}  // namespace

std::span<const ModelSummary> all_summaries() {
  static const std::vector<ModelSummary> catalog = make_catalog();
  return catalog;
}

namespace {

// Old files of GPTQ and AWQ say how weights are stored in a file of their own.
void add_old_quantization(ModelFolder& folder) {
  for (const auto& [file, method] :
       {std::pair{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}}) {
    const io::fs::path path = folder.path / file;
    if (folder.config.contains("quantization_config") || !io::fs::exists(path)) {
      continue;
    }
    io::Json quantization = io::read_json(path);
    TESSERA_CHECK(quantization.is_object(), CorruptFile, "{}: must be an object", path.string());
    if (!quantization.contains("quant_method")) {
      quantization["quant_method"] = method;
    }
    folder.config["quantization_config"] = std::move(quantization);
  }
}

}  // namespace

ModelFolder open_folder(std::string_view name) {
  ModelFolder folder;
  folder.path = io::resolve_model(name);
  if (const auto file = io::find_gguf(folder.path, "config.json")) {
    return open_gguf_model(*file);
  }
  TESSERA_CHECK(io::fs::is_directory(folder.path), Unsupported,
                "{}: expected a model folder with config.json or a GGUF file",
                folder.path.string());
  folder.config = io::read_json(folder.path / "config.json");
  TESSERA_CHECK(folder.config.is_object(), CorruptFile, "{}: config.json must be an object",
                folder.path.string());
  const io::fs::path generation = folder.path / "generation_config.json";
  if (io::fs::exists(generation)) {
    folder.generation_config = io::read_json(generation);
  }
  add_old_quantization(folder);
  return folder;
}

const ModelSummary& find_summary(const ModelFolder& folder) {
  std::string architecture;
  const auto found = folder.config.find("architectures");
  if (found != folder.config.end() && found->is_array() && !found->empty() &&
      found->front().is_string()) {
    architecture = found->front().get<std::string>();
  }
  std::string type;
  if (const auto at = folder.config.find("model_type");
      at != folder.config.end() && at->is_string()) {
    type = at->get<std::string>();
  }
  std::vector<std::string> known;
  for (const ModelSummary& row : all_summaries()) {
    const auto& names = row.architectures;
    if (architecture.empty() ? row.model_type == type
                             : std::find(names.begin(), names.end(), architecture) != names.end()) {
      return row;
    }
    known.emplace_back(names.front());
  }
  throw Unsupported("{}: architecture '{}' (model_type '{}') is not known here; known: {}",
                    folder.path.string(), architecture, type, join(known, ", "));
}

}  // namespace tessera::models
