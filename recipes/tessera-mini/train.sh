#!/usr/bin/env bash
# The steps of tessera-mini in order, on a machine with one GPU; each can be given alone:
#   recipes/tessera-mini/train.sh codecs speech_decoder judges tokenizer tokens language_model assemble
# TESSERA=program ASSETS=folder DIGITS=folder (optional) RUNS=folder FROM=folder (codecs to go on
# from, optional) MINUTES_step=N MORE="key=value …" (added to every recipe of the call)
set -euo pipefail
here=$(dirname "$0")
tessera=${TESSERA:-tessera} assets=${ASSETS:-assets} digits=${DIGITS:-} runs=${RUNS:-runs/tessera-mini} from=${FROM:-}
read -ra more <<<"${MORE:-}"

# train RECIPE MINUTES [key=value …]: in the background, its log in the runs' folder
train() {
  local recipe=$1 minutes=$2
  shift 2
  [ -z "$from" ] || [ ! -d "$from/$recipe/model" ] || set -- "$@" model.config= "model.from=$from/$recipe/model"
  mkdir -p "$runs"
  "$tessera" train "$here/$recipe.yaml" "stop.minutes=$minutes" checkpoint.every=1000000 --run "$runs/$recipe" -t 1 \
    "$@" "${more[@]}" >"$runs/$recipe.log" 2>&1 &
}
speech=("data.assets=$assets" ${digits:+"data.digits=$digits"})

for step in "$@"; do
  case $step in
    codecs)
      train picture_codec "${MINUTES_codecs:-10}" "data.assets=$assets"
      train speech_codec "${MINUTES_codecs:-10}" "${speech[@]}" "data.scratch=$runs/unpacked1"
      train music_codec "${MINUTES_music:-5}"
      ;;
    speech_decoder)  # of the codec just trained; FROM's is another codec's
      from='' train speech_decoder "${MINUTES_speech_decoder:-5}" "${speech[@]}" "data.scratch=$runs/unpacked4" \
        "model.from=$runs/speech_codec/model"
      ;;
    judges)
      train scene_judge "${MINUTES_judges:-3}" "data.assets=$assets"
      train speech_recognizer "${MINUTES_judges:-3}" "${speech[@]}" "data.scratch=$runs/unpacked2"
      train speaker_judge 1 "data.assets=$assets" "data.scratch=$runs/unpacked3"
      train music_judge 1
      ;;
    tokenizer) "$tessera" train "$here/tokenizer.yaml" "data.out=$runs/tokenizer" "${more[@]}" ;;
    tokens)
      for part in train validation; do
        "$tessera" train "$here/tokens_$part.yaml" "model.tokenizer=$runs/tokenizer" "data.assets=$assets" \
          "data.out=$runs/tokens_$part" ${digits:+"data.digits=$digits" data.mixture.digits=1} "${more[@]}"
      done
      ;;
    language_model)
      train language_model "${MINUTES_language_model:-18}" "model.tokenizer=$runs/tokenizer" \
        "data.train=[$runs/tokens_train]" "data.validate=[$runs/tokens_validation]"
      ;;
    assemble)
      "$tessera" train "$here/model.yaml" "model.language_model=$runs/language_model/model" \
        "model.tokenizer=$runs/tokenizer" "data.out=$runs/model" "${more[@]}"
      ;;
    *) echo "train.sh: no step '$step'" >&2 && exit 2 ;;
  esac
  for job in $(jobs -p); do wait "$job"; done
done
