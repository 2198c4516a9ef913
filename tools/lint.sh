#!/usr/bin/env bash
# clang-tidy 14 on the sources that differ from the main branch (or on the files given).
set -euo pipefail
cd "$(dirname "$0")/.."
base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || git rev-parse HEAD)
if [ $# -gt 0 ]; then files=("$@"); else
  mapfile -t files < <({ git diff --name-only --diff-filter=d "$base" -- 'src/*.cc'; git ls-files -o --exclude-standard -- 'src/*.cc'; } | sort -u)
fi
[ ${#files[@]} -gt 0 ] || { echo "lint: no source differs from the main branch"; exit 0; }
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
# A build folder of its own, never built: GCC's precompiled header would be read by clang.
cmake --preset dev -B build/lint -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DTESSERA_LIBTORCH="$cache/libtorch-2.11.0" >build/lint.log 2>&1 ||
  { cat build/lint.log >&2; exit 1; }
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 -p build/lint --quiet \
  --extra-arg=-Wno-unknown-warning-option  # the flags are GCC's
echo "lint: ${#files[@]} files are clean"
