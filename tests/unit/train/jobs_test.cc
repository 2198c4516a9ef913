// From codecs to a model folder: the jobs on tiny codecs, compared with the same steps done by
// hand.
#include "core/error.h"
#include "models/registry.h"
#include "nn/tensor_file.h"
#include "pipelines/any_format.h"
#include "train/data/token_file.h"
#include "train/data/world_coder.h"
#include "train/data/world_items.h"
#include "train/job.h"
#include "train/objectives/scene_batches.h"
#include "train/world/music_render.h"
#include "unit/models/bundled.h"
#include "unit/train/helpers.h"

#include <ATen/ATen.h>

namespace tessera::train {
namespace {

using pipelines::TokenKind;

void write_model(const io::fs::path& folder, const std::string& architecture, io::Json config) {
  const auto model = bundled_model(architecture, config);
  nn::NamedTensors tensors;
  for (const auto& item : model->named_parameters()) {
    tensors[item.key()] = item.value().detach();
  }
  for (const auto& item : model->named_buffers()) {
    tensors[item.key()] = item.value();
  }
  io::fs::create_directories(folder);
  nn::write_tensors(folder / "model.safetensors", tensors);
  config["architectures"] = {architecture};
  io::write_file(folder / "config.json", config.dump());
}

class Jobs : public testing::Test {
 protected:
  Jobs() {
    prepare_test();
    write_square_sprites(folder_.path());
    write_model(folder_ / "picture", "TesseraPictureCodec", tiny_picture_config());
    write_model(folder_ / "music", "TesseraAudioCodec", tiny_audio_config());
  }

  io::OrderedJson run(const std::string& text, std::vector<std::string> overrides = {}) {
    const Recipe recipe = Recipe::parse(text, "job.yaml", overrides);
    const JobInfo* job = find_job(recipe.kind());
    if (job == nullptr) {
      throw Internal("no job");
    }
    return job->run(recipe, {.device = recipe.device, .out = {}});
  }
  io::OrderedJson make_tokenizer(std::vector<std::string> overrides = {}) {
    return run(
        "task: {kind: tokenizer, pieces: 300}\nmodel:\n  system: Be kind.\n  codecs:\n"
        "    image: {folder: ../picture, codes: 64}\n"
        "    music: {folder: ../music, codes: 64}\n  max_frames: {music: 200}\n"
        "data: {out: " +
            (folder_ / "tokenizer").string() +
            ", items: 200, world: {emoji: 9, groups: 2}, mixture: {text-image: 1, "
            "music-text: 1, chat: 1}}\n",
        std::move(overrides));
  }
  std::string tokens_text() const {
    return "seed: 4\ntask: {kind: world_tokens}\nmodel: {tokenizer: " +
           (folder_ / "tokenizer").string() + "}\ndata:\n  out: " + (folder_ / "tokens").string() +
           "\n  assets: " + folder_.path().string() +
           "\n  items: 30\n  shards: 2\n  music_seconds: 1.3\n  world: {emoji: 9, groups: 2}\n"
           "  mixture: {text-image: 2, image-text: 1, music-text: 1, text-music: 1, chat: 2, "
           "outside: 1, small_talk: 1}\n";
  }

  TemporaryFolder folder_;
};

TEST_F(Jobs, KindsAreToldApart) {
  try {
    Recipe::parse("task: {kind: tokeniser}\n", "job.yaml");
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("did you mean 'tokenizer'"), std::string::npos) << message;
    EXPECT_NE(message.find("language_model"), std::string::npos) << message;
    EXPECT_NE(message.find("world_tokens"), std::string::npos) << message;
  }
  EXPECT_EQ(find_job("language_model"), nullptr);
  EXPECT_TRUE(is_task("language_model"));
  EXPECT_FALSE(is_task("assemble"));
  EXPECT_THROW(make_tokenizer({"optimizer.lr=1"}), InvalidArgument);
  EXPECT_THROW(make_tokenizer({"data.out=''"}), InvalidArgument);
  EXPECT_THROW(make_tokenizer({"data.mixture.text-speech=1"}), InvalidArgument);
  EXPECT_THROW(make_tokenizer({"data.mixture.chats=1"}), InvalidArgument);
  EXPECT_THROW(make_tokenizer({"model.codecs.image.codes=null"}), InvalidArgument);
  EXPECT_FALSE(io::fs::exists(folder_ / "tokenizer"));
}

TEST_F(Jobs, TokenizerHasPiecesAndCodes) {
  const io::OrderedJson made = make_tokenizer();
  const auto tokenizer = text::load_tokenizer(folder_ / "tokenizer");
  // 4 of dialogue, 64 codes and 2 markers twice, 2 more.
  EXPECT_EQ(tokenizer->vocab_size(), 300 + 4 + 66 + 66 + 2);
  EXPECT_EQ(made.at("tokens"), 438);
  EXPECT_EQ(tokenizer->token_to_id("[Human]"), 300);
  EXPECT_EQ(tokenizer->token_to_id("<👀63>"), 304 + 63);
  const io::Json any = io::read_json(folder_ / "tokenizer" / "any_to_any.json");
  EXPECT_EQ(any.at("codecs").at("music"), "../music");
  EXPECT_EQ(any.at("world"), io::Json({{"emoji", 9}, {"groups", 2}, {"voices", 8}}));
  EXPECT_EQ(any.at("system"), "Be kind.");
}

TEST_F(Jobs, TokensAreThoseOfTheItems) {
  make_tokenizer();
  const io::OrderedJson made = run(tokens_text(), {"data.drop_condition=0"});
  EXPECT_EQ(made.at("documents"), 60);
  const auto tokenizer = text::load_tokenizer(folder_ / "tokenizer");
  const auto file = TokenFile::open(folder_ / "tokens" / "part-0000.tok");
  ASSERT_EQ(file->documents(), 30U);
  EXPECT_EQ(file->classes(), pipelines::token_kind_names());

  // The same by hand, with every medium encoded alone.
  const Recipe recipe = Recipe::parse(tokens_text(), "job.yaml");
  const WorldItems items(recipe.section("data"), {Modality::kImage, Modality::kMusic}, 4);
  const auto picture = bundled_codec("TesseraPictureCodec", tiny_picture_config());
  const auto music = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const world::SceneRenderer renderer = open_scene_renderer(recipe.section("data"));
  std::set<std::string> tasks;
  for (uint64_t i = 0; i < 30; ++i) {
    const world::Item item = items.draw(i);
    tasks.insert(item.task);
    std::string expected = "<s>Be kind.\n";
    const auto add = [&](const world::PartSpec& part) {
      expected += " ";
      if (const auto* words = std::get_if<world::TextPart>(&part)) {
        expected += words->text;
      } else if (const auto* scene = std::get_if<world::ScenePart>(&part)) {
        const Image image = renderer.render(scene->scene, 24, scene->seed);
        const at::Tensor pixels =
            at::tensor(image.pixels).view({1, 24, 24, 3}).permute({0, 3, 1, 2}).to(at::kFloat);
        const at::Tensor codes = picture->encode(pixels / 255).flatten();
        expected += "<soim>";
        for (int64_t t = 0; t < codes.numel(); ++t) {
          expected += fmt::format("<👀{}>", codes[t].item<int64_t>());
        }
        expected += "<eoim>";
      } else {
        const auto& tune = std::get<world::MusicPart>(part);
        const Audio audio = world::render_melody(tune.melody, 1.3, 8000, tune.seed);
        const at::Tensor codes = music->encode(at::tensor(audio.samples).view({1, 1, -1}))[0];
        expected += "<somu>";
        for (int64_t t = 0; t < codes.size(1); ++t) {
          for (int64_t level = 0; level < 2; ++level) {
            expected += fmt::format("<🎶{}>", codes[level][t].item<int64_t>() + 32 * level);
          }
        }
        expected += "<eomu>";
      }
    };
    for (size_t turn = 0; turn < item.turns.size(); ++turn) {
      expected += turn > 0 ? "\n[Human]:" : "[Human]:";
      for (const world::PartSpec& part : item.turns[turn].inputs) {
        if (world::modality_of(part) != Modality::kText) {
          add(part);
        }
      }
      expected += fmt::format(" {}<eoh>\n[MMGPT]:", user_text(item.turns[turn]));
      for (const world::PartSpec& part : item.turns[turn].outputs) {
        add(part);
      }
      expected += "<eos>";
    }
    expected += "</s>";
    std::vector<int64_t> ids(file->length(i));
    file->read(i, 0, ids);
    EXPECT_EQ(tokenizer->decode(std::vector<int32_t>(ids.begin(), ids.end())), expected);
  }
  EXPECT_GE(tasks.size(), 4U);
}

TEST_F(Jobs, ForeignPicturesAreCoded) {
  make_tokenizer();
  const io::OrderedJson made = run(tokens_text(), {"data.mixture={foreign: 1}", "data.shards=1"});
  EXPECT_EQ(made.at("documents"), 30);
  const auto tokenizer = text::load_tokenizer(folder_ / "tokenizer");
  const auto file = TokenFile::open(folder_ / "tokens" / "part-0000.tok");
  std::vector<int64_t> ids(file->length(0));
  file->read(0, 0, ids);
  const std::string text = tokenizer->decode(std::vector<int32_t>(ids.begin(), ids.end()));
  EXPECT_NE(text.find("<soim>"), std::string::npos);
  EXPECT_NE(text.find("can"), std::string::npos);
  // Digits need their folder, speech its codec.
  EXPECT_THROW(run(tokens_text(), {"data.mixture={digits: 1}"}), InvalidArgument);
}

TEST_F(Jobs, ShardsAreKeptAndMadeAgain) {
  make_tokenizer();
  EXPECT_EQ(run(tokens_text()).at("made"), 2);
  const io::fs::path second = folder_ / "tokens" / "part-0001.tok";
  const std::string bytes = io::read_file(second);
  EXPECT_NE(io::read_file(folder_ / "tokens" / "part-0000.tok"), bytes);
  EXPECT_EQ(run(tokens_text()).at("made"), 0);
  io::fs::remove(second);
  EXPECT_EQ(run(tokens_text()).at("made"), 1);
  EXPECT_EQ(io::read_file(second), bytes);
  EXPECT_THROW(run(tokens_text(), {"data.drop_condition=0.3"}), InvalidArgument);
  EXPECT_THROW(run(tokens_text(), {"seed=5"}), InvalidArgument);
  EXPECT_THROW(run(tokens_text(), {"data.world.emoji=8"}), InvalidArgument);
  EXPECT_EQ(io::read_file(second), bytes);
}

TEST_F(Jobs, DroppedConditionsAreWhatGuidanceComparesWith) {
  make_tokenizer();
  run(tokens_text(), {"data.drop_condition=1", "data.mixture={text-image: 1, music-text: 1}"});
  const auto tokenizer = text::load_tokenizer(folder_ / "tokenizer");
  const auto codec = bundled_codec("TesseraPictureCodec", tiny_picture_config());
  const pipelines::AnyFormat format(io::read_json(folder_ / "tokenizer" / "any_to_any.json"),
                                    *tokenizer, {{Modality::kImage, codec->info()}});
  const std::vector<int32_t> prefix = format.encode_unconditional().ids;
  const auto file = TokenFile::open(folder_ / "tokens" / "part-0000.tok");
  const auto start = format.grammar().rules[0].start_id;
  int pictures = 0;
  for (uint64_t i = 0; i < file->documents(); ++i) {
    std::vector<int64_t> ids(file->length(i));
    file->read(i, 0, ids);
    const bool picture = std::find(ids.begin(), ids.end(), start) != ids.end();
    pictures += picture ? 1 : 0;
    EXPECT_EQ(std::equal(prefix.begin(), prefix.end(), ids.begin()), picture);
    // Prefix, a space, marker, 16 codes, marker, end of reply, end of text.
    EXPECT_EQ(picture, ids.size() == prefix.size() + 21);
  }
  EXPECT_GT(pictures, 5);
  EXPECT_LT(pictures, 25);
}

TEST_F(Jobs, LongDocumentsAreLeftOut) {
  make_tokenizer();
  run(tokens_text(), {"data.longest=60", "data.mixture={text-image: 1, small_talk: 3}"});
  const auto file = TokenFile::open(folder_ / "tokens" / "part-0000.tok");
  for (uint64_t i = 0; i < file->documents(); ++i) {
    EXPECT_LE(file->length(i), 60U);
  }
  // A second of music has 125 frames.
  EXPECT_THROW(run("device: cpu\n" + tokens_text(),
                   {"data.out=" + (folder_ / "x").string(), "data.music_seconds=2",
                    "data.mixture={text-music: 1}", "data.items=1"}),
               InvalidArgument);
}

TEST_F(Jobs, WorldItemsKeepTheProportions) {
  const Options data(io::Json{{"mixture", {{"text-image", 3}, {"chat", 1}}}}, "test");
  const WorldItems items(data, {Modality::kImage}, 3);
  int chats = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const world::Item item = items.draw(i);
    chats += item.task == "chat" ? 1 : 0;
    ASSERT_FALSE(item.turns.empty());
    for (const world::Turn& turn : item.turns) {
      for (const auto* parts : {&turn.inputs, &turn.outputs}) {
        for (const world::PartSpec& part : *parts) {
          EXPECT_LE(static_cast<int>(world::modality_of(part)), static_cast<int>(Modality::kImage));
        }
      }
    }
  }
  EXPECT_NEAR(chats, 500, 80);  // four standard deviations
}

TEST_F(Jobs, AssemblesAFolder) {
  make_tokenizer();
  const io::Json config = {{"model_type", "llama"},       {"vocab_size", 448},
                           {"hidden_size", 32},           {"intermediate_size", 48},
                           {"num_hidden_layers", 2},      {"num_attention_heads", 4},
                           {"tie_word_embeddings", true}, {"max_position_embeddings", 64},
                           {"bos_token_id", 1},           {"eos_token_id", 2}};
  write_model(folder_ / "lm", "LlamaForCausalLM", config);
  const std::string text =
      "task: {kind: assemble}\nmodel: {language_model: " + (folder_ / "lm").string() +
      ", tokenizer: " + (folder_ / "tokenizer").string() +
      ", sampling: {text: {temperature: 0.5}}}\ndata: {out: " + (folder_ / "model").string() +
      "}\n";
  const io::OrderedJson made = run(text);
  uint64_t bytes = 0;
  for (const auto& [name, size] : made.at("files").items()) {
    EXPECT_EQ(io::fs::file_size(folder_ / "model" / name), size);
    bytes += size.get<uint64_t>();
  }
  EXPECT_EQ(made.at("bytes"), bytes);
  const auto load = [](const io::fs::path& folder) {
    return std::dynamic_pointer_cast<nn::SequenceModel>(
        models::load_model(models::open_folder(folder.string()), {}));
  };
  const nn::Step step{.ids = at::tensor({1, 300, 7, 437}).view({1, 4}).to(at::kLong),
                      .positions = {},
                      .key_mask = {}};
  const at::NoGradGuard no_grad;
  const at::Tensor before = load(folder_ / "lm")->step(step, nullptr);
  const at::Tensor after = load(folder_ / "model")->step(step, nullptr);
  EXPECT_LT((after - before).norm().item<double>(), 0.05 * before.norm().item<double>());
  EXPECT_GT((after - before).norm().item<double>(), 0);
  const io::Json any = io::read_json(folder_ / "model" / "any_to_any.json");
  EXPECT_EQ(any.at("codecs"), io::Json({{"image", "picture_codec"}, {"music", "music_codec"}}));
  EXPECT_EQ(any.at("max_frames"), io::Json({{"music", 200}}));
  EXPECT_NE(
      models::load_model(models::open_folder((folder_ / "model" / "music_codec").string()), {}),
      nullptr);
  const io::Json generation = io::read_json(folder_ / "model" / "generation_config.json");
  EXPECT_EQ(generation.at("temperature"), 0.5);

  run(text, {"task.weights=trained", "data.out=" + (folder_ / "whole").string()});
  EXPECT_TRUE(at::equal(load(folder_ / "whole")->step(step, nullptr), before));

  for (const auto& [key, value] :
       {std::pair{"vocab_size", 437}, {"vocab_size", 512}, {"eos_token_id", 1}}) {
    io::Json wrong = config;
    wrong[key] = value;
    write_model(folder_ / "wrong", "LlamaForCausalLM", wrong);
    EXPECT_THROW(run(text, {"model.language_model=" + (folder_ / "wrong").string(),
                            "data.out=" + (folder_ / "never").string()}),
                 InvalidArgument)
        << key;
  }
  EXPECT_FALSE(io::fs::exists(folder_ / "never"));
}

}  // namespace
}  // namespace tessera::train
