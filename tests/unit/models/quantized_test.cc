// Quantised folders as they are found: the goldens' files with one thing wrong or written
// otherwise.
#include "core/error.h"
#include "io/file.h"
#include "models/registry.h"
#include "nn/tensor_file.h"
#include "unit/train/helpers.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

namespace tessera::models {
namespace {

using at::Tensor;
using train::TemporaryFolder;

const std::string kLayer = "model.layers.0.mlp.down_proj.";

struct Stored {
  io::Json config;
  nn::NamedTensors tensors;
};

Stored golden(const std::string& name) {
  const io::fs::path folder = io::fs::path(TESSERA_GOLDENS) / "quantized" / name;
  return {io::read_json(folder / "config.json"), nn::read_tensors(folder / "model.safetensors")};
}

std::shared_ptr<nn::Model> load(const Stored& stored, const TemporaryFolder& folder) {
  nn::write_tensors(folder / "model.safetensors", stored.tensors);
  io::write_file(folder / "config.json", stored.config.dump());
  return load_model(open_folder(folder.path().string()), {});
}

Tensor logits(const Stored& stored) {
  const TemporaryFolder folder;
  const auto model = load(stored, folder);
  const c10::InferenceMode inference;
  return model->run("forward", {{"input_ids", at::arange(3, 40).unsqueeze(0)}}).at("logits");
}

void expect_named(const Stored& stored, const std::string& name) {
  const TemporaryFolder folder;
  try {
    load(stored, folder);
    FAIL() << "no error for " << name;
  } catch (const CorruptFile& error) {
    EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
  }
}

TEST(Quantized, MissingMisshapenAndMistypedTensorsAreNamed) {
  const std::pair<const char*, std::vector<std::string>> formats[] = {
      {"ct_w4_asym_channel",
       {"weight_packed", "weight_scale", "weight_zero_point", "weight_shape"}},
      {"ct_int8_channel", {"weight_scale"}},
      {"ct_int8_asym_group", {"weight_scale", "weight_zero_point"}},
      {"gptq4_v1", {"qweight", "qzeros", "scales"}},
      {"awq_gemm", {"qweight", "qzeros", "scales"}},
      {"awq_gemv", {"qweight", "qzeros", "scales"}},
      {"bnb_nf4_double",
       {"weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map",
        "weight.quant_state.bitsandbytes__nf4"}},
      {"bnb_int8", {"SCB"}}};
  for (const auto& [format, names] : formats) {
    for (const std::string& name : names) {
      Stored stored = golden(format);
      const Tensor good = stored.tensors.at(kLayer + name);
      stored.tensors.erase(kLayer + name);
      expect_named(stored, kLayer + name);
      stored.tensors[kLayer + name] = at::cat({good, good});
      expect_named(stored, kLayer + name);
      stored.tensors[kLayer + name] = good.to(at::kDouble);
      expect_named(stored, kLayer + name);
    }
  }
}

TEST(Quantized, ValuesThatCannotBe) {
  for (const auto& [format, name] :
       {std::pair{"gptq4_v2_order", "g_idx"}, {"ct_w3_asym_order", "weight_g_idx"}}) {
    for (const int value : {-1, 1000}) {
      Stored stored = golden(format);
      stored.tensors.at(kLayer + name)[7] = value;
      expect_named(stored, kLayer + name);
    }
  }
  Stored shape = golden("ct_w4_group");
  shape.tensors.at(kLayer + "weight_shape")[1] = 97;
  expect_named(shape, kLayer + "weight_shape");
  Stored bits = golden("gptq4_v1");
  bits.config["quantization_config"]["bits"] = 8;
  expect_named(bits, "qweight");
  Stored packed = golden("bnb_fp4");
  packed.tensors[kLayer + "weight"] = at::zeros({5, 1}, at::kByte);
  expect_named(packed, kLayer + "weight");
  for (const char* text :
       {"{", "[]", R"({"shape": [64, 96]})", R"({"shape": [1, 96], "blocksize": 64})",
        R"({"shape": [64, 96], "blocksize": -64})"}) {
    Stored state = golden("bnb_fp4");
    const std::string name = kLayer + "weight.quant_state.bitsandbytes__fp4";
    const std::string_view view(text);
    state.tensors[name] = at::tensor(std::vector<uint8_t>(view.begin(), view.end()), at::kByte);
    expect_named(state, name);
  }
  Stored format = golden("bnb_int8");
  format.tensors[kLayer + "weight_format"] = at::ones({}, at::kByte);
  const TemporaryFolder folder;
  EXPECT_THROW(load(format, folder), Unsupported);
}

// Integers without a word on what they stand for.
TEST(Quantized, IntegersOfAPlainLayerAreRefused) {
  Stored stored = golden("ct_int8_channel");
  stored.config["quantization_config"]["ignore"] = {"lm_head", "re:.*down_proj"};
  expect_named(stored, kLayer + "weight");
}

TEST(Quantized, LabelsOfGptqVersionsAreNotTrusted) {
  Stored stored = golden("gptq4_v1");
  const Tensor expected = logits(stored);
  stored.config["quantization_config"]["checkpoint_format"] = "gptq_v2";
  EXPECT_TRUE(logits(stored).equal(expected));
}

TEST(Quantized, OldFilesNameTheirMethodBesideConfigJson) {
  Stored stored = golden("awq_gemm");
  const Tensor expected = logits(stored);
  const TemporaryFolder folder;
  io::Json own = {{"w_bit", 4}, {"q_group_size", 32}, {"zero_point", true}, {"version", "GEMM"}};
  io::write_file(folder / "quant_config.json", own.dump());
  stored.config.erase("quantization_config");
  const auto model = load(stored, folder);
  const c10::InferenceMode inference;
  const Tensor actual =
      model->run("forward", {{"input_ids", at::arange(3, 40).unsqueeze(0)}}).at("logits");
  EXPECT_TRUE(actual.equal(expected));
}

// Weights that stay packed are no parameters: nothing of their size is held beside the file's map.
TEST(Quantized, PackedWeightsAreNotCopied) {
  for (const char* name : {"ct_w4_group", "gptq4_v1", "awq_gemv", "bnb_nf4_double"}) {
    const TemporaryFolder folder;
    const auto model = load(golden(name), folder);
    for (const auto& parameter : model->named_parameters()) {
      EXPECT_EQ(parameter.key().find("mlp.down_proj.weight"), std::string::npos) << name;
    }
  }
}

// Few rows: the kernels that read packed bytes, where a layout has one.
TEST(Quantized, LogitsOfAFewTokensAreThoseOfTheDequantisedModel) {
  const c10::InferenceMode inference;
  const Tensor ids = at::arange(3, 12).unsqueeze(0);
  for (const auto& folder :
       io::fs::directory_iterator(io::fs::path(TESSERA_GOLDENS) / "quantized")) {
    const ModelFolder found = open_folder(folder.path().string());
    const Tensor stored = load_model(found, {})->run("forward", {{"input_ids", ids}}).at("logits");
    const Tensor plain =
        load_model(found, {.dtype = at::kFloat})->run("forward", {{"input_ids", ids}}).at("logits");
    const double largest = plain.abs().max().item<double>();
    EXPECT_LT((stored - plain).abs().max().item<double>() / largest, 2e-6) << folder.path();
  }
}

}  // namespace
}  // namespace tessera::models
