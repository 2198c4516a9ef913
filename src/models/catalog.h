// What is to be said of every architecture without its code: names, tasks, entries. Needs no
// libtorch, so that `tessera inspect` starts in milliseconds; registry.h adds the code.
#pragma once

#include "io/json.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::models {

/// One input or output of an entry, for `inspect --entries`.
struct Port {
  std::string name;
  std::string type;  // "i64 [B, T]"
  bool optional = false;
};

/// A named function NamedTensors -> NamedTensors with the reference implementation's names.
struct Entry {
  std::string name;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  std::string note;  // one line for people
};

/// A model on disk: a published folder, or a GGUF file, with its configuration read.
struct ModelFolder {
  io::fs::path path;
  io::Json config;             // config.json
  io::Json generation_config;  // generation_config.json, or null
};

/// Row of the catalog: everything that commands, docs and the server tell of an architecture.
struct ModelSummary {
  std::string_view name;                        // "Llama"
  std::vector<std::string_view> architectures;  // config.json "architectures"
  std::string_view model_type;                  // config.json "model_type", one row's alone
  std::string_view tasks;                       // "text generation"
  std::vector<Entry> entries;
};

/// All architectures, in the order of the documentation's table.
std::span<const ModelSummary> all_summaries();

/// Reads the configuration of a folder, a GGUF file, a folder with one GGUF model, or a hub-cache
/// name. Throws NotFound, CorruptFile.
ModelFolder open_folder(std::string_view name);
/// The row for a folder's config.json. Throws Unsupported naming what was found and what is known.
const ModelSummary& find_summary(const ModelFolder& folder);

}  // namespace tessera::models
