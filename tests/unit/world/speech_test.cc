#include "train/world/speech.h"

#include "core/error.h"
#include "io/json.h"
#include "train/world/assets.h"
#include "train/world/g722.h"
#include "train/world/pack.h"
#include "train/world/process.h"
#include "train/world/recordings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <numbers>

namespace tessera::world {

class Folder {
 public:
  Folder() : path_(io::fs::temp_directory_path() / fmt::format("tessera-world-{}", getpid())) {
    io::fs::create_directories(path_);
  }
  ~Folder() { io::fs::remove_all(path_); }
  const io::fs::path& path() const { return path_; }

 private:
  io::fs::path path_;
};

// Oracle: FFmpeg's decoder; tests/parity/g722.py.
TEST(G722, EqualsFfmpegBitForBit) {
  const io::Json golden = io::read_json(std::string(TESSERA_GOLDENS) + "/world/g722.json");
  const auto hex = golden.at("code").get<std::string>();
  std::string code;
  for (size_t i = 0; i < hex.size(); i += 2) {
    code += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  const std::vector<float> samples = decode_g722(code);
  const auto expected = golden.at("samples").get<std::vector<int>>();
  ASSERT_EQ(samples.size(), expected.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ(std::lround(samples[i] * 32768), expected[i]) << i;
  }
  EXPECT_TRUE(decode_g722("").empty());
  Rng rng(1);
  std::string noise(4000, '\0');
  for (char& c : noise) {
    c = static_cast<char>(rng.next());
  }
  EXPECT_EQ(decode_g722(noise).size(), 8000U);
}

TEST(Resample, KeepsASineAndRemovesWhatCannotBeKept) {
  for (const double hz : {440.0, 3000.0, 9500.0}) {
    std::vector<float> in(22050);
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] =
          static_cast<float>(std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / 22050));
    }
    const std::vector<float> out = resample(in, 22050, 16000);
    ASSERT_EQ(out.size(), 16000U);
    double worst = 0;
    for (size_t i = 200; i < 15800; ++i) {
      const double ideal =
          hz < 8000 ? std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / 16000) : 0;
      worst = std::max(worst, std::abs(ideal - out[i]));
    }
    EXPECT_LT(worst, 0.01) << hz;
  }
  EXPECT_TRUE(resample({}, 22050, 16000).empty());
  EXPECT_THROW(resample({}, 0, 16000), InvalidArgument);
}

TEST(Tidy, CutsSilenceAndSetsThePeak) {
  Audio audio{.sample_rate = 16000, .channels = 1, .samples = std::vector<float>(16000)};
  audio.samples[8000] = 1.2F;
  audio.samples[9000] = -0.3F;
  tidy_speech(audio);
  ASSERT_EQ(audio.samples.size(), 800U + 1001U + 800U);
  EXPECT_FLOAT_EQ(audio.samples[800], 0.7F);
  EXPECT_FLOAT_EQ(audio.samples[1800], -0.175F);
  Audio silence{.sample_rate = 16000, .channels = 1, .samples = std::vector<float>(100)};
  tidy_speech(silence);
  EXPECT_TRUE(silence.samples.empty());
}

TEST(Pack, FilesComeBackAndBrokenPacksAreErrors) {
  const Folder folder;
  const io::fs::path path = folder.path() / "a.pack";
  write_pack(path, {{"x/y.txt", {std::string(10000, 'a'), false}},
                    {"run", {"#!/bin/sh\n", true}},
                    {"empty", {"", false}}});
  const Pack pack(path);
  EXPECT_EQ(pack.read("x/y.txt"), std::string(10000, 'a'));
  EXPECT_EQ(pack.read("empty"), "");
  EXPECT_THROW(pack.read("none"), NotFound);
  pack.unpack(folder.path() / "out");
  EXPECT_EQ(access((folder.path() / "out/run").c_str(), X_OK), 0);
  EXPECT_THROW(write_pack(path, {{"../evil", {"", false}}}), InvalidArgument);
  EXPECT_THROW(Pack("/nonexistent.pack"), NotFound);
  const std::string whole = io::read_file(path);
  Rng rng(2);
  for (size_t i = 0; i < 80; ++i) {
    std::string bytes = whole;
    if (i < 40) {
      bytes.resize(i * whole.size() / 40);
    } else {
      bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    }
    io::write_file(folder.path() / "b.pack", bytes);
    try {
      const Pack broken(folder.path() / "b.pack");
      broken.read("x/y.txt");
    } catch (const Error&) {
      continue;
    }
  }
}

TEST(Process, ErrorsOfChildren) {
  EXPECT_THROW(Child({"/nonexistent/program"}, {}), NotFound);
  Child gone({"/bin/true"}, {});
  EXPECT_EQ(gone.read_all(100), "");
  EXPECT_THROW(
      {
        for (int i = 0; i < 100; ++i) {
          gone.write(std::string(100000, 'x'));
        }
      },
      Io);
  Child echo({"/bin/cat"}, {});
  echo.write("hello");
  echo.close_input();
  EXPECT_EQ(echo.read_all(100), "hello");
  EXPECT_EQ(echo.wait(), 0);
  Child long_output({"/bin/cat", "/dev/zero"}, {});
  EXPECT_THROW(long_output.read_all(1000), CorruptFile);
}

TEST(Voices, NamesAndSplits) {
  int left_out = 0;
  for (const Voice& voice : voices()) {
    EXPECT_EQ(voices()[static_cast<size_t>(voice_of(voice.name))].name, voice.name);
    left_out += voice.left_out ? 1 : 0;
  }
  EXPECT_EQ(left_out, 1);
  EXPECT_THROW(voice_of("Nobody"), InvalidArgument);
  int test = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = fmt::format("sentence {}", i);
    if (split_of_sentence(text) == Split::kTest) {
      ++test;
      for (const Voice& voice : voices()) {
        EXPECT_EQ(split_of(voice, text), Split::kTest);
      }
    }
  }
  EXPECT_NEAR(test / 20000.0, 0.04, 0.01);
}

class Speech : public testing::Test {
 protected:
  void SetUp() override {
    const std::vector<std::string> missing = tools_.missing();
    ASSERT_TRUE(missing.empty()) << missing.front();
  }
  SpeechTools tools_ = SpeechTools::installed();
};

TEST_F(Speech, EveryVoiceSpeaksTheSameWhateverCameBefore) {
  const Speaker speaker(tools_);
  std::vector<Utterance> utterances;
  for (int voice = 0; voice < static_cast<int>(voices().size()); ++voice) {
    utterances.push_back({voice, "a red star"});
    utterances.push_back({voice, "a cat"});
  }
  const std::vector<Audio> spoken = speaker.speak_all(utterances, 2);
  for (size_t i = 0; i < spoken.size(); ++i) {
    EXPECT_EQ(spoken[i].sample_rate, kSpeechRate);
    EXPECT_GT(spoken[i].seconds(), 0.3);
    EXPECT_LT(spoken[i].seconds(), 3.0);
    if (i % 2 == 1) {
      const Voice& voice = voices()[static_cast<size_t>(utterances[i].voice)];
      EXPECT_EQ(speaker.speak(voice, utterances[i].text).samples, spoken[i].samples) << voice.name;
      EXPECT_LT(spoken[i].seconds(), spoken[i - 1].seconds());
    }
  }
}

TEST_F(Speech, OddTexts) {
  const Speaker speaker(tools_);
  for (const std::string_view name : {"Sally", "Max"}) {
    const Voice& voice = voices()[static_cast<size_t>(voice_of(name))];
    EXPECT_THROW(speaker.speak(voice, ""), InvalidArgument);
    EXPECT_THROW(speaker.speak(voice, "?!"), InvalidArgument);
    EXPECT_THROW(speaker.speak(voice, std::string(3000, 'a')), InvalidArgument);
    EXPECT_GT(speaker.speak(voice, "--help\t-v\n one").seconds(), 0.2);
    EXPECT_GT(speaker.speak(voice, "caf\xC3\xA9 \xFF two").seconds(), 0.2);
  }
}

TEST_F(Speech, WhatIsMissingIsSaid) {
  SpeechTools tools = tools_;
  tools.espeak = "/nonexistent/espeak-ng";
  tools.libraries = "/nonexistent";
  const std::vector<std::string> missing = tools.missing();
  ASSERT_EQ(missing.size(), 2U);
  EXPECT_NE(missing[0].find("Debian: espeak-ng"), std::string::npos);
  EXPECT_NE(missing[1].find("Debian: libflite1"), std::string::npos);
  EXPECT_THROW(Speaker(tools).speak(voices()[static_cast<size_t>(voice_of("Max"))], "one"),
               NotFound);
}

TEST_F(Speech, AssetsAreSmallAndSpeak) {
  AssetSources sources = AssetSources::debian();
  ASSERT_TRUE(io::fs::exists(sources.emoji_font)) << "fonts-noto-color-emoji is not installed";
  const Folder folder;
  const AssetReport report = build_assets(sources, folder.path() / "assets");
  EXPECT_LT(report.total(), 11'000'000U);  // with the recordings, 1 MB more: under 12 MB
  const Assets assets(folder.path() / "assets", folder.path() / "scratch");
  EXPECT_TRUE(assets.speech_tools().missing().empty());
  EXPECT_TRUE(assets.clips().empty());
  const SceneRenderer renderer(assets.sprites());
  for (const std::string_view name : {"Angus", "Nora"}) {
    const Voice& voice = voices()[static_cast<size_t>(voice_of(name))];
    EXPECT_EQ(Speaker(assets.speech_tools()).speak(voice, "one two").samples,
              Speaker(tools_).speak(voice, "one two").samples);
  }
  sources.emoji_font = "/nonexistent.ttf";
  EXPECT_THROW(build_assets(sources, folder.path() / "more"), NotFound);
}

TEST(Digits, NamesAreReadAndOtherFilesPassedOver) {
  const Folder folder;
  for (const char* name :
       {"7_ann_0.wav", "0_bob_12.flac", "3_ann_6.wav", "x_ann_0.wav", "7_ann.wav", "7_ann_1.txt",
        "7_ann_1x.wav", "11_ann_0.wav", "7_ann_99999999999.wav"}) {
    io::write_file(folder.path() / name, "");
  }
  const std::vector<DigitRecording> digits = list_digits(folder.path());
  ASSERT_EQ(digits.size(), 3U);
  EXPECT_EQ(digits[0].digit, 0);
  EXPECT_EQ(digits[0].speaker, "bob");
  EXPECT_EQ(digits[0].split(), Split::kTrain);
  EXPECT_EQ(digits[1].split(), Split::kValidation);
  EXPECT_EQ(digits[2].split(), Split::kTest);
  EXPECT_THROW(list_digits(folder.path() / "none"), NotFound);
}

TEST(Prompts, TheCommittedListIsReadable) {
  const Folder folder;
  const io::fs::path path = folder.path() / "prompts.tsv";
  io::write_file(path, "# words\n\ndigits/7\tseven\tunknown\nx\ty\tno\n");
  const std::vector<Clip> clips = read_prompts(path);
  ASSERT_EQ(clips.size(), 1U);
  EXPECT_EQ(clips[0].text, "seven");
  io::write_file(path, "digits/7 seven\n");
  EXPECT_THROW(read_prompts(path), CorruptFile);
  EXPECT_LE(read_prompts(std::string(TESSERA_GOLDENS) + "/../../recipes/world/asterisk_prompts.tsv")
                .size(),
            150U);
}

}  // namespace tessera::world
