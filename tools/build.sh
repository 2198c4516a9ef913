#!/usr/bin/env bash
# Configures (only when needed) and builds a preset of CMakePresets.json with one line of progress.
# usage: tools/build.sh PRESET [--tests] [-DNAME=VALUE...] [TARGET...]      (no target: everything)
# The whole talk is in build/<preset>.log; a failing file's is shown. JOBS=N chooses the number of jobs.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
build=build/$preset
log=build/$preset.log
mkdir -p "$build"

stamp=$build/.configured
definitions=() targets=() tests=OFF
if grep -qs -- -DTESSERA_TESTS=ON "$stamp"; then tests=ON; fi  # a build that has tests keeps them
for argument in "$@"; do
  case $argument in --tests) tests=ON ;; -D*) definitions+=("$argument") ;; *) targets+=("$argument") ;; esac
done
definitions+=("-DTESSERA_TESTS=$tests")
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
definitions+=("-DTESSERA_LIBTORCH=${TESSERA_LIBTORCH:-$cache/libtorch-2.11.0}")

# ---- configure ----
# Ninja itself runs cmake again when a CMakeLists.txt changes; here only for a new folder or other definitions.
if [ ! -f "$build/build.ninja" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$PWD ${definitions[*]}" ]; then
  rm -f "$stamp"
  [ "$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt" 2>/dev/null)" = "$PWD" ] || rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
  if ! cmake --preset "$preset" "${definitions[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    echo "build: cmake did not succeed; its output is above" >&2
    exit 1
  fi
  echo "$PWD ${definitions[*]}" >"$stamp"
fi

# ---- how many jobs: a file that includes libtorch takes up to 1.5 GB ----
jobs=${JOBS:-}
if [ -z "$jobs" ]; then
  free_kb=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ] && [ $((limit / 1024)) -lt "$free_kb" ]; then free_kb=$((limit / 1024)); fi
  jobs=$((free_kb / 1500000)) cores=$(nproc)
  [ "$jobs" -le "$cores" ] || jobs=$cores
  [ "$jobs" -ge 1 ] || jobs=1
fi

# ---- build ----
show() {  # reads ninja's lines: keeps one line on a terminal, else one every 10 s; everything goes to the log
  local line shown=0 begun=$SECONDS failed="" done_count all seconds left
  while IFS= read -r line; do
    echo "$line" >>"$log"
    if [[ $line =~ ^@([0-9]+)/([0-9]+)@\ (.*) ]]; then
      failed=""
      done_count=${BASH_REMATCH[1]} all=${BASH_REMATCH[2]} seconds=$((SECONDS - begun))
      left=$((done_count ? seconds * (all - done_count) / done_count : 0))
      printf -v line 'build %s: %3d %%  %d of %d  %d:%02d, %d:%02d left  %s' "$preset" $((100 * done_count / all)) \
        "$done_count" "$all" $((seconds / 60)) $((seconds % 60)) $((left / 60)) $((left % 60)) "${BASH_REMATCH[3]##*/}"
      if [ -t 2 ]; then
        printf '\r%.*s\033[K' "${COLUMNS:-100}" "$line" >&2
      elif [ $((SECONDS - shown)) -ge 10 ] && [ $((SECONDS - begun)) -ge 10 ]; then
        shown=$SECONDS
        echo "$line" >&2
      fi
    elif [[ $line == FAILED:* || -n $failed ]]; then
      [ -n "$failed" ] || [ ! -t 2 ] || printf '\r\033[K' >&2
      failed=1
      echo "$line" >&2
    fi
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
}
begun=$SECONDS
: >"$log"
if ! NINJA_STATUS='@%f/%t@ ' ninja -C "$build" -j "$jobs" "${targets[@]}" 2>&1 | show; then
  grep -q '^FAILED:' "$log" || tail -n 20 "$log" >&2
  echo "build: stopped; the output of what failed is above, everything is in $log" >&2
  exit 1
fi
if grep -q '^@[1-9]' "$log"; then
  echo "build $preset: done in $(((SECONDS - begun) / 60)) min $(((SECONDS - begun) % 60)) s" >&2
fi
