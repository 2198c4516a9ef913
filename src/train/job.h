// Jobs: recipes that run once and train nothing, as making a tokenizer or token files. They share
// `tessera train` with the objectives; `task.kind` tells them apart.
#pragma once

#include "io/json.h"

#include <string_view>

namespace tessera::train {

class Recipe;

struct JobContext {
  std::string_view device;  // "cpu", "cuda"
  io::fs::path out;         // where the result goes; empty: the recipe's data.out
};

struct JobInfo {
  std::string_view kind;     // task.kind in recipes
  std::string_view summary;  // one line for people
  /// Does the work and returns what was made, for --json. Work that is done already is not done
  /// again. Throws Cancelled after Ctrl-C, where the work can be continued.
  io::OrderedJson (*run)(const Recipe& recipe, const JobContext& context);
};

/// The table in registry.cc; nullptr when the kind is no job.
const JobInfo* find_job(std::string_view kind);

/// Whether an objective (train/task.h) has this kind.
bool is_task(std::string_view kind);
/// Throws InvalidArgument naming the objectives and jobs there are.
[[noreturn]] void throw_unknown_kind(std::string_view kind);

/// The job's folder: the context's, else data.out. Throws InvalidArgument when there is none.
io::fs::path out_folder(const Recipe& recipe, const JobContext& context);

}  // namespace tessera::train
