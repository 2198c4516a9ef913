// Next-token prediction over packed token documents: one sequence for text, pictures, speech and
// music. A micro-batch is `rows` packed sequences laid end to end as one row of rows · sequence
// positions; attention stays inside documents (cu_seqlens). Every position's loss is multiplied by
// the weight of its target's class, and the sum divided by the sum of weights of the whole step.
//
// Recipe:
//   task:  {kind: language_model, z_loss: 0, save_dtype: fp32|bf16, samples: 0, sample_tokens: 64}
//   model: {from: FOLDER} or {config: {config.json's keys}}, tokenizer: FOLDER (its files are
//          copied)
//   data:  {train: [PATH or {path, repeat}], validate: […], sequence: 2048, documents: 64,
//           window: 4096, long_documents: split|truncate|drop, weights: {CLASS: weight}};
//           a path is a .tok file or a folder of them
//   batch: {tokens: N}, N = accumulate · rows · sequence
#include "core/error.h"
#include "core/strings.h"
#include "io/checkpoint.h"
#include "models/registry.h"
#include "nn/generate.h"
#include "nn/tensor_file.h"
#include "text/tokenizer.h"
#include "train/cross_entropy.h"
#include "train/data/packing.h"
#include "train/task.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace tessera::train {
namespace {

constexpr double kMany = 1e9;

struct LanguageModelOptions {
  double z_loss = 0;
  bool save_bf16 = false;
  int64_t samples = 0;
  int64_t sample_tokens = 64;
  std::string tokenizer;           // folder, or empty
  int64_t rows = 1;                // sequences of a micro-batch
  std::vector<std::string> names;  // classes of all files
  std::vector<double> weights;     // by class
};

// The .tok files of a folder in order of their names; a file is itself.
std::vector<io::fs::path> token_files(const io::fs::path& path) {
  if (!io::fs::is_directory(path)) {
    return {path};
  }
  std::vector<io::fs::path> files;
  for (const auto& entry : io::fs::directory_iterator(path)) {
    if (entry.path().extension() == ".tok") {
      files.push_back(entry.path());
    }
  }
  TESSERA_CHECK(!files.empty(), NotFound, "{}: holds no .tok file", path.string());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<TokenSource> open_sources(const Options& data, const char* key) {
  std::vector<TokenSource> sources;
  for (const io::Json& item : data.list(key)) {
    double repeat = 1;
    io::fs::path path;
    if (item.is_string()) {
      path = item.get<std::string>();
    } else {
      const Options entry(item, data.where(key));
      repeat = entry.number("repeat", 1.0, {0.01, 10000});
      path = entry.string("path", "");
      entry.finish();
    }
    for (const io::fs::path& file : token_files(path)) {
      sources.push_back({.file = TokenFile::open(file), .repeat = repeat});
    }
  }
  return sources;
}

PackingOptions read_packing(const Options& data, uint64_t seed) {
  const std::string kinds[] = {"split", "truncate", "drop"};
  PackingOptions packing;
  packing.sequence = data.integer("sequence", packing.sequence, {1, 1 << 22});
  packing.max_documents = data.integer("documents", packing.max_documents, {1, 1 << 16});
  packing.window = data.integer("window", packing.window, {1, 1 << 20});
  const std::string kind = data.choice("long_documents", "split", kinds);
  packing.long_documents = kind == "split"      ? LongDocuments::kSplit
                           : kind == "truncate" ? LongDocuments::kTruncate
                                                : LongDocuments::kDrop;
  packing.seed = seed;
  return packing;
}

template <class T>
Tensor to_tensor(const std::vector<T>& values) {
  return at::tensor(at::ArrayRef<T>(values));
}

// Class names of all files, and each file's own classes as indices into them.
std::vector<std::vector<int64_t>> unify_classes(const std::vector<TokenSource>& sources,
                                                std::vector<std::string>& names) {
  std::vector<std::vector<int64_t>> maps;
  for (const TokenSource& source : sources) {
    std::vector<int64_t>& map = maps.emplace_back();
    for (const std::string& name : source.file->classes()) {
      const auto found = std::find(names.begin(), names.end(), name);
      map.push_back(found - names.begin());
      if (found == names.end()) {
        names.push_back(name);
      }
    }
  }
  return maps;
}

// The packed sequences of one split as tensors.
class SequenceBatches {
 public:
  SequenceBatches(std::vector<TokenSource> sources,
                  const PackingOptions& packing,
                  std::vector<std::vector<int64_t>> classes,
                  const LanguageModelOptions& options)
      : documents_(std::move(sources), packing), classes_(std::move(classes)), options_(options) {}

  const PackedDocuments& documents() const { return documents_; }
  PackedDocuments& documents() { return documents_; }

  Batch make(int64_t index) const;

 private:
  struct Rows {
    std::vector<int64_t> ids, positions, targets, classes;
    std::vector<float> weights;
    std::vector<int32_t> bounds{0};
  };
  void append(const Piece& piece, Rows& rows) const;

  PackedDocuments documents_;
  std::vector<std::vector<int64_t>> classes_;
  const LanguageModelOptions& options_;
};

void SequenceBatches::append(const Piece& piece, Rows& rows) const {
  const TokenFile& file = *documents_.sources()[piece.source].file;
  std::vector<int64_t> tokens(static_cast<size_t>(piece.length) + 1);
  file.read(piece.document, piece.from, tokens);
  rows.ids.insert(rows.ids.end(), tokens.begin(), tokens.end() - 1);
  rows.targets.insert(rows.targets.end(), tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < piece.length; ++i) {
    rows.positions.push_back(i);
  }
  // Classes of the targets: tokens from + 1 … from + length.
  uint64_t end = 0;
  uint64_t at = piece.from + 1;
  for (const TokenRun& run : file.runs(piece.document)) {
    end += run.length;
    for (; at < end && at <= piece.from + static_cast<uint64_t>(piece.length); ++at) {
      const int64_t token_class = classes_[piece.source][run.token_class];
      rows.classes.push_back(token_class);
      rows.weights.push_back(
          static_cast<float>(options_.weights[static_cast<size_t>(token_class)]));
    }
  }
  rows.bounds.push_back(static_cast<int32_t>(rows.ids.size()));
}

Batch SequenceBatches::make(int64_t index) const {
  const PackingOptions& packing = documents_.options();
  const auto padding_class = static_cast<int64_t>(options_.names.size());
  Rows rows;
  for (int64_t row = 0; row < options_.rows; ++row) {
    for (const Piece& piece : documents_.sequence(index * options_.rows + row)) {
      append(piece, rows);
    }
    const auto full = static_cast<size_t>((row + 1) * packing.sequence);
    for (size_t i = rows.ids.size(); i < full; ++i) {
      rows.positions.push_back(static_cast<int64_t>(i) - rows.bounds.back());
    }
    rows.ids.resize(full, 0);
    rows.targets.resize(full, 0);
    rows.classes.resize(full, padding_class);
    rows.weights.resize(full, 0.0F);
    if (rows.bounds.back() != static_cast<int32_t>(full)) {
      rows.bounds.push_back(static_cast<int32_t>(full));
    }
  }
  const auto total = static_cast<int64_t>(rows.ids.size());
  // One shape for all batches: empty documents at the end.
  rows.bounds.resize(static_cast<size_t>(options_.rows * (packing.max_documents + 1) + 1),
                     static_cast<int32_t>(total));
  Batch batch;
  batch.tensors = {{"ids", to_tensor(rows.ids).view({1, total})},
                   {"positions", to_tensor(rows.positions).view({1, total})},
                   {"targets", to_tensor(rows.targets)},
                   {"classes", to_tensor(rows.classes)},
                   {"weights", to_tensor(rows.weights)},
                   {"cu_seqlens", to_tensor(rows.bounds)}};
  double& weight = batch.weights["loss"];
  for (const float value : rows.weights) {
    weight += value;
  }
  for (size_t i = 0; i < options_.names.size(); ++i) {
    batch.weights["nll." + options_.names[i]] = static_cast<double>(
        std::count(rows.classes.begin(), rows.classes.end(), static_cast<int64_t>(i)));
  }
  batch.size = static_cast<double>(
      total - std::count(rows.classes.begin(), rows.classes.end(), padding_class));
  return batch;
}

class LanguageModel : public Task {
 public:
  LanguageModel(const Recipe& recipe, at::Device device);

  std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>> modules() override {
    return {{"model", model_}};
  }
  Batch make_batch(Split split, int64_t index) const override {
    return (split == Split::kTrain ? train_ : validate_)->make(index);
  }
  bool has_validation() const override { return validate_ != nullptr; }
  std::vector<Term> losses(const Batch& batch, int64_t step) override;
  std::vector<Sample> samples() override;
  void save(const io::fs::path& folder) override;
  io::Json state() const override { return train_->documents().state(); }
  void load_state(const io::Json& state) override { train_->documents().load_state(state); }

 private:
  void make_model(const Recipe& recipe, at::Device device);
  void make_data(const Recipe& recipe);
  std::string show(at::ArrayRef<int64_t> ids) const;

  LanguageModelOptions options_;
  models::ModelFolder folder_;
  std::shared_ptr<nn::SequenceModel> model_;
  std::unique_ptr<text::Tokenizer> tokenizer_;  // null: none given
  std::unique_ptr<SequenceBatches> train_, validate_;
  int64_t sequence_ = 0;
};

LanguageModel::LanguageModel(const Recipe& recipe, at::Device device) {
  const std::string dtypes[] = {"fp32", "bf16"};
  const Options task = recipe.section("task");
  options_.z_loss = task.number("z_loss", 0.0, {0, 1});
  options_.save_bf16 = task.choice("save_dtype", "fp32", dtypes) == "bf16";
  options_.samples = task.integer("samples", 0, {0, 64});
  options_.sample_tokens = task.integer("sample_tokens", 64, {1, 4096});
  make_model(recipe, device);
  make_data(recipe);
}

void LanguageModel::make_model(const Recipe& recipe, at::Device device) {
  const Options options = recipe.section("model");
  const std::string from = options.string("from", "");
  options_.tokenizer = options.string("tokenizer", from);
  if (options.has("tokenizer") && !options_.tokenizer.empty()) {
    tokenizer_ = text::load_tokenizer(options_.tokenizer);
  } else if (!from.empty()) {
    try {
      tokenizer_ = text::load_tokenizer(from);
    } catch (const NotFound&) {  // samples then show ids
    }
  }
  folder_.config = options.raw("config");
  TESSERA_CHECK(from.empty() != folder_.config.is_null(), InvalidArgument,
                "{}: give either from (a model folder) or config (the keys of config.json)",
                options.where());
  std::shared_ptr<nn::Model> model;
  if (!from.empty()) {
    folder_ = models::open_folder(from);
    model = models::load_model(folder_, {.dtype = at::kFloat, .device = device});
  } else {
    io::Json& config = folder_.config;
    TESSERA_CHECK(config.is_object(), InvalidArgument, "{}: must be a map",
                  options.where("config"));
    if (!config.contains("model_type")) {
      config["model_type"] = "llama";
    }
    const models::ModelInfo& info = models::find_model(folder_);
    config["architectures"] = {info.architectures.front()};
    model = info.load(
        folder_, nn::Weights::from_scratch(recipe.seed, {.dtype = at::kFloat, .device = device}));
  }
  model_ = std::dynamic_pointer_cast<nn::SequenceModel>(model);
  TESSERA_CHECK(model_ != nullptr, Unsupported, "{}: this model continues no sequence",
                options.where());
  const at::NoGradGuard no_grad;
  for (Tensor& parameter : model_->parameters()) {
    if (!from.empty()) {
      parameter.set_data(parameter.clone());  // the file's map must not be trained
    }
  }
}

void LanguageModel::make_data(const Recipe& recipe) {
  const Options data = recipe.section("data");
  std::vector<TokenSource> train = open_sources(data, "train");
  std::vector<TokenSource> validate = open_sources(data, "validate");
  TESSERA_CHECK(!train.empty(), InvalidArgument, "{}: give one or more .tok files",
                data.where("train"));
  for (const auto* list : {&train, &validate}) {
    for (const TokenSource& source : *list) {
      TESSERA_CHECK(source.file->vocab_size() <= model_->vocab_size(), InvalidArgument,
                    "{}: a token file has ids up to {}, the model's vocab_size is {}", data.where(),
                    source.file->vocab_size() - 1, model_->vocab_size());
    }
  }
  PackingOptions packing = read_packing(data, recipe.seed);
  sequence_ = packing.sequence;
  TESSERA_CHECK(model_->max_positions() == 0 || sequence_ <= model_->max_positions(),
                InvalidArgument, "{}: {} exceeds the model's max_position_embeddings {}",
                data.where("sequence"), sequence_, model_->max_positions());
  const int64_t micro = recipe.batch.accumulate * sequence_;
  TESSERA_CHECK(recipe.batch.size % micro == 0, InvalidArgument,
                "batch.tokens {} must be a multiple of accumulate {} · data.sequence {}",
                recipe.batch.size, recipe.batch.accumulate, sequence_);
  options_.rows = recipe.batch.size / micro;
  TESSERA_CHECK(options_.rows * sequence_ <= int64_t{1} << 30, InvalidArgument,
                "batch.tokens {} is too much for one micro-batch; raise batch.accumulate",
                recipe.batch.size);
  std::vector<std::string>& names = options_.names;
  std::vector<std::vector<int64_t>> train_classes = unify_classes(train, names);
  std::vector<std::vector<int64_t>> validate_classes = unify_classes(validate, names);
  const Options weights = data.section("weights");
  for (const std::string& name : names) {
    options_.weights.push_back(weights.number(name, 1.0, {0, 1e6}));
  }
  train_ = std::make_unique<SequenceBatches>(std::move(train), packing, std::move(train_classes),
                                             options_);
  if (!validate.empty()) {
    validate_ = std::make_unique<SequenceBatches>(std::move(validate), packing,
                                                  std::move(validate_classes), options_);
  }
}

std::vector<Term> LanguageModel::losses(const Batch& batch, int64_t /*step*/) {
  const nn::NamedTensors& t = batch.tensors;
  const nn::Step step{.ids = t.at("ids"),
                      .positions = t.at("positions"),
                      .key_mask = {},
                      .cu_seqlens = t.at("cu_seqlens"),
                      .max_document = sequence_};
  const Tensor hidden = model_->hidden(step, nullptr).squeeze(0);  // [T, D]
  const CrossEntropy result =
      cross_entropy(hidden, model_->head(), t.at("targets"), t.at("weights"), options_.z_loss);
  std::vector<Term> terms{{.name = "loss", .sum = result.loss, .normaliser = "loss"}};
  const auto classes = static_cast<int64_t>(options_.names.size());
  const Tensor sums =
      at::zeros({classes + 1}, result.nll.options()).index_add_(0, t.at("classes"), result.nll);
  for (int64_t i = 0; i < classes; ++i) {
    const std::string name = "nll." + options_.names[static_cast<size_t>(i)];
    terms.push_back({.name = name, .sum = sums.select(0, i), .normaliser = name, .scale = 0});
  }
  return terms;
}

std::string LanguageModel::show(at::ArrayRef<int64_t> ids) const {
  if (tokenizer_ == nullptr) {
    return fmt::format("{}", fmt::join(ids, " "));
  }
  return tokenizer_->decode(std::vector<int32_t>(ids.begin(), ids.end()));
}

// Continues the first half of some documents.
std::vector<Sample> LanguageModel::samples() {
  std::vector<Sample> samples;
  const SequenceBatches& source = validate_ != nullptr ? *validate_ : *train_;
  for (int64_t index = 0; static_cast<int64_t>(samples.size()) < options_.samples; ++index) {
    for (const Piece& piece : source.documents().sequence(index)) {
      if (static_cast<int64_t>(samples.size()) == options_.samples) {
        break;
      }
      std::vector<int64_t> prompt(static_cast<size_t>(std::max<int64_t>(1, piece.length / 2)));
      source.documents().sources()[piece.source].file->read(piece.document, piece.from, prompt);
      const auto length = static_cast<int64_t>(prompt.size());
      const Tensor ids = to_tensor(prompt).view({1, length}).to(model_->head().device());
      nn::GenerationOptions generation =
          nn::GenerationOptions::from_configs(folder_.config, folder_.generation_config, false);
      generation.max_new_tokens = std::min(options_.sample_tokens, sequence_ - length);
      const Tensor out = nn::generate(*model_, ids, {}, generation).to(at::kCPU).flatten();
      const at::ArrayRef<int64_t> all(out.const_data_ptr<int64_t>(),
                                      static_cast<size_t>(out.numel()));
      const auto prompt_size = static_cast<size_t>(length);
      const std::string text =
          show(all.slice(0, prompt_size)) + " → " + show(all.slice(prompt_size));
      samples.push_back({.title = fmt::format("document {}", piece.document),
                         .kind = Sample::Kind::kText,
                         .bytes = text});
    }
  }
  return samples;
}

void LanguageModel::save(const io::fs::path& folder) {
  io::fs::create_directories(folder);
  io::Json config = folder_.config;
  config["torch_dtype"] = options_.save_bf16 ? "bfloat16" : "float32";
  config.erase("dtype");
  config.erase("quantization_config");
  nn::NamedTensors tensors;
  for (const auto& item : model_->named_parameters()) {
    const Tensor host = item.value().detach().cpu();
    tensors[item.key()] = options_.save_bf16 ? host.to(at::kBFloat16) : host;
  }
  nn::write_tensors(folder / "model.safetensors", tensors);
  io::Json generation = folder_.generation_config;
  if (!generation.is_object()) {
    generation = {{"_from_model_config", true}};
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
      if (config.contains(key)) {
        generation[key] = config[key];
      }
    }
  }
  io::write_file(folder / "generation_config.json", generation.dump(2) + "\n");
  if (!options_.tokenizer.empty()) {
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja"}) {
      const io::fs::path source = io::fs::path(options_.tokenizer) / name;
      if (io::fs::exists(source)) {
        io::write_file(folder / name, io::read_file(source));
      }
    }
  }
  // Last: a folder without it is no model.
  io::write_file(folder / "config.json", config.dump(2) + "\n");
}

std::unique_ptr<Task> make_language_model(const Recipe& recipe, at::Device device) {
  return std::make_unique<LanguageModel>(recipe, device);
}

}  // namespace

extern const TaskInfo kLanguageModel;
const TaskInfo kLanguageModel{.kind = "language_model",
                              .summary = "next-token prediction over packed token documents",
                              .make = make_language_model};

}  // namespace tessera::train
