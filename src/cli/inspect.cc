// `tessera inspect`: what a model folder holds, without loading its weights, and without libtorch.
#include "cli/commands.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "io/quantization.h"
#include "models/catalog.h"

#include <cstdio>
#include <map>

namespace tessera::cli {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) {
    text += (text.empty() ? "" : " × ") + std::to_string(size);
  }
  return text.empty() ? "scalar" : text;
}

io::Json ports_json(const std::vector<models::Port>& ports) {
  io::Json list = io::Json::array();
  for (const models::Port& port : ports) {
    list.push_back({{"name", port.name}, {"type", port.type}, {"optional", port.optional}});
  }
  return list;
}

std::string ports_text(const std::vector<models::Port>& ports) {
  std::string text;
  for (const models::Port& port : ports) {
    text += (text.empty() ? "" : ", ") + port.name + (port.optional ? "?" : "") + " " + port.type;
  }
  return text;
}

void print_entries(const models::ModelSummary& info, bool json) {
  if (json) {
    io::Json list = io::Json::array();
    for (const models::Entry& entry : info.entries) {
      list.push_back({{"name", entry.name},
                      {"inputs", ports_json(entry.inputs)},
                      {"outputs", ports_json(entry.outputs)},
                      {"note", entry.note}});
    }
    std::printf("%s\n", list.dump(2).c_str());
    return;
  }
  for (const models::Entry& entry : info.entries) {
    std::printf("%s: %s\n  in:  %s\n  out: %s\n", entry.name.c_str(), entry.note.c_str(),
                ports_text(entry.inputs).c_str(), ports_text(entry.outputs).c_str());
  }
}

}  // namespace

int run_inspect(const InspectOptions& options) {
  const models::ModelFolder folder = models::open_folder(options.model);
  const models::ModelSummary& info = models::find_summary(folder);
  if (options.entries) {
    print_entries(info, options.json);
    return 0;
  }
  const io::Checkpoint checkpoint = io::Checkpoint::open(folder.path);
  if (options.tensors) {
    io::Json list = io::Json::array();
    for (const auto& [name, entry] : checkpoint.tensors()) {
      if (options.json) {
        list.push_back({{"name", name}, {"dtype", entry.type_name()}, {"shape", entry.shape}});
      } else {
        std::printf("%-60s %-6s %s\n", name.c_str(), std::string(entry.type_name()).c_str(),
                    shape_text(entry.shape).c_str());
      }
    }
    if (options.json) {
      std::printf("%s\n", list.dump(2).c_str());
    }
    return 0;
  }
  int64_t parameters = 0;
  int64_t bytes = 0;
  std::map<std::string, int64_t> by_dtype;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    parameters += entry.count();
    bytes += entry.bytes();
    by_dtype[std::string(entry.type_name())] += entry.count();
  }
  std::string stored;
  try {
    stored = io::Quantization::from_config(folder.config).description();
  } catch (const Unsupported& error) {  // what cannot be run can still be described
    stored = std::string("not supported: ") + error.what();
  }
  const auto number = [&](const char* key) { return folder.config.value(key, io::Json()); };
  if (options.json) {
    const io::Json out = {{"model", folder.path.string()},
                          {"architecture", info.name},
                          {"tasks", info.tasks},
                          {"weights", checkpoint.path().string()},
                          {"tensors", checkpoint.tensors().size()},
                          {"quantization", stored},
                          {"parameters", parameters},
                          {"bytes", bytes},
                          {"parameters_by_dtype", by_dtype},
                          {"config", folder.config}};
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("model         %s\n", folder.path.c_str());
  std::printf("architecture  %s (%s)\n", std::string(info.name).c_str(),
              std::string(info.tasks).c_str());
  std::printf("weights       %s, %zu tensors, %.1f MB\n", checkpoint.path().filename().c_str(),
              checkpoint.tensors().size(), static_cast<double>(bytes) / 1e6);
  if (!stored.empty()) {
    std::printf("quantised     %s\n", stored.c_str());
  }
  std::printf("parameters    %.3f M\n", static_cast<double>(parameters) / 1e6);
  for (const auto& [dtype, count] : by_dtype) {
    std::printf("  %-11s %.3f M\n", dtype.c_str(), static_cast<double>(count) / 1e6);
  }
  for (const auto& [label, key] : {std::pair{"vocabulary", "vocab_size"},
                                   {"width", "hidden_size"},
                                   {"layers", "num_hidden_layers"},
                                   {"heads", "num_attention_heads"},
                                   {"kv heads", "num_key_value_heads"},
                                   {"context", "max_position_embeddings"}}) {
    if (const io::Json value = number(key); !value.is_null()) {
      std::printf("%-13s %s\n", label, value.dump().c_str());
    }
  }
  std::string entries;
  for (const models::Entry& entry : info.entries) {
    entries += (entries.empty() ? "" : ", ") + entry.name;
  }
  std::printf("entries       %s (--entries for their inputs and outputs)\n", entries.c_str());
  return 0;
}

}  // namespace tessera::cli
