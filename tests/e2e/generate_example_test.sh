#!/usr/bin/env bash
# The example of the public header gives what the program gives, streamed and in batches.
# usage: generate_example_test.sh EXAMPLE PROGRAM MODEL
set -uo pipefail
example=$1 program=$2 model=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

schema='{"type": "array", "items": {"type": "integer"}, "maxItems": 3}'
plain() { "$program" generate -m "$model" --greedy -n 32 "$@" 2>/dev/null; }

got=$("$example" "$model" 'Draw a cat' 2>/dev/null) || fail "exit $?"
[ "$got" = "$(plain 'Draw a cat'; plain 'Draw a cat' --json-schema "$schema")" ] || fail "streamed: $got"
got=$("$example" "$model" 'Draw a cat' 'How are you' 2>/dev/null) || fail "exit $?"
[ "$got" = "$(plain 'Draw a cat' 'How are you'; plain 'Draw a cat' --json-schema "$schema")" ] || fail "batch: $got"
"$example" /nonexistent x >/dev/null 2>"$work/err" && fail "a missing model is no error"
grep -q '^error: .*/nonexistent' "$work/err" || fail "no message: $(cat "$work/err")"
[ "$failures" = 0 ]
