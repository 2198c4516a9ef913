#!/usr/bin/env bash
# Full disks, empty and broken files, prompts beyond the context, a training that is killed: a clear error, nothing
# half-written, and work that goes on afterwards.
# usage: bad_input_test.sh PROGRAM GOLDENS
set -uo pipefail
program=$1 goldens=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/fixtures.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE PATTERN ARGUMENTS...: the exit code, and what stderr says
expect() {
  local code=$1 pattern=$2 got
  shift 2
  "$program" "$@" >"$work/out" 2>"$work/err" </dev/null
  got=$?
  local named="tessera ${*:1:3}"
  [ "$got" = "$code" ] || fail "exit $got instead of $code: $named: $(tail -n 3 "$work/err")"
  [ -z "$pattern" ] || grep -q -- "$pattern" "$work/err" || fail "no '$pattern': $named: $(tail -n 3 "$work/err")"
}
# The same where no file may grow beyond so many KiB: a disk that fills up, for tests without root.
expect_full() {
  local size=$1
  shift
  (trap '' XFSZ && ulimit -f "$size" && expect 7 'File too large' "$@" && exit "$failures") || failures=$((failures + 1))
}
leftovers() { [ -z "$(find "$1" -name "$2" 2>/dev/null)" ] || fail "left behind: $(find "$1" -name "$2")"; }

model=$work/model
mkdir "$model"
cp "$goldens"/llama/plain/{config.json,generation_config.json,model.safetensors} \
  "$goldens"/tokenizers_json/bert/tokenizer.json "$model"
mini=$here/../../models/tessera-mini

# ---- a disk that fills up ----
write_ids "$work/in.safetensors" {1..120}
mkdir "$work/full"
expect_full 8 forward "$model" --in "$work/in.safetensors" --out "$work/full/out.safetensors"
leftovers "$work/full" 'out*'
if [ -c /dev/full ]; then
  expect 7 'No space left' forward "$model" --in "$work/in.safetensors" --out /dev/full
  [ -c /dev/full ] || fail "/dev/full was replaced"
fi
if [ -d "$mini" ]; then
  expect_full 1 converse -m "$mini" 'draw a red circle' --to image --out "$work/full" --seed 1
  leftovers "$work/full" 'part-*'
fi
write_tokens "$work/tiny.tok"
write_recipe "$work/recipe.yaml" "$work/tiny.tok"
run=$work/run
expect_full 8 train "$work/recipe.yaml" --run "$run"
leftovers "$run" '*.safetensors*'
expect 0 '' train "$work/recipe.yaml" --run "$work/run2" schedule.steps=1
expect_full 8 train --run "$work/run2" --resume schedule.steps=3
expect 0 '' train --run "$work/run2" --resume schedule.steps=3
[ -s "$work/run2/model/model.safetensors" ] || fail "the training did not go on after the disk was full"

# ---- a training that is killed, most likely while it saves: it saves after every step ----
newest() { find "$work/killed/checkpoints" -maxdepth 1 -name 'step-*' 2>/dev/null | sort | tail -n 1; }
"$program" train "$work/recipe.yaml" --run "$work/killed" schedule.steps=100000 >/dev/null 2>&1 </dev/null &
training=$!
for ((i = 0; i < 400; i++)); do
  [ -z "$(newest)" ] || break
  sleep 0.05
done
sleep 0.3
kill -KILL "$training" 2>/dev/null || fail "the training ended before it was killed"
wait "$training" 2>/dev/null
step=$(newest)
step=$((10#${step##*step-}))
expect 0 '' train --run "$work/killed" --resume schedule.steps=$((step + 2))
[ -s "$work/killed/model/model.safetensors" ] || fail "the training did not go on after it was killed"
leftovers "$work/killed" '.writing-*'
leftovers "$work/killed" '*.part-*'

# ---- empty and broken files ----
: >"$work/empty"
printf 'no picture' >"$work/broken.png"
for image in empty broken.png; do
  expect 4 "$image" converse -m "$model" hello --image "$work/$image"
done
expect 4 'empty' converse -m "$model" hello --audio "$work/empty"
expect 4 'empty' forward "$model" --in "$work/empty" --out "$work/out.safetensors"
expect 2 'task.kind' train "$work/empty"
for file in config.json model.safetensors tokenizer.json; do
  cp -r "$model" "$work/hollow"
  : >"$work/hollow/$file"
  expect 4 "${file%%.*}" generate -m "$work/hollow" hello
  rm -r "$work/hollow"
done

# ---- prompts ----
long=$(printf 'once upon %.0s' {1..700})
expect 2 'context is 512' generate -m "$model" "$long"
expect 0 '' generate -m "$model" --max-new-tokens 2 ''
if [ -d "$mini" ]; then
  expect 2 'context is 2048' converse -m "$mini" "$(printf 'Draw a red circle and a blue star. %.0s' {1..300})"
fi

[ "$failures" = 0 ] && echo "all passed"
exit $((failures > 0))
