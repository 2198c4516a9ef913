#!/usr/bin/env bash
# Sizes of the tracked files by top folder and of the bundled models; fails above the limits (docs/development.md).
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files -z | xargs -0 stat -c '%s %n' | awk '
  function mb(bytes) { return bytes / 1e6 }
  function limit(name, bytes, most) {
    if (mb(bytes) <= most) return
    printf "size: %s has %.2f MB, at most %.1f MB are allowed\n", name, mb(bytes), most > "/dev/stderr"
    over = 1
  }
  {
    size = $1; sub(/^[0-9]+ /, ""); split($0, part, "/")
    total += size; folder[index($0, "/") ? part[1] "/" : "(top)"] += size
    if (part[1] == "models" && part[3] != "") model[part[2]] += size
    if ($0 ~ /^models\/tessera-mini\/.*safetensors$/) weights += size
    if ($0 ~ /^tests\/goldens\//) goldens += size
  }
  END {
    for (name in folder) printf "%8.2f MB  %s\n", mb(folder[name]), name | "sort -k3"
    close("sort -k3")
    for (name in model) {
      printf "%8.2f MB  models/%s\n", mb(model[name]), name
      if (name == "tessera-mini") {
        limit("weights of models/" name, weights, 28)
        limit("models/" name, model[name], 29)
      }
      else if (name ~ /judge/) judges += model[name]
      else { limit("models/" name, model[name], 8); others += model[name] }
    }
    printf "%8.2f MB  in all\n", mb(total)
    limit("models/*judge*", judges, 3.1)
    limit("the other bundled models", others, 16)
    limit("tests/goldens", goldens, 8)
    limit("the tree", total, 60)
    exit over
  }'
