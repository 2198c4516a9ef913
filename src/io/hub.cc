// Look-up in huggingface_hub's cache: models--{org}--{name}/refs/{revision} holds a commit,
// snapshots/{commit}/ the files. Without a revision `main` is taken or, where it was never
// fetched by that name, the only snapshot there is.
#include "io/hub.h"

#include "core/error.h"
#include "core/strings.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace tessera::io {
namespace {

constexpr uint64_t kMaxRef = 4096;  // bytes of a refs/ file

// A variable that is set but empty counts as not set.
std::optional<fs::path> path_from(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') {
    return std::nullopt;
  }
  const std::string_view text(value);
  const char* home = std::getenv("HOME");
  if (text.starts_with("~/") && home != nullptr) {
    return fs::path(home) / text.substr(2);
  }
  return fs::path(text);
}

bool is_name_part(std::string_view part) {
  return !part.empty() && part.front() != '.' && part.front() != '-' &&
         part.find("..") == std::string_view::npos &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

// Branch names may have slashes ("refs/pr/1"), but never leave the folder.
bool is_revision(std::string_view revision) {
  const auto parts = split(revision, '/');
  return std::all_of(parts.begin(), parts.end(), is_name_part);
}

// Files of a model may lie in its subfolders, and have any characters.
bool is_file_name(std::string_view file) {
  const auto parts = split(file, '/');
  return file.find('\0') == std::string_view::npos &&
         std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
           return part.empty() || part == "." || part == "..";
         });
}

struct HubName {
  std::string model;   // "org/name"
  std::string folder;  // "models--org--name"
  std::string revision;
  std::string file;  // in the snapshot; may be empty
};

// org/name[@revision][:file]; neither names nor revisions of git hold a colon.
std::optional<HubName> parse_name(std::string_view name) {
  const size_t colon = name.find(':');
  const std::string_view model = name.substr(0, colon);
  const size_t at = model.find('@');
  HubName parsed{
      .model = std::string(model.substr(0, at)), .folder = {}, .revision = {}, .file = {}};
  const auto parts = split(parsed.model, '/');
  if (parts.size() > 2 || !std::all_of(parts.begin(), parts.end(), is_name_part)) {
    return std::nullopt;
  }
  parsed.folder = "models--" + join(parts, "--");
  if (at != std::string_view::npos) {
    parsed.revision = model.substr(at + 1);
    if (!is_revision(parsed.revision)) {
      return std::nullopt;
    }
  }
  if (colon != std::string_view::npos) {
    parsed.file = name.substr(colon + 1);
    if (!is_file_name(parsed.file)) {
      return std::nullopt;
    }
  }
  return parsed;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; !ignored && it != end;
       it.increment(ignored)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<fs::path> find_snapshot(const fs::path& model, const std::string& revision) {
  std::error_code ignored;
  const fs::path snapshots = model / "snapshots";
  const std::string wanted = revision.empty() ? "main" : revision;
  if (fs::is_regular_file(model / "refs" / wanted, ignored)) {
    const std::string text = read_file(model / "refs" / wanted, kMaxRef);
    const std::string commit(trim(text));
    TESSERA_CHECK(is_name_part(commit), CorruptFile, "{}: holds '{}', expected a commit",
                  (model / "refs" / wanted).string(), utf8_lossy(commit));
    if (fs::is_directory(snapshots / commit, ignored)) {
      return snapshots / commit;
    }
    return std::nullopt;
  }
  if (!revision.empty()) {
    return fs::is_directory(snapshots / revision, ignored) ? std::optional(snapshots / revision)
                                                           : std::nullopt;
  }
  const auto all = names_in(snapshots);
  return all.size() == 1 ? std::optional(snapshots / all[0]) : std::nullopt;
}

// "models--org--name" back to "org/name".
std::string model_name(std::string folder) {
  folder.erase(0, std::string_view("models--").size());
  const size_t separator = folder.find("--");
  return separator == std::string::npos ? folder : folder.replace(separator, 2, "/");
}

[[noreturn]] void throw_no_model(std::string_view name,
                                 const HubName& parsed,
                                 const fs::path& cache) {
  std::vector<std::string> models;
  for (const std::string& folder : names_in(cache)) {
    if (folder.starts_with("models--")) {
      models.push_back(model_name(folder));
    }
  }
  const auto near = closest_match(parsed.model, models);
  throw NotFound(
      "{}: no such file or folder here, and no such model in the hub cache {} ({} models){}; "
      "nothing is downloaded: fetch it with 'hf download {}'",
      name, cache.string(), models.size(), near ? "; did you mean " + *near + "?" : "",
      parsed.model);
}

// A file that was never fetched; the cache often holds only some of a model's files.
[[noreturn]] void throw_no_file(const HubName& parsed, const fs::path& snapshot) {
  const fs::path folder = (snapshot / parsed.file).parent_path();
  const auto near = closest_match(fs::path(parsed.file).filename().string(), names_in(folder));
  throw NotFound(
      "{}: not in the snapshot {}, which has [{}]{}; fetch it with 'hf download {} {}{}'",
      parsed.file, snapshot.string(), join(names_in(snapshot), ", "),
      near ? "; did you mean " + *near + "?" : "", parsed.model, parsed.file,
      parsed.revision.empty() ? "" : " --revision " + parsed.revision);
}

}  // namespace

fs::path hub_cache() {
  if (const auto path = path_from("HF_HUB_CACHE")) {
    return *path;
  }
  if (const auto path = path_from("HF_HOME")) {
    return *path / "hub";
  }
  if (const auto path = path_from("XDG_CACHE_HOME")) {
    return *path / "huggingface" / "hub";
  }
  return path_from("HOME").value_or("/") / ".cache" / "huggingface" / "hub";
}

fs::path resolve_model(std::string_view name) {
  std::error_code ignored;
  if (!name.empty() && fs::exists(fs::path(name), ignored)) {
    return fs::path(name);
  }
  const auto parsed = parse_name(name);
  if (!parsed) {
    throw_not_found(fs::path(name),
                    "a model's folder or file, or org/name[@revision][:file] in the hub cache");
  }
  const fs::path cache = hub_cache();
  const fs::path model = cache / parsed->folder;
  if (!fs::is_directory(model, ignored)) {
    throw_no_model(name, *parsed, cache);
  }
  const auto snapshot = find_snapshot(model, parsed->revision);
  TESSERA_CHECK(snapshot, NotFound,
                "{}: {} has no snapshot of revision '{}'; it has the references [{}] and the "
                "snapshots [{}]",
                name, model.string(), parsed->revision.empty() ? "main" : parsed->revision,
                join(names_in(model / "refs"), ", "), join(names_in(model / "snapshots"), ", "));
  if (parsed->file.empty()) {
    return *snapshot;
  }
  if (!fs::exists(*snapshot / parsed->file, ignored)) {
    throw_no_file(*parsed, *snapshot);
  }
  return *snapshot / parsed->file;
}

}  // namespace tessera::io
