#!/usr/bin/env bash
# Every command of README.md as it is written there: those of tessera run on small fixtures that have the names
# which README uses (FOLDER, RECIPE.yaml, in.safetensors); those of make must be targets of the Makefile. A command
# that README has and the table below has not is a failure, and so is one that README has no more.
# usage: readme_test.sh PROGRAM GOLDENS [PART]     (default: all parts)
set -uo pipefail
program=$1 goldens=$2 chosen=${3:-all}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
. "$here/fixtures.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# part, what stdout or a file that is written must hold (FILE:PATTERN), command
table() {
  cat <<'EOF'
make	.	make demo
make	.	make test
make	.	make parity
serve	serving tessera-mini	tessera serve
converse	\.png	tessera converse "Draw two red circles on green grass." --to image
any2any	malformed spans: 0 in [1-9]	tessera bench any2any --quick
bench	read_gb_s +[0-9]	tessera bench machine
bench	decode_tok_s +[0-9]	tessera bench generate FOLDER
models	.	tessera generate -m FOLDER "Once upon a time"
models	true|false	tessera generate -m FOLDER "A person: " --json-schema schema.json
models	out.safetensors:model.layers.0	tessera forward FOLDER --in in.safetensors --out out.safetensors --taps 'layers\.0$'
models	^[0-9]+( [0-9]+)*$	tessera tokenize FOLDER --text "Hello"
models	^user: Hello	tessera tokenize FOLDER --chat messages.json
models	input_ids i64 \[B, T\]	tessera inspect FOLDER --entries
models	libtorch +opens	tessera doctor
train	runs/tiny/model/model.safetensors:lm_head	tessera train RECIPE.yaml
EOF
}

# Lines of fenced blocks without their comment, and inline code.
commands() {
  awk '/^```/ { fenced = !fenced; next }
       fenced { sub(/ +#.*/, ""); print; next }
       { n = split($0, piece, "`"); for (i = 2; i <= n; i += 2) print piece[i] }' "$root/README.md" |
    grep -E '^(tessera|make)( |$)' | sort -u
}

run_command() { # PATTERN COMMAND
  local pattern=$1 command=$2 got out=$work/out
  (cd "$work/run" && PATH=$work/bin:$PATH TESSERA_BENCH_SECONDS=0.5 bash -c "$command") >"$out" 2>"$work/err" </dev/null
  got=$?
  [ "$got" = 0 ] || fail "exit $got: $command: $(tail -n 3 "$work/err")"
  case $pattern in *safetensors:*) out=$work/run/${pattern%%:*} pattern=${pattern#*:} ;; esac
  grep -Eqa -- "$pattern" "$out" || fail "no '$pattern' in ${out##*/}: $command: $(head -n 3 "$work/out")"
}

# A server is interrupted after a while, at which it ends in order; what it says is on stderr.
run_server() { # PATTERN COMMAND
  local pattern=$1 command=$2 got
  (cd "$work/run" && PATH=$work/bin:$PATH TESSERA_PORT=0 timeout --preserve-status -s INT 8 $command) \
    >/dev/null 2>"$work/err" </dev/null
  got=$?
  [ "$got" = 0 ] || fail "exit $got: $command: $(tail -n 3 "$work/err")"
  grep -Eq -- "$pattern" "$work/err" || fail "no '$pattern' on stderr: $command: $(head -n 3 "$work/err")"
}

mkdir -p "$work/bin" "$work/run/FOLDER"
ln -s "$(realpath "$program")" "$work/bin/tessera"
cp "$goldens"/llama/plain/{config.json,generation_config.json,model.safetensors} \
  "$goldens"/tokenizers_json/unigram/tokenizer.json "$work/run/FOLDER"
write_ids "$work/run/in.safetensors" 1 5 77 3
write_tokens "$work/run/tiny.tok"
echo '{{ messages[0].role }}: {{ messages[0].content }}' >"$work/run/FOLDER/chat_template.jinja"
echo '[{"role": "user", "content": "Hello"}]' >"$work/run/messages.json"
echo '{"type": "boolean"}' >"$work/run/schema.json"
write_recipe "$work/run/RECIPE.yaml" tiny.tok

difference=$(diff <(commands) <(table | cut -f 3 | sort)) ||
  fail "README.md's commands (<) differ from those known here (>):"$'\n'"$difference"
while IFS=$'\t' read -r part pattern command; do
  if [ "$chosen" != all ] && [ "$chosen" != "$part" ]; then
    continue
  fi
  case $part in
    make) grep -q "^${command#make }:" "$root/Makefile" || fail "the Makefile has no target: $command" ;;
    serve) run_server "$pattern" "$command" ;;
    *) run_command "$pattern" "$command" ;;
  esac
done < <(table)

[ "$failures" = 0 ] && echo "all passed"
exit $((failures > 0))
