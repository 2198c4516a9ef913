#include "pipelines/converse.h"

#include "core/error.h"
#include "core/random.h"
#include "io/resample.h"
#include "io/resize.h"
#include "pipelines/any_format.h"
#include "pipelines/any_instruct.h"
#include "text/tokenizer.h"
#include "unit/pipelines/any_to_any_folder.h"
#include "unit/train/helpers.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::pipelines {
namespace {

Image random_image(int width, int height, int channels, uint64_t seed) {
  Image image{.width = width, .height = height, .channels = channels, .pixels = {}};
  image.pixels.resize(static_cast<size_t>(width) * height * channels);
  Rng rng(seed);
  for (uint8_t& value : image.pixels) {
    value = static_cast<uint8_t>(rng.below(256));
  }
  return image;
}

Audio random_audio(int rate, int channels, int frames, uint64_t seed) {
  Audio audio{.sample_rate = rate, .channels = channels, .samples = {}};
  audio.samples.resize(static_cast<size_t>(frames) * channels);
  Rng rng(seed);
  for (float& sample : audio.samples) {
    sample = static_cast<float>(rng.uniform(-0.5, 0.5));
  }
  return audio;
}

Part media(Modality modality, std::variant<std::string, Image, Audio> content) {
  return {.modality = modality, .content = std::move(content), .source = {}};
}

Message user(std::vector<Part> parts) {
  return {.role = Role::kUser, .parts = std::move(parts)};
}

Message says(const std::string& text) {
  return user({Part::text(text)});
}

size_t count(const Message& message, Modality modality) {
  return static_cast<size_t>(std::count_if(message.parts.begin(), message.parts.end(),
                                           [&](const Part& p) { return p.modality == modality; }));
}

void expect_equal(const Message& a, const Message& b) {
  ASSERT_EQ(a.parts.size(), b.parts.size());
  for (size_t i = 0; i < a.parts.size(); ++i) {
    ASSERT_EQ(a.parts[i].modality, b.parts[i].modality);
    if (const auto* text = std::get_if<std::string>(&a.parts[i].content)) {
      EXPECT_EQ(*text, std::get<std::string>(b.parts[i].content));
    } else if (const auto* image = std::get_if<Image>(&a.parts[i].content)) {
      EXPECT_EQ(image->pixels, std::get<Image>(b.parts[i].content).pixels);
    } else {
      const Audio& one = std::get<Audio>(a.parts[i].content);
      const Audio& other = std::get<Audio>(b.parts[i].content);
      ASSERT_EQ(one.samples.size(), other.samples.size());
      for (size_t t = 0; t < one.samples.size(); ++t) {
        ASSERT_NEAR(one.samples[t], other.samples[t], 1e-4);
      }
    }
  }
}

class Converse : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    train::prepare_test();
    folder_ = std::make_unique<train::TemporaryFolder>();
    write_any_to_any(folder_->path());
    write_any_to_any(*folder_ / "mute", /*music=*/false, /*context=*/0x7FFFFFFF);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::unique_ptr<AnyToAny> open() {
    return std::make_unique<AnyToAny>(folder_->path().string(), nn::LoadOptions{});
  }

  static ConverseOptions short_reply(uint64_t seed = 1) {
    ConverseOptions options;
    options.seed = seed;
    options.max_new_tokens = 60;
    return options;
  }

  static std::unique_ptr<train::TemporaryFolder> folder_;
};

std::unique_ptr<train::TemporaryFolder> Converse::folder_;

TEST_F(Converse, RepliesHoldWhatIsAskedFor) {
  const auto model = open();
  for (uint64_t seed = 0; seed < 5; ++seed) {
    for (const Modality to :
         {Modality::kText, Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
      ConverseOptions options = short_reply(seed);
      options.to = to;
      const Reply reply = model->reply({says("draw, play, speak")}, options);
      EXPECT_TRUE(reply.valid);
      EXPECT_LE(reply.new_tokens, 60);
      EXPECT_GE(reply.prefill_seconds, 0);
      if (to == Modality::kText) {
        EXPECT_EQ(count(reply.message, to), reply.message.parts.size());
      } else {
        EXPECT_GE(count(reply.message, to), 1U) << modality_name(to);
      }
      for (const Part& part : reply.message.parts) {
        if (const auto* image = std::get_if<Image>(&part.content)) {
          EXPECT_EQ(image->width, 24);
          EXPECT_EQ(image->pixels.size(), 24U * 24 * 3);
        } else if (const auto* audio = std::get_if<Audio>(&part.content)) {
          EXPECT_EQ(audio->sample_rate, 8000);
          EXPECT_GT(audio->samples.size(), 0U);
          EXPECT_EQ(audio->samples.size() % 64, 0U);
          EXPECT_LE(audio->samples.size() / 64, part.modality == Modality::kSpeech ? 24U : 12U);
        }
      }
    }
  }
}

TEST_F(Converse, EveryModalityIsUnderstood) {
  const auto model = open();
  const Part picture = media(Modality::kImage, random_image(31, 17, 3, 1));
  const Part speech = media(Modality::kSpeech, random_audio(8000, 1, 500, 2));
  const Part music = media(Modality::kMusic, random_audio(16000, 2, 700, 3));
  const CodedPart text{.modality = Modality::kText, .text = "what is this?", .codes = {}};
  const CodedMessage coded{
      .role = Role::kUser,
      .parts = {model->encode(picture), model->encode(speech), model->encode(music), text}};
  EXPECT_EQ(coded.parts[0].codes.size(), 16U);
  EXPECT_EQ(coded.parts[1].codes.size(), 16U);  // 8 frames of 2 levels
  EXPECT_EQ(coded.parts[2].codes.size(), 12U);  // 350 samples after resampling
  const auto expected = model->format().encode({&coded, 1}).ids.size();
  const Reply reply =
      model->reply({user({picture, speech, music, Part::text("what is this?")})}, short_reply());
  EXPECT_EQ(reply.prompt_tokens, static_cast<int64_t>(expected));
  // A lone text comes last, wherever the caller has it.
  const Reply other = model->reply(
      {user({Part::text("what is this?"), picture, speech, Part::text(""), music})}, short_reply());
  expect_equal(other.message, reply.message);
}

TEST_F(Converse, MediaArePreparedAsTheCodecNeedsThem) {
  const auto model = open();
  // Grey and alpha: the same as RGB; other sizes: the same as Pillow's bicubic resize.
  const Image grey = random_image(24, 24, 1, 5);
  Image rgb{.width = 24, .height = 24, .channels = 3, .pixels = {}};
  Image rgba{.width = 24, .height = 24, .channels = 4, .pixels = {}};
  for (const uint8_t value : grey.pixels) {
    rgb.pixels.insert(rgb.pixels.end(), {value, value, value});
    rgba.pixels.insert(rgba.pixels.end(), {value, value, value, 255});
  }
  const auto codes = [&](const Image& image) {
    return model->encode(media(Modality::kImage, image)).codes;
  };
  EXPECT_EQ(codes(grey), codes(rgb));
  EXPECT_EQ(codes(rgba), codes(rgb));
  const Image wide = random_image(70, 11, 3, 6);
  EXPECT_EQ(codes(wide), codes(io::resize(wide, 24, 24, io::Filter::kBicubic)));
  // Stereo at another rate: the same as its mean, resampled.
  const Audio stereo = random_audio(22050, 2, 3000, 7);
  std::vector<float> mono;
  for (size_t t = 0; t < 3000; ++t) {
    mono.push_back((stereo.samples[2 * t] + stereo.samples[2 * t + 1]) / 2);
  }
  const Audio plain{.sample_rate = 8000, .channels = 1, .samples = io::resample(mono, 22050, 8000)};
  const CodedPart coded = model->encode(media(Modality::kSpeech, stereo));
  EXPECT_EQ(coded.codes, model->encode(media(Modality::kSpeech, plain)).codes);
  const Part back = model->decode(coded);
  EXPECT_EQ(std::get<Audio>(back.content).frames(),
            static_cast<int64_t>(coded.codes.size()) / 2 * 64);
}

TEST_F(Converse, StreamsEqualTheFinishedParts) {
  const auto model = open();
  for (uint64_t seed = 0; seed < 6; ++seed) {
    ConverseOptions options = short_reply(seed);
    options.max_new_tokens = 150;
    options.to = seed % 2 == 0 ? Modality::kSpeech : Modality::kMusic;
    Message told{.role = Role::kAssistant, .parts = {}};
    std::vector<Modality> begun;
    Audio sound;
    size_t finished = 0;
    ConverseEvents events;
    events.on_text = [&](size_t row, std::string_view piece) {
      EXPECT_EQ(row, 0U);
      if (told.parts.empty() || told.parts.back().modality != Modality::kText) {
        told.parts.push_back(Part::text(""));
      }
      std::get<std::string>(told.parts.back().content) += piece;
    };
    events.on_begin = [&](size_t, Modality modality) {
      begun.push_back(modality);
      sound = {};
    };
    events.on_audio = [&](size_t, Modality modality, const Audio& chunk) {
      EXPECT_EQ(modality, begun.back());
      EXPECT_GT(chunk.samples.size(), 0U);
      sound.samples.insert(sound.samples.end(), chunk.samples.begin(), chunk.samples.end());
    };
    events.on_part = [&](size_t, const Part& part) {
      ++finished;
      EXPECT_EQ(part.modality, begun.back());
      if (const auto* audio = std::get_if<Audio>(&part.content)) {
        EXPECT_EQ(audio->samples, sound.samples);
      }
      told.parts.push_back(part);
    };
    const Reply reply = model->reply({says("sing")}, options, events);
    EXPECT_EQ(finished, begun.size());
    EXPECT_GE(finished, 1U);
    EXPECT_GT(reply.first_audio_seconds, 0);
    expect_equal(told, reply.message);
    // Decoding at once, without events, gives the same reply.
    const Reply quiet = model->reply({says("sing")}, options);
    EXPECT_EQ(quiet.first_audio_seconds, -1);
    expect_equal(quiet.message, reply.message);
  }
}

TEST_F(Converse, AConversationInABatchIsAsAlone) {
  const auto model = open();
  const std::vector<std::vector<Message>> conversations = {
      {says("hello")},
      {user({media(Modality::kImage, random_image(24, 24, 3, 1)), Part::text("what do you see?")})},
      {says("first"), {.role = Role::kAssistant, .parts = {Part::text("reply")}}, says("go on")},
      {user({media(Modality::kSpeech, random_audio(8000, 1, 900, 2))})}};
  for (const std::optional<Modality> to :
       {std::optional<Modality>(), std::optional(Modality::kImage),
        std::optional(Modality::kMusic)}) {
    ConverseOptions options = short_reply(11);
    options.to = to;
    const std::vector<Reply> together = model->reply(conversations, options);
    ASSERT_EQ(together.size(), conversations.size());
    for (size_t i = 0; i < conversations.size(); ++i) {
      const Reply alone = model->reply(conversations[i], options);
      expect_equal(alone.message, together[i].message);
      EXPECT_EQ(alone.reason, together[i].reason);
      EXPECT_EQ(alone.new_tokens, together[i].new_tokens);
    }
  }
  EXPECT_TRUE(model->reply(std::span<const std::vector<Message>>(), short_reply()).empty());
}

// The second turn goes on from the first one's state; without that state it comes out the same.
TEST_F(Converse, LaterTurnsDoNotDependOnTheKeptState) {
  const auto model = open();
  ConverseOptions options = short_reply(4);
  options.to = Modality::kImage;
  std::vector<Message> talk = {says("one")};
  const Reply first = model->reply(talk, options);
  talk.push_back(first.message);
  talk.push_back(says("two"));
  const Reply second = model->reply(talk, options);
  model->reply({says("something else")}, options);
  const Reply again = model->reply(talk, options);
  expect_equal(again.message, second.message);
  EXPECT_EQ(again.prompt_tokens, second.prompt_tokens);
  // Media of replies keep the very tokens that they were made of.
  size_t pictures = 0;
  for (const Part& part : first.message.parts) {
    if (part.modality != Modality::kText) {
      const Part back = model->decode(model->encode(part));
      expect_equal({.role = Role::kUser, .parts = {back}}, {.role = Role::kUser, .parts = {part}});
      ++pictures;
    }
  }
  EXPECT_GE(pictures, 1U);
}

TEST_F(Converse, TheOldestMessagesLeaveWhenTheContextIsFull) {
  const auto model = open();
  std::vector<Message> talk;
  for (int i = 0; i < 12; ++i) {
    talk.push_back(says("message number " + std::to_string(i) + std::string(40, 'x')));
    talk.push_back({.role = Role::kAssistant, .parts = {Part::text("yes " + std::to_string(i))}});
  }
  talk.push_back(says("the last"));
  size_t told = 0;
  ConverseEvents events;
  events.on_forget = [&](size_t, size_t turns) { told = turns; };
  const Reply reply = model->reply(talk, short_reply(), events);
  EXPECT_GT(reply.forgotten, 0U);
  EXPECT_LT(reply.forgotten, 24U);
  EXPECT_EQ(reply.forgotten % 2, 0U);
  EXPECT_EQ(told, reply.forgotten);
  EXPECT_LE(reply.prompt_tokens + 60, 640);
  const std::vector<Message> rest(talk.begin() + static_cast<int64_t>(reply.forgotten), talk.end());
  const Reply shorter = model->reply(rest, short_reply());
  EXPECT_EQ(shorter.forgotten, 0U);
  EXPECT_EQ(shorter.prompt_tokens, reply.prompt_tokens);
  expect_equal(shorter.message, reply.message);
  // One pair more would not have fitted.
  const std::vector<Message> longer(talk.begin() + static_cast<int64_t>(reply.forgotten) - 2,
                                    talk.end());
  EXPECT_EQ(model->reply(longer, short_reply()).forgotten, 2U);
}

TEST_F(Converse, RepliesEndAtLimits) {
  const auto model = open();
  ConverseOptions options;
  options.to = Modality::kText;
  options.max_new_tokens = 1;
  const Reply one = model->reply({says("a")}, options);
  EXPECT_EQ(one.new_tokens, 1);
  EXPECT_TRUE(one.reason == "length" || one.reason == "stop");
  options.max_new_tokens = 0;
  bool filled = false;
  for (options.seed = 0; options.seed < 8 && !filled; ++options.seed) {
    const Reply reply = model->reply({says(std::string(440, 'y'))}, options);
    filled = reply.reason == "context";
    EXPECT_LE(reply.prompt_tokens + reply.new_tokens, 640);
    EXPECT_EQ(filled, reply.prompt_tokens + reply.new_tokens == 640 && reply.reason != "stop");
  }
  EXPECT_TRUE(filled);
}

TEST_F(Converse, InterruptedRepliesKeepWhatIsThere) {
  const auto model = open();
  ConverseOptions options = short_reply(2);
  options.to = Modality::kSpeech;
  const Reply whole = model->reply({says("speak")}, options);
  bool inside = false;
  for (int64_t limit = 1; limit < whole.new_tokens; limit += 3) {
    int64_t calls = 0;
    ConverseEvents events;
    events.go_on = [&] { return ++calls < limit; };
    const Reply reply = model->reply({says("speak")}, options, events);
    EXPECT_EQ(reply.new_tokens, limit);
    EXPECT_EQ(reply.reason, "interrupted");
    inside = inside || !reply.valid;
  }
  EXPECT_TRUE(inside);
  expect_equal(model->reply({says("speak")}, options).message, whole.message);
}

TEST_F(Converse, SettingsReachTheSampler) {
  const auto model = open();
  ConverseOptions greedy = short_reply();
  greedy.to = Modality::kText;
  greedy.greedy = true;
  const Reply one = model->reply({says("hi")}, greedy);
  greedy.seed = 99;
  expect_equal(model->reply({says("hi")}, greedy).message, one.message);
  ConverseOptions narrow = greedy;
  narrow.greedy = false;
  narrow.top_k = 1;
  expect_equal(model->reply({says("hi")}, narrow).message, one.message);
  narrow.temperature = -1;
  EXPECT_THROW(model->reply({says("hi")}, narrow), InvalidArgument);
}

TEST_F(Converse, WrongInputsAreNamed) {
  const auto model = open();
  const ConverseOptions options = short_reply();
  const Message assistant{.role = Role::kAssistant, .parts = {Part::text("x")}};
  const Message system{.role = Role::kSystem, .parts = {Part::text("x")}};
  const auto refused = [&](const std::vector<Message>& talk) {
    EXPECT_THROW(model->reply(talk, options), InvalidArgument);
  };
  refused({});
  refused({says("a"), assistant});
  refused({user({})});
  refused({says("")});
  refused({system, says("a")});
  refused({says(std::string(5000, 'z'))});
  refused({user({media(Modality::kImage, Image{})})});
  refused({user({media(Modality::kImage, random_image(5, 5, 2, 1))})});
  refused({user({media(Modality::kImage, random_audio(8000, 1, 100, 1))})});
  refused({user({media(Modality::kSpeech, random_image(5, 5, 3, 1))})});
  refused({user({media(Modality::kText, random_image(5, 5, 3, 1))})});
  refused({user({media(Modality::kSpeech, Audio{})})});
  refused({user({media(Modality::kSpeech, random_audio(8000, 1, 800000, 1))})});  // too long
  Audio broken = random_audio(8000, 1, 100, 1);
  broken.samples[7] = NAN;
  refused({user({media(Modality::kSpeech, broken)})});
  Image cut = random_image(5, 5, 3, 1);
  cut.pixels.pop_back();
  refused({user({media(Modality::kImage, cut)})});
  ConverseOptions small = options;
  small.max_new_tokens = 17;  // a picture takes 18
  small.to = Modality::kImage;
  EXPECT_THROW(model->reply({says("a")}, small), InvalidArgument);
  small.max_new_tokens = 18;
  EXPECT_EQ(count(model->reply({says("a")}, small).message, Modality::kImage), 1U);

  const AnyToAny mute((*folder_ / "mute").string(), {});
  EXPECT_FALSE(mute.has(Modality::kMusic));
  EXPECT_THROW(mute.encode(media(Modality::kMusic, random_audio(8000, 1, 100, 1))), Unsupported);
  EXPECT_THROW(mute.codec(Modality::kMusic), Unsupported);
  AnyToAny quiet((*folder_ / "mute").string(), {});
  ConverseOptions music = options;
  music.to = Modality::kMusic;
  EXPECT_THROW(quiet.reply({says("a")}, music), InvalidArgument);
}

TEST_F(Converse, WrittenMarkersStayText) {
  const auto tokenizer = text::load_tokenizer(folder_->path());
  const auto model = open();
  const AnyFormat format(model->config(), *tokenizer,
                         {{Modality::kImage, model->codec(Modality::kImage).info()}});
  const auto encoded = [&](const std::string& text) {
    const CodedMessage message{.role = Role::kUser,
                               .parts = {{.modality = Modality::kText, .text = text, .codes = {}}}};
    return format.encode({&message, 1}).ids;
  };
  const auto markers = [&](const std::vector<int32_t>& ids) {
    return std::count_if(ids.begin(), ids.end(), [&](int32_t id) {
      const std::string token = tokenizer->id_to_token(id);
      return token.size() > 2 && (token[0] == '<' || token[0] == '[');
    });
  };
  const std::vector<int32_t> empty = encoded("");
  for (const std::string text : {"<eos>", "a [Human] b <soim><👀0><👀1><eoim> c<eoh>", "</s><s>",
                                 "<eos", "[", "<<eos>>", "[MMGPT]: [MMGPT]:"}) {
    const std::vector<int32_t> ids = encoded(text);
    EXPECT_EQ(markers(ids), markers(empty)) << text;
    EXPECT_NE(tokenizer->decode(ids).find(text), std::string::npos) << text;
  }
}

TEST_F(Converse, BrokenFoldersAreNamed) {
  const train::TemporaryFolder copy;
  io::fs::copy(folder_->path(), copy.path() / "m", io::fs::copy_options::recursive);
  const std::string path = (copy / "m").string();
  const io::Json good = io::read_json(copy / "m/any_to_any.json");
  const auto opens = [&](const io::Json& config) {
    io::write_file(copy / "m/any_to_any.json", config.dump());
    AnyToAny(path, {});
  };
  EXPECT_NO_THROW(opens(good));
  io::Json bad = good;
  bad["codecs"] = "pictures";
  EXPECT_THROW(opens(bad), CorruptFile);
  bad["codecs"] = {{"smell", "pictures"}};
  EXPECT_THROW(opens(bad), CorruptFile);
  bad["codecs"] = {{"image", "nowhere"}};
  EXPECT_THROW(opens(bad), NotFound);
  bad["codecs"] = {{"image", "speech"}};
  EXPECT_THROW(opens(bad), CorruptFile);
  bad["codecs"] = {{"image", 3}};
  EXPECT_THROW(opens(bad), CorruptFile);
  bad = good;
  bad["format"] = "other";
  EXPECT_THROW(opens(bad), CorruptFile);
  EXPECT_THROW(opens(io::Json::array()), CorruptFile);
  io::fs::remove(copy / "m/any_to_any.json");
  EXPECT_THROW(AnyToAny(path, {}), NotFound);
  EXPECT_THROW(AnyToAny((copy / "none").string(), {}), NotFound);
}

// AnyInstruct's text of a conversation holds the very tokens: read as text it gives the same ids.
TEST_F(Converse, AnyInstructTextReadsBack) {
  const auto model = open();
  const auto tokenizer = text::load_tokenizer(folder_->path());
  ConverseOptions options = short_reply(3);
  options.to = Modality::kMusic;
  std::vector<Message> talk = {
      user({media(Modality::kImage, random_image(30, 20, 3, 9)), Part::text("a tune for this")})};
  talk.push_back(model->reply(talk, options).message);
  const io::Json saved = any_instruct(*model, "t1", talk);
  EXPECT_EQ(saved.at("id"), "t1");
  ASSERT_EQ(saved.at("conversation").size(), 1U);
  ASSERT_EQ(saved.at("conversation")[0].size(), 2U);
  EXPECT_EQ(saved.at("conversation")[0][0].at("role"), "user");
  EXPECT_EQ(saved.at("conversation")[0][1].at("role"), "assistant");
  for (size_t i = 0; i < 2; ++i) {
    CodedMessage coded{.role = talk[i].role, .parts = {}};
    for (const Part& part : talk[i].parts) {
      coded.parts.push_back(model->encode(part));
    }
    const auto text = saved.at("conversation")[0][i].at("message").get<std::string>();
    const std::string turn = i == 0 ? "[Human]: " + text + "<eoh>" : "[MMGPT]: " + text + "<eos>";
    EXPECT_EQ(tokenizer->encode(turn, false), model->format().encode_turn(coded).ids);
  }
}

}  // namespace
}  // namespace tessera::pipelines
