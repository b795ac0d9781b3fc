# shellcheck shell=bash disable=SC2154
# Steps of run.sh --from-released: the challenge's released model beside its published figures.
[ "$recipe$init_from$variant${overrides[*]-}" = tidyvoice ] ||
  fail "--from-released goes with --recipe tidyvoice, without --init-from, --variant and --set"

fetch_released() {
  local folder folders=(--data "$data/dev") trained_on=() # the model does not say it itself
  for folder in "$data"/{finetune,calib}; do
    [ ! -e "$folder" ] || folders+=(--data "$folder") trained_on+=(--trained-on "$folder/utt2spk")
  done
  examine "${folders[@]}"
  make "$exp/released/models/source.json" -- tidyvoice fetch-model "$from_released" \
    --out "$exp/released/models" ${trained_on[@]+"${trained_on[@]}"}
}

# Which mean the published figures were centred with is not documented: score with each.
compare_means() {
  score released dev-none "$trials" ''
  score released dev-own "$trials" dev --allow-overlap
  make "$exp/released/compared.txt" -- tidyvoice metrics --published "conf/$recipe/published.yaml" \
    "no mean=$scores/dev-none.score" ${mean:+"mean of the fine-tuning's data=$scores/dev.score"} \
    "mean of dev itself=$scores/dev-own.score"
}
