// Every folder under tests/goldens that holds parity.safetensors is opened through the normal
// loader and its recorded entries are run again.
#include "pipelines/parity.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> golden_folders() {
  std::vector<fs::path> folders;
  for (const auto& item : fs::recursive_directory_iterator(TESSERA_GOLDENS)) {
    if (item.path().filename() == "parity.safetensors") {
      folders.push_back(item.path().parent_path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

class ModelParity : public testing::TestWithParam<fs::path> {};

TEST_P(ModelParity, EntriesAndTapsMatchTheReference) {
  const pipelines::ParityResult result = pipelines::check_parity(GetParam());
  EXPECT_EQ(result.first_difference.value_or(""), "");
  EXPECT_GE(result.compared, 4);
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = fs::relative(info.param, TESSERA_GOLDENS).string();
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Goldens, ModelParity, testing::ValuesIn(golden_folders()), test_name);

}  // namespace
}  // namespace tessera
