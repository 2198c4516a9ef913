#include "pipelines/parity.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/checkpoint.h"

#include <ATen/ops/isclose.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>

namespace tessera::pipelines {
namespace {

using at::Tensor;

struct Case {
  nn::NamedTensors in;
  nn::NamedTensors out;
  nn::NamedTensors taps;
};

std::map<std::string, Case> read_cases(const io::fs::path& file) {
  std::map<std::string, Case> cases;
  const io::Checkpoint record = io::Checkpoint::open(file);
  for (const auto& [full, entry] : record.tensors()) {
    const std::vector<std::string> words = split(full, '.');
    TESSERA_CHECK(words.size() >= 4, CorruptFile,
                  "{}: '{}' is not <entry>.<case>.<in|out|tap>.<name>", file.string(), full);
    const std::string& kind = words[2];
    const std::string name = full.substr(words[0].size() + words[1].size() + kind.size() + 3);
    Case& target = cases[words[0] + "." + words[1]];
    (kind == "in"    ? target.in
     : kind == "out" ? target.out
                     : target.taps)[name] = nn::tensor_of(entry).clone();
  }
  return cases;
}

void compare(const std::string& where,
             const Tensor& actual,
             const Tensor& expected,
             const Tensor& mask,
             ParityResult* result) {
  ++result->compared;
  const auto differs = [&](const std::string& how) {
    if (!result->first_difference.has_value()) {
      result->first_difference = where + ": " + how;
    }
  };
  if (actual.sizes() != expected.sizes()) {
    differs("the shape differs");
    return;
  }
  if (!expected.is_floating_point()) {
    if (!actual.equal(expected)) {
      differs("integers differ");
    }
    return;
  }
  const bool by_token = mask.defined() && expected.dim() >= 2 && expected.size(0) == mask.size(0) &&
                        expected.size(1) == mask.size(1);
  const Tensor a = by_token ? actual.index({mask.to(at::kBool)}) : actual;
  const Tensor e = by_token ? expected.index({mask.to(at::kBool)}) : expected;
  const Tensor error = (a - e).abs();
  const double largest = error.numel() > 0 ? error.max().item<double>() : 0;
  result->largest = std::max(result->largest, largest);
  if (!at::isclose(a, e, 1e-4, 1e-5).all().item<bool>()) {
    differs(fmt::format("largest absolute difference {:.3g}", largest));
  }
}

}  // namespace

namespace {

void replay(const io::fs::path& folder, const nn::LoadOptions& options, ParityResult* result) {
  const models::ModelFolder opened = models::open_folder(folder.string());
  const models::ModelInfo& info = models::find_model(opened);
  const auto model = models::load_model(opened, options);
  const c10::InferenceMode inference;
  for (const auto& [name, item] : read_cases(folder / "parity.safetensors")) {
    nn::TapCollector taps(".*");
    const nn::NamedTensors out = models::run_entry(*model, info, split(name, '.').front(), item.in);
    const auto found = item.in.find("attention_mask");
    const Tensor mask = found == item.in.end() ? Tensor() : found->second;
    for (const auto& [tap, expected] : item.taps) {
      TESSERA_CHECK(taps.tensors().contains(tap), CorruptFile, "{}: no submodule '{}' ran", name,
                    tap);
      compare(name + ", " + tap, taps.tensors().at(tap), expected, mask, result);
    }
    for (const auto& [output, expected] : item.out) {
      TESSERA_CHECK(out.contains(output), CorruptFile, "{}: no output '{}'", name, output);
      compare(name + ", " + output, out.at(output), expected, mask, result);
    }
  }
}

}  // namespace

ParityResult check_parity(const io::fs::path& folder) {
  ParityResult result;
  replay(folder, {.dtype = at::kFloat}, &result);
  if (models::open_folder(folder.string()).config.contains("quantization_config")) {
    replay(folder, {}, &result);  // as it is run: weights stay packed
  }
  TESSERA_CHECK(result.compared > 0, CorruptFile, "{}: parity.safetensors records nothing",
                folder.string());
  return result;
}

}  // namespace tessera::pipelines
