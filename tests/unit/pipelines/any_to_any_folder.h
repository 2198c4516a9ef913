// A tiny random any-to-any model on disk: byte-level tokenizer with AnyGPT's added tokens, a small
// Llama, a picture codec and an audio codec.
#pragma once

#include "core/strings.h"
#include "nn/tensor_file.h"
#include "pipelines/any_format.h"
#include "unit/models/bundled.h"

#include <string>
#include <vector>

namespace tessera {

/// GPT-2's characters for bytes: printable ones stand for themselves, the others follow from 256.
inline std::vector<std::string> byte_characters() {
  std::vector<std::string> characters(256);
  char32_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                           (byte >= 0xAE && byte <= 0xFF);
    utf8_append(characters[static_cast<size_t>(byte)],
                printable ? static_cast<char32_t>(byte) : next++);
  }
  return characters;
}

/// tokenizer.json with one token a byte and `added` after them.
inline io::Json byte_tokenizer(const std::vector<std::string>& added) {
  io::Json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  io::Json extra = io::Json::array();
  int id = 0;
  const auto add = [&](const std::string& token, bool special) {
    extra.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", special}});
  };
  for (const char* token : {"<unk>", "<s>", "</s>"}) {
    add(token, true);
  }
  for (const std::string& character : byte_characters()) {
    vocabulary[character] = id++;
  }
  for (const std::string& token : added) {
    add(token, false);
  }
  const io::Json bytes = {{"type", "ByteLevel"},
                          {"add_prefix_space", false},
                          {"trim_offsets", true},
                          {"use_regex", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", extra},
          {"normalizer", nullptr},
          {"pre_tokenizer", bytes},
          {"post_processor", nullptr},
          {"decoder", bytes},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", io::Json::array()}}}};
}

inline void write_bundled(const io::fs::path& folder,
                          const std::string& architecture,
                          io::Json config,
                          uint64_t seed) {
  io::fs::create_directories(folder);
  const auto model = bundled_model(architecture, config, seed);
  nn::NamedTensors tensors;
  for (const auto& item : model->named_parameters()) {
    tensors[item.key()] = item.value().detach();
  }
  for (const auto& item : model->named_buffers()) {
    tensors[item.key()] = item.value();
  }
  nn::write_tensors(folder / "model.safetensors", tensors);
  config["architectures"] = {architecture};
  io::write_file(folder / "config.json", config.dump());
}

/// 24×24 pictures of 16 codes out of 64; sound at 8 kHz, 64 samples a frame of 2 levels of 32
/// codes. The model has a few ids more than its tokenizer.
inline void write_any_to_any(const io::fs::path& folder, bool music = true, int64_t context = 640) {
  std::map<Modality, int64_t> codes = {{Modality::kImage, 64}, {Modality::kSpeech, 64}};
  io::Json codecs = {{"image", "pictures"}, {"speech", "speech"}};
  if (music) {
    codes[Modality::kMusic] = 64;
    codecs["music"] = "speech";
  }
  const std::vector<std::string> added = pipelines::AnyFormat::added_tokens(codes);
  write_bundled(folder, "LlamaForCausalLM",
                {{"vocab_size", 3 + 256 + static_cast<int64_t>(added.size()) + 5},
                 {"hidden_size", 32},
                 {"intermediate_size", 48},
                 {"num_hidden_layers", 2},
                 {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},
                 {"max_position_embeddings", context},
                 {"initializer_range", 0.3}},
                3);
  write_bundled(folder / "pictures", "TesseraPictureCodec", tiny_picture_config(), 4);
  write_bundled(folder / "speech", "TesseraAudioCodec", tiny_audio_config(), 5);
  io::write_file(folder / "tokenizer.json", byte_tokenizer(added).dump());
  const io::Json config = {
      {"format", "anygpt-chat"},
      {"system", "Tiny."},
      {"codecs", codecs},
      {"sampling",
       {{"text", {{"temperature", 1}, {"top_k", 50}}},
        {"image", {{"temperature", 1}, {"top_p", 0.95}, {"guidance", 2}}},
        {"speech", {{"temperature", 0.8}, {"top_k", 20}, {"repetition_penalty", 1.1}}}}},
      {"max_frames", {{"speech", 24}, {"music", 12}}},
      {"help", {"Say anything."}}};
  io::write_file(folder / "any_to_any.json", config.dump());
}

}  // namespace tessera
