# shellcheck shell=bash disable=SC2034,SC2154
# The stages of run.sh --from-released: the challenge's released model beside its published figures.
[ "$recipe$init_from$variant${overrides[*]-}" = tidyvoice ] ||
  fail "--from-released goes with --recipe tidyvoice, without --init-from, --variant and --set"
system=released title=released compared=()
. local/scoring.sh
voxceleb2=$data/voxceleb2-mean/part-001-of-010 # a tenth of its speakers, for another mean

if stage 1 "prepare the data"; then
  prepare_evaluation
  prepare_tidyvoicex
  [ ! -e "$corpus/voxceleb2" ] || make "$voxceleb2/wav.scp" -- python -m local.voxceleb2 \
    --root "$corpus/voxceleb2" --out "${voxceleb2%/*}" --part 1/10
  folders=(--data "$data/dev") trained_on=() # the model does not say it itself
  for folder in "$data"/{finetune,calib}; do
    if [ -e "$folder" ]; then folders+=(--data "$folder") trained_on+=(--trained-on "$folder/utt2spk"); fi
  done
  [ ! -e "$voxceleb2" ] || folders+=(--train "$voxceleb2")
  examine "${folders[@]}"
  fetch "$from_released" "$exp/released/models" ${trained_on[@]+"${trained_on[@]}"}
fi

held_out='' mean='' dev_cosines=dev-none # the model has seen all speakers of TidyVoiceX but dev
if [ -e "$data/finetune/wav.scp" ]; then mean=mean dev_cosines=dev-train; fi

if stage 5 "pack shards, extract embeddings"; then
  extract released dev "$data/dev"
  [ -z "$mean" ] || extract released mean "$data/finetune"
  if [ -e "$voxceleb2/wav.scp" ]; then
    pack "$voxceleb2" --tolerate "$tolerate"
    extract released mean-voxceleb2 "$voxceleb2"
  fi
fi

# Which mean the published figures were centred with is not documented: score with each.
if stage 6 "score, metrics, report"; then
  score_voxceleb1 released
  score released dev-none "$trials" ''
  score released dev-own "$trials" dev --allow-overlap
  means=("no mean=$scores/dev-none.score")
  if [ -n "$mean" ]; then
    score released dev-train "$trials"
    means+=("mean of TidyVoiceX train=$scores/dev-train.score")
  fi
  if [ -e "$voxceleb2/wav.scp" ]; then
    score released dev-voxceleb2 "$trials" mean-voxceleb2
    means+=("mean of VoxCeleb2=$scores/dev-voxceleb2.score")
  fi
  make "$exp/released/compared.txt" -- tidyvoice metrics \
    --published "conf/$recipe/published.yaml" "${means[@]}" "mean of dev itself=$scores/dev-own.score"
  report results $dev_cosines released
fi

if stage 7 "normalise, calibrate, report"; then
  calibrate_dev
fi

if stage 8 "submission"; then
  . local/submission.sh
fi
printf '\nfinished (elapsed %s)\n' "$(elapsed)"
