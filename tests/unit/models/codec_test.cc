#include "bundled.h"
#include "core/error.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using at::Tensor;

TEST(PictureCodec, SizesOfTheBundledModel) {
  const auto codec = bundled_codec("TesseraPictureCodec");
  EXPECT_LE(parameter_count(*codec), 2'500'000);
  const nn::CodecInfo info = codec->info();
  EXPECT_EQ(info.image_size, 96);
  EXPECT_EQ(info.frames, 64);
  EXPECT_EQ(info.codebook_size, 1024);
  const c10::InferenceMode inference;
  const Tensor codes = codec->encode(at::rand({2, 3, 96, 96}));
  EXPECT_EQ(codes.sizes(), (std::vector<int64_t>{2, 1, 64}));
  const Tensor picture = codec->decode(codes);
  EXPECT_EQ(picture.sizes(), (std::vector<int64_t>{2, 3, 96, 96}));
  EXPECT_GE(picture.min().item<float>(), 0.0F);
  EXPECT_LE(picture.max().item<float>(), 1.0F);
}

TEST(PictureCodec, SmallWorldGivesTheSameGrid) {
  const auto codec = bundled_codec("TesseraPictureCodec",
                                   {{"image_size", 48},
                                    {"patch_size", 2},
                                    {"widths", {32, 64}},
                                    {"strides", {3}},
                                    {"encoder_blocks", {1, 1}},
                                    {"decoder_blocks", {1, 1}},
                                    {"quantizer", {{"kind", "fsq"}, {"steps", {8, 5, 5, 5}}}}});
  EXPECT_EQ(codec->info().codebook_size, 1000);
  const c10::InferenceMode inference;
  const Tensor codes = codec->encode(at::rand({1, 3, 48, 48}));
  EXPECT_EQ(codes.sizes(), (std::vector<int64_t>{1, 1, 64}));
  EXPECT_EQ(codec->decode(codes).size(3), 48);
}

TEST(PictureCodec, ItemsOfABatchAreApart) {
  const auto codec = bundled_codec("TesseraPictureCodec", tiny_picture_config());
  const c10::InferenceMode inference;
  const Tensor codes = at::randint(64, {3, 1, 16}, at::kLong);
  const Tensor all = codec->decode(codes);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(
        at::allclose(all.narrow(0, i, 1), codec->decode(codes.narrow(0, i, 1)), 1e-5, 1e-5));
  }
}

TEST(PictureCodec, RefusesOtherShapes) {
  const auto codec = bundled_codec("TesseraPictureCodec", tiny_picture_config());
  EXPECT_THROW(codec->encode(at::rand({1, 3, 24, 25})), InvalidArgument);
  EXPECT_THROW(codec->encode(at::rand({1, 1, 24, 24})), InvalidArgument);
  EXPECT_THROW(codec->decode(at::zeros({1, 1, 15}, at::kLong)), InvalidArgument);
  EXPECT_THROW(codec->decode(at::full({1, 1, 16}, 64, at::kLong)), InvalidArgument);
  EXPECT_THROW(codec->stream(), Unsupported);
  io::Json bad = tiny_picture_config();
  bad["image_size"] = 25;
  EXPECT_THROW(bundled_codec("TesseraPictureCodec", bad), CorruptFile);
  bad = tiny_picture_config();
  bad["widths"] = {16};
  EXPECT_THROW(bundled_codec("TesseraPictureCodec", bad), CorruptFile);
  bad["widths"] = "wide";
  EXPECT_THROW(bundled_codec("TesseraPictureCodec", bad), CorruptFile);
}

TEST(AudioCodec, SizesOfSpeechAndMusic) {
  const auto speech =
      bundled_codec("TesseraAudioCodec", {{"quantizer", {{"levels", 2}, {"codebook_size", 512}}}});
  EXPECT_LE(parameter_count(*speech), 2'500'000);
  EXPECT_LE(speech->info().frames_per_second * static_cast<double>(speech->info().levels), 50.0);
  EXPECT_LE(speech->info().look_ahead, 160);
  const auto music =
      bundled_codec("TesseraAudioCodec", {{"hop_length", 320},
                                          {"n_fft", 1280},
                                          {"n_mels", 128},
                                          {"quantizer", {{"levels", 4}, {"codebook_size", 512}}}});
  EXPECT_LE(parameter_count(*music), 2'500'000);
  EXPECT_LE(music->info().frames_per_second * static_cast<double>(music->info().levels), 50.0);
}

TEST(AudioCodec, LengthsAreWholeFrames) {
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const c10::InferenceMode inference;
  const int64_t frame = codec->info().frame_samples;
  EXPECT_EQ(frame, 64);
  for (const int64_t samples : {int64_t{1}, frame - 1, frame, frame + 1, 10 * frame + 7}) {
    const Tensor codes = codec->encode(at::randn({2, 1, samples}) * 0.1);
    EXPECT_EQ(codes.sizes(), (std::vector<int64_t>{2, 2, (samples + frame - 1) / frame}));
    EXPECT_EQ(codec->decode(codes).size(2), codes.size(2) * frame);
    EXPECT_EQ(codec->reconstruct(at::randn({2, 1, samples})).media.size(2), samples);
  }
  EXPECT_EQ(codec->decode(at::zeros({1, 2, 0}, at::kLong)).size(2), 0);
  EXPECT_THROW(codec->encode(at::zeros({1, 1, 0})), InvalidArgument);
  EXPECT_THROW(codec->encode(at::zeros({1, 2, 99})), InvalidArgument);
}

// An encoder that looks ahead gives a sound the codes that it gets alone, whatever silence follows.
TEST(AudioCodec, PaddingOfABatchChangesNoCodes) {
  for (const bool causal : {true, false}) {
    io::Json config = tiny_audio_config();
    config["causal_encoder"] = causal;
    const auto codec = bundled_codec("TesseraAudioCodec", config);
    const c10::InferenceMode inference;
    at::manual_seed(4);
    for (const int64_t samples : {int64_t{1}, int64_t{63}, int64_t{640}, int64_t{1000}}) {
      const Tensor sound = at::randn({1, 1, samples}) * 0.3;
      const Tensor alone = codec->encode(sound);
      for (const int64_t more : {1, 64, 5000}) {
        const Tensor codes = codec->encode(at::constant_pad_nd(sound, {0, more}));
        EXPECT_TRUE(at::equal(codes.narrow(2, 0, alone.size(2)), alone))
            << "causal " << causal << ", " << samples << " + " << more << " samples";
      }
    }
  }
}

// Any cutting of the codes into chunks gives the samples of the whole.
TEST(AudioCodec, StreamEqualsDecode) {
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const c10::InferenceMode inference;
  at::manual_seed(2);
  for (const std::vector<int64_t>& chunks : {std::vector<int64_t>{1},
                                             {2},
                                             {1, 1, 1, 1, 1, 1, 1},
                                             {3, 0, 5, 1},
                                             {20, 1, 2},
                                             {0, 1, 30}}) {
    int64_t total = 0;
    for (const int64_t chunk : chunks) {
      total += chunk;
    }
    const Tensor codes = at::randint(32, {2, 2, total}, at::kLong);
    const Tensor whole = codec->decode(codes);
    const auto stream = codec->stream();
    std::vector<Tensor> parts;
    int64_t done = 0;
    for (const int64_t chunk : chunks) {
      parts.push_back(stream->push(codes.narrow(2, done, chunk)));
      done += chunk;
    }
    parts.push_back(stream->finish());
    const Tensor joined = at::cat(parts, 2);
    ASSERT_EQ(joined.sizes(), whole.sizes());
    EXPECT_LT((joined - whole).abs().max().item<double>(), 1e-5) << chunks.size() << " chunks";
    EXPECT_THROW(stream->push(codes.narrow(2, 0, 1)), InvalidArgument);
  }
}

TEST(AudioCodec, StreamIsOneHopBehind) {
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const c10::InferenceMode inference;
  const auto stream = codec->stream();
  const nn::CodecInfo info = codec->info();
  const Tensor codes = at::zeros({1, 2, 3}, at::kLong);
  EXPECT_EQ(stream->push(codes).size(2), 3 * info.frame_samples - info.look_ahead);
  EXPECT_EQ(stream->push(codes).size(2), 3 * info.frame_samples);
  EXPECT_EQ(stream->finish().size(2), info.look_ahead);
}

// What is decoded does not change when later codes do (but for the look-ahead).
TEST(AudioCodec, DecoderIsCausal) {
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const c10::InferenceMode inference;
  const Tensor codes = at::randint(32, {1, 2, 12}, at::kLong);
  Tensor other = codes.clone();
  other.narrow(2, 8, 4).copy_(at::randint(32, {1, 2, 4}, at::kLong));
  const int64_t same = 8 * codec->info().frame_samples - codec->info().look_ahead;
  const Tensor difference = (codec->decode(codes) - codec->decode(other)).abs();
  EXPECT_EQ(difference.narrow(2, 0, same).max().item<float>(), 0.0F);
  EXPECT_GT(difference.narrow(2, same, 200).max().item<float>(), 0.0F);
}

TEST(AudioCodec, EntriesRunThroughTheRegistry) {
  const auto codec = bundled_codec("TesseraAudioCodec", tiny_audio_config());
  const models::ModelInfo& info =
      models::find_model(bundled_folder("TesseraAudioCodec", tiny_audio_config()));
  const c10::InferenceMode inference;
  const auto encoded = models::run_entry(*codec, info, "encode", {{"wav", at::randn({1, 1, 300})}});
  const auto decoded = models::run_entry(*codec, info, "decode", encoded);
  EXPECT_EQ(decoded.at("wav").sizes(), (std::vector<int64_t>{1, 1, 320}));
  EXPECT_THROW(models::run_entry(*codec, info, "decode", {{"codes", at::randn({1, 2, 3})}}),
               InvalidArgument);
}

}  // namespace
}  // namespace tessera
