# shellcheck shell=bash disable=SC2034,SC2154
# Stages 1 to 6 of run.sh --from-released: the challenge's released model beside its published figures.
[ "$recipe$init_from$variant${overrides[*]-}" = tidyvoice ] ||
  fail "--from-released goes with --recipe tidyvoice, without --init-from, --variant and --set"

if stage 1 "prepare the data"; then
  prepare
  prepare_tidyvoicex
  folders=(--data "$data/dev") trained_on=() # the model does not say it itself
  for folder in "$data"/{finetune,calib}; do
    [ ! -e "$folder" ] || folders+=(--data "$folder") trained_on+=(--trained-on "$folder/utt2spk")
  done
  examine "${folders[@]}"
  make "$exp/released/models/source.json" -- tidyvoice fetch-model "$from_released" --out \
    "$exp/released/models" --config "conf/$recipe/finetune.yaml" ${trained_on[@]+"${trained_on[@]}"}
fi

# The model has seen all speakers of TidyVoiceX but dev.
held_out='' fit=dev fit_trials=$trials mean='' dev_cosines=dev-none
[ ! -e "$data/finetune/wav.scp" ] || mean=mean dev_cosines=dev-train

if stage 5 "extract embeddings"; then
  extract released dev "$data/dev"
  [ -z "$mean" ] || extract released mean "$data/finetune"
fi

# Which mean the published figures were centred with is not documented: score with each.
if stage 6 "score, metrics, report"; then
  score released dev-none "$trials" ''
  score released dev-own "$trials" dev --allow-overlap
  [ -z "$mean" ] || score released dev-train "$trials"
  make "$exp/released/compared.txt" -- tidyvoice metrics --published "conf/$recipe/published.yaml" \
    "no mean=$scores/dev-none.score" ${mean:+"mean of TidyVoiceX train=$scores/dev-train.score"} \
    "mean of dev itself=$scores/dev-own.score"
  report results "$dev_cosines" --name released
fi
[ "$stage" -ge 7 ] || stage=7 # of run.sh
