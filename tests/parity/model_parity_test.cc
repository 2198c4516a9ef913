// Every folder under tests/goldens that holds parity.safetensors is opened through the normal
// loader and its recorded entries are run again. Reports the first diverging tap. Bounds:
// docs/numerics.md.
#include "core/strings.h"
#include "io/checkpoint.h"
#include "models/registry.h"

#include <ATen/ops/allclose.h>
#include <c10/core/InferenceMode.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Case {
  nn::NamedTensors in;
  nn::NamedTensors out;
  nn::NamedTensors taps;
};

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

// "entry.case.kind.name" -> cases by "entry.case".
std::map<std::string, Case> read_cases(const fs::path& folder) {
  std::map<std::string, Case> cases;
  const io::Checkpoint file = io::Checkpoint::open(folder / "parity.safetensors");
  for (const auto& [full, entry] : file.tensors()) {
    const std::vector<std::string> words = split(full, '.');
    const std::string& kind = words.at(2);
    const std::string name = full.substr(words[0].size() + words[1].size() + kind.size() + 3);
    Case& target = cases[words[0] + "." + words[1]];
    (kind == "in"    ? target.in
     : kind == "out" ? target.out
                     : target.taps)[name] = nn::tensor_of(entry).clone();
  }
  return cases;
}

// Empty when equal within the bounds, else a description of the difference.
std::string difference(const at::Tensor& actual,
                       const at::Tensor& expected,
                       const at::Tensor& mask) {
  if (actual.sizes() != expected.sizes()) {
    return fmt::format("{} axes against {}", actual.dim(), expected.dim());
  }
  if (!expected.is_floating_point()) {
    return actual.equal(expected) ? "" : "integers differ";
  }
  // Rows under padding mean nothing (eager and fused attention differ there).
  const bool by_token = mask.defined() && expected.dim() >= 2 && expected.size(0) == mask.size(0) &&
                        expected.size(1) == mask.size(1);
  const at::Tensor a = by_token ? actual.index({mask.to(at::kBool)}) : actual;
  const at::Tensor e = by_token ? expected.index({mask.to(at::kBool)}) : expected;
  if (at::allclose(a, e, 1e-4, 1e-5)) {
    return "";
  }
  const at::Tensor error = (a - e).to(at::kDouble);
  return fmt::format("max abs {:.3g}, NMSE {:.3g}", error.abs().max().item<double>(),
                     (error.square().sum() / e.to(at::kDouble).square().sum()).item<double>());
}

class ModelParity : public testing::TestWithParam<fs::path> {};

TEST_P(ModelParity, EntriesAndTapsMatchTheReference) {
  const fs::path folder = GetParam();
  const models::ModelFolder opened = models::open_folder(folder.string());
  const models::ModelInfo& info = models::find_model(opened);
  const auto model = models::load_model(opened, {.dtype = at::kFloat});
  const c10::InferenceMode inference;
  const std::map<std::string, Case> cases = read_cases(folder);
  ASSERT_FALSE(cases.empty());
  for (const auto& [name, item] : cases) {
    nn::TapCollector taps(".*");
    const nn::NamedTensors out = models::run_entry(*model, info, split(name, '.').front(), item.in);
    const auto mask = item.in.find("attention_mask");
    const at::Tensor padding = mask == item.in.end() ? at::Tensor() : mask->second;
    for (const auto& [tap, expected] : item.taps) {
      ASSERT_TRUE(taps.tensors().contains(tap)) << name << ": no tap " << tap;
      EXPECT_EQ(difference(taps.tensors().at(tap), expected, padding), "")
          << name << ": first diverging tap " << tap;
      if (testing::Test::HasFailure()) {
        return;
      }
    }
    for (const auto& [output, expected] : item.out) {
      ASSERT_TRUE(out.contains(output)) << name;
      EXPECT_EQ(difference(out.at(output), expected, padding), "") << name << ": " << output;
    }
  }
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = fs::relative(info.param, TESSERA_GOLDENS).string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); },
      '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Goldens, ModelParity, testing::ValuesIn(golden_folders()), test_name);

}  // namespace
}  // namespace tessera
