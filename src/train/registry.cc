// One line an objective or job: declare its row, list it in kTasks or kJobs.
#include "core/error.h"
#include "core/strings.h"
#include "train/job.h"
#include "train/task.h"

#include <algorithm>
#include <iterator>

namespace tessera::train {

extern const TaskInfo kLanguageModel;
extern const TaskInfo kPictureCodecTask;
extern const TaskInfo kAudioCodecTask;
extern const TaskInfo kSceneJudgeTask;
extern const TaskInfo kRecognizerTask;
extern const TaskInfo kSpeakerTask;
extern const TaskInfo kMusicTask;

extern const JobInfo kAssetsJob;
extern const JobInfo kTokenizerJob;
extern const JobInfo kWorldTokensJob;
extern const JobInfo kAssembleJob;

namespace {

constexpr const TaskInfo* kTasks[] = {
    &kLanguageModel,  &kPictureCodecTask, &kAudioCodecTask, &kSceneJudgeTask,
    &kRecognizerTask, &kSpeakerTask,      &kMusicTask,
};
constexpr const JobInfo* kJobs[] = {&kAssetsJob, &kTokenizerJob, &kWorldTokensJob, &kAssembleJob};

}  // namespace

std::unique_ptr<Task> make_task(const Recipe& recipe, at::Device device) {
  for (const TaskInfo* info : kTasks) {
    if (info->kind == recipe.kind()) {
      std::unique_ptr<Task> task = info->make(recipe, device);
      recipe.finish();
      return task;
    }
  }
  throw_unknown_kind(recipe.kind());
}

bool is_task(std::string_view kind) {
  return std::any_of(std::begin(kTasks), std::end(kTasks),
                     [&](const TaskInfo* info) { return info->kind == kind; });
}

void throw_unknown_kind(std::string_view kind) {
  std::vector<std::string> kinds;
  for (const TaskInfo* info : kTasks) {
    kinds.emplace_back(info->kind);
  }
  std::vector<std::string> jobs;
  for (const JobInfo* job : kJobs) {
    jobs.emplace_back(job->kind);
  }
  std::vector<std::string> all = kinds;
  all.insert(all.end(), jobs.begin(), jobs.end());
  const auto near = closest_match(kind, all);
  throw InvalidArgument("task.kind '{}' is not known{}; objectives: {}; jobs: {}", kind,
                        near ? ", did you mean '" + *near + "'?" : "", join(kinds, ", "),
                        join(jobs, ", "));
}

const JobInfo* find_job(std::string_view kind) {
  const auto found = std::find_if(std::begin(kJobs), std::end(kJobs),
                                  [&](const JobInfo* job) { return job->kind == kind; });
  return found == std::end(kJobs) ? nullptr : *found;
}

io::fs::path out_folder(const Recipe& recipe, const JobContext& context) {
  const Options data = recipe.section("data");
  const io::fs::path out = data.string("out", "");
  TESSERA_CHECK(!out.empty() || !context.out.empty(), InvalidArgument,
                "{}: give the folder that is written", data.where("out"));
  return context.out.empty() ? out : context.out;
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
