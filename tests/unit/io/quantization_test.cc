#include "io/quantization.h"

#include "core/error.h"

#include <gtest/gtest.h>

namespace tessera::io {
namespace {

Quantization read(const char* text) {
  return Quantization::from_config({{"quantization_config", parse_json(text, "test")}});
}

TEST(Quantization, PlainWithoutAConfig) {
  EXPECT_EQ(Quantization::from_config(Json::object()).method(), QuantizationMethod::kNone);
  EXPECT_EQ(Quantization::from_config({{"quantization_config", nullptr}}).description(), "");
}

TEST(Quantization, CompressedTensorsTargetsAndIgnores) {
  const Quantization q = read(R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
    "ignore": ["lm_head", "re:.*gate$"], "config_groups": {
      "a": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": true,
            "strategy": "group", "group_size": 128}},
      "b": {"targets": ["re:.*down_proj"], "format": "int-quantized",
            "weights": {"num_bits": 8, "symmetric": true, "strategy": "channel"}}}})");
  EXPECT_EQ(q.layer("model.layers.0.self_attn.q_proj").bits, 4);
  EXPECT_EQ(q.layer("model.layers.0.self_attn.q_proj").group_size, 128);
  EXPECT_TRUE(q.layer("model.layers.0.mlp.down_proj").is_int8_channel());
  EXPECT_EQ(q.layer("lm_head").method, QuantizationMethod::kNone);
  EXPECT_EQ(q.layer("model.lm_head").method, QuantizationMethod::kCompressedTensors);
  EXPECT_EQ(q.layer("model.layers.0.mlp.gate").method, QuantizationMethod::kNone);
  EXPECT_NE(q.description().find("compressed-tensors"), std::string::npos);
}

TEST(Quantization, MethodsAndTheirNames) {
  EXPECT_EQ(read(R"({"quant_method": "gptq", "bits": 3, "group_size": -1, "sym": false,
                     "checkpoint_format": "gptq_v2", "desc_act": true})")
                .description(),
            "GPTQ act-order, 3 bits, one group a row, with zero points");
  const Quantization awq = read(R"({"quant_method": "awq", "w_bit": 4, "q_group_size": 64,
                                    "version": "GEMV", "modules_to_not_convert": ["visual"]})");
  EXPECT_TRUE(awq.layer("model.q_proj").by_rows);
  EXPECT_EQ(awq.layer("model.q_proj").group_size, 64);
  EXPECT_EQ(awq.layer("visual.q_proj").method, QuantizationMethod::kNone);
  EXPECT_EQ(awq.layer("visualise.q_proj").method, QuantizationMethod::kAwq);
  EXPECT_EQ(read(R"({"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"})").description(),
            "bitsandbytes nf4, 4 bits");
}

TEST(Quantization, WhatIsNotKnownIsRefused) {
  for (const char* text :
       {R"({"quant_method": "quip"})", R"({"quant_method": "gptq", "checkpoint_format": "marlin"})",
        R"({"quant_method": "awq", "version": "gemv_fast"})",
        R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups":
            {"a": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}})"}) {
    EXPECT_THROW(read(text), Unsupported) << text;
  }
  for (
      const char* text :
      {R"({"quant_method": "gptq", "bits": 5})", R"({"quant_method": "gptq", "bits": "4"})",
       R"({"quant_method": "gptq", "group_size": 0})",
       R"({"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": true})",
       R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})",
       R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
            {"a": {"weights": {"num_bits": 99, "strategy": "group", "group_size": 8}}}})",
       R"({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": 3}})",
       R"({"quant_method": "awq", "modules_to_not_convert": [1]})"}) {
    EXPECT_THROW(read(text), CorruptFile) << text;
  }
  // A pattern that backtracking would follow for years.
  const auto hostile = read(R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
      "ignore": ["re:([a-z0-9_.]+)+!" ], "config_groups": {"a": {"targets": ["Linear"],
      "weights": {"num_bits": 4, "strategy": "channel"}}}})");
  EXPECT_NO_THROW(hostile.layer("model.layers.0.self_attn.q_proj.and.many.more.names.behind.it"));
  EXPECT_THROW(read(R"({"quant_method": "compressed-tensors", "format": "pack-quantized",
      "ignore": ["re:(" ], "config_groups": {"a": {"weights": {"strategy": "channel"}}}})")
                   .layer("x"),
               CorruptFile);
}

}  // namespace
}  // namespace tessera::io
