#!/usr/bin/env bash
# Regenerates the goldens with another seed from the reference packages and runs the tests on them.
# usage: tools/parity.sh [GENERATOR...]      e.g. tools/parity.sh llama images; SEED=N chooses the seed, KEEP=1 keeps the files
# A generator is tests/parity/<name>.py; it writes tests/goldens/ when called without arguments, takes --seed N if it
# draws numbers, and runs in the environment of requirements.txt, or of the file that a line of it names:
#   requirements: requirements-legacy.txt
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
seed=${SEED:-$RANDOM}

environment() {  # the folder of a virtual environment that holds what a requirements file names
  local folder
  folder=$cache/venv-$(sha256sum <"tests/parity/$1" | cut -c 1-12)
  if [ ! -f "$folder/.complete" ]; then
    echo "parity: making the environment of $1 …" >&2
    rm -rf "$folder"
    /usr/bin/python3 -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "tests/parity/$1" >&2
    touch "$folder/.complete"
  fi
  echo "$folder"
}

saved=build/goldens-committed
restore() {
  [ "${KEEP:-}" = 1 ] || { rm -rf tests/goldens && mv "$saved" tests/goldens; }
}
mkdir -p build
rm -rf "$saved"
cp -a tests/goldens "$saved"
trap restore EXIT
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(find tests/parity -maxdepth 1 -name '*.py' -printf '%f\n' | sed 's/\.py$//' | sort)
for name in "${names[@]}"; do
  script=tests/parity/$name.py
  requirements=$(sed -nE '1,40s/^(# *)?requirements: *(requirements[A-Za-z0-9._-]*\.txt).*/\2/p' "$script" | head -n 1)
  folder=$(environment "${requirements:-requirements.txt}")
  arguments=()
  if grep -q -e '"--seed"' "$script"; then arguments=(--seed "$seed"); fi
  echo "parity: $name ${arguments[*]}" >&2
  "$folder/bin/python" "$script" "${arguments[@]}"
done
tools/build.sh release --tests
ctest --test-dir build/release -L '^(unit|parity)$' --no-tests=error --output-on-failure --no-label-summary -j "$(nproc)"
