// Puts the folder of a finished model together: the language model (as trained, or with int8
// weights), tokenizer, any_to_any.json and the codecs' folders. Everything is opened and checked
// before anything is written.
//
// Recipe:
//   task:  {kind: assemble, weights: int8|trained, rest: fp16|fp32|bf16}
//   model: {language_model: FOLDER, tokenizer: FOLDER, codecs: {image: FOLDER, …},
//           system: "…", sampling: {…}, max_frames: {…}}   all but the first two: as the
//           tokenizer's
//   data:  {out: FOLDER}
#include "compress/int8.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "models/registry.h"
#include "nn/codec.h"
#include "nn/tensor_file.h"
#include "pipelines/any_format.h"
#include "train/data/world_items.h"
#include "train/job.h"
#include "train/recipe.h"
#include "train/world/help.h"

#include <algorithm>

namespace tessera::train {
namespace {

// Where codecs stand in the folder.
constexpr std::array<std::pair<Modality, const char*>, 3> kCodecFolders = {
    {{Modality::kImage, "picture_codec"},
     {Modality::kSpeech, "speech_codec"},
     {Modality::kMusic, "music_codec"}}};
constexpr int64_t kPadding = 64;  // vocab_size may be rounded up to a multiple of this

struct Precision {
  const char* name;   // in recipes
  const char* dtype;  // torch_dtype of config.json
  at::ScalarType type;
};
constexpr std::array<Precision, 3> kPrecisions = {{{"fp16", "float16", at::kHalf},
                                                   {"fp32", "float32", at::kFloat},
                                                   {"bf16", "bfloat16", at::kBFloat16}}};

io::fs::path need_folder(const Options& options, const char* key) {
  const io::fs::path folder = options.string(key, "");
  TESSERA_CHECK(!folder.empty(), InvalidArgument, "{}: give a folder", options.where(key));
  return folder;
}

// Files by their place in the folder that is to be written.
using Files = std::map<std::string, std::string>;

class Assembly {
 public:
  Assembly(const Recipe& recipe, const JobContext& context);
  io::OrderedJson run();

 private:
  void add_format(const Options& model, const io::fs::path& tokenizer);
  void add_codecs(const Options& model, const io::fs::path& tokenizer);
  void add_help();
  void add_language_model(const text::Tokenizer& tokenizer);
  void check_ids(const text::Tokenizer& tokenizer) const;
  io::Json generation_config() const;

  io::fs::path out_;
  bool int8_;
  Precision rest_;
  models::ModelFolder folder_;
  std::shared_ptr<nn::SequenceModel> model_;
  io::Json any_;
  std::map<Modality, nn::CodecInfo> infos_;
  Files files_;
  nn::NamedTensors tensors_;  // empty: the trained file is copied
};

Assembly::Assembly(const Recipe& recipe, const JobContext& context)
    : out_(out_folder(recipe, context)) {
  const std::string weights[] = {"int8", "trained"};
  std::vector<std::string> names;
  for (const Precision& precision : kPrecisions) {
    names.emplace_back(precision.name);
  }
  const Options task = recipe.section("task");
  const Options model = recipe.section("model");
  int8_ = task.choice("weights", "int8", weights) == "int8";
  const std::string rest = task.choice("rest", "fp16", names);
  rest_ = *std::find_if(kPrecisions.begin(), kPrecisions.end(),
                        [&](const Precision& precision) { return rest == precision.name; });
  folder_ = models::open_folder(need_folder(model, "language_model").string());
  const io::fs::path tokenizer_folder = need_folder(model, "tokenizer");
  add_format(model, tokenizer_folder);
  add_codecs(model, tokenizer_folder);
  recipe.finish();

  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(models::load_model(folder_, {}));
  TESSERA_CHECK(model_ != nullptr, InvalidArgument, "{}: this model continues no sequence",
                folder_.path.string());
  const auto tokenizer = text::load_tokenizer(tokenizer_folder);
  check_ids(*tokenizer);
  pipelines::AnyFormat(any_, *tokenizer, infos_);  // has all markers and codes
  add_language_model(*tokenizer);
}

void Assembly::add_format(const Options& model, const io::fs::path& tokenizer) {
  any_ = io::read_json(tokenizer / "any_to_any.json");
  TESSERA_CHECK(any_.is_object(), CorruptFile, "{}: must be an object",
                (tokenizer / "any_to_any.json").string());
  for (const char* key : {"system", "sampling", "max_frames"}) {
    if (const io::Json value = model.raw(key); !value.is_null()) {
      any_[key] = value;
    }
  }
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    files_[name] = io::read_file(tokenizer / name);
  }
}

void Assembly::add_codecs(const Options& model, const io::fs::path& tokenizer) {
  const Options given = model.section("codecs");
  const io::Json codecs = any_.value("codecs", io::Json::object());
  for (const auto& [name, path] : codecs.items()) {
    const Modality modality = pipelines::modality_named(name);
    TESSERA_CHECK(path.is_string() && modality != Modality::kText, CorruptFile,
                  "{}: codecs.{} must be the folder of a codec of image, speech or music",
                  (tokenizer / "any_to_any.json").string(), name);
    const std::string chosen = given.string(name, "");
    const io::fs::path source =
        chosen.empty() ? tokenizer / path.get<std::string>() : io::fs::path(chosen);
    const auto codec = std::dynamic_pointer_cast<nn::Codec>(
        models::load_model(models::open_folder(source.string()), {}));
    TESSERA_CHECK(codec != nullptr, InvalidArgument, "{}: this model is no codec", source.string());
    infos_[modality] = codec->info();
    const char* folder =
        std::find_if(kCodecFolders.begin(), kCodecFolders.end(), [&](const auto& each) {
          return each.first == modality;
        })->second;
    any_["codecs"][name] = folder;
    for (const char* file : {"config.json", "model.safetensors"}) {
      files_[fmt::format("{}/{}", folder, file)] = io::read_file(source / file);
    }
  }
  add_help();
  files_["any_to_any.json"] = any_.dump(2) + "\n";
}

// What /help tells of the world that the model was trained on.
void Assembly::add_help() {
  const auto world = any_.find("world");
  if (world == any_.end() || !world->is_object()) {
    return;
  }
  world::WorldLimits limits;
  for (const auto& [key, value] : {std::pair("emoji", &limits.emoji),
                                   {"groups", &limits.groups},
                                   {"voices", &limits.voices}}) {
    const int most = *value;
    *value = std::clamp(world->value(key, most), 1, most);
  }
  std::set<Modality> modalities;
  for (const auto& [modality, info] : infos_) {
    modalities.insert(modality);
  }
  any_["help"] = world::help_lines(limits, modalities);
}

void Assembly::check_ids(const text::Tokenizer& tokenizer) const {
  const int64_t tokens = tokenizer.vocab_size();
  const int64_t vocabulary = model_->vocab_size();
  TESSERA_CHECK(vocabulary >= tokens && vocabulary < tokens + kPadding, InvalidArgument,
                "{}: vocab_size {} does not belong to the tokenizer's {} tokens",
                folder_.path.string(), vocabulary, tokens);
  constexpr std::pair<const char*, const char*> kIds[] = {
      {"bos_token_id", "<s>"}, {"eos_token_id", "</s>"}, {"pad_token_id", "<unk>"}};
  for (const auto& [key, token] : kIds) {
    const auto found = folder_.config.find(key);
    const std::optional<int32_t> id = tokenizer.token_to_id(token);
    TESSERA_CHECK(found == folder_.config.end() || (id && *found == *id), InvalidArgument,
                  "{}: {} is {}, the tokenizer's '{}' is {}", folder_.path.string(), key,
                  found->dump(), token, id ? std::to_string(*id) : "missing");
  }
}

io::Json Assembly::generation_config() const {
  io::Json config = folder_.generation_config;
  if (!config.is_object()) {
    config = io::Json::object();
  }
  const io::Json sampling = any_.value("sampling", io::Json::object());
  const io::Json text =
      sampling.is_object() ? sampling.value("text", io::Json::object()) : io::Json::object();
  config.erase("_from_model_config");
  config["do_sample"] = true;
  for (const char* key : {"temperature", "top_k", "top_p", "repetition_penalty"}) {
    if (text.is_object() && text.contains(key)) {
      config[key] = text[key];
    }
  }
  if (config.value("temperature", io::Json(1)) == 0) {  // greedy
    config["do_sample"] = false;
    config.erase("temperature");
  }
  return config;
}

void Assembly::add_language_model(const text::Tokenizer& tokenizer) {
  io::Json config = folder_.config;
  if (int8_) {
    const bool tied = config.value("tie_word_embeddings", false);
    config["quantization_config"] = compress::int8_config(tied ? std::vector<std::string>{"lm_head"}
                                                               : std::vector<std::string>{});
    config["torch_dtype"] = rest_.dtype;
    tensors_ = compress::quantize_int8(*model_, rest_.type);
  } else {
    files_["model.safetensors"] = io::read_file(folder_.path / "model.safetensors");
  }
  for (const auto& [key, token] :
       {std::pair{"bos_token_id", "<s>"}, {"eos_token_id", "</s>"}, {"pad_token_id", "<unk>"}}) {
    config[key] = tokenizer.token_to_id(token).value();
  }
  files_["generation_config.json"] = generation_config().dump(2) + "\n";
  files_["config.json"] = config.dump(2) + "\n";
}

io::OrderedJson Assembly::run() {
  // All sources are in memory, so the folder may even be one of them.
  io::OrderedJson sizes;
  uint64_t total = 0;
  const auto note = [&](const std::string& name) {
    const uint64_t bytes = io::fs::file_size(out_ / name);
    sizes[name] = bytes;
    total += bytes;
    log::info("{:<32} {}", name, format_count(static_cast<double>(bytes), "bytes"));
  };
  const std::string config = files_.extract("config.json").mapped();
  for (const auto& [name, content] : files_) {
    std::error_code failed;
    const io::fs::path path = out_ / name;
    io::fs::create_directories(path.parent_path(), failed);
    TESSERA_CHECK(!failed, Io, "{}: cannot be made: {}", path.parent_path().string(),
                  failed.message());
    io::write_file(path, content);
    note(name);
  }
  if (!tensors_.empty()) {
    nn::write_tensors(out_ / "model.safetensors", tensors_);
    note("model.safetensors");
  }
  io::write_file(out_ / "config.json", config);  // last: a folder without it is no model
  note("config.json");
  int64_t parameters = 0;
  for (const at::Tensor& parameter : model_->parameters()) {
    parameters += parameter.numel();
  }
  log::info("{}: {}, {} in the language model", out_.string(),
            format_count(static_cast<double>(total), "bytes"),
            format_count(static_cast<double>(parameters), "parameters"));
  return {
      {"folder", out_.string()}, {"bytes", total}, {"parameters", parameters}, {"files", sizes}};
}

io::OrderedJson run_assemble(const Recipe& recipe, const JobContext& context) {
  return Assembly(recipe, context).run();
}

}  // namespace

extern const JobInfo kAssembleJob;
const JobInfo kAssembleJob{.kind = "assemble",
                           .summary = "the folder of a finished any-to-any model",
                           .run = run_assemble};

}  // namespace tessera::train
