#!/usr/bin/env bash
# A 1.1 G Llama with random weights here beside llama.cpp: the same files, on the same threads, in the same run.
# usage: bench/peers/llama_cpp.sh [FORMAT...]       (Q4_0 Q4_K_M Q8_0 BF16); THREADS=2
# Prints a table: tokens/s of generation and of a prompt of 512, and how many times llama.cpp's each is.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/peers.sh
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
bin=$cache/peers/llama.cpp/bin models=$cache/peers/models threads=${THREADS:-$(nproc)}
formats=("$@")
[ $# -gt 0 ] || formats=(Q4_0 Q4_K_M Q8_0 BF16)
mkdir -p "$models"
source=$models/random-1.1b-BF16.gguf
[ -f "$source" ] || bench/peers/random_llama_gguf.py "$source"
printf '%-7s %28s %28s\n%-7s %9s %9s %8s %9s %9s %8s\n' "" "generation, tok/s" "prompt of 512, tok/s" \
  format tessera llama.cpp ratio tessera llama.cpp ratio
for format in "${formats[@]}"; do
  file=$models/random-1.1b-$format.gguf
  if [ ! -f "$file" ]; then
    "$bin/llama-quantize" "$source" "$file.part" "$format" "$threads" >/dev/null 2>&1
    mv "$file.part" "$file"
  fi
  theirs=$("$bin/llama-bench" -m "$file" -t "$threads" -p 512 -n 32 -r 3 -o json 2>/dev/null)
  ours=$(build/release/tessera bench generate "$file" --prompt 512 --gen 32 --threads "$threads" --json)
  python3 - "$format" "$theirs" "$ours" <<'PYTHON'
import json, sys
name, theirs, ours = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
best = {bool(test["n_prompt"]): max(test["samples_ts"]) for test in theirs}
mine = {True: ours["prefill_tok_s"], False: ours["decode_tok_s"]}
cells = [f"{mine[p]:9.1f} {best[p]:9.1f} {mine[p] / best[p]:7.2f}x" for p in (False, True)]
print(f"{name:7} {cells[0]} {cells[1]}", flush=True)
PYTHON
done
