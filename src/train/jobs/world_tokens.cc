// Token files of the synthetic world: items are drawn, rendered, encoded by the codecs and written
// in AnyGPT's format, with the kind of each token as its class. Shards that are there already are
// kept, so that the job can be stopped and continued.
//
// Recipe:
//   task:  {kind: world_tokens}
//   model: {tokenizer: FOLDER}     with tokenizer.json and any_to_any.json, which names the codecs
//   data:  {out: FOLDER, assets: FOLDER, split: train|validation|test, world: {…}, shards: 4,
//           items: 5000, mixture: {text-image: 4, …, chat: 1, outside: 1, small_talk: 1},
//           retell: false, drop_condition: 0.1, longest: 2048, music_seconds: 5, threads: 0}
// With retell every spoken sentence of the mixture's items is also written down and said once.
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "ops/device.h"
#include "pipelines/any_format.h"
#include "train/data/token_file.h"
#include "train/data/world_coder.h"
#include "train/data/world_items.h"
#include "train/job.h"
#include "train/objectives/scene_batches.h"
#include "train/recipe.h"
#include "train/stop_signal.h"

#include <algorithm>

namespace tessera::train {
namespace {

constexpr double kMany = 1e9;
constexpr uint64_t kBarren = 1000;  // so many items in a row that are too long mean that all are
constexpr uint64_t kChunk = 512;    // items that are rendered and encoded together

class WorldTokens {
 public:
  WorldTokens(const Recipe& recipe, const JobContext& context);
  io::OrderedJson run();

 private:
  void open_tokenizer(const Recipe& recipe);
  io::fs::path shard_path(int64_t shard) const {
    return out_ / fmt::format("part-{:04}.tok", shard);
  }
  bool finished(int64_t shard) const;
  void make_shard(int64_t shard, Progress& progress);
  bool fits(const WorldCoder::Messages& messages) const;
  pipelines::TokenSequence encode(const world::Item& item,
                                  uint64_t index,
                                  WorldCoder::Messages& messages) const;

  io::fs::path out_;
  io::fs::path tokenizer_folder_;
  uint64_t seed_;
  int64_t shards_;
  uint64_t items_;
  int64_t longest_;
  double drop_condition_;
  bool retell_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  io::Json any_;
  std::optional<WorldItems> world_;
  std::optional<WorldCoder> coder_;
  std::optional<pipelines::AnyFormat> format_;
  io::Json settings_;  // what the shards depend on
};

std::string file_hash(const io::fs::path& path) {
  return fmt::format("{:016x}", hash_name(io::read_file(path)));
}

std::vector<TokenRun> runs_of(const pipelines::TokenSequence& sequence) {
  std::vector<TokenRun> runs;
  for (const pipelines::TokenKind kind : sequence.kinds) {
    const auto token_class = static_cast<uint32_t>(kind);
    if (runs.empty() || runs.back().token_class != token_class) {
      runs.push_back({0, token_class});
    }
    ++runs.back().length;
  }
  return runs;
}

WorldTokens::WorldTokens(const Recipe& recipe, const JobContext& context)
    : out_(out_folder(recipe, context)), seed_(recipe.seed) {
  const Options data = recipe.section("data");
  shards_ = data.integer("shards", 1, {1, 9999});
  items_ = static_cast<uint64_t>(data.integer("items", 5000, {1, kMany}));
  longest_ = data.integer("longest", 2048, {8, 1 << 20});
  drop_condition_ = data.number("drop_condition", 0.1, {0, 1});
  retell_ = data.boolean("retell", false);
  open_tokenizer(recipe);

  std::map<Modality, io::fs::path> folders;
  std::set<Modality> offered;
  const io::Json codecs = any_.value("codecs", io::Json::object());
  for (const auto& [name, folder] : codecs.items()) {
    const Modality modality = pipelines::modality_named(name);
    TESSERA_CHECK(folder.is_string(), CorruptFile, "{}: codecs.{} must be a folder",
                  (tokenizer_folder_ / "any_to_any.json").string(), name);
    folders[modality] = tokenizer_folder_ / folder.get<std::string>();
    offered.insert(modality);
  }
  world_.emplace(data, offered, recipe.seed);
  TESSERA_CHECK(any_.value("world", io::Json()) == world_->settings().at("world"), InvalidArgument,
                "{}: differs from the tokenizer's world {}", data.where("world"),
                any_.value("world", io::Json()).dump());
  std::erase_if(folders,
                [&](const auto& item) { return !world_->modalities().contains(item.first); });
  coder_.emplace(data, folders, ops::open_device(std::string(context.device)));
  format_.emplace(any_, *tokenizer_, coder_->infos());
  settings_ = world_->settings();
  settings_["items"] = items_;
  settings_["longest"] = longest_;
  settings_["drop_condition"] = drop_condition_;
  settings_["retell"] = retell_;
  settings_["music_seconds"] = data.number("music_seconds", 5.0, {0.1, 60});
  settings_["tokenizer"] = file_hash(tokenizer_folder_ / "tokenizer.json");
  for (const auto& [modality, folder] : folders) {
    settings_["codecs"][modality_name(modality)] = file_hash(folder / "model.safetensors");
  }
  recipe.finish();
}

void WorldTokens::open_tokenizer(const Recipe& recipe) {
  const Options model = recipe.section("model");
  tokenizer_folder_ = model.string("tokenizer", "");
  TESSERA_CHECK(!tokenizer_folder_.empty(), InvalidArgument,
                "{}: give the folder of tokenizer.json and any_to_any.json",
                model.where("tokenizer"));
  any_ = io::read_json(tokenizer_folder_ / "any_to_any.json");
  TESSERA_CHECK(any_.is_object(), CorruptFile, "{}: must be an object",
                (tokenizer_folder_ / "any_to_any.json").string());
  tokenizer_ = text::load_tokenizer(tokenizer_folder_);
}

bool WorldTokens::finished(int64_t shard) const {
  const io::fs::path path = shard_path(shard);
  if (!io::fs::exists(path)) {
    return false;
  }
  const auto file = TokenFile::open(path);
  TESSERA_CHECK(file->description().value("settings", io::Json()) == settings_, InvalidArgument,
                "{}: was made by another recipe or other codecs; remove it or choose another "
                "data.out",
                path.string());
  return true;
}

// Sounds that last longer than the model may write would teach it to stop anywhere.
bool WorldTokens::fits(const WorldCoder::Messages& messages) const {
  for (const pipelines::CodedMessage& message : messages) {
    for (const pipelines::CodedPart& part : message.parts) {
      if (part.modality == Modality::kText) {
        continue;
      }
      const nn::SpanRule& rule = format_->grammar().rules[*format_->rule_of(part.modality)];
      if (static_cast<int64_t>(part.codes.size()) > rule.max_frames * rule.levels) {
        return false;
      }
    }
  }
  return true;
}

// Some replies are written without what they reply to: the form that guidance compares with.
pipelines::TokenSequence WorldTokens::encode(const world::Item& item,
                                             uint64_t index,
                                             WorldCoder::Messages& messages) const {
  const auto is_media = [](const pipelines::CodedPart& part) {
    return part.modality != Modality::kText;
  };
  pipelines::CodedMessage& reply = messages.back();
  const bool drops = item.turns.size() == 1 &&
                     std::any_of(reply.parts.begin(), reply.parts.end(), is_media) &&
                     Rng(seed_ ^ hash_name("drop_condition"), index).uniform() < drop_condition_;
  if (drops) {
    std::erase_if(reply.parts, [&](const auto& part) { return !is_media(part); });
    messages.front().parts.clear();
  }
  return format_->encode(messages);
}

void WorldTokens::make_shard(int64_t shard, Progress& progress) {
  TokenFileWriter writer(shard_path(shard), tokenizer_->vocab_size(), pipelines::token_kind_names(),
                         {{"settings", settings_}});
  uint64_t index = static_cast<uint64_t>(shard) << 32;
  uint64_t barren = 0;  // items in a row that did not fit
  while (writer.documents() < items_) {
    const uint64_t before = writer.documents();
    std::vector<world::Item> items;
    for (uint64_t i = 0; i < std::min(kChunk, items_ - writer.documents()); ++i) {
      items.push_back(world_->draw(index + i));
    }
    if (retell_) {
      std::ranges::move(world::retold(items, index, seed_), std::back_inserter(items));
    }
    std::vector<WorldCoder::Messages> messages = coder_->code(items);
    for (size_t i = 0; i < items.size() && writer.documents() < items_; ++i, ++index) {
      if (fits(messages[i])) {
        const pipelines::TokenSequence sequence = encode(items[i], index, messages[i]);
        if (static_cast<int64_t>(sequence.ids.size()) <= longest_) {
          writer.add(sequence.ids, runs_of(sequence));
          barren = 0;
          continue;
        }
      }
      TESSERA_CHECK(++barren < kBarren, InvalidArgument,
                    "{} items in a row are longer than data.longest {} or max_frames", kBarren,
                    longest_);
    }
    progress.advance(writer.documents() - before);
  }
  writer.commit();
}

io::OrderedJson WorldTokens::run() {
  std::error_code failed;
  io::fs::create_directories(out_, failed);
  TESSERA_CHECK(!failed, Io, "{}: cannot be made: {}", out_.string(), failed.message());
  std::vector<int64_t> missing;
  for (int64_t shard = 0; shard < shards_; ++shard) {
    if (!finished(shard)) {
      missing.push_back(shard);
    }
  }
  const StopSignal stop;
  Progress progress("tokenising the world", missing.size() * items_, "items");
  for (const int64_t shard : missing) {
    make_shard(shard, progress);
    if (StopSignal::requested() && shard != missing.back()) {
      progress.finish();
      throw Cancelled("stopped after {}; the same command goes on", shard_path(shard).string());
    }
  }
  progress.finish();

  io::OrderedJson made = {{"folder", out_.string()}, {"files", shards_}, {"made", missing.size()}};
  uint64_t documents = 0;
  uint64_t tokens = 0;
  std::vector<uint64_t> classes(pipelines::token_kind_names().size());
  for (int64_t shard = 0; shard < shards_; ++shard) {
    const auto file = TokenFile::open(shard_path(shard));
    documents += file->documents();
    tokens += file->tokens();
    for (uint64_t i = 0; i < file->documents(); ++i) {
      for (const TokenRun& run : file->runs(i)) {
        classes[run.token_class] += run.length;
      }
    }
  }
  made["documents"] = documents;
  made["tokens"] = tokens;
  for (size_t i = 0; i < classes.size(); ++i) {
    made["classes"][pipelines::token_kind_names()[i]] = classes[i];
  }
  log::info("{} documents, {} tokens in {} files: {}", documents, tokens, shards_, out_.string());
  return made;
}

io::OrderedJson run_world_tokens(const Recipe& recipe, const JobContext& context) {
  return WorldTokens(recipe, context).run();
}

}  // namespace

extern const JobInfo kWorldTokensJob;
const JobInfo kWorldTokensJob{.kind = "world_tokens",
                              .summary = "token files of the synthetic world",
                              .run = run_world_tokens};

}  // namespace tessera::train
