// One line an objective: declare its row, list it in kTasks.
#include "core/error.h"
#include "core/strings.h"
#include "train/task.h"

namespace tessera::train {

extern const TaskInfo kLanguageModel;

namespace {

constexpr const TaskInfo* kTasks[] = {
    &kLanguageModel,
};

}  // namespace

std::unique_ptr<Task> make_task(const Recipe& recipe, at::Device device) {
  std::vector<std::string> kinds;
  for (const TaskInfo* info : kTasks) {
    kinds.emplace_back(info->kind);
    if (info->kind == recipe.kind()) {
      std::unique_ptr<Task> task = info->make(recipe, device);
      recipe.finish();
      return task;
    }
  }
  const auto near = closest_match(recipe.kind(), kinds);
  throw InvalidArgument("task.kind '{}' is not known{}; known: {}", recipe.kind(),
                        near ? ", did you mean '" + *near + "'?" : "", join(kinds, ", "));
}

std::vector<std::pair<std::string, Tensor>> all_parameters(Task& task) {
  std::vector<std::pair<std::string, Tensor>> list;
  for (const auto& [name, module] : task.modules()) {
    for (const auto& item : module->named_parameters()) {
      list.emplace_back(name + "." + item.key(), item.value());
    }
  }
  return list;
}

std::vector<Part> Task::parts() {
  std::vector<Part> parts(1);
  parts[0].name = "model";
  parts[0].groups = default_groups(all_parameters(*this));
  return parts;
}

}  // namespace tessera::train
