# Small inputs that the scripts here write themselves; to be sourced.

# little BYTES NUMBER...: little-endian integers on stdout
little() {
  local bytes=$1 number i escapes=
  shift
  for number in "$@"; do
    for ((i = 0; i < bytes; i++)); do
      printf -v escapes '%s\\x%02x' "$escapes" $((number >> (8 * i) & 255))
    done
  done
  printf '%b' "$escapes"
}

# write_ids FILE ID...: a safetensors file with input_ids, i64 [1, ids]
write_ids() {
  local file=$1 header
  shift
  header="{\"input_ids\":{\"dtype\":\"I64\",\"shape\":[1,$#],\"data_offsets\":[0,$((8 * $#))]}}"
  { little 8 ${#header} && printf '%s' "$header" && little 8 "$@"; } >"$file"
}

# write_tokens FILE: a .tok file of 8 documents of 16 ids below 32, all of the class "text"
write_tokens() {
  local description='{"classes":["text"],"vocab_size":32}' document i
  {
    printf TESSTOK1
    little 8 2 8 128 8 336 408 480 544 ${#description} # header: offsets follow from the sizes
    for document in 0 1 2 3 4 5 6 7; do
      for i in {0..15}; do little 2 $(((document + 5 * i) % 32)); done
    done
    little 8 0 16 32 48 64 80 96 112 128 # document bounds
    little 8 0 1 2 3 4 5 6 7 8           # run bounds
    for document in 0 1 2 3 4 5 6 7; do little 4 16 0; done
    printf '%s' "$description"
  } >"$1"
}

# write_recipe FILE TOKENS: trains a language model of a few thousand parameters for three steps
write_recipe() {
  cat >"$1" <<EOF
name: tiny
task: {kind: language_model}
model: {config: {vocab_size: 32, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1,
  num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 64, eos_token_id: 1}}
data: {train: $2, validate: $2, sequence: 32, documents: 8}
optimizer: {lr: 1e-2}
schedule: {steps: 3, warmup: 1}
batch: {tokens: 64, workers: 1}
checkpoint: {every: 1, keep: 1}
validate: {every: 3, batches: 1}
log: {every: 1}
EOF
}
