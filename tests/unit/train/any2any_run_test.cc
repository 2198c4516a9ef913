// The bench on models that are no models: one that always replies with the truth, and broken ones.
// Rendered media are numbers of a list, which the judges look up.
#include "compress/int8.h"
#include "core/error.h"
#include "core/log.h"
#include "nn/tensor_file.h"
#include "train/any2any/any2any.h"
#include "train/any2any/page.h"
#include "train/scene_labels.h"
#include "train/world/pack.h"
#include "unit/models/bundled.h"
#include "unit/train/helpers.h"

#include <gmock/gmock.h>

#include <cmath>

namespace tessera::any2any {
namespace {

using pipelines::Reply;
using testing::HasSubstr;
using testing::Not;

// Media that name themselves.
class Ledger {
 public:
  Studio studio() {
    Studio studio;
    studio.draw = [this](const world::ScenePart& part, int /*size*/) {
      Image image{.width = 1, .height = 1, .channels = 3, .pixels = number(part)};
      return image;
    };
    studio.speak = [this](std::span<const world::Utterance> utterances) {
      std::vector<Audio> out;
      for (const world::Utterance& one : utterances) {
        out.push_back(sound(world::SpeechPart{one.voice, one.text}));
      }
      return out;
    };
    studio.play = [this](const world::MusicPart& part, int, double) { return sound(part); };
    return studio;
  }
  Judges judges() {
    Judges judges;
    judges.scene = [this](const Image& image) {
      const auto& p = image.pixels;
      return std::get<world::ScenePart>(parts_.at(p[0] + 200U * p[1])).scene;
    };
    judges.words = [this](const Audio& audio) {
      return std::get<world::SpeechPart>(look_up(audio)).text;
    };
    judges.voice = [this](const Audio& audio) {
      return std::get<world::SpeechPart>(look_up(audio)).voice;
    };
    judges.music = [this](const Audio& audio) {
      const world::Melody& melody = std::get<world::MusicPart>(look_up(audio)).melody;
      return MusicHeard{melody.key, melody.metre};
    };
    return judges;
  }

 private:
  std::vector<uint8_t> number(const world::PartSpec& part) {
    parts_.push_back(part);
    const size_t index = parts_.size() - 1;
    return {static_cast<uint8_t>(index % 200), static_cast<uint8_t>(index / 200), 0};
  }
  Audio sound(const world::PartSpec& part) {
    parts_.push_back(part);
    // Two seconds at 1 kHz; the first sample is the number.
    Audio audio{.sample_rate = 1000, .channels = 1, .samples = std::vector<float>(2000)};
    audio.samples[0] = static_cast<float>(parts_.size() - 1);
    return audio;
  }
  const world::PartSpec& look_up(const Audio& audio) const {
    return parts_.at(static_cast<size_t>(audio.samples.at(0)));
  }
  std::vector<world::PartSpec> parts_;
};

class AnyRun : public testing::Test {
 protected:
  AnyRun() {
    train::prepare_test();
    log::set_level(log::Level::kWarning);
    options_.modalities = {Modality::kImage, Modality::kSpeech, Modality::kMusic};
    subject_.modalities = options_.modalities;
    subject_.copy = [](const Part& part) { return part; };
  }
  ~AnyRun() override { log::set_level(log::Level::kInfo); }

  Suite suite(std::vector<std::string> only) {
    options_.only = std::move(only);
    return Suite(options_, ledger_.studio());
  }

  // Replies with the true outputs of a suite of one row, whose items come in order.
  void reply_truth(const Suite& suite) {
    subject_.reply = [this, &suite](std::span<const std::vector<Message>> conversations) {
      std::vector<Reply> replies(conversations.size());
      if (std::get<std::string>(conversations[0][0].parts.back().content) == "Hello.") {
        return replies;
      }
      for (Reply& reply : replies) {
        const std::vector<Case> one = {{suite.spec(suite.rows()[0], next_++).item, {}}};
        reply.message = {Role::kAssistant, suite.truth(one)[0]};
        reply.first_audio_seconds = 0.1;
      }
      return replies;
    };
  }

  void reply_always(Reply reply) {
    subject_.reply = [reply = std::move(reply)](std::span<const std::vector<Message>> all) {
      return std::vector<Reply>(all.size(), reply);
    };
  }

  static const Metric& metric(const RowResult& row, std::string_view name) {
    for (const Metric& one : row.metrics) {
      if (one.name == name) {
        return one;
      }
    }
    throw NotFound("no metric {}", name);
  }

  Ledger ledger_;
  SuiteOptions options_;
  Subject subject_;
  Settings settings_{.items = 11, .batch = 3, .singles = 2};
  size_t next_ = 0;
};

TEST_F(AnyRun, TruthMeetsEveryTarget) {
  for (const world::Pair& pair : world::all_pairs()) {
    const Suite one = suite({world::pair_name(pair)});
    next_ = 0;
    reply_truth(one);
    const Result result = run_bench(subject_, ledger_.judges(), one, settings_);
    ASSERT_EQ(result.rows.size(), 1U);
    const RowResult& row = result.rows[0];
    EXPECT_EQ(row.n, 11U);
    EXPECT_EQ(row.malformed, 0U);
    EXPECT_EQ(row.unanswered, 0U);
    EXPECT_EQ(row.reply.values.size(), 2U);
    EXPECT_EQ(row.batched, 9U);
    EXPECT_FALSE(row.metrics.empty());
    for (const Metric& one_metric : row.metrics) {
      const double best = one_metric.name == "wer" ? 0 : 1;
      EXPECT_EQ(one_metric.value, best) << row.row.name << " " << one_metric.name;
      EXPECT_LE(one_metric.interval.low, best);
      EXPECT_GE(one_metric.interval.high, best);
      if (pair.to != Modality::kText || one_metric.name == "wer") {  // a judge knows no sizes
        EXPECT_EQ(one_metric.judge, best) << row.row.name << " " << one_metric.name;
        EXPECT_EQ(one_metric.codec, best) << row.row.name << " " << one_metric.name;
      }
      EXPECT_TRUE(one_metric.met().value_or(true)) << row.row.name << " " << one_metric.name;
    }
    EXPECT_EQ(row.examples.size(), 2U);
    EXPECT_TRUE(row.examples[0].right);
    EXPECT_EQ(result.malformed().met(), true);
  }
}

TEST_F(AnyRun, TimesOfRepliesAlone) {
  const Suite one = suite({"text-speech"});
  reply_truth(one);
  const Result result = run_bench(subject_, ledger_.judges(), one, settings_);
  for (const Timing& timing : result.timings) {
    const bool spoken = timing.name == "speech_3s_seconds" || timing.name == "first_audio_seconds";
    EXPECT_EQ(timing.values.size(), spoken ? 2U : 0U) << timing.name;
    if (timing.name == "first_audio_seconds") {
      EXPECT_EQ(timing.p50(), 0.1);
      EXPECT_EQ(timing.met(), true);
    }
  }
}

TEST_F(AnyRun, BrokenRepliesAreCountedAndMissTargets) {
  Reply cut;
  cut.valid = false;
  Reply marker;
  marker.message.parts = {Part::text("Here it is: <soim>")};
  Reply silent;
  silent.message.parts = {Part{Modality::kSpeech, Audio{16000, 1, {}}, {}}};
  Reply torn;
  torn.message.parts = {Part{Modality::kImage, Image{.width = 2, .height = 2, .pixels = {1}}, {}}};
  const Suite one = suite({"text-music"});
  for (const Reply& reply : {cut, marker, silent, torn}) {
    reply_always(reply);
    const Result result = run_bench(subject_, ledger_.judges(), one, settings_);
    EXPECT_EQ(result.rows[0].malformed, 11U);
    EXPECT_EQ(result.rows[0].unanswered, 11U);
    EXPECT_EQ(result.malformed().value, 11);
    EXPECT_EQ(result.malformed().met(), false);
    EXPECT_EQ(metric(result.rows[0], "key").value, 0);
    EXPECT_EQ(metric(result.rows[0], "key").met(), false);
    EXPECT_EQ(metric(result.rows[0], "key").judge, 1);  // the truth is still heard
    EXPECT_FALSE(result.rows[0].examples.at(0).right);
  }
  Reply noise;
  noise.message.parts = {Part{Modality::kMusic, Audio{16000, 1, {std::nanf("")}}, {}}};
  reply_always(noise);
  const Result result = run_bench(subject_, ledger_.judges(), one, settings_);
  EXPECT_EQ(result.rows[0].malformed, 11U);
  EXPECT_EQ(result.rows[0].unanswered, 0U);
}

TEST_F(AnyRun, RowsWithoutMediaOrJudgesAreSkipped) {
  options_.modalities = subject_.modalities = {Modality::kImage};
  reply_always({});
  const Suite all = suite({});
  Judges judges = ledger_.judges();
  judges.scene = nullptr;
  settings_.items = 2;
  const Result result = run_bench(subject_, judges, all, settings_);
  for (const RowResult& row : result.rows) {
    const bool runs = row.row.name == "image-text" || row.row.name == "outside";
    EXPECT_EQ(row.row.skipped.empty(), runs) << row.row.name;
    EXPECT_EQ(row.n, runs ? 2U : 0U);
  }
  EXPECT_THAT(to_text(result), HasSubstr("text-image: skipped, the scene judge is missing"));
  EXPECT_THAT(to_text(result), HasSubstr("text-speech: skipped, the model has no speech"));
  EXPECT_THAT(to_text(result), HasSubstr("speech-text-digits: skipped"));
  EXPECT_THAT(result.notes, testing::Contains(HasSubstr("'scene' is missing")));
  const io::Json json = io::parse_json(to_json(result).dump(), "result");
  EXPECT_EQ(json["pairs"]["outside-photographs"]["skipped"], "needs --photos FOLDER");
  EXPECT_TRUE(json["pairs"]["image-text"]["metrics"]["slot_f1"]["judge"].is_null());
}

TEST_F(AnyRun, JsonAndPage) {
  const Suite one = suite({"text-image", "image-speech"});
  Reply reply;
  reply.message.parts = {Part::text("<b>No.</b> \xff")};
  reply_always(reply);
  Result result = run_bench(subject_, ledger_.judges(), one, settings_);
  result.model = "a<b>\xff";
  const io::Json json = io::parse_json(to_json(result).dump(), "result");
  EXPECT_EQ(json["counts"]["text-image"], 11);
  const io::Json& object = json["pairs"]["text-image"]["metrics"]["object"];
  EXPECT_EQ(object["value"], 0);
  EXPECT_EQ(object["n"], 11);
  EXPECT_EQ(object["judge"], 1);
  EXPECT_EQ(object["target"]["value"], 0.9);
  EXPECT_EQ(object["met"], false);
  EXPECT_EQ(object["interval"].size(), 2U);
  EXPECT_EQ(json["targets"]["met"].get<int>() + json["targets"]["missed"].get<int>() +
                json["targets"]["unknown"].get<int>(),
            static_cast<int>(targets().size()));
  const std::string page = render_page(result);
  EXPECT_THAT(page, HasSubstr("data:image/png;base64,"));
  EXPECT_THAT(page, HasSubstr("data:audio/wav;base64,"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(page, HasSubstr("a&lt;b&gt;\xEF\xBF\xBD"));
  EXPECT_THAT(page, Not(HasSubstr("<b>No.")));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, HasSubstr("✗ missed"));
}

TEST_F(AnyRun, NothingAtAll) {
  const Result empty;
  EXPECT_THAT(render_page(empty), HasSubstr("</html>"));
  EXPECT_FALSE(to_text(empty).empty());
  EXPECT_EQ(io::parse_json(to_json(empty).dump(), "empty")["malformed"]["value"], 0);
  EXPECT_FALSE(empty.malformed().met().has_value());
  settings_.items = 0;
  subject_.reply = [](std::span<const std::vector<Message>>) -> std::vector<Reply> {
    throw Internal("nothing was to be asked");
  };
  const Result result = run_bench(subject_, ledger_.judges(), suite({"text-image"}), settings_);
  EXPECT_EQ(result.rows[0].n, 0U);
  EXPECT_THAT(render_page(result), HasSubstr("</html>"));
}

TEST_F(AnyRun, StopsInTime) {
  settings_ = {.items = 50, .batch = 2, .singles = 2, .seconds = 1e-9};
  reply_always({});
  const Result result = run_bench(subject_, ledger_.judges(),
                                  suite({"text-image", "text-music", "image-text"}), settings_);
  size_t asked = 0;
  for (const RowResult& row : result.rows) {
    asked += row.n;
    EXPECT_EQ(row.row.skipped, row.n > 0 ? "" : "not reached in time");
  }
  EXPECT_EQ(asked, 1U);
}

TEST_F(AnyRun, WrongRequests) {
  EXPECT_THROW(suite({"text-picture"}), InvalidArgument);
  options_.data = "/nonexistent/data";
  EXPECT_THROW(suite({}), NotFound);
  options_.data.clear();
  options_.photos = "/nonexistent/photos";
  EXPECT_THROW(suite({}), NotFound);
  options_.photos.clear();
  const Suite one = suite({"outside"});
  EXPECT_THROW(one.spec(one.rows()[0], one.rows()[0].most), InvalidArgument);
  reply_always({});
  subject_.reply = [](std::span<const std::vector<Message>>) { return std::vector<Reply>(); };
  EXPECT_THROW(run_bench(subject_, ledger_.judges(), one, settings_), Internal);
}

TEST_F(AnyRun, TargetsNameRowsThatExist) {
  const Suite all = suite({});
  for (const Target& target : targets()) {
    const bool row = std::any_of(all.rows().begin(), all.rows().end(),
                                 [&](const Row& one) { return one.name == target.row; });
    EXPECT_TRUE(row || target.row == "all" || target.row == "latency") << target.row;
  }
}

TEST_F(AnyRun, TestItemsAreNotTrainingItems) {
  const Suite one = suite({"text-image"});
  for (const world::Item& item : one.training_items(one.rows()[0], 50)) {
    EXPECT_EQ(world::split_of(std::get<world::ScenePart>(item.turns[0].outputs[0]).scene),
              world::Split::kTrain);
  }
  for (size_t i = 0; i < 50; ++i) {
    const world::Item item = one.spec(one.rows()[0], i).item;
    EXPECT_EQ(world::split_of(std::get<world::ScenePart>(item.turns[0].outputs[0]).scene),
              world::Split::kTest);
  }
}

TEST(AnyMessages, InstructionStandsBeforeTheText) {
  world::Turn turn;
  turn.instruction = "Say this.";
  turn.inputs = {world::SpeechPart{0, "A voice."}, world::TextPart{"Good morning."}};
  const Message message = user_message(
      turn, {Part{Modality::kSpeech, Audio{1, 1, {}}, {}}, Part::text("Good morning.")});
  ASSERT_EQ(message.parts.size(), 2U);
  EXPECT_EQ(message.parts[0].modality, Modality::kSpeech);
  EXPECT_EQ(std::get<std::string>(message.parts[1].content), "Say this. Good morning.");
}

// Judges of random weights: they open from a folder and hear anything.
TEST(AnyJudges, OpenFromAFolder) {
  train::prepare_test();
  const train::TemporaryFolder folder;
  const auto write = [&](const char* name, const char* architecture, const io::Json& config) {
    io::fs::create_directories(folder / name);
    const auto model = bundled_model(architecture, config);
    io::Json written = bundled_folder(architecture, config).config;
    written["quantization_config"] = compress::int8_config();
    nn::write_tensors(folder / name / "model.safetensors", compress::quantize_int8(*model));
    io::write_file(folder / name / "config.json", written.dump());
  };
  EXPECT_EQ(open_judges(folder.path(), {}).missing().size(), 4U);
  write("scene", "TesseraSceneJudge", {{"image_size", 48}, {"looks", train::look_count()}});
  write("recognizer", "TesseraSpeechRecognizer", {{"blocks", 1}});
  write("speaker", "TesseraSpeakerJudge", io::Json::object());
  write("music", "TesseraMusicJudge", io::Json::object());
  const Judges judges = open_judges(folder.path(), {});
  EXPECT_TRUE(judges.missing().empty());
  Findings found;
  const Image picture{.width = 31, .height = 50, .pixels = std::vector<uint8_t>(31 * 50 * 3, 99)};
  judge_parts(judges, std::vector<Part>{{Modality::kImage, picture, {}}}, Modality::kImage, found);
  EXPECT_TRUE(found.scene.has_value());
  // Stereo at another rate, and sounds of one sample and of none.
  for (const size_t frames : {22050U, 1U, 0U}) {
    const Audio audio{
        .sample_rate = 22050, .channels = 2, .samples = std::vector<float>(2 * frames, 0.1F)};
    Findings heard;
    judge_parts(judges, std::vector<Part>{{Modality::kSpeech, audio, {}}}, Modality::kSpeech,
                heard);
    judge_parts(judges, std::vector<Part>{{Modality::kMusic, audio, {}}}, Modality::kMusic, heard);
    EXPECT_EQ(heard.words.has_value(), frames > 0);
    EXPECT_EQ(heard.voice.has_value(), frames > 0);
    EXPECT_EQ(heard.key.has_value(), frames > 0);
  }
  write("music", "TesseraMusicJudge", {{"keys", 12}});
  const Audio second{.sample_rate = 16000, .samples = std::vector<float>(16000)};
  EXPECT_THROW(open_judges(folder.path(), {}).music(second), CorruptFile);
}

// Debian's emoji and voices, where they are installed.
TEST(AnyStudio, RendersItemsOfEveryKind) {
  const Studio studio = open_studio({});
  for (const Modality modality : {Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
    if (const auto missing = studio.missing.find(modality); missing != studio.missing.end()) {
      EXPECT_THAT(missing->second, HasSubstr("--assets"));
      continue;
    }
    const world::Item item =
        world::make_item({Modality::kText, modality}, 3, 1, world::Split::kTest);
    const std::vector<std::vector<world::PartSpec>> lists = {item.turns[0].inputs,
                                                             item.turns[0].outputs};
    const auto parts = render_parts(studio, {.image = 48, .music_seconds = 2}, lists);
    ASSERT_EQ(parts.size(), 2U);
    const Part& media = parts[1].at(0);
    ASSERT_EQ(media.modality, modality);
    if (modality == Modality::kImage) {
      EXPECT_EQ(std::get<Image>(media.content).pixels.size(), 48U * 48U * 3U);
    } else if (modality == Modality::kMusic) {
      EXPECT_EQ(std::get<Audio>(media.content).frames(), 32000);
    } else {
      EXPECT_GT(std::get<Audio>(media.content).seconds(), 0.2);
    }
  }
}

TEST(AnyStudio, MissingFolderOfRenderers) {
  EXPECT_THROW(open_studio("/nonexistent/assets"), NotFound);
}

}  // namespace
}  // namespace tessera::any2any
