#!/usr/bin/env bash
# Builds the peers that benches compare with, in the cache folder; nothing is installed, a second run takes milliseconds.
# usage: tools/peers.sh        JOBS=N chooses the number of compile jobs (default: all cores)
# llama.cpp comes out of the source package of its Python binding; the programs land in $cache/peers/llama.cpp/bin.
set -euo pipefail
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
peers=$cache/peers
package=llama_cpp_python-0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
home=$peers/llama.cpp
[ ! -f "$home/.complete-$package" ] || exit 0

mkdir -p "$peers"
exec 9>"$peers/.lock"
flock 9
[ ! -f "$home/.complete-$package" ] || exit 0
if ! sha256sum --quiet --check - <<<"$sha256  $peers/$package.tar.gz" 2>/dev/null; then
  echo "peers: fetching the source of llama.cpp (77 MB) …" >&2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python --dest "$peers" \
    llama-cpp-python==0.3.36
  sha256sum --quiet --check - <<<"$sha256  $peers/$package.tar.gz"
fi
source=$peers/$package/vendor/llama.cpp
if [ ! -f "$peers/$package/.complete" ]; then
  tar -xzf "$peers/$package.tar.gz" -C "$peers" --exclude='*/.git/*' "$package/vendor/llama.cpp"
  touch "$peers/$package/.complete"
fi
echo "peers: building llama.cpp in $home (about 15 minutes on two cores; log: $peers/llama.cpp.log) …" >&2
{
  cmake -S "$source" -B "$home" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_OPENMP=ON \
    -DBUILD_SHARED_LIBS=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_COMMIT=package -DLLAMA_BUILD_NUMBER=0
  nice ninja -C "$home" -j "${JOBS:-$(nproc)}" llama-bench llama-quantize
} >"$peers/llama.cpp.log" 2>&1 || {
  tail -n 20 "$peers/llama.cpp.log" >&2
  echo "peers: llama.cpp did not build; its output is above" >&2
  exit 1
}
touch "$home/.complete-$package"
