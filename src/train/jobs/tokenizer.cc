// Makes the tokenizer of a model that reads and writes media: byte-level BPE trained on the texts
// of the world, then the added tokens of AnyGPT's format, and any_to_any.json beside.
//
// Recipe:
//   task:  {kind: tokenizer, pieces: 1000, min_frequency: 2}
//   model: {system: "…", codecs: {image: {folder: ../picture_codec/model, codes: 512}, …},
//           sampling: {…}, max_frames: {…}}     codecs' folders are relative to data.out
//   data:  {out: FOLDER, items: 30000, world: {…}, split, mixture: {…}}
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "pipelines/any_format.h"
#include "text/bpe_trainer.h"
#include "train/data/world_items.h"
#include "train/job.h"
#include "train/recipe.h"
#include "train/stop_signal.h"

namespace tessera::train {
namespace {

constexpr double kMany = 1e9;

// Texts stand behind a marker and a colon.
void add_texts(const world::Item& item, text::BpeTrainer& trainer) {
  for (const world::Turn& turn : item.turns) {
    trainer.add(": " + user_text(turn));
    for (const world::PartSpec& part : turn.outputs) {
      if (const auto* words = std::get_if<world::TextPart>(&part)) {
        trainer.add(": " + words->text + "\n");
      }
    }
  }
}

io::OrderedJson run_tokenizer(const Recipe& recipe, const JobContext& context) {
  const io::fs::path out = out_folder(recipe, context);
  const Options task = recipe.section("task");
  const Options model = recipe.section("model");
  const Options data = recipe.section("data");
  const text::BpeTrainerOptions options{
      .vocab_size = task.integer("pieces", 1000, {259, 65536}),
      .min_frequency = task.integer("min_frequency", 2, {0, kMany})};
  io::OrderedJson any = {{"format", "anygpt-chat"}, {"system", model.string("system", "")}};
  std::map<Modality, int64_t> codes;
  std::set<Modality> offered;
  const Options codecs = model.section("codecs");
  for (const std::string& name : codecs.keys()) {
    const Modality modality = pipelines::modality_named(name);
    const Options codec = codecs.section(name);
    any["codecs"][name] = codec.string("folder", "");
    codes[modality] = codec.integer("codes", 0, {1, 1 << 20});
    offered.insert(modality);
    TESSERA_CHECK(modality != Modality::kText && codec.has("codes") && codec.has("folder"),
                  InvalidArgument,
                  "{}: give the folder and the number of codes (levels · codebook_size) of codecs "
                  "for image, speech or music",
                  codec.where());
  }
  for (const char* key : {"sampling", "max_frames"}) {
    if (const io::Json value = model.raw(key); !value.is_null()) {
      any[key] = value;
    }
  }
  const WorldItems items(data, offered, recipe.seed);
  any["world"] = items.settings().at("world");
  const auto count = static_cast<uint64_t>(data.integer("items", 30000, {1, kMany}));
  recipe.finish();

  const StopSignal stop;
  text::BpeTrainer trainer;
  Progress progress("reading the world", count, "items");
  for (uint64_t i = 0; i < count; ++i) {
    add_texts(items.draw(i), trainer);
    progress.advance(1);
    if (StopSignal::requested()) {
      throw Cancelled("stopped; nothing was written");
    }
  }
  progress.finish();
  const text::BpePieces pieces = trainer.train(options);
  if (static_cast<int64_t>(pieces.pieces.size()) < options.vocab_size) {
    log::warning("the texts give {} pieces only", pieces.pieces.size());
  }
  const std::vector<std::string> added = pipelines::AnyFormat::added_tokens(codes);
  text::write_tokenizer(out, pieces, added);
  io::write_file(out / "any_to_any.json", any.dump(2) + "\n");
  const size_t total = pieces.pieces.size() + added.size();
  log::info("{} tokens, {} of them pieces of text: {}", total, pieces.pieces.size(), out.string());
  return {{"folder", out.string()},
          {"tokens", total},
          {"pieces", pieces.pieces.size()},
          {"words", trainer.words()}};
}

}  // namespace

extern const JobInfo kTokenizerJob;
const JobInfo kTokenizerJob{.kind = "tokenizer",
                            .summary = "byte-level BPE and media tokens for a model",
                            .run = run_tokenizer};

}  // namespace tessera::train
