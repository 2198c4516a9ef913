#!/usr/bin/env bash
# The program as a user meets it: exit codes, what goes to stdout and what to stderr, pipes, nothing half-written.
# usage: cli_test.sh PROGRAM GOLDENS
set -uo pipefail
program=$1 goldens=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE ARGUMENTS...: runs the program; stdout in $work/out, stderr in $work/err
expect() {
  local code=$1
  shift
  "$program" "$@" >"$work/out" 2>"$work/err" </dev/null
  local got=$?
  [ "$got" = "$code" ] || fail "exit $got instead of $code: tessera $*: $(head -n 3 "$work/err")"
}
says() { grep -q -- "$1" "$work/$2" || fail "no '$1' on $2: $(head -n 3 "$work/$2")"; }
silent() { [ ! -s "$work/$1" ] || fail "$1 should be empty: $(head -n 3 "$work/$1")"; }

expect 0 --help; says 'generate' out; silent err
for command in converse generate tokenize inspect forward bench doctor demo train serve; do
  expect 0 "$command" --help; says 'Usage' out
done
expect 0 --version; says 'tessera [0-9]' out
expect 2 genrate; silent out; says 'did you mean `tessera generate`' err
expect 2; silent out
expect 2 inspect; says 'no model given' err
expect 3 inspect "$work/nothing"; says 'not found' err
mkdir "$work/odd"; echo '{"architectures": ["SpiralForCausalLM"]}' >"$work/odd/config.json"
expect 5 inspect "$work/odd"; says 'SpiralForCausalLM' err
echo '{"architectures": [' >"$work/odd/config.json"
expect 4 inspect "$work/odd"; says 'not valid JSON' err
: >"$work/odd/config.json"
expect 4 inspect "$work/odd"

model=$goldens/llama/plain
expect 0 inspect "$model"; says 'LlamaForCausalLM\|Llama' out; silent err
expect 0 inspect "$model" --entries --json; says '"input_ids"' out
expect 0 inspect "$model" --tensors; says 'model.norm.weight' out

# What needs no libtorch runs without libtessera.so.
cp "$program" "$work/alone"
for arguments in --help "inspect $model" "inspect $model --entries" "tokenize $goldens/tokenizers_json/gpt2 --text a"; do
  # shellcheck disable=SC2086
  "$work/alone" $arguments >/dev/null 2>"$work/err" || fail "without libtessera.so: $arguments: $(cat "$work/err")"
done
"$work/alone" forward "$model" --in x --out y 2>"$work/err"
[ $? = 3 ] || fail "forward without libtessera.so"
says 'libtessera.so' err

tokenizer=$goldens/tokenizers_json/gpt2
expect 0 tokenize "$tokenizer" --text 'Hello world'; silent err
ids=$(printf '"Hello world"\n"a\\u2028b"\n""\n' | "$program" tokenize "$tokenizer" --json) || fail "tokenize --json"
[ "$(wc -l <<<"$ids")" = 3 ] || fail "three lines in, $(wc -l <<<"$ids") out"
back=$("$program" tokenize "$tokenizer" --json --decode <<<"$ids" | sed -n 1p)
[ "$back" = '"Hello world"' ] || fail "decode gave $back"
[ "$(echo '[]' | "$program" tokenize "$tokenizer" --json --decode)" = '""' ] || fail "decode of []"
echo 'not json' | "$program" tokenize "$tokenizer" --json >/dev/null 2>"$work/err"
[ $? = 4 ] || fail "malformed line"
says 'line 1' err

# Conversations: the prompt, its ids, what the template refuses, a folder without a template.
cp -r "$tokenizer" "$work/chat"
printf '%s' '{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{% if n %}{{ raise_exception("no " ~ n) }}{% endif %}' >"$work/chat/chat_template.jinja"
echo '[{"role": "user", "content": "Hi"}]' >"$work/messages.json"
expect 0 tokenize "$work/chat" --chat "$work/messages.json"; says '^\[user\] Hi$' out; silent err
[ "$("$program" tokenize "$work/chat" --chat - --json <"$work/messages.json" | "$program" tokenize "$work/chat" --json --decode)" = '"[user] Hi"' ] || fail "ids of a chat"
echo '{"messages": [{"role": "user", "content": "Hi"}], "n": 3}' >"$work/messages.json"
expect 2 tokenize "$work/chat" --chat "$work/messages.json"; says 'no 3 (raised by chat template, line 1)' err
expect 3 tokenize "$tokenizer" --chat "$work/messages.json"; says 'no chat template' err

# Inputs that do not fit an entry; a broken input file; an output folder that cannot be written.
expect 2 forward "$model" --entry nope --in "$model/parity.safetensors" --out "$work/o"; says 'forward, generate' err
expect 2 forward "$model" --in "$model/parity.safetensors" --out "$work/o"; says 'input_ids' err
head -c 100 "$model/parity.safetensors" >"$work/cut.safetensors"
expect 4 forward "$model" --in "$work/cut.safetensors" --out "$work/o"
[ ! -e "$work/o" ] || fail "an output was left behind"
expect 3 forward "$model" --in "$work/none.safetensors" --out "$work/o"

# Weights that do not fit the configuration: one error that names the tensors.
cp -r "$model" "$work/wide"
sed -i 's/"intermediate_size": 52/"intermediate_size": 53/' "$work/wide/config.json"
expect 4 forward "$work/wide" --in "$model/parity.safetensors" --out "$work/o"; says 'gate_proj' err

# GGUF files: written, looked into, run; cut off they are refused, and nothing half-written is left.
. "$(dirname "$0")/fixtures.sh"
write_ids "$work/ids.safetensors" 1 5 9
expect 0 compress "$model" --to gguf:Q8_0 -o "$work/p.gguf"
expect 0 inspect "$work/p.gguf" --tensors; says 'blk.0.attn_q.weight' out
expect 0 forward "$work/p.gguf" --in "$work/ids.safetensors" --out "$work/logits.safetensors"
[ -s "$work/logits.safetensors" ] || fail "no logits of a GGUF file"
expect 3 tokenize "$work/p.gguf" --text a; says 'no tokenizer' err
head -c 20000 "$work/p.gguf" >"$work/cut.gguf"
expect 4 inspect "$work/cut.gguf"; silent out
expect 4 forward "$work/cut.gguf" --in "$work/ids.safetensors" --out "$work/o"
expect 2 compress "$model" --to gguf:Q9 -o "$work/o"; says 'Q9' err
expect 7 compress "$model" --to gguf:Q8_0 -o /dev/full
expect 3 compress "$work/none" --to gguf:Q8_0 -o "$work/o"
[ ! -e "$work/o" ] || fail "an output was left behind"

# Conversations: a model without media, an unknown kind of reply, files that are no media.
expect 3 converse -m "$model" hello; says 'no chat template' err; silent out
expect 2 converse -m "$model" hello --to smell
expect 3 converse -m "$model" hello --image "$work/none.png"; says 'none.png' err
expect 4 converse -m "$model" hello --image "$model/config.json"; says 'config.json' err

# The bundled model: a picture, an answer about it, several turns by pipe.
mini=$(dirname "$0")/../../models/tessera-mini
if [ -d "$mini" ]; then
  expect 2 converse -m "$mini" ''; says 'empty' err
  expect 0 converse -m "$mini" 'draw a red circle' --to image --out "$work/media" --json --seed 1
  says '"valid":true' out; says '"type":"image"' out
  [ "$(head -c 4 "$work/media/part-0001.png" | tail -c 3)" = PNG ] || fail "no picture was written"
  # Output inside a grammar, alone and in a batch; drafts change nothing; what does not fit is named.
  expect 0 generate -m "$mini" 'It is' --regex '[0-9]{1,2} (a|p)m' --temp 1 --seed 2
  grep -Eqx '[0-9]{1,2} (a|p)m' "$work/out" || fail "not of the pattern: $(cat "$work/out")"
  echo 'root ::= "yes" | "no"' >"$work/answer.gbnf"
  expect 0 generate -m "$mini" a 'Draw a cat' c --batch 2 --grammar "$work/answer.gbnf" --temp 1 --json
  [ "$(grep -cE '"finish_reason":"stop".*"text":"(yes|no)"' "$work/out")" = 3 ] || fail "answers: $(cat "$work/out")"
  echo '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": false}' >"$work/schema.json"
  expect 0 generate -m "$mini" a --json-schema "$work/schema.json"
  tr -d ' \n' <"$work/out" | grep -Eqx '\{"n":[12]\}' || fail "not of the schema: $(cat "$work/out")"
  expect 5 generate -m "$mini" a --json-schema '{"not": {}}'; says "'not'" err; silent out
  expect 2 generate -m "$mini" a --json-schema '{"type": "string", "enum": [1]}'; says 'no text' err
  expect 3 generate -m "$mini" a --grammar "$work/none.gbnf"
  expect 2 generate -m "$mini" a --regex b --grammar "$work/answer.gbnf"
  expect 2 generate -m "$mini" a --regex b --beams 2; says 'beams' err
  expect 0 generate -m "$mini" 'Draw a cat. Draw a dog. Draw a' -n 30 --greedy; cp "$work/out" "$work/plain"
  for draft in ngram "$mini"; do
    expect 0 generate -m "$mini" 'Draw a cat. Draw a dog. Draw a' -n 30 --greedy --speculate "$draft" --draft-tokens 3
    cmp -s "$work/out" "$work/plain" || fail "speculation by $draft: $(cat "$work/out")"
    says 'drafted tokens accepted' err
  done
  expect 2 generate -m "$mini" a --speculate ngram --batch 2; says 'speculate' err
  # Many prompts at once give what each gives alone; one that is too long stops all before anything is said.
  printf 'Draw a cat\nHow are you\n\nTwo\nDraw a cat\n' >"$work/prompts.txt"
  for batch in 1 3; do
    expect 0 generate -m "$mini" -f "$work/prompts.txt" --batch "$batch" -n 12 --seed 5
    mv "$work/out" "$work/batch-$batch"
  done
  [ -s "$work/batch-1" ] && cmp -s "$work/batch-1" "$work/batch-3" || fail "a batch differs from its prompts alone"
  printf 'cat %.0s' {1..3000} >>"$work/prompts.txt"
  expect 2 generate -m "$mini" -f "$work/prompts.txt" --batch 3; says 'context' err; silent out
  expect 0 generate -m "$mini" a b --batch 2 -n 0
  expect 0 converse -m "$mini" 'What is in this picture?' --image "$work/media/part-0001.png" --to text
  [ -s "$work/out" ] || fail "no answer about a picture"
  printf '/to image\nDraw a blue star.\n/to text\nWhat colour is it?\n/save %s\n/quit\n' "$work/talk.jsonl" |
    "$program" converse -m "$mini" --out "$work/media" >"$work/out" 2>"$work/err" || fail "a conversation over a pipe"
  says 'part-0002.png' out; grep -q '<soim>' "$work/talk.jsonl" || fail "/save wrote no picture"
  # A loudspeaker and a microphone that need no hardware.
  expect 0 converse -m "$mini" 'Please say: two dogs.' --to speech --play-device alsa:null --out "$work/media" --json
  says '"type":"speech"' out
  expect 0 converse -m "$mini" 'Write down what is said.' --mic-device lavfi:sine=duration=1 --to text
  expect 5 converse -m "$mini" 'Write down what is said.' --mic-device smell; says 'no such device' err
fi

[ "$failures" = 0 ] && echo "all passed"
exit $((failures > 0))
