// Model names as people write them: a path, or org/name in the local cache of huggingface_hub.
#pragma once

#include "io/file.h"

#include <string_view>

namespace tessera::io {

/// Folder of the hub cache: $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub,
/// else ~/.cache/huggingface/hub. It may not exist.
fs::path hub_cache();

/// Path of a model: `name` itself if it exists, else the snapshot of `org/name` or `org/name@rev`
/// (branch, tag or commit; main if left out) in the hub cache; with `:file` after either, that file
/// or folder of the snapshot. Nothing is ever downloaded. Throws NotFound saying what was searched.
fs::path resolve_model(std::string_view name);

}  // namespace tessera::io
