#include "models/registry.h"

#include "core/error.h"

#include <gtest/gtest.h>

#include <set>

namespace tessera {
namespace {

models::ModelFolder folder_of(const io::Json& config) {
  return {.path = "folder", .config = config, .generation_config = nullptr};
}

TEST(Registry, EveryRowHasItsLoaderAndItsNames) {
  std::set<std::string_view> architectures;
  std::set<std::string_view> types;
  const auto rows = models::all_models();
  ASSERT_EQ(rows.size(), models::all_summaries().size());
  for (const models::ModelInfo& row : rows) {
    EXPECT_NE(row.load, nullptr) << row.name;
    EXPECT_FALSE(row.tasks.empty()) << row.name;
    EXPECT_FALSE(row.entries.empty()) << row.name;
    EXPECT_TRUE(types.insert(row.model_type).second) << row.model_type;
    for (const std::string_view architecture : row.architectures) {
      EXPECT_TRUE(architectures.insert(architecture).second) << architecture;
      const auto folder = folder_of({{"architectures", {architecture}}});
      EXPECT_EQ(&models::find_model(folder), &row);
      EXPECT_EQ(models::find_summary(folder).name, row.name);
    }
    EXPECT_EQ(&models::find_model(folder_of({{"model_type", row.model_type}})), &row);
  }
}

TEST(Registry, TheArchitectureDecidesBeforeTheType) {
  EXPECT_EQ(models::find_summary(
                folder_of({{"architectures", {"LlamaForCausalLM"}}, {"model_type", "other"}}))
                .name,
            "Llama");
  for (const io::Json& config :
       {io::Json{{"architectures", {"SpiralForCausalLM"}}, {"model_type", "llama"}},
        io::Json::object(), io::Json{{"architectures", 7}}, io::Json{{"model_type", nullptr}}}) {
    EXPECT_THROW(models::find_summary(folder_of(config)), Unsupported) << config.dump();
  }
}

}  // namespace
}  // namespace tessera
