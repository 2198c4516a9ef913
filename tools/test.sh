#!/usr/bin/env bash
# Everything that needs no GPU: the release build's tests, and core, io and text again under the sanitizers with
# the fuzzers, in one run of ctest. Its summary is the last thing printed; details are in build/test/.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh test
tools/build.sh release --tests
tools/build.sh asan --tests -DFUZZ_SECONDS="${FUZZ_SECONDS:-10}"

mkdir -p build/test
printf 'subdirs("%s/build/release" "%s/build/asan")\n' "$PWD" "$PWD" >build/test/CTestTestfile.cmake
export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
progress=()
[ ! -t 1 ] || progress=(--progress)
cd build/test
ctest -L '^(unit|parity|e2e|fuzz)$' --no-tests=error --output-on-failure --no-label-summary "${progress[@]}"
