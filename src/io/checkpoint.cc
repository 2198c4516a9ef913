// Opens weights of any container. Files are told apart by content: GGUF's, zip's or the torch
// stream's magic, then safetensors. Index files as transformers writes them: {"weight_map":
// {tensor: shard file}}.
#include "io/checkpoint.h"

#include "core/error.h"
#include "core/strings.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

#include <algorithm>
#include <vector>

namespace tessera::io {
namespace {

constexpr std::string_view kIndexSuffix = ".index.json";

// Files whose content is not understood, with what they are.
void refuse_known_strangers(const FileBytes& source) {
  const std::string_view text = source.text();
  TESSERA_CHECK(
      !text.starts_with("version https://git-lfs"), CorruptFile,
      "{}: a Git LFS pointer of {} bytes, not the weights; run 'git lfs pull' in its folder",
      source.name, text.size());
  TESSERA_CHECK(text.size() < 262 || text.substr(257, 5) != "ustar", Unsupported,
                "{}: a tar file (torch < 0.4 or a packed folder); unpack it, or save it again with "
                "torch >= 1.6",
                source.name);
  TESSERA_CHECK(!(text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5),
                Unsupported, "{}: a bare Python pickle; save it with torch.save or as safetensors",
                source.name);
}

TensorTable read_file_of_tensors(const fs::path& path) {
  if (is_gguf_file(path)) {
    return open_gguf(path).table;
  }
  const FileBytes source = FileBytes::map(path);
  if (looks_like_torch(source.text())) {
    return read_torch(source);
  }
  // A header of 0x…0280 bytes begins as a pickle does, but only safetensors has `{` at byte 8.
  if (source.bytes.size() < 9 || source.text()[8] != '{') {
    refuse_known_strangers(source);
  }
  return read_safetensors(source);
}

// Shards are named relative to the index and may not leave its folder.
fs::path shard_path(const fs::path& index, const std::string& name) {
  const fs::path shard(name);
  const bool leaves = std::find(shard.begin(), shard.end(), "..") != shard.end();
  TESSERA_CHECK(
      !name.empty() && shard.is_relative() && !leaves && name.find('\0') == std::string::npos,
      CorruptFile, "{}: names the shard '{}', expected a file inside the same folder",
      index.string(), utf8_lossy(name));
  return index.parent_path() / shard;
}

TensorTable read_index(const fs::path& index) {
  const Json document = read_json(index);
  const auto weight_map = document.find("weight_map");
  TESSERA_CHECK(document.is_object() && weight_map != document.end() && weight_map->is_object(),
                CorruptFile, "{}: expected an object with a 'weight_map'", index.string());
  std::map<std::string, std::vector<std::string>> names_of_shards;
  for (const auto& [name, shard] : weight_map->items()) {
    TESSERA_CHECK(shard.is_string(), CorruptFile, "{}: the shard of '{}' is not a text",
                  index.string(), name);
    names_of_shards[shard.get<std::string>()].push_back(name);
  }
  TensorTable table;
  for (const auto& [shard, names] : names_of_shards) {
    const fs::path path = shard_path(index, shard);
    std::error_code ignored;
    TESSERA_CHECK(fs::exists(path, ignored), NotFound,
                  "{}: not found, although {} lists {} tensors in it", path.string(),
                  index.string(), names.size());
    TensorTable part = read_file_of_tensors(path);
    for (const std::string& name : names) {
      auto tensor = part.tensors.extract(name);
      TESSERA_CHECK(!tensor.empty(), CorruptFile, "{}: tensor '{}' is missing, {} lists it there",
                    path.string(), name, index.string());
      table.tensors.insert(std::move(tensor));
    }
    table.metadata.merge(part.metadata);
    table.values.merge(part.values);
  }
  return table;
}

// What a trainer leaves beside the weights.
bool is_trainer_state(std::string_view stem) {
  return stem == "training_args" || stem == "optimizer" || stem == "scheduler" ||
         stem.starts_with("rng_state");
}

// The only file in `folder` with one of `extensions`; nothing if there is none.
std::optional<fs::path> only_file(const fs::path& folder,
                                  std::initializer_list<std::string_view> extensions) {
  std::vector<std::string> found;
  std::error_code error;
  std::error_code ignored;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    const std::string extension = path.extension().string();
    if (std::find(extensions.begin(), extensions.end(), extension) != extensions.end() &&
        !is_trainer_state(path.stem().string()) && fs::is_regular_file(path, ignored)) {
      found.push_back(path.filename().string());
    }
  }
  TESSERA_CHECK(!error, Io, "{}: {}", folder.string(), error.message());
  std::sort(found.begin(), found.end());
  TESSERA_CHECK(found.size() <= 1, InvalidArgument,
                "{}: several weights files ({}), none called model.safetensors or "
                "pytorch_model.bin; name one of them",
                folder.string(), join(found, ", "));
  return found.empty() ? std::nullopt : std::optional(folder / found[0]);
}

fs::path weights_in(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json"}) {
    if (fs::exists(folder / name, ignored)) {
      return folder / name;
    }
  }
  if (const auto path = only_file(folder, {".safetensors"})) {
    return *path;
  }
  if (const auto path = only_file(folder, {".pt", ".pth", ".ckpt", ".bin"})) {
    return *path;
  }
  throw NotFound(
      "{}: no weights in this folder; expected model.safetensors, pytorch_model.bin, an index of "
      "shards, or one *.safetensors, *.pt, *.pth, *.ckpt or *.bin file",
      folder.string());
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint checkpoint;
  std::error_code ignored;
  checkpoint.path_ = fs::is_directory(path, ignored) ? weights_in(path) : path;
  const bool is_index = checkpoint.path_.filename().string().ends_with(kIndexSuffix);
  checkpoint.table_ =
      is_index ? read_index(checkpoint.path_) : read_file_of_tensors(checkpoint.path_);
  return checkpoint;
}

Checkpoint Checkpoint::from_table(fs::path path, TensorTable table) {
  Checkpoint checkpoint;
  checkpoint.path_ = std::move(path);
  checkpoint.table_ = std::move(table);
  return checkpoint;
}

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto it = table_.tensors.find(std::string(name));
  return it == table_.tensors.end() ? nullptr : &it->second;
}

}  // namespace tessera::io
